package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// providerConfig is a key provider as it is to be in vCenter.
type providerConfig struct {
	Name    string                 `yaml:"name"`
	Default bool                   `yaml:"default"`
	Servers []providerServerConfig `yaml:"servers"`
	Client  string                 `yaml:"client"`
	Group   string                 `yaml:"group"`
	Trust   provider.Method        `yaml:"trust"`
}

type providerServerConfig struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	Port    int32  `yaml:"port"`
}

func (c *config) checkProviders() error {
	if len(c.Providers) == 0 {
		return nil
	}
	if c.VCenter == nil {
		return errors.New("providers: they need vcenter: where they are to be")
	}
	defaults := 0
	for _, p := range c.Providers {
		if p.Default {
			defaults++
		}
		if p.Trust == provider.ForeignCA || p.Trust == provider.Pair {
			return fmt.Errorf("providers: %s: trust: %s is set up by hand: want csr or self-signed", p.Name, p.Trust)
		}
	}
	if defaults > 1 {
		return errors.New("providers: more than one is the default")
	}
	return c.desiredProviders("").Check()
}

// desiredProviders is what the settings want. fingerprint is of the key server's
// certificate, by which vCenter's idea of it is judged.
func (c *config) desiredProviders(fingerprint string) (d provider.Desired) {
	for _, p := range c.Providers {
		want := provider.Provider{Name: p.Name, Client: provider.ClientTrust{Method: p.Trust, Client: p.Client, Group: p.Group}}
		if fingerprint != "" {
			want.Server.SHA256 = []string{fingerprint}
		}
		for _, s := range p.Servers {
			want.Servers = append(want.Servers, provider.Server{Name: s.Name, Address: s.Address, Port: s.Port})
		}
		if len(p.Servers) == 0 {
			want.Servers = []provider.Server{c.keyServerOfProviders()}
		}
		if p.Default {
			d.Default = p.Name
		}
		d.Providers = append(d.Providers, want)
	}
	return d
}

// keyServerOfProviders is our key server for a provider that names none: where
// OVHcloud lets vCenter through to it, or else where the agent reaches it.
func (c *config) keyServerOfProviders() provider.Server {
	s := provider.Server{Name: "kms-1"}
	if c.OVHcloud != nil {
		s.Address, s.Port = c.OVHcloud.Address, ovhcloud.KMIPPort
		return s
	}
	host, port, _ := net.SplitHostPort(c.Server.KMIP) // was checked
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		s.Port = int32(n)
	}
	s.Address = host
	return s
}

// manager is what looks after vCenter's key providers, and what they are to be:
// trusting the certificate that the live server shows and its admin API names.
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
	return m, l.config.desiredProviders(certs.SHA256(leaf)), err
}

// planProviders adds what vCenter's key providers lack to a plan.
func (l *link) planProviders(ctx context.Context, p *plan) error {
	const area = "provider"
	m, d, err := l.manager(ctx)
	if err != nil {
		return err
	}
	state, err := m.Observe(ctx, d)
	if err != nil {
		return err
	}
	diff, err := provider.Diff(state, d)
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
// ways, certificates that end soon, the default.
func (l *link) trustProviders(ctx context.Context) ([]provider.Step, error) {
	if l.config.Mode == session.Observe {
		return nil, &failure{exitRefused, errors.New("mode observe changes no key providers"), "set mode: register"}
	}
	m, d, err := l.manager(ctx)
	if err != nil {
		return nil, err
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
				s, err := l.vCenter(ctx)
				if err != nil {
					return err
				}
				m, err := provider.New(provider.Config{VIM: s.Client(), Now: a.now, Logger: l.logger})
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
	Name    string               `json:"name"`
	Default bool                 `json:"default"`
	Status  string               `json:"status"`
	Ends    string               `json:"client_certificate_ends,omitempty"`
	Servers []providerServerView `json:"servers"`
}

type providerServerView struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
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
			v.Ends = program.Date(p.Client.NotAfter)
		}
		for _, s := range p.Servers {
			v.Servers = append(v.Servers, providerServerView{s.Name, net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port))), s.Status, s.Connection, s.TrustsServer, s.TrustsClient})
		}
		list = append(list, v)
	}
	return list
}

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
	return &cobra.Command{
		Use: "trust", Short: "bring vCenter's key providers and the trust of both sides up to date", Args: noArgs,
		Long: `Adds the key providers of the settings with their servers, has vCenter trust the
certificate that the live key server shows and its admin API names, and the key
server trust vCenter. A certificate of vCenter's that ends within 30 days is
renewed. Providers that the settings do not name are left alone; none is removed.

The first enrolment of a vCenter is an operator's: an agent's certificate may only
renew clients that were marked for it (keyreeve client set NAME --agent-renewable).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, o, func(ctx context.Context, l *link) error {
				if len(l.config.Providers) == 0 {
					return fmt.Errorf("%w: providers: missing: the settings name none", errConfig)
				}
				changed, err := l.trustProviders(ctx)
				for _, step := range changed {
					a.print("done: %s\n", program.Printable(step.String()))
				}
				if err == nil && len(changed) == 0 {
					a.print("vCenter has it all already\n")
				}
				return err
			})
		},
	}
}
