package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/recovery"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// A lockedView is what unlock and recover print.
type lockedView struct {
	VCenter  string             `json:"vcenter"`
	Backup   string             `json:"backup,omitempty"` // file by which locked machines' keys are known
	Unlocked []string           `json:"unlocked"`
	Failed   []failedView       `json:"failed"`
	Locked   []recovery.Machine `json:"locked"` // still
	Next     []string           `json:"next,omitempty"`

	facts   recovery.Facts
	choice  []string // of machines; empty: all
	backup  *recovery.Backup
	stopped error
}

type failedView struct {
	Machine string `json:"machine"`
	Why     string `json:"why"`
}

func (a *app) unlockCommand(o *options) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "unlock [MACHINE...]", Short: "say why machines are locked, and unlock those that can be",
		Long: `Finds the machines that are locked, or those of them that are named by path, name or
reference, and says of each which key it names, whether its key provider is
connected, and whether the key server has the key; where not, the command that
brings it back. What a machine names is taken from its configuration, from the last
backup in state_dir, or from what vCenter wrote on the key, and it is said which.

Where nothing is in the way the hosts are given the keys (CryptoUnlock_Task, vCenter
6.7 and later), and it is looked whether the machine is unlocked. Nothing of it is
changed, and it is not started. After a vCenter was lost, recover does this too.

Exit codes: 0 no machine is locked; 3 those that are need a person, as said; 1 one
could not be unlocked; 2 with --dry-run: there are some that can be unlocked.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.unlock(ctx, o, l, args, dry) })
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say why they are locked")
	o.outputFlag(cmd)
	return cmd
}

func (a *app) unlock(ctx context.Context, o *options, l *link, choice []string, dry bool) error {
	v, err := l.locked(ctx, "", false)
	if err != nil {
		return err
	}
	if err := v.choose(choice); err != nil {
		return err
	}
	if !dry {
		if err := l.mayUnlock(ctx, v); err != nil {
			return err
		}
		if err := l.unlockAll(ctx, v); err != nil {
			return err
		}
	}
	if err := a.show(o, v, func(w io.Writer) { v.table(w) }); err != nil {
		return err
	}
	return v.verdict()
}

// locked reads what is locked, and why. lost tells which backup is looked for.
func (l *link) locked(ctx context.Context, from string, lost bool) (*lockedView, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	v := &lockedView{VCenter: s.InstanceUUID(), Unlocked: []string{}, Failed: []failedView{}}
	if v.backup, v.Backup, err = l.findBackup(from, v.VCenter, lost); err != nil {
		return nil, err
	}
	return v, l.look(ctx, v)
}

// look reads all anew.
func (l *link) look(ctx context.Context, v *lockedView) error {
	snapshot, err := l.read(ctx)
	if err != nil {
		return err
	}
	keys, err := l.keys(ctx)
	if err != nil {
		return err
	}
	groups, err := l.groups(ctx)
	if err != nil {
		return err
	}
	v.facts = recovery.Facts{Snapshot: snapshot, Keys: keys, Backup: v.backup, Ours: l.ours(snapshot), Groups: groups, Now: l.app.now()}
	if err := l.details(ctx, &v.facts); err != nil {
		return err
	}
	v.Locked = recovery.Diagnose(v.facts)
	if len(v.choice) > 0 {
		v.Locked = slices.DeleteFunc(v.Locked, func(m recovery.Machine) bool { return !slices.Contains(v.choice, m.Ref) })
	}
	return nil
}

// details asks for what a list of keys does not say, of those that are in the
// way: until when one can be brought back, and why it was revoked.
func (l *link) details(ctx context.Context, f *recovery.Facts) error {
	named := map[string]bool{}
	for _, m := range recovery.Diagnose(*f) {
		for _, k := range m.Keys {
			named[k.ID] = named[k.ID] || !m.Ready()
		}
	}
	for i, k := range f.Keys {
		if !named[k.UniqueIdentifier] || k.State == "Active" {
			continue
		}
		key, err := l.server.Key(ctx, k.UniqueIdentifier)
		if err != nil {
			return err
		}
		f.Keys[i] = key
	}
	return nil
}

// ours are the key providers of this key server: the settings', and those at its
// addresses.
func (l *link) ours(s *inventory.Snapshot) []string {
	names := l.providers(s)
	for _, p := range l.config.Providers {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// groups are those in which the key server knows vCenter, or will, by provider.
func (l *link) groups(ctx context.Context) (map[string]string, error) {
	groups := map[string]string{}
	for _, p := range l.config.Providers {
		record, err := l.client(ctx, p)
		switch {
		case err != nil:
			return nil, err
		case record != nil:
			groups[p.Name] = record.Group
		case p.Group != "":
			groups[p.Name] = p.Group
		default:
			groups[p.Name] = p.Client // as the key server does
		}
	}
	return groups, nil
}

// choose takes the machines that were named.
func (v *lockedView) choose(names []string) error {
	for _, name := range names {
		found := false
		for _, vm := range v.facts.Snapshot.VMs {
			if name == vm.Path || name == vm.Name || name == vm.Ref {
				found = true
				v.choice = append(v.choice, vm.Ref)
			}
		}
		if !found {
			return &failure{Code: exitUsage, Err: fmt.Errorf("there is no machine %q", name), Hint: "keyreeve-agent unlock --dry-run lists those that are locked"}
		}
	}
	if len(names) > 0 {
		v.Locked = slices.DeleteFunc(v.Locked, func(m recovery.Machine) bool { return !slices.Contains(v.choice, m.Ref) })
	}
	return nil
}

// unlockPrivilege is what CryptoUnlock_Task asks for, by VMware's own bindings.
const unlockPrivilege = "Cryptographer.RegisterVM"

// mayUnlock refuses before anything is tried.
func (l *link) mayUnlock(ctx context.Context, v *lockedView) error {
	if l.config.Mode == session.Observe {
		return &failure{Code: exitRefused, Err: errors.New("mode observe unlocks no machines"), Hint: "set mode: register; or only look: --dry-run"}
	}
	if len(v.Locked) == 0 {
		return nil
	}
	s, err := l.vCenter(ctx)
	if err != nil {
		return err
	}
	missing, err := s.Missing(ctx, session.Register)
	if err == nil && slices.Contains(missing, unlockPrivilege) {
		err = &failure{Code: exitRefused, Err: fmt.Errorf("unlocking needs the privilege %s, which %s does not have", unlockPrivilege, l.config.VCenter.User),
			Hint: "keyreeve-agent roles --mode register prints the role"}
	}
	return err
}

// unlockAll unlocks what can be, with a line for each, and looks again.
func (l *link) unlockAll(ctx context.Context, v *lockedView) error {
	ready := recovery.Ready(v.Locked)
	if len(ready) == 0 {
		return nil
	}
	s, err := l.vCenter(ctx)
	if err != nil {
		return err
	}
	m, err := l.watcher(ctx)
	if err != nil {
		return err
	}
	done := 0
	u := recovery.Unlocker{
		Client:  s.Client(),
		Healthy: func(ctx context.Context) error { return l.green(ctx, m, v.facts.ProvidersOf(ready)) },
		Report: func(r recovery.Result) {
			done++
			what := "unlocked"
			if r.Err != nil {
				what = "FAILED: " + r.Err.Error()
				v.Failed = append(v.Failed, failedView{r.Machine.Label(), r.Err.Error()})
			} else {
				v.Unlocked = append(v.Unlocked, r.Machine.Label())
			}
			_, _ = fmt.Fprintf(l.app.err, "%d of %d: %s: %s\n", done, len(ready), program.Printable(r.Machine.Label()), program.Printable(what))
		},
	}
	_, v.stopped = u.Unlock(ctx, ready)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.look(ctx, v)
}

// green looks whether key providers work.
func (l *link) green(ctx context.Context, m *provider.Manager, names []string) error {
	for _, name := range names {
		o, err := m.Look(ctx, name)
		switch {
		case err != nil:
			return err
		case o == nil:
			return fmt.Errorf("vCenter has no key provider %q", name)
		}
		if why := o.Reasons(l.app.now()); len(why) > 0 {
			return fmt.Errorf("the key provider %q is not connected: %s", name, strings.Join(why, "; "))
		}
	}
	return nil
}

func (v *lockedView) table(w io.Writer) {
	if v.backup != nil {
		_, _ = fmt.Fprintf(w, "backup: %s, of vCenter %s, %s\n", program.Printable(v.Backup), program.Printable(v.backup.VCenter), program.Date(v.backup.Time))
	}
	_, _ = fmt.Fprintf(w, "unlocked: %d, failed: %d, still locked: %d\n", len(v.Unlocked), len(v.Failed), len(v.Locked))
	if len(v.Locked) > 0 {
		_, _ = fmt.Fprintln(w)
		program.Line(w, "LOCKED MACHINE", "KEYS THAT IT NAMES", "KNOWN FROM", "IN THE WAY")
	}
	for i := range v.Locked {
		lockedLines(w, &v.Locked[i])
	}
	for _, f := range v.Failed {
		_, _ = fmt.Fprintf(w, "FAILED: %s: %s\n", program.Printable(f.Machine), program.Printable(f.Why))
	}
	if len(v.Next) > 0 {
		_, _ = fmt.Fprintln(w, "\nwhat is left to do:")
	}
	for _, line := range v.Next {
		_, _ = fmt.Fprintf(w, "  %s\n", program.Printable(line))
	}
}

// lockedLines prints a machine: a line for each problem, and the command below.
func lockedLines(w io.Writer, m *recovery.Machine) {
	var keys []string
	for _, k := range m.Keys {
		keys = append(keys, program.Dash(k.Provider)+"/"+k.ID)
	}
	source := string(m.Source)
	if m.Source == recovery.FromBackup {
		source += " (" + program.Date(m.Seen) + ")"
	}
	first, second, third := m.Label(), program.Dash(strings.Join(keys, ", ")), program.Dash(source)
	if m.Ready() {
		program.Line(w, first, second, third, "nothing: it can be unlocked")
	}
	for _, p := range m.Problems {
		program.Line(w, first, second, third, p.Text)
		first, second, third = "", "", ""
		if p.Command != "" {
			program.Line(w, "", "", "", "do: "+p.Command)
		}
	}
}

// verdict is the exit code, as an error.
func (v *lockedView) verdict() error {
	ready := len(recovery.Ready(v.Locked))
	blocked := len(v.Locked) - ready
	switch {
	case v.stopped != nil:
		return fmt.Errorf("unlocking ended early, %d machines are locked: %w", len(v.Locked), v.stopped)
	case len(v.Failed) > 0:
		return &failure{Code: exitOther, Err: fmt.Errorf("machines that could not be unlocked: %d", len(v.Failed)), Hint: "vCenter's events of the machine say more"}
	case ready > 0:
		return &failure{Code: exitDrift, Err: fmt.Errorf("machines that can be unlocked: %d; that cannot: %d", ready, blocked)}
	case blocked > 0:
		return &failure{Code: exitBlocked, Err: fmt.Errorf("machines that stay locked until somebody acts: %d", blocked)}
	}
	return nil
}
