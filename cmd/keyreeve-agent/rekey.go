package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// A rekey is what the command line asks for: exactly one of the ways to say
// which machines.
type rekey struct {
	word
	machines       []string
	all, goOn, dry bool
	olderThan      string
	deep           bool
}

func (a *app) rekeyCommand(o *options) *cobra.Command {
	r := rekey{word: word{only: true}}
	cmd := &cobra.Command{
		Use: "rekey [MACHINE...]", Short: "exchange the keys of machines, whatever their age",
		Long: `Gives machines other keys, home and disks: all of them, those whose keys are older
than that by the key server, or those that are named, by path, name, UUID or a glob
such as '/DC0/vm/finance/*'. Shallow, by default: another key for the keys that the data
is encrypted with, also while the machine runs. Deep writes the data anew, with the
machine off. The policy's guards, limits and windows hold.

What was asked for is kept, and gone on with by --continue and by every apply and run,
after a limit or a kill; no machine is done twice. Old keys are never destroyed here:
a backup of a machine may need them (keyreeve-agent inventory lists them as unused).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.machines = args
			if err := r.check(cmd); err != nil {
				return err
			}
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.rekey(ctx, o, l, r) })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&r.all, "all", false, "all encrypted machines")
	f.StringVar(&r.olderThan, "older-than", "", "those with a key that is older, as 180d or 12h")
	f.BoolVar(&r.goOn, "continue", false, "go on with what was asked for before")
	f.BoolVar(&r.deep, "deep", false, "write the data anew; the machine has to be off")
	dryFlag(cmd, &r.dry)
	r.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

func (r *rekey) check(cmd *cobra.Command) error {
	ways := 0
	for _, way := range []bool{len(r.machines) > 0, r.all, r.olderThan != "", r.goOn} {
		if way {
			ways++
		}
	}
	if ways != 1 {
		return usage(cmd, "which machines? name them, or give one of --all, --older-than and --continue")
	}
	if r.goOn && r.deep {
		return usage(cmd, "--deep was said, or not, when --continue's machines were asked for")
	}
	if r.olderThan != "" {
		if _, err := policy.ParseDuration(r.olderThan); err != nil {
			return usage(cmd, "--older-than: %v", err)
		}
	}
	return nil
}

func (a *app) rekey(ctx context.Context, o *options, l *link, r rekey) error {
	if l.config.policy == nil {
		return fmt.Errorf("%w: policy: missing: its guards and limits hold for rekey too", errConfig)
	}
	if r.dry {
		return a.showRekey(ctx, o, l, r)
	}
	if l.config.Mode != session.Enforce {
		return &failure{Code: exitRefused, Err: fmt.Errorf("mode %s changes no machines", l.config.Mode), Hint: "set mode: enforce"}
	}
	r.demand = r.demanded
	return l.alone(func(ctx context.Context) error { return a.rekeyMachines(ctx, o, l, r.word) })(ctx)
}

func (a *app) rekeyMachines(ctx context.Context, o *options, l *link, w word) error {
	p, err := l.changeMachines(ctx, w)
	if err != nil || p == nil {
		return err
	}
	return a.tellRekey(o, p)
}

// tellRekey says what is left of it, and why.
func (a *app) tellRekey(o *options, p *policy.Plan) error {
	if o.output == "json" {
		return p.WriteJSON(a.out)
	}
	left := len(p.Actions) + len(p.Held)
	if left == 0 {
		a.print("nothing is left to be done\n")
		return nil
	}
	if err := p.WriteTable(a.out); err != nil {
		return err
	}
	a.print("machines whose keys are still to be exchanged: %d; keyreeve-agent rekey --continue goes on\n", left)
	return &failure{Code: exitBlocked, Err: fmt.Errorf("machines whose keys are still to be exchanged: %d", left)}
}

// showRekey prints what would be done.
func (a *app) showRekey(ctx context.Context, o *options, l *link, r rekey) error {
	e, err := l.looking()
	if err != nil {
		return err
	}
	e.demand = r.demanded
	e.Confirm, e.Changes, e.Only = r.confirm, r.changes, true
	p, err := e.Plan(ctx)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return p.WriteJSON(a.out)
	}
	return p.WriteTable(a.out)
}

// demanded is what is asked for, of a vCenter as it is now.
func (r *rekey) demanded(s *inventory.Snapshot, f policy.Facts) (*policy.Demand, error) {
	if r.goOn {
		return nil, nil
	}
	wanted := func(v *inventory.VM) bool { return r.all }
	if len(r.machines) > 0 {
		for _, name := range r.machines {
			if !slices.ContainsFunc(s.VMs, func(v inventory.VM) bool { return v.Encrypted() && is(&v, name) }) {
				return nil, &failure{Code: exitUsage, Err: fmt.Errorf("no encrypted machine is %s", name), Hint: "keyreeve-agent inventory lists machines and keys"}
			}
		}
		wanted = func(v *inventory.VM) bool {
			return slices.ContainsFunc(r.machines, func(name string) bool { return is(v, name) })
		}
	}
	if r.olderThan != "" {
		age, err := policy.ParseDuration(r.olderThan)
		if err != nil {
			return nil, err
		}
		wanted = func(v *inventory.VM) bool { return older(v, f, age) }
	}
	return policy.NewDemand(s, r.deep, wanted), nil
}

// is tells whether a machine is the one that somebody names.
func is(v *inventory.VM, name string) bool {
	if slices.Contains([]string{v.Path, v.Name, v.BIOS, v.Instance}, name) {
		return true
	}
	fits, err := path.Match(name, v.Path)
	return err == nil && fits
}

// older tells whether a key of the machine's that can be exchanged was made longer
// ago, by the key server: vSphere keeps no dates.
func older(v *inventory.VM, f policy.Facts, age time.Duration) bool {
	return slices.ContainsFunc(policy.OwnKeys(v), func(k inventory.Key) bool {
		fact, known := f.Keys[k.ID]
		return known && f.Now.Sub(fact.Made) > age
	})
}
