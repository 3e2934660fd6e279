package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/program"
)

// A statusView is what status prints: each side in one line, and how far all of
// it is from the settings.
type statusView struct {
	Sides   []finding `json:"sides"`
	Summary string    `json:"summary"` // of the plan
	InSync  bool      `json:"in_sync"`
}

func (a *app) statusCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "how everything is: key server, OVHcloud, vCenter, machines", Args: noArgs,
		Long: `Asks everybody who has a part in it, prints one line for each, and how far all of it
is from the settings. It changes nothing. plan says what would be changed, report
tells of each machine, doctor checks what the agent needs.

Exit codes are those of plan: 0 in sync; 2 there is something to change; 3 all that is
left waits, is blocked, or is an alarm; 1 a side does not answer or is not well.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.status(ctx, o, l) })
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func (a *app) status(ctx context.Context, o *options, l *link) error {
	v := statusView{}
	failed := 0
	for _, c := range l.sides() {
		f := c.find(ctx)
		if !f.OK {
			failed++
		}
		v.Sides = append(v.Sides, f)
	}
	p, err := l.plan(ctx, nil)
	if err != nil {
		v.Summary = "not compared: " + err.Error()
	} else {
		v.Summary, v.InSync = p.summary(), p.InSync
	}
	show := a.show(o, v, func(w io.Writer) {
		findings(w, v.Sides)
		_, _ = fmt.Fprintf(w, "\n%s\n", program.Printable(v.Summary))
	})
	switch {
	case show != nil:
		return show
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("not well: %d of %d", failed, len(v.Sides))
	}
	return p.verdict()
}

// sides are those that the settings are about.
func (l *link) sides() []check {
	list := []check{{"key server", l.sideServer}, {"certificate", l.checkCertificate}}
	if l.config.OVHcloud != nil {
		list = append(list, check{"OVHcloud", l.sideOVH})
	}
	if l.config.VCenter != nil {
		list = append(list, check{"vCenter", l.checkVCenter}, check{"active agent", l.sideAgent})
	}
	if len(l.config.Providers) > 0 {
		list = append(list, check{"key providers", l.sideProviders})
	}
	if l.config.policy != nil {
		list = append(list, check{"machines", l.sideMachines})
	}
	return list
}

func (l *link) sideServer(ctx context.Context) (string, error) {
	found, err := l.checkServer(ctx)
	if err != nil {
		return "", err
	}
	status, err := l.server.Status(ctx)
	if err != nil {
		return "", err
	}
	backup := "no verified backup"
	if b := status.Backup.Last; b != nil {
		backup = "last verified backup " + program.Date(b.Created)
	}
	if p := status.Backup.Problem; p != "" {
		return "", fmt.Errorf("%s, keys: %d; %s", found, status.Objects, p)
	}
	return fmt.Sprintf("%s, keys: %d, %s", found, status.Objects, backup), nil
}

// sideOVH is OVHcloud's entry of our server.
func (l *link) sideOVH(ctx context.Context) (string, error) {
	state, err := l.atOVH(ctx)
	if err != nil {
		return "", err
	}
	for _, e := range state.Entries {
		if e.IP.String() == l.config.OVHcloud.Address {
			return fmt.Sprintf("service %s, VM encryption %s, %s %s", state.Service, state.Option, e.IP, e.State), nil
		}
	}
	return "", fmt.Errorf("service %s, VM encryption %s, no entry of %s", state.Service, state.Option, l.config.OVHcloud.Address)
}

func (l *link) sideAgent(ctx context.Context) (string, error) {
	other, err := l.another(ctx)
	if err != nil {
		return "", err
	}
	if other == "" {
		return "no other one", nil
	}
	return other, nil
}

// sideProviders are the key providers of the settings.
func (l *link) sideProviders(ctx context.Context) (string, error) {
	m, err := l.watcher(ctx)
	if err != nil {
		return "", err
	}
	var well []string
	for _, p := range l.config.Providers {
		seen, err := m.Look(ctx, p.Name)
		if err != nil {
			return "", err
		}
		if seen == nil {
			return "", fmt.Errorf("vCenter has no key provider %s", p.Name)
		}
		if reasons := seen.Reasons(l.app.now()); len(reasons) > 0 {
			return "", fmt.Errorf("%s: %s", p.Name, strings.Join(reasons, "; "))
		}
		well = append(well, p.Name+" "+seen.Overall)
	}
	return strings.Join(well, ", "), nil
}

func (l *link) sideMachines(ctx context.Context) (string, error) {
	p, err := l.judgeMachines(ctx)
	if err != nil {
		return "", err
	}
	return p.Summary(), nil
}
