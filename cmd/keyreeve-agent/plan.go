package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// What a line of a plan is.
const (
	isChange  = "change"
	isWaiting = "waiting" // for a window, a task, a canary: nobody has to do anything
	isBlocked = "blocked" // for a person
	isAlarm   = "alarm"
	isWarning = "warning"
)

// A planLine is one thing to do, or one that cannot be done now.
type planLine struct {
	Area string `json:"area"` // agent, ovhcloud, provider, certificate, backup or machine
	Kind string `json:"kind"` // change, waiting, blocked, alarm or warning
	What string `json:"what"`
}

// A plan is what plan prints. Nothing in it was done.
type plan struct {
	InSync  bool       `json:"in_sync"`
	Changes int        `json:"changes"`
	Blocked int        `json:"blocked"`
	Waiting int        `json:"waiting"`
	Alarms  int        `json:"alarms"`
	Lines   []planLine `json:"lines"`

	Machines *policy.Plan `json:"machines,omitempty"` // what is behind its lines
}

func (p *plan) add(area, kind, what string) { p.tell(area, kind, what, true) }

// tell adds a line, which counts unless it only says more about the one before.
func (p *plan) tell(area, kind, what string, counts bool) {
	p.Lines = append(p.Lines, planLine{area, kind, what})
	if n := map[string]*int{isChange: &p.Changes, isWaiting: &p.Waiting, isBlocked: &p.Blocked, isAlarm: &p.Alarms}[kind]; n != nil && counts {
		*n++
	}
	p.InSync = p.Changes+p.Waiting+p.Blocked+p.Alarms == 0
}

// summary is the plan in one line.
func (p *plan) summary() string {
	return fmt.Sprintf("%d to change, %d waiting, %d blocked, %d alarms", p.Changes, p.Waiting, p.Blocked, p.Alarms)
}

func (p *plan) table(w io.Writer) {
	program.Line(w, "AREA", "KIND", "WHAT")
	for _, l := range p.Lines {
		program.Line(w, l.Area, l.Kind, l.What)
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", p.summary())
}

// verdict is the exit code of a plan, as an error.
func (p *plan) verdict() error {
	switch {
	case p.Changes > 0:
		return &failure{Code: exitDrift, Err: errors.New("not in sync: " + p.summary())}
	case !p.InSync:
		return &failure{Code: exitBlocked, Err: errors.New("nothing can be done now: " + p.summary())}
	}
	return nil
}

const planHelp = `Compares what is with what the settings say, and prints what apply would change and
why. Nothing is changed.

Exit codes: 0 in sync; 2 there is something to change; 3 all that is left waits, is
blocked, or is an alarm; 1 the comparison failed.`

func (a *app) planCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "plan", Short: "print what apply would change, and why", Long: planHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.plan(cmd, o) },
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) plan(cmd *cobra.Command, o *options) error {
	return a.with(cmd, o, func(ctx context.Context, l *link) error {
		p, err := l.plan(ctx, nil)
		if err != nil {
			return err
		}
		if err := a.show(o, p, func(w io.Writer) { p.table(w) }); err != nil {
			return err
		}
		return p.verdict()
	})
}

// dry prints what one part would change.
func (a *app) dry(ctx context.Context, compare func(context.Context, *plan) error) error {
	p := &plan{InSync: true, Lines: []planLine{}}
	if err := compare(ctx, p); err != nil {
		return err
	}
	if err := a.show(&options{}, p, func(w io.Writer) { p.table(w) }); err != nil {
		return err
	}
	return p.verdict()
}

// dryFlag is of commands that change something.
func dryFlag(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVar(dry, "dry-run", false, "say what would be done, and change nothing")
}

// plan compares all that the settings are about. machines is how they are, where
// that is known already.
func (l *link) plan(ctx context.Context, machines *policy.Plan) (_ *plan, err error) {
	p := &plan{InSync: true, Lines: []planLine{}}
	if err := l.planClaim(ctx, p); err != nil {
		return nil, err
	}
	if l.config.OVHcloud != nil {
		if err := l.planOVH(ctx, p); err != nil {
			return nil, err
		}
	}
	if l.config.hasProviders() {
		if err := l.planProviders(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := l.planCertificate(ctx, p); err != nil {
		return nil, err
	}
	if l.config.policy != nil && machines == nil {
		if machines, err = l.judgeMachines(ctx); err != nil {
			return nil, err
		}
	}
	if err := l.planBackup(ctx, p); err != nil {
		return nil, err
	}
	if machines != nil {
		p.addMachines(machines)
	}
	return p, nil
}

func (l *link) planOVH(ctx context.Context, p *plan) error {
	const area = "ovhcloud"
	d, err := l.desired(ctx)
	if err != nil {
		return err
	}
	state, err := l.atOVH(ctx)
	if err != nil {
		return err
	}
	diff, err := ovhcloud.Diff(state, d)
	if err != nil {
		return err
	}
	for _, w := range diff.Warnings {
		p.add(area, isWarning, w)
	}
	for _, s := range diff.Steps {
		p.add(area, isChange, s.String())
	}
	if diff.Blocked != "" {
		p.add(area, isBlocked, diff.Blocked)
	}
	if l.config.VCenter == nil {
		return nil
	}
	return l.planRight(ctx, p)
}

// planRight names what all about key providers in vCenter needs before.
func (l *link) planRight(ctx context.Context, p *plan) error {
	service, err := l.service(ctx)
	if err != nil {
		return err
	}
	err = service.EncryptionRight(ctx, l.config.VCenter.User)
	switch {
	case errors.Is(err, ovhcloud.ErrNoEncryptionRight):
		p.add("ovhcloud", isBlocked, err.Error())
	case errors.Is(err, ovhcloud.ErrRightUnknown):
		p.add("ovhcloud", isWarning, err.Error())
	default:
		return err
	}
	return nil
}

func (a *app) applyCommand(o *options) *cobra.Command {
	dry, over := false, false
	w := word{}
	cmd := &cobra.Command{
		Use: "apply", Short: "change what differs from the settings: at OVHcloud, in vCenter's key providers, at machines", Args: noArgs,
		Long: `Does what plan prints, in this order: OVHcloud, whose firewall stands before all else;
vCenter's key providers and the trust of both sides; the key server's certificate, when it ends
soon (mode register and enforce); a verified backup of the key server, if there is none, and the machines (mode enforce), first as many as
limits.canary says, then the others, up to limits.changes. Run again, it changes nothing;
broken off, the next run goes on. Every step at a machine is in the ledger of the state folder.

A selection of machines that changed more than limits.jump since the last run is done only
when a person confirms it: plan prints its digest. While another agent is active at the
vCenter nothing is changed (exit code 7).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dry {
				return a.plan(cmd, o)
			}
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				l.over = over
				return l.alone(func(ctx context.Context) error { return a.apply(ctx, o, l, w) })(ctx)
			})
		},
	}
	cmd.Flags().BoolVar(&over, "take-over", false, "change things though another agent is active at the vCenter: it is dead, or you have ended it")
	dryFlag(cmd, &dry)
	w.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

// flags are those of a command that changes machines.
func (w *word) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.confirm, "confirm", "", "the digest of a selection that changed more than it may")
	cmd.Flags().IntVar(&w.changes, "changes", 0, "machines that this run may change (default: limits.changes of the policy)")
}

// apply does it, and looks again: what is printed at the end is what is.
func (a *app) apply(ctx context.Context, o *options, l *link, w word) error {
	opened, err := l.openState()
	if err != nil {
		return err
	}
	defer l.closeState(opened)
	if err := a.applyTrust(ctx, l); err != nil {
		return err
	}
	machines, failed := l.changeMachines(ctx, w)
	if machines != nil && len(machines.Actions) > 0 {
		machines = nil // it was broken off: that is how they were
	}
	p, err := l.plan(ctx, machines)
	if err != nil {
		return errors.Join(failed, err)
	}
	if err := a.show(o, p, func(w io.Writer) { p.table(w) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return p.verdict()
}

// applyTrust brings OVHcloud and the key providers up to date.
func (a *app) applyTrust(ctx context.Context, l *link) error {
	if l.config.OVHcloud != nil && l.config.Mode != session.Observe {
		changed, err := l.registerAtOVH(ctx)
		for _, step := range changed {
			l.say("done: ovhcloud: %s", step)
		}
		if err != nil && !errors.Is(err, ovhcloud.ErrBlocked) {
			return err
		}
	}
	if !l.config.hasProviders() || l.config.Mode == session.Observe {
		return nil
	}
	changed, err := l.trustProviders(ctx, false)
	for _, step := range changed {
		l.say("done: provider: %s", program.Printable(step.String()))
	}
	if err != nil && !errors.Is(err, provider.ErrBlocked) {
		return err
	}
	if len(changed) > 0 && err == nil {
		if err := l.proveTrust(ctx); err != nil {
			return err
		}
	}
	return l.renewIfDue(ctx)
}
