package provider

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// KMIPPort is a server's port when none is given.
const KMIPPort = 5696

// A Server is a key server of a provider. All servers of one provider have the
// same keys.
type Server struct {
	Name         string // the alias in vCenter
	Address      string // a name or an address, as vCenter reaches it
	Port         int32  // 0: KMIPPort
	ProxyAddress string
	ProxyPort    int32
	User         string        // of KMIP's Credential; "": none
	Password     *secret.Bytes // the caller's to clear
	// SetPassword sends the password although nothing else has changed: vCenter
	// does not tell which one it has.
	SetPassword bool
}

// A Provider is a key provider of vCenter's.
type Provider struct {
	Name    string // never changed: machines name it
	Servers []Server
	Server  ServerTrust // vCenter trusts the servers
	// OtherServers says that the servers are not the one whose admin API is at
	// hand, though they have its keys and clients: their certificates are
	// compared with Server alone, and not with what that one says of itself.
	OtherServers bool
	Client       ClientTrust // the servers trust vCenter
}

// A Method is how key servers come to trust vCenter.
type Method string

// The methods. CSR is the default: the private key never leaves vCenter.
const (
	CSR        Method = "csr"         // the key server signs vCenter's request
	SelfSigned Method = "self-signed" // the key server pins vCenter's own certificate
	ForeignCA  Method = "ca"          // the key server trusts a CA with one exact subject
	Pair       Method = "pair"        // certificate and key are made here and uploaded
)

// ClientTrust says how key servers come to trust vCenter.
type ClientTrust struct {
	Method  Method // "": CSR
	Client  string // name of the client's record in the key server
	Group   string // of its keys; "": a group of the client's own name
	CA      []byte // of ForeignCA, PEM
	Subject string // of ForeignCA: what vCenter's certificate carries, RFC 4514
	// Request is the subject of what vCenter makes; nil: vCenter's own. Only
	// vCenter 8.0.1 and later take one.
	Request *types.CryptoManagerKmipCertSignRequest
}

// An EntityDefault makes a provider the default of a cluster or host folder.
type EntityDefault struct {
	Entity   types.ManagedObjectReference
	Path     string // of the entity, for people
	Provider string
}

// Desired is how vCenter's providers are to be.
type Desired struct {
	Providers      []Provider
	Default        string // name of a provider; "": left as it is
	EntityDefaults []EntityDefault
	Absent         []string // names of providers that go
	// RenewBefore is how long before its end a certificate is renewed; 0: 30 days.
	RenewBefore time.Duration
}

// Clear wipes the servers' passwords.
func (d Desired) Clear() {
	for _, p := range d.Providers {
		for _, s := range p.Servers {
			s.Password.Clear()
		}
	}
}

func (d Desired) renewBefore() time.Duration {
	if d.RenewBefore > 0 {
		return d.RenewBefore
	}
	return 30 * 24 * time.Hour
}

// provider returns the one of that name.
func (d Desired) provider(name string) *Provider {
	for i := range d.Providers {
		if d.Providers[i].Name == name {
			return &d.Providers[i]
		}
	}
	return nil
}

// mayGo tells that who uses the provider's keys has to be known: it is to go, or
// has servers of a desired one, so that this may be it under another name.
func (d Desired) mayGo(o Observed) bool {
	if d.provider(o.Name) != nil || !o.standard() {
		return false
	}
	return slices.Contains(d.Absent, o.Name) || slices.ContainsFunc(d.Providers, o.shares)
}

// Check refuses what contradicts itself.
func (d Desired) Check() error {
	seen := map[string]bool{}
	for _, p := range d.Providers {
		if seen[p.Name] {
			return fmt.Errorf("key provider %q is there twice", p.Name)
		}
		seen[p.Name] = true
		if err := p.check(); err != nil {
			return fmt.Errorf("key provider %q: %w", p.Name, err)
		}
	}
	for _, name := range d.Absent {
		if seen[name] {
			return fmt.Errorf("key provider %q is to be there and to be absent", name)
		}
		if name == d.Default {
			return fmt.Errorf("key provider %q is to be the default and to be absent", name)
		}
	}
	entities := map[types.ManagedObjectReference]bool{}
	for _, e := range d.EntityDefaults {
		if entities[e.Entity] || e.Provider == "" {
			return fmt.Errorf("default of %s: want one provider", e.Path)
		}
		if slices.Contains(d.Absent, e.Provider) {
			return fmt.Errorf("key provider %q is to be the default of %s and to be absent", e.Provider, e.Path)
		}
		entities[e.Entity] = true
	}
	return nil
}

func (p Provider) check() error {
	if !plain(p.Name) {
		return errors.New("want a name of printable characters")
	}
	if len(p.Servers) == 0 {
		return errors.New("it has no server")
	}
	names := map[string]bool{}
	for _, s := range p.Servers {
		switch {
		case !plain(s.Name) || names[s.Name]:
			return fmt.Errorf("server %q: want a name of its own", s.Name)
		case !plain(s.Address) || strings.ContainsAny(s.Address, "/ "):
			return fmt.Errorf("server %s: address %q: want a host name or an IP address", s.Name, s.Address)
		case s.Port < 0 || s.Port > 65535:
			return fmt.Errorf("server %s: port %d: want 1 to 65535", s.Name, s.Port)
		case s.ProxyAddress == "" && s.ProxyPort != 0, s.ProxyAddress != "" && (s.ProxyPort < 1 || s.ProxyPort > 65535):
			return fmt.Errorf("server %s: a proxy needs address and port", s.Name)
		case s.User == "" && s.Password.Len() > 0:
			return fmt.Errorf("server %s: a password needs a user", s.Name)
		}
		names[s.Name] = true
	}
	return p.Client.check()
}

func (t ClientTrust) check() error {
	switch t.Method {
	case "", CSR, SelfSigned, Pair:
	case ForeignCA:
		if len(t.CA) == 0 || t.Subject == "" {
			return errors.New("trust by CA needs the CA and the exact subject: the bare CA would let in everybody whom it ever certified")
		}
	default:
		return fmt.Errorf("trust %q: want csr, self-signed, ca or pair", t.Method)
	}
	if t.Client == "" {
		return errors.New("the name of the client's record in the key server is missing")
	}
	return nil
}

func plain(s string) bool {
	return s != "" && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (s Server) port() int32 {
	if s.Port == 0 {
		return KMIPPort
	}
	return s.Port
}
