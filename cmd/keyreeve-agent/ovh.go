package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

func (a *app) ovhCommand(o *options) *cobra.Command {
	return noun("ovh", "the key server's entry at OVHcloud", a.ovhListCommand(o), a.ovhRegisterCommand(o), a.ovhUnregisterCommand(o))
}

// An ovhState is what ovh list prints.
type ovhState struct {
	Service string     `json:"service"`
	Option  string     `json:"option"`
	Entries []ovhEntry `json:"entries"`
}

type ovhEntry struct {
	ID          int64  `json:"id"`
	Address     string `json:"address"`
	Port        int    `json:"port"`
	Thumbprint  string `json:"thumbprint"`
	Description string `json:"description,omitempty"`
	State       string `json:"state"`
}

func (a *app) ovhListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list the key servers that OVHcloud lets through", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				state, err := l.atOVH(ctx)
				if err != nil {
					return err
				}
				s := ovhStateOf(state)
				return a.show(o, s, func(w io.Writer) { s.table(w) })
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

func ovhStateOf(state ovhcloud.State) ovhState {
	s := ovhState{Service: state.Service, Option: state.Option, Entries: []ovhEntry{}}
	for _, e := range state.Entries {
		s.Entries = append(s.Entries, ovhEntry{e.ID, e.IP.String(), e.Port, e.Thumbprint, e.Description, e.State})
	}
	return s
}

func (s ovhState) table(w io.Writer) {
	_, _ = fmt.Fprintf(w, "service %s, VM encryption %s\n\n", program.Printable(s.Service), program.Printable(s.Option))
	program.Line(w, "ID", "ADDRESS", "PORT", "STATE", "THUMBPRINT", "DESCRIPTION")
	for _, e := range s.Entries {
		program.Line(w, strconv.FormatInt(e.ID, 10), e.Address, strconv.Itoa(e.Port), e.State, e.Thumbprint, program.Dash(e.Description))
	}
}

// with runs a command that is connected.
func (a *app) with(cmd *cobra.Command, o *options, do func(context.Context, *link) error) error {
	if cmd.Flags().Lookup("output") != nil {
		if err := o.checkOutput(cmd); err != nil {
			return err
		}
	}
	l, err := a.connect(o)
	if err != nil {
		return err
	}
	defer l.close()
	return do(cmd.Context(), l)
}

// atOVH is what OVHcloud has.
func (l *link) atOVH(ctx context.Context) (state ovhcloud.State, err error) {
	service, err := l.service(ctx)
	if err != nil {
		return state, err
	}
	return service.Observe(ctx)
}

// desired is how OVHcloud's entry is to be: with the thumbprint of the
// certificate that the server shows at this moment.
func (l *link) desired(ctx context.Context) (d ovhcloud.Desired, err error) {
	c := l.config.OVHcloud
	leaf, err := l.certificate(ctx)
	if err != nil {
		return d, err
	}
	return ovhcloud.Desired{Address: c.Address, Thumbprint: certs.SHA1(leaf), Description: c.Description, Replaces: c.Replaces}, nil
}

func (a *app) ovhRegisterCommand(o *options) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use: "register", Short: "have OVHcloud let vCenter through to the key server", Args: noArgs,
		Long: `Registers the key server's address and the thumbprint of its certificate, or
brings an entry that is there already up to date, and follows OVHcloud's task to
its end. Run again it changes nothing. What was begun and broken off is waited
for. Do this before the key provider is added to vCenter: it opens the firewall.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				if dry {
					return a.dry(ctx, l.planOVH)
				}
				changed, err := l.registerAtOVH(ctx)
				for _, step := range changed {
					a.print("done: %s\n", step)
				}
				if err == nil && len(changed) == 0 {
					a.print("OVHcloud has it already\n")
				}
				return err
			})
		},
	}
	dryFlag(cmd, &dry)
	return cmd
}

// mayChange refuses in mode observe.
func (l *link) mayChange(what string) error {
	if l.config.Mode == session.Observe {
		return &failure{Code: exitRefused, Err: fmt.Errorf("mode observe changes no %s", what), Hint: "set mode: register"}
	}
	return nil
}

func (l *link) registerAtOVH(ctx context.Context) ([]ovhcloud.Step, error) {
	if err := l.mayChange("entries at OVHcloud"); err != nil {
		return nil, err
	}
	service, err := l.service(ctx)
	if err != nil {
		return nil, err
	}
	d, err := l.desired(ctx)
	if err != nil {
		return nil, err
	}
	return service.Reconcile(ctx, d, l.app.ovhProgress())
}

// ovhProgress tells how far a task of OVHcloud's is, once for each step of it.
func (a *app) ovhProgress() func(ovhcloud.Progress) {
	last := ""
	return func(p ovhcloud.Progress) {
		text := fmt.Sprintf("%s: %s, %d %%", p.Step.Kind, program.Printable(p.State), p.Percent)
		if p.Slow {
			text += "; people of OVHcloud's are on it"
		}
		if text != last {
			_, _ = fmt.Fprintln(a.err, text)
		}
		last = text
	}
}

func (a *app) ovhUnregisterCommand(o *options) *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use: "unregister ADDRESS", Short: "have OVHcloud close its firewall to a key server", Args: cobra.ArbitraryArgs,
		Long: `Removes the entries of an address. A vCenter behind it then reaches no key server
at that address: machines and hosts that start there get no keys.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "want one ADDRESS")
			}
			if !yes && !dry {
				if err := a.confirm(cmd, fmt.Sprintf("Close OVHcloud's firewall to %s? Machines that start after that get no keys from it.\n", args[0])); err != nil {
					return err
				}
			}
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				service, err := l.service(ctx)
				if err != nil {
					return err
				}
				if dry {
					return a.dryUnregister(ctx, service, args[0])
				}
				if err := l.mayChange("entries at OVHcloud"); err != nil {
					return err
				}
				removed, err := service.Unregister(ctx, args[0], l.app.ovhProgress())
				for _, e := range removed {
					a.print("removed: entry %d (%s)\n", e.ID, e.IP)
				}
				if err == nil && len(removed) == 0 {
					a.print("there is no entry of %s\n", args[0])
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	dryFlag(cmd, &dry)
	return cmd
}

// dryUnregister says which entries would go.
func (a *app) dryUnregister(ctx context.Context, service *ovhcloud.Service, address string) error {
	state, err := service.Observe(ctx)
	if err != nil {
		return err
	}
	for _, e := range state.Entries {
		if e.IP.String() == address {
			a.print("would be removed: entry %d (%s)\n", e.ID, e.IP)
		}
	}
	return nil
}

func (a *app) confirm(cmd *cobra.Command, question string) error {
	return commands.Confirm(cmd, question)
}
