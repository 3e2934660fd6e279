package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
)

// An inventoryView is what inventory prints.
type inventoryView struct {
	VCenter   string          `json:"vcenter"`
	Version   string          `json:"version"`
	Time      time.Time       `json:"time"`
	Partial   []string        `json:"partial,omitempty"`
	Providers []string        `json:"providers"` // that this key server answers for
	Usage     inventory.Usage `json:"usage"`
}

func (a *app) inventoryCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inventory", Short: "which machine, disk and host uses which key", Args: noArgs,
		Long: `Reads the vCenter once and lists every key that something in it uses, by whom, and
what the key server says of the key. A key that a machine names and the key server
does not have is told first: that machine does not start again. Keys of the key
server that nothing uses are listed last; a backup may still need one.

Exit code 2: a machine names a key that the key server does not have.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				v, err := l.view(ctx)
				if err != nil {
					return err
				}
				if err := a.show(o, v, func(w io.Writer) { v.table(w) }); err != nil {
					return err
				}
				if n := len(v.Usage.Missing); n > 0 {
					return &failure{Code: exitDrift, Err: fmt.Errorf("keys that machines use and the key server does not have: %d", n),
						Hint: "keyreeve key recover brings a destroyed key back within its grace period; else restore a backup that has it"}
				}
				return nil
			})
		},
	}
	o.outputFlag(cmd)
	cmd.AddCommand(a.inventoryReportCommand(o))
	return cmd
}

// read reads the vCenter.
func (l *link) read(ctx context.Context) (*inventory.Snapshot, error) {
	r, done, err := l.reader(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return r.Read(ctx)
}

// reader has a session for tags, until done; where there is none, they are not
// read.
func (l *link) reader(ctx context.Context) (r *inventory.Reader, done func(), err error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, nil, err
	}
	o, done := inventory.Options{Client: s.Client(), Now: l.app.now}, func() {}
	tags, err := s.REST(ctx)
	switch {
	case err == nil:
		o.REST, done = tags, func() { _ = tags.Logout(context.WithoutCancel(ctx)) }
	case ctx.Err() == nil:
		l.logger.Warn("tags are not read", "err", err)
	}
	return inventory.NewReader(o), done, nil
}

// view is what vCenter and the key server know together.
func (l *link) view(ctx context.Context) (*inventoryView, error) {
	snapshot, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := l.keys(ctx)
	if err != nil {
		return nil, err
	}
	held, err := l.heldKeys(snapshot.VCenter)
	if err != nil {
		return nil, err
	}
	ours := l.providers(snapshot)
	v := &inventoryView{
		VCenter: snapshot.VCenter, Version: snapshot.Version, Time: snapshot.Time, Partial: snapshot.Partial,
		Providers: ours, Usage: snapshot.Join(keys, ours, l.app.now()),
	}
	for i := range v.Usage.Orphans {
		if path, ok := held[v.Usage.Orphans[i].ID]; ok {
			v.Usage.Orphans[i].Was = "made for " + path + ", which is not done yet"
		}
	}
	return v, nil
}

// keys are all that the key server has.
func (l *link) keys(ctx context.Context) (list []admin.Key, err error) {
	server, err := l.keyServer()
	if err != nil {
		return nil, err
	}
	for query := (admin.KeyQuery{}); ; {
		page, err := server.Keys(ctx, query)
		if err != nil {
			return nil, err
		}
		list = append(list, page.Keys...)
		if query.After = page.Next; page.Next == "" {
			return list, nil
		}
	}
}

// providers are the key providers of a vCenter whose servers are ours.
func (l *link) providers(s *inventory.Snapshot) []string {
	return s.ProvidersAt(l.config.addresses()...)
}

// addresses are those of the key server, as vCenter may have it: where this
// machine reaches it, and the one that OVHcloud has.
func (c *config) addresses() []string {
	list := []string{c.Server.KMIP}
	if c.OVHcloud != nil {
		list = append(list, hostPort(c.OVHcloud.Address, ovhcloud.KMIPPort))
	}
	return list
}

func (v *inventoryView) table(w io.Writer) {
	_, _ = fmt.Fprintf(w, "vCenter %s, %s, read %s; our key providers: %s\n", program.Printable(v.VCenter), program.Printable(v.Version),
		program.Date(v.Time), program.Dash(program.Printable(strings.Join(v.Providers, ", "))))
	for _, why := range v.Partial {
		_, _ = fmt.Fprintf(w, "not all was seen: %s\n", program.Printable(why))
	}
	for _, m := range v.Usage.Missing {
		_, _ = fmt.Fprintf(w, "MISSING: %s, which %s uses, is %s\n", program.Printable(m.Key.String()), program.Printable(userOf(m.Users[0])), missing(m.State))
	}
	_, _ = fmt.Fprintln(w)
	program.Line(w, "KEY", "PROVIDER", "STATE", "MADE", "USED BY")
	for _, k := range v.Usage.Keys {
		for i, u := range k.Users {
			if i == 0 {
				program.Line(w, k.Key.ID, k.Key.Provider, program.Dash(k.State), program.Dash(program.Date(k.Made)), userOf(u))
				continue
			}
			program.Line(w, "", "", "", "", userOf(u))
		}
	}
	if len(v.Usage.Orphans) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	program.Line(w, "UNUSED KEY", "STATE", "AGE", "WAS")
	for _, k := range v.Usage.Orphans {
		program.Line(w, k.ID, k.State, age(k.Age), program.Dash(k.Was))
	}
}

func missing(state string) string {
	if state == "" {
		return "not in the key server"
	}
	return state + " in the key server"
}

func userOf(u admin.KeyUser) string {
	text := u.Kind + " " + u.Name
	if u.Disk != "" {
		text += ", " + u.Disk
	}
	return text
}

// age is how long ago, in the largest unit that says something.
func age(d time.Duration) string {
	if days := int(d.Hours() / 24); days > 1 {
		return strconv.Itoa(days) + " days"
	}
	return d.Truncate(time.Minute).String()
}

func (a *app) inventoryReportCommand(o *options) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "report", Short: "tell the key server which keys are in use, so that it destroys none of them", Args: noArgs,
		Long: `Reads the vCenter and sends the key server the whole list. The vCenter must have
been assigned to this agent on the key server (keyreeve inventory assign). A report
is complete or says why it is not; one that is not releases no key.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				snapshot, err := l.read(ctx)
				if err != nil {
					return err
				}
				if dry {
					a.print("uses of keys that would be told: %d; reasons why it would be partial: %d\n", len(snapshot.Entries()), len(snapshot.Partial))
					return nil
				}
				taken, err := l.report(ctx, snapshot)
				if err != nil {
					return err
				}
				return a.show(o, taken, func(w io.Writer) { takenTable(w, taken) })
			})
		},
	}
	dryFlag(cmd, &dry)
	o.outputFlag(cmd)
	return cmd
}

func takenTable(w io.Writer, taken admin.InventoryTaken) {
	what := "complete"
	if !taken.Complete {
		what = "partial, so that it releases no key"
	}
	_, _ = fmt.Fprintf(w, "report %d taken: %s\n", taken.Number, what)
	for _, why := range taken.Reasons {
		_, _ = fmt.Fprintf(w, "not all was seen: %s\n", program.Printable(why))
	}
}

// report tells the server what is in use.
func (l *link) report(ctx context.Context, s *inventory.Snapshot) (taken admin.InventoryTaken, err error) {
	server, err := l.keyServer()
	if err != nil {
		return taken, err
	}
	folder := l.state
	if folder == nil {
		if folder, err = openState(l.config.StateDir); err != nil {
			return taken, err
		}
		defer folder.close()
	}
	n, err := folder.nextReport(s.VCenter)
	if err != nil {
		return taken, err
	}
	head, entries := s.Report(n.Instance, n.Number, l.providers(s))
	return server.ReportInventory(ctx, s.VCenter, head, entries)
}
