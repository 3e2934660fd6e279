package provider

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/vmware/govmomi/vim25/types"
)

// State is what vCenter has.
type State struct {
	Time           time.Time // when it was read
	Providers      []Observed
	EntityDefaults map[types.ManagedObjectReference]string
	Paths          map[types.ManagedObjectReference]string // of those entities, for people
	Uses           map[string]Uses                         // by provider; of those that might go
}

// Uses are the users of a provider's keys.
type Uses struct {
	Keys   int      // in use
	Names  []string // the first ten machines and hosts
	Unseen []string // why there may be more; empty: all were seen
}

// Observed is a provider as vCenter has it.
type Observed struct {
	Name    string
	Type    string // vCenter, nativeProvider, trustAuthority; may be empty
	Default bool
	Overall string // green, yellow, red, gray
	Servers []ServerState
	Client  *Cert // vCenter's certificate towards its servers; nil: none
}

// ServerState is a server as vCenter has it.
type ServerState struct {
	Name, Address string
	Port          int32
	ProxyAddress  string
	ProxyPort     int32
	User          string

	Status       string // green, yellow, red, gray
	Connection   string // vCenter's words
	TrustsServer *bool  // vCenter trusts the server; nil: not said
	TrustsClient *bool  // the server trusts vCenter; nil: not said
	Cert         *Cert  // that the server shows; nil: vCenter has not seen one
}

// Cert is what vCenter tells of a certificate.
type Cert struct {
	Subject             string
	SHA1                string
	NotBefore, NotAfter time.Time
}

func (s State) provider(name string) *Observed {
	for i := range s.Providers {
		if s.Providers[i].Name == name {
			return &s.Providers[i]
		}
	}
	return nil
}

// fallback is the name of the default provider; "" if there is none.
func (s State) fallback() string {
	for _, p := range s.Providers {
		if p.Default {
			return p.Name
		}
	}
	return ""
}

// standard tells that the provider is one of vCenter's with KMIP servers.
func (o Observed) standard() bool {
	return o.Type == "" || o.Type == string(types.KmipClusterInfoKmsManagementTypeVCenter) || o.Type == string(types.KmipClusterInfoKmsManagementTypeUnknown)
}

// match finds the server of that alias, or else the one of that address: a
// person may have called it otherwise, and twice it must not be there.
func (o Observed) match(s Server) *ServerState {
	for i := range o.Servers {
		if o.Servers[i].Name == s.Name {
			return &o.Servers[i]
		}
	}
	for i := range o.Servers {
		if o.Servers[i].at(s) {
			return &o.Servers[i]
		}
	}
	return nil
}

// shares tells that it has a server at the place of one of the desired provider's.
func (o Observed) shares(w Provider) bool {
	return slices.ContainsFunc(w.Servers, func(ws Server) bool {
		return slices.ContainsFunc(o.Servers, func(os ServerState) bool { return os.at(ws) })
	})
}

// at tells whether it is the server at the same place.
func (s ServerState) at(w Server) bool {
	return strings.EqualFold(s.Address, w.Address) && s.Port == w.port()
}

// differs tells how vCenter's idea of the server is not as desired.
func (s ServerState) differs(w Server) (how []string) {
	if !s.at(w) {
		how = append(how, "address")
	}
	if s.ProxyAddress != w.ProxyAddress || s.ProxyPort > 0 && s.ProxyPort != w.ProxyPort {
		how = append(how, "proxy")
	}
	if s.User != w.User {
		how = append(how, "user")
	}
	return how
}

// updates tells what vCenter is to be told anew of the server.
func (s ServerState) updates(w Server) []string {
	how := s.differs(w)
	if w.SetPassword {
		how = append(how, "password")
	}
	return how
}

func is(b *bool) bool  { return b != nil && *b }
func not(b *bool) bool { return b != nil && !*b }

// clean makes a text from outside fit to print.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
