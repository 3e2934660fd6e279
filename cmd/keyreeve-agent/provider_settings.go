package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

// providerConfig is a key provider as it is to be in vCenter.
type providerConfig struct {
	Name       string                 `yaml:"name"`
	Default    bool                   `yaml:"default"`
	DefaultFor []placeConfig          `yaml:"default_for"`
	Servers    []providerServerConfig `yaml:"servers"`

	// The servers trust vCenter.
	Client  string          `yaml:"client"`
	Group   string          `yaml:"group"`
	Trust   provider.Method `yaml:"trust"`
	CAFile  string          `yaml:"ca_file"`
	Subject string          `yaml:"subject"`

	// vCenter trusts the servers.
	ServerCAFile       string   `yaml:"server_ca_file"`
	ServerFingerprints []string `yaml:"server_fingerprints"`
}

type providerServerConfig struct {
	Name         string      `yaml:"name"`
	Address      string      `yaml:"address"`
	Port         int32       `yaml:"port"`
	Proxy        proxyConfig `yaml:"proxy"`
	User         string      `yaml:"user"`
	PasswordFile string      `yaml:"password_file"`
}

type proxyConfig struct {
	Address string `yaml:"address"`
	Port    int32  `yaml:"port"`
}

// A placeConfig is a path in vCenter's inventory, and its line in the file:
// whether it is there shows only later.
type placeConfig struct {
	path string
	line int
}

// UnmarshalYAML takes a path as vCenter spells it.
func (p *placeConfig) UnmarshalYAML(n ast.Node) error {
	p.line = n.GetToken().Position.Line
	s, ok := n.(*ast.StringNode)
	if !ok || !strings.HasPrefix(s.Value, "/") {
		return fmt.Errorf("line %d: default_for: want the paths of clusters or host folders, as /DC0/host/C0", p.line)
	}
	p.path = s.Value
	return nil
}

// hasProviders tells whether the settings are about key providers.
func (c *config) hasProviders() bool { return len(c.Providers)+len(c.Absent) > 0 }

func (c *config) checkProviders() error {
	if !c.hasProviders() {
		return nil
	}
	if c.VCenter == nil {
		return errors.New("providers: they need vcenter: where they are to be")
	}
	defaults, places, secrets := 0, map[string]bool{}, map[string]bool{}
	for _, p := range c.Providers {
		if p.Default {
			defaults++
		}
		if err := p.check(places, secrets); err != nil {
			return fmt.Errorf("providers: %s: %w", p.Name, err)
		}
	}
	if defaults > 1 {
		return errors.New("providers: more than one is the default")
	}
	d, err := c.desiredProviders("")
	if err == nil {
		err = d.Check()
	}
	if err != nil {
		return fmt.Errorf("providers: %w", err)
	}
	return nil
}

// check refuses what contradicts itself in one provider. places and secrets are
// what those before it have named.
func (p providerConfig) check(places, secrets map[string]bool) error {
	byCA := p.Trust == provider.ForeignCA
	switch {
	case byCA && (p.CAFile == "" || p.Subject == ""):
		return errors.New("trust: ca needs ca_file, the CA that issued vCenter's certificate, and subject, the one that this certificate has: the CA alone would let in everybody whom it certified")
	case !byCA && p.CAFile != "":
		return errors.New("ca_file: it is for trust: ca; what vCenter compares the servers with is server_ca_file")
	case p.Trust == provider.Pair && p.Subject != "":
		return errors.New("subject: with trust: pair the key server gives the certificate its subject")
	}
	for _, f := range p.ServerFingerprints {
		if raw, err := hex.DecodeString(strings.ReplaceAll(f, ":", "")); err != nil || len(raw) != 32 {
			return fmt.Errorf("server_fingerprints: %q: want SHA-256, which has 32 bytes, as keyreeve thumbprint HOST:PORT --sha256 prints it", f)
		}
	}
	for _, e := range p.DefaultFor {
		if places[e.path] {
			return fmt.Errorf("line %d: default_for: %s has a default provider already", e.line, e.path)
		}
		places[e.path] = true
	}
	return p.checkUsers(secrets)
}

func (p providerConfig) checkUsers(secrets map[string]bool) error {
	for _, s := range p.Servers {
		name := serverPassword(p.Name, s.Name).variable()
		switch {
		case s.User == "" && s.PasswordFile != "":
			return fmt.Errorf("server %s: password_file needs user", s.Name)
		case s.User != "" && s.PasswordFile == "" && secrets[name]:
			return fmt.Errorf("server %s: its password would have the variable of another server's, %s: give password_file", s.Name, name)
		}
		secrets[name] = true
	}
	return nil
}

// desiredProviders is what the settings want. fingerprint is of the certificate
// that the live key server shows and its admin API names. What is not in the
// settings but only where they point to, complete adds.
func (c *config) desiredProviders(fingerprint string) (d provider.Desired, err error) {
	d.Absent = c.Absent
	for _, p := range c.Providers {
		want := provider.Provider{Name: p.Name, Client: provider.ClientTrust{Method: p.Trust, Client: p.Client, Group: p.Group}}
		if p.Trust == provider.ForeignCA {
			want.Client.CA, want.Client.Subject = []byte(p.CAFile), p.Subject
			_, err = certs.ParseDN(p.Subject)
		} else {
			want.Client.Request, err = provider.Subject(p.Subject)
		}
		if err != nil {
			return d, fmt.Errorf("%s: subject: %w", p.Name, err)
		}
		switch {
		case p.ServerCAFile != "" || len(p.ServerFingerprints) > 0:
			want.OtherServers, want.Server.SHA256 = true, p.ServerFingerprints
		case fingerprint != "":
			want.Server.SHA256 = []string{fingerprint}
		}
		if want.Servers = p.servers(); len(want.Servers) == 0 {
			want.Servers = []provider.Server{c.keyServerOfProviders()}
		}
		if p.Default {
			d.Default = p.Name
		}
		d.Providers = append(d.Providers, want)
	}
	return d, nil
}

func (p providerConfig) servers() (list []provider.Server) {
	for _, s := range p.Servers {
		list = append(list, provider.Server{Name: s.Name, Address: s.Address, Port: s.Port, ProxyAddress: s.Proxy.Address, ProxyPort: s.Proxy.Port, User: s.User})
	}
	return list
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

// complete adds what is elsewhere: CAs, passwords, and what is at the paths.
func (l *link) complete(ctx context.Context, m *provider.Manager, d *provider.Desired) error {
	for i, p := range l.config.Providers {
		err := p.readCAs(&d.Providers[i])
		if err == nil {
			err = p.findPlaces(ctx, m, d)
		}
		if err != nil {
			return fmt.Errorf("%w: providers: %s: %w", errConfig, p.Name, err)
		}
		for j, s := range p.Servers {
			if s.User == "" {
				continue
			}
			if d.Providers[i].Servers[j].Password, err = l.app.secret(serverPassword(p.Name, s.Name), s.PasswordFile); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p providerConfig) readCAs(want *provider.Provider) (err error) {
	if p.CAFile != "" {
		if want.Client.CA, err = os.ReadFile(p.CAFile); err == nil {
			_, err = certs.ParseCertificate(want.Client.CA)
		}
		if err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
	}
	if p.ServerCAFile != "" {
		data, err := os.ReadFile(p.ServerCAFile)
		if err == nil {
			want.Server.CA, err = certs.ParseCertificates(data)
		}
		if err != nil {
			return fmt.Errorf("server_ca_file: %w", err)
		}
	}
	return nil
}

func (p providerConfig) findPlaces(ctx context.Context, m *provider.Manager, d *provider.Desired) error {
	for _, e := range p.DefaultFor {
		ref, err := m.Entity(ctx, e.path)
		if err != nil {
			return fmt.Errorf("line %d: default_for: %w", e.line, err)
		}
		d.EntityDefaults = append(d.EntityDefaults, provider.EntityDefault{Entity: ref, Path: e.path, Provider: p.Name})
	}
	return nil
}
