package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/recovery"
)

func (a *app) recoverCommand(o *options) *cobra.Command {
	from, dry := "", false
	cmd := &cobra.Command{
		Use: "recover", Short: "after a vCenter was lost: give the new one its key providers, and unlock its machines", Args: noArgs,
		Long: `For a new vCenter with the hosts and the encrypted machines of one that was lost. The
machines are locked, because they name a key provider that the new vCenter does not
have. This makes the key providers of the settings, which must have the names that
the machines name, has both sides trust each other (vCenter gets a new certificate
under the old client record, in the group of before), waits until they are
connected, tells which keys are not to be had and what brings them back, and unlocks
the machines. It can be run again at any time, and goes on where it was.

What the lost vCenter had is read from --from FILE (keyreeve-agent backup), or from
the last backup that run left in state_dir. Settings that do not fit it, or the
machines, are refused: a key provider under another name unlocks nothing.

Stop the agent's service first: both would make trust at once.

Exit codes: 0 no machine is locked; 3 those that are need a person, as said, or the
settings do not fit; 1 one could not be unlocked; 2 with --dry-run: there is
something to do.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				do := func(ctx context.Context) error { return a.recover(ctx, o, l, from, dry) }
				if !dry {
					do = l.alone(do)
				}
				return do(ctx)
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "a backup of the lost vCenter; by default the last one in state_dir")
	dryFlag(cmd, &dry)
	o.outputFlag(cmd)
	return cmd
}

func (a *app) recover(ctx context.Context, o *options, l *link, from string, dry bool) (err error) {
	if len(l.config.Providers) == 0 {
		return fmt.Errorf("%w: providers: missing: the settings name none, so there is none to make", errConfig)
	}
	if !dry {
		opened, err := l.openState()
		if err != nil {
			return err
		}
		defer l.closeState(opened)
	}
	v, err := l.locked(ctx, from, true)
	if err != nil {
		return err
	}
	want, err := l.config.desiredProviders("")
	if err != nil {
		return err
	}
	l.warnOfBackup(v, want.Providers)
	if err := recovery.Check(v.facts, want.Providers, l.config.addresses()); err != nil {
		return &failure{Code: exitBlocked, Err: err, Hint: "nothing was changed; see name, client and group under providers in the settings; or name the lost vCenter's backup: --from FILE"}
	}
	if dry {
		return a.recoverDry(ctx, o, l, v)
	}
	if err := l.mayUnlock(ctx, v); err != nil {
		return err
	}
	a.tellLost(v)
	if err := a.connectAgain(ctx, l, v); err != nil {
		return err
	}
	if err := l.look(ctx, v); err != nil {
		return err
	}
	if err := l.unlockAll(ctx, v); err != nil {
		return err
	}
	v.Next = l.next(ctx, v)
	if err := a.show(o, v, func(w io.Writer) { v.table(w) }); err != nil {
		return err
	}
	return v.verdict()
}

// warnOfBackup says what of the backup does not come back by itself.
func (l *link) warnOfBackup(v *lockedView, want []provider.Provider) {
	if v.backup == nil {
		l.note("there is no backup of the lost vCenter: what machines name is known from vCenter and the key server alone")
		return
	}
	for _, text := range otherwise(v.backup.Providers, want) {
		l.note("%s", text)
	}
}

func (l *link) note(format string, args ...any) {
	_, _ = fmt.Fprintf(l.app.err, "note: "+format+"\n", args...)
}

// otherwise names the users and proxies that servers had, and that the settings
// do not give them.
func otherwise(had []recovery.Provider, want []provider.Provider) (list []string) {
	for _, p := range had {
		i := slices.IndexFunc(want, func(w provider.Provider) bool { return w.Name == p.Name })
		if i < 0 {
			continue // recovery.Check says what that means
		}
		for _, s := range p.Servers {
			now := provider.Server{}
			if j := slices.IndexFunc(want[i].Servers, func(w provider.Server) bool { return w.Name == s.Name }); j >= 0 {
				now = want[i].Servers[j]
			}
			name := fmt.Sprintf("server %s of key provider %s had ", program.Printable(s.Name), program.Printable(p.Name))
			if s.User != "" && s.User != now.User {
				list = append(list, name+"the user "+program.Printable(s.User)+", which the settings do not give it")
			}
			if s.ProxyAddress != "" && (s.ProxyAddress != now.ProxyAddress || s.ProxyPort != now.ProxyPort) {
				list = append(list, name+"the proxy "+program.Printable(hostPort(s.ProxyAddress, s.ProxyPort))+", which the settings do not give it")
			}
		}
	}
	return list
}

// tellLost says first which keys are not to be had.
func (a *app) tellLost(v *lockedView) {
	for _, m := range v.Locked {
		for _, p := range m.Problems {
			if !p.Lost {
				continue
			}
			_, _ = fmt.Fprintf(a.err, "LOST: %s: %s\n", program.Printable(m.Label()), program.Printable(p.Text))
			if p.Command != "" {
				_, _ = fmt.Fprintf(a.err, "  do: %s\n", p.Command)
			}
		}
	}
}

// connectAgain makes firewall, key providers and trust, and waits until they
// are connected.
func (a *app) connectAgain(ctx context.Context, l *link, v *lockedView) error {
	if l.config.OVHcloud != nil {
		changed, err := l.registerAtOVH(ctx)
		for _, step := range changed {
			_, _ = fmt.Fprintf(a.err, "done: ovhcloud: %s\n", step)
		}
		if err != nil {
			return err
		}
	}
	m, d, err := l.asBefore(ctx, v)
	defer func() { d.Clear() }()
	if err != nil {
		return err
	}
	changed, err := m.Reconcile(ctx, d)
	for _, step := range changed {
		_, _ = fmt.Fprintf(a.err, "done: provider: %s\n", program.Printable(step.String()))
	}
	if err != nil {
		return err
	}
	for _, p := range d.Providers {
		if _, err := m.WaitNormal(ctx, p.Name); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(a.err, "done: key provider %s is connected\n", p.Name)
	}
	return nil
}

// asBefore is what the settings want, with the defaults that the lost vCenter
// had where the settings say nothing of them.
func (l *link) asBefore(ctx context.Context, v *lockedView) (*provider.Manager, provider.Desired, error) {
	m, d, err := l.manager(ctx)
	if err != nil || v.backup == nil {
		return m, d, err
	}
	if was := v.backup.Default(); d.Default == "" && slices.ContainsFunc(d.Providers, func(p provider.Provider) bool { return p.Name == was }) {
		d.Default = was
	}
	was, missing, err := v.backup.Entities(ctx, l.vcenter.Client(), d.Providers)
	if err != nil {
		return m, d, err
	}
	d.EntityDefaults = besides(d.EntityDefaults, was)
	for _, path := range missing {
		l.note("%s had a default key provider of its own, and is not there", program.Printable(path))
	}
	return m, d, nil
}

// besides adds the defaults of before to those of the settings, which hold where
// both say something of a cluster or folder.
func besides(want, was []provider.EntityDefault) []provider.EntityDefault {
	for _, e := range was {
		if !slices.ContainsFunc(want, func(w provider.EntityDefault) bool { return w.Entity == e.Entity }) {
			want = append(want, e)
		}
	}
	return want
}

// recoverDry prints what would be done.
func (a *app) recoverDry(ctx context.Context, o *options, l *link, v *lockedView) error {
	m, d, err := l.asBefore(ctx, v)
	defer func() { d.Clear() }()
	if err != nil {
		return err
	}
	plan, err := m.Plan(ctx, d)
	if err != nil {
		return err
	}
	for _, s := range plan.Steps {
		v.Next = append(v.Next, s.String())
	}
	for _, b := range plan.Blocked {
		v.Next = append(v.Next, "blocked: "+b.Provider+": "+b.Text)
	}
	v.Next = append(v.Next, l.next(ctx, v)...)
	if err := a.show(o, v, func(w io.Writer) { v.table(w) }); err != nil {
		return err
	}
	if len(plan.Steps) > 0 {
		return &failure{Code: exitDrift, Err: fmt.Errorf("steps to connect the key providers: %d; locked machines: %d", len(plan.Steps), len(v.Locked))}
	}
	return v.verdict()
}

// next are the commands of the operator's at the key server: the new vCenter
// has another instance UUID, so that nobody reports on it yet, and the lost one
// goes on holding its keys. An agent's certificate may not ask who reports; then
// the operator fills that in.
func (l *link) next(ctx context.Context, v *lockedView) (list []string) {
	lost := ""
	if v.backup != nil && v.backup.VCenter != v.VCenter {
		lost = v.backup.VCenter
	}
	assigned, err := l.inventories(ctx)
	find := func(vcenter string) *admin.Inventory {
		if i := slices.IndexFunc(assigned, func(a admin.Inventory) bool { return a.VCenter == vcenter }); i >= 0 {
			return &assigned[i]
		}
		return nil
	}
	now, was := find(v.VCenter), find(lost)
	if now == nil {
		agent, groups := "AGENT", slices.Compact(slices.Sorted(maps.Values(v.facts.Groups)))
		if was != nil {
			agent, groups = was.Agent, was.Groups
		}
		list = append(list, fmt.Sprintf("keyreeve inventory assign %s --agent %s --group %s", v.VCenter, agent, strings.Join(groups, " --group ")), "keyreeve-agent inventory report")
	}
	if lost == "" || err == nil && was == nil { // nobody reported on it
		return list
	}
	keys := "N"
	if was != nil {
		keys = strconv.FormatUint(was.Keys, 10)
	}
	return append(list, fmt.Sprintf("keyreeve inventory remove %s --keys %s --reason TEXT", lost, keys),
		"  (that only once a report on the new vCenter was complete, and the lost one was silent for a day)")
}

// inventories are the vCenters that were assigned to agents.
func (l *link) inventories(ctx context.Context) ([]admin.Inventory, error) {
	server, err := l.keyServer()
	if err != nil {
		return nil, err
	}
	return server.Inventories(ctx)
}
