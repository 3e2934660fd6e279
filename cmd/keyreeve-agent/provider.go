package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

// manager is what looks after vCenter's key providers, and what they are to be.
// The passwords in it are the caller's to clear, also with an error.
func (l *link) manager(ctx context.Context) (m *provider.Manager, d provider.Desired, err error) {
	leaf, err := l.certificate(ctx)
	if err != nil {
		return nil, d, err
	}
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, d, err
	}
	m, err = provider.New(provider.Config{
		VIM: s.Client(), KMS: map[string]provider.KMS{"": l.server}, Now: l.app.now, Logger: l.logger, Metrics: l.providerMetrics,
	})
	if err != nil {
		return nil, d, err
	}
	if d, err = l.config.desiredProviders(certs.SHA256(leaf)); err == nil {
		err = l.complete(ctx, m, &d)
	}
	return m, d, err
}

// watcher looks at vCenter's key providers, and changes none.
func (l *link) watcher(ctx context.Context) (*provider.Manager, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	return provider.New(provider.Config{VIM: s.Client(), Now: l.app.now, Logger: l.logger, Metrics: l.providerMetrics})
}

// planProviders adds what vCenter's key providers lack to a plan.
func (l *link) planProviders(ctx context.Context, p *plan) error {
	const area = "provider"
	m, d, err := l.manager(ctx)
	defer func() { d.Clear() }()
	if err != nil {
		return err
	}
	diff, err := m.Plan(ctx, d)
	if err != nil {
		return err
	}
	for _, w := range diff.Warnings {
		p.add(area, isWarning, w.Provider+": "+w.Text)
	}
	for _, s := range diff.Steps {
		p.add(area, isChange, s.String())
	}
	for _, b := range diff.Blocked {
		p.add(area, isBlocked, b.Provider+": "+b.Text)
	}
	return nil
}

// trustProviders brings vCenter's key providers up to date: servers, trust both
// ways, certificates that end soon, the defaults, and what is to go. passwords has
// vCenter take the servers' passwords anew: it does not tell which it has.
func (l *link) trustProviders(ctx context.Context, passwords bool) ([]provider.Step, error) {
	if err := l.mayChange("key providers"); err != nil {
		return nil, err
	}
	m, d, err := l.manager(ctx)
	defer func() { d.Clear() }()
	if err != nil {
		return nil, err
	}
	for _, p := range d.Providers {
		for i := range p.Servers {
			p.Servers[i].SetPassword = passwords && p.Servers[i].User != ""
		}
	}
	return m.Reconcile(ctx, d)
}

func (a *app) providerCommand(o *options) *cobra.Command {
	return noun("provider", "vCenter's key providers", a.providerListCommand(o), a.providerTrustCommand(o))
}

func (a *app) providerListCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "list vCenter's key providers, their servers, trust and status", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				m, err := l.watcher(ctx)
				if err != nil {
					return err
				}
				state, err := m.Observe(ctx, provider.Desired{})
				if err != nil {
					return err
				}
				list := providersOf(state)
				return a.show(o, list, func(w io.Writer) { providerTable(w, list) })
			})
		},
	}
	o.outputFlag(cmd)
	return cmd
}

// A providerView is a key provider as provider list prints it.
type providerView struct {
	Name       string               `json:"name"`
	Default    bool                 `json:"default"`
	DefaultFor []string             `json:"default_for,omitempty"`
	Status     string               `json:"status"`
	Subject    string               `json:"client_certificate_subject,omitempty"`
	Ends       string               `json:"client_certificate_ends,omitempty"`
	Servers    []providerServerView `json:"servers"`
}

type providerServerView struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
	Proxy        string `json:"proxy,omitempty"`
	User         string `json:"user,omitempty"`
	Status       string `json:"status"`
	Connection   string `json:"connection"`
	TrustsServer *bool  `json:"trusts_server,omitempty"`
	TrustsClient *bool  `json:"trusts_client,omitempty"`
}

func providersOf(state provider.State) []providerView {
	list := []providerView{}
	for _, p := range state.Providers {
		v := providerView{Name: p.Name, Default: p.Default, Status: p.Overall, Servers: []providerServerView{}}
		if p.Client != nil {
			v.Subject, v.Ends = p.Client.Subject, program.Date(p.Client.NotAfter)
		}
		for entity, name := range state.EntityDefaults {
			if name == p.Name {
				v.DefaultFor = append(v.DefaultFor, state.Paths[entity])
			}
		}
		slices.Sort(v.DefaultFor)
		for _, s := range p.Servers {
			proxy := ""
			if s.ProxyAddress != "" {
				proxy = hostPort(s.ProxyAddress, s.ProxyPort)
			}
			v.Servers = append(v.Servers, providerServerView{s.Name, hostPort(s.Address, s.Port), proxy, s.User, s.Status, s.Connection, s.TrustsServer, s.TrustsClient})
		}
		list = append(list, v)
	}
	return list
}

func hostPort(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

func providerTable(w io.Writer, list []providerView) {
	program.Line(w, "PROVIDER", "STATUS", "SERVER", "ADDRESS", "STATUS", "VCENTER TRUSTS IT", "IT TRUSTS VCENTER", "CONNECTION")
	for _, p := range list {
		name := p.Name
		if p.Default {
			name += " (default)"
		}
		for _, s := range p.Servers {
			program.Line(w, name, p.Status, s.Name, s.Address, s.Status, yesNo(s.TrustsServer), yesNo(s.TrustsClient), program.Dash(s.Connection))
		}
	}
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return "yes"
	}
	return "no"
}

func (a *app) providerTrustCommand(o *options) *cobra.Command {
	passwords, dry := false, false
	cmd := &cobra.Command{
		Use: "trust", Short: "bring vCenter's key providers and the trust of both sides up to date", Args: noArgs,
		Long: `Adds the key providers of the settings with their servers, has vCenter trust the
certificate that the live key server shows and its admin API names, and the key
server trust vCenter. A certificate of vCenter's that ends within 30 days is
renewed. A provider of absent_providers goes once nobody uses its keys and each
default that it is has a successor. Others are left alone.

The first enrolment of a vCenter is an operator's: an agent's certificate may only
renew clients that were marked for it (keyreeve client set NAME --agent-renewable).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				if !l.config.hasProviders() {
					return fmt.Errorf("%w: providers: missing: the settings name none", errConfig)
				}
				if dry {
					return a.dry(ctx, l.planProviders)
				}
				changed, err := l.trustProviders(ctx, passwords)
				for _, step := range changed {
					a.print("done: %s\n", program.Printable(step.String()))
				}
				switch {
				case err != nil:
					return err
				case len(changed) == 0:
					a.print("vCenter has it all already\n")
					return nil
				}
				return l.proveTrust(ctx)
			})
		},
	}
	dryFlag(cmd, &dry)
	cmd.Flags().BoolVar(&passwords, "passwords", false, "send vCenter the passwords of the servers' users again")
	return cmd
}
