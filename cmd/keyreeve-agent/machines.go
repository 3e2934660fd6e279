package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// judgeMachines compares the vCenter with the policy, and changes nothing.
func (l *link) judgeMachines(ctx context.Context) (*policy.Plan, error) {
	e, err := l.looking()
	if err != nil {
		return nil, err
	}
	return e.Plan(ctx)
}

// facts are what else is known. What cannot be found out is left as it is: the
// zero value lets nothing be done.
func (l *link) facts(ctx context.Context, s *inventory.Snapshot) (f policy.Facts, err error) {
	server, err := l.keyServer()
	if err != nil {
		return f, err
	}
	status, err := server.Status(ctx)
	if err != nil {
		return f, err
	}
	keys, err := l.keys(ctx)
	if err != nil {
		return f, err
	}
	f = policy.Facts{
		Now: l.app.now(), Keys: make(map[string]policy.KeyFact, len(keys)), Providers: l.providers(s), Ready: status.Problem,
		Server: l.serverMachines(ctx, status.MachineUUID), VCenter: []policy.Machine{{Name: "vCenter", Addresses: l.resolve(ctx, hostOf(l.config.VCenter.URL))}},
		Backup: backupOf(status.Backup),
	}
	for _, k := range keys {
		f.Keys[k.UniqueIdentifier] = policy.KeyFact{State: k.State, Made: k.InitialDate, BackedUp: k.BackedUp}
	}
	f.Paused = program.Printable(l.config.policy.Paused())
	if f.Missing, err = l.missing(ctx); err != nil {
		return f, err
	}
	f.Another, err = l.another(ctx)
	return f, err
}

// serverMachines is the key server's machine, by what can be known of it.
func (l *link) serverMachines(ctx context.Context, uuid string) []policy.Machine {
	m := policy.Machine{Name: "the key server", Addresses: l.resolve(ctx, hostOf(l.config.Server.KMIP)), BIOS: uuid}
	if o := l.config.OVHcloud; o != nil && !slices.Contains(m.Addresses, o.Address) {
		m.Addresses = append(m.Addresses, o.Address)
	}
	return []policy.Machine{m}
}

// hostOf takes the host out of https://HOST:PORT/PATH or HOST:PORT.
func hostOf(text string) string {
	text = strings.TrimPrefix(text, "https://")
	text, _, _ = strings.Cut(text, "/")
	if host, _, err := net.SplitHostPort(text); err == nil {
		return host
	}
	return strings.Trim(text, "[]")
}

// resolve returns all addresses of a host. A name that does not resolve is
// none: then the machine is not found, and nothing is encrypted.
func (l *link) resolve(ctx context.Context, host string) []string {
	if net.ParseIP(host) != nil {
		return []string{host}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	list, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		l.logger.Warn("a name that keys depend on does not resolve", "host", host, "err", err)
	}
	return list
}

// missing names the privileges that each operation lacks. Without the mode
// enforce nothing is done to machines, whatever the account may.
func (l *link) missing(ctx context.Context) (map[policy.Op][]string, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	lacking, err := s.Missing(ctx, session.Enforce)
	if err != nil {
		return nil, err
	}
	out := map[policy.Op][]string{}
	for _, id := range lacking {
		switch {
		case l.config.optional(id):
			continue
		case id == "VirtualMachine.Config.Settings":
			out[policy.VMotionOp] = append(out[policy.VMotionOp], id)
		}
		for _, op := range []policy.Op{policy.EncryptOp, policy.ShallowOp, policy.DeepOp} {
			out[op] = append(out[op], id)
		}
	}
	return out, nil
}

// optional tells of a privilege that it is of no use: only a policy that lets
// machines be shut down stops and starts any.
func (c *config) optional(id string) bool {
	return strings.HasPrefix(id, "VirtualMachine.Interact.") && (c.policy == nil || !c.policy.ShutDown)
}

// addMachines adds what the policy wants to a plan.
func (p *plan) addMachines(m *policy.Plan) {
	p.Machines = m
	for _, a := range m.Actions {
		p.add("machine", isChange, fmt.Sprintf("%s %s: %s", a.Op, a.Path, a.Why))
	}
	for _, h := range m.Held {
		kind := isWaiting
		switch {
		case h.Blocked:
			kind = isBlocked
		case len(h.Because) == 1 && h.Because[0].Reason == policy.Limit:
			kind = isChange // by the next run
		}
		for i, b := range h.Because {
			p.tell("machine", kind, fmt.Sprintf("%s %s: %s", h.Op, h.Path, b), i == 0)
		}
	}
	for _, alarm := range m.Alarms {
		p.add("machine", isAlarm, alarm.Path+": "+alarm.Because.String())
	}
	for _, why := range m.Partial {
		p.add("machine", isWarning, "not all was seen: "+why)
	}
}

func (a *app) reportCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "report", Short: "print how far each machine is from the policy", Args: noArgs,
		Long: `Prints each machine of which the policy wants something that is not so, what is to
be done, what is in the way, and what is wrong. As HTML it is one page that needs
nothing else. It changes nothing, and ends with 0 whatever it found: plan judges.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := map[string]func(*policy.Plan) error{
				"table": func(p *policy.Plan) error { return p.WriteTable(a.out) },
				"json":  func(p *policy.Plan) error { return p.WriteJSON(a.out) },
				"html":  func(p *policy.Plan) error { return p.WriteHTML(a.out) },
			}[o.output]
			if write == nil {
				return usage(cmd, "unknown output %q: want table, json or html", o.output)
			}
			l, err := a.connect(o)
			if err != nil {
				return err
			}
			defer l.close()
			if l.config.policy == nil {
				return fmt.Errorf("%w: policy: missing: the settings do not say which machines are to be encrypted", errConfig)
			}
			p, err := l.judgeMachines(cmd.Context())
			if err != nil {
				return err
			}
			return write(p)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table, json or html")
	return cmd
}

// backupOf is what counts of the server's backups: one that was verified.
func backupOf(b admin.BackupStatus) policy.Backup {
	return policy.Backup{Verified: b.Last != nil, Problem: b.Problem}
}
