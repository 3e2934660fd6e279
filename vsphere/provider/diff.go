package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// A StepKind is what a Step does.
type StepKind string

// The kinds, in the order in which they are done for one provider.
const (
	AddServer        StepKind = "add-server"    // and the provider, if it is new
	UpdateServer     StepKind = "update-server" // its address, proxy, user, password
	TrustServer      StepKind = "trust-server"  // vCenter trusts the server
	TrustClient      StepKind = "trust-client"  // the servers trust vCenter
	RenewClient      StepKind = "renew-client"  // vCenter's certificate ends soon
	RemoveServer     StepKind = "remove-server"
	SetDefault       StepKind = "set-default"
	SetEntityDefault StepKind = "set-entity-default"
	RemoveProvider   StepKind = "remove-provider"
)

// A Step is one thing to do.
type Step struct {
	Kind     StepKind
	Provider string
	Server   string // its alias in vCenter
	Desired  string // its alias in the desired state, where that is another
	Entity   types.ManagedObjectReference
	Why      string
}

// String is the step's line in a plan.
func (s Step) String() string {
	on := "provider " + s.Provider
	if s.Server != "" {
		on += ", server " + s.Server
	}
	return fmt.Sprintf("%s: %s: %s", s.Kind, on, s.Why)
}

// A Problem is why something is not done; a person has to act.
type Problem struct {
	Provider string
	Text     string
}

// A Plan is what has to be done, in this order.
type Plan struct {
	Steps    []Step
	Blocked  []Problem
	Warnings []Problem
}

// InSync tells that there is nothing to do.
func (p Plan) InSync() bool { return len(p.Steps) == 0 && len(p.Blocked) == 0 }

func (p *Plan) block(provider, format string, args ...any) {
	p.Blocked = append(p.Blocked, Problem{provider, fmt.Sprintf(format, args...)})
}

func (p *Plan) warn(provider, format string, args ...any) {
	p.Warnings = append(p.Warnings, Problem{provider, fmt.Sprintf(format, args...)})
}

func (p *Plan) add(kind StepKind, provider, server, format string, args ...any) *Step {
	p.Steps = append(p.Steps, Step{Kind: kind, Provider: provider, Server: server, Why: fmt.Sprintf(format, args...)})
	return &p.Steps[len(p.Steps)-1]
}

// Diff compares. It calls nobody; its clock is State.Time. The error is
// Desired.Check's.
func Diff(s State, d Desired) (Plan, error) {
	var p Plan
	if err := d.Check(); err != nil {
		return p, err
	}
	for _, w := range d.Providers {
		o := s.provider(w.Name)
		switch {
		case o == nil:
			p.create(s, d, w)
		case !o.standard():
			p.block(w.Name, "vCenter has a provider of this name, of the type %s, which has no KMIP servers: choose another name", clean(o.Type))
		default:
			p.servers(*o, w)
			p.trustServers(s, d, *o, w)
			p.trustClient(s, d, *o, w)
			p.surplus(*o, w)
		}
	}
	p.defaults(s, d)
	p.absent(s, d)
	return p, nil
}

// create is about a provider that is not there. If its servers are those of
// another one that machines use, somebody has changed the name: those machines
// would be locked at their next start, once the old one is gone.
func (p *Plan) create(s State, d Desired, w Provider) {
	for _, o := range s.Providers {
		if !o.standard() || d.provider(o.Name) != nil || !o.shares(w) {
			continue
		}
		uses, looked := s.Uses[o.Name]
		if !looked || uses.Keys > 0 {
			p.block(w.Name, "vCenter has its servers as provider %q, and %s: a provider's name never changes under encrypted machines; name this one %q, or re-encrypt the machines first", clean(o.Name), uses.text(looked), clean(o.Name))
			return
		}
		p.warn(w.Name, "vCenter has its servers as provider %q too, and %s: list that one as absent", clean(o.Name), uses.text(looked))
	}
	for _, server := range w.Servers {
		p.add(AddServer, w.Name, server.Name, "there is no provider of this name")
	}
	if w.Server.Empty() {
		p.block(w.Name, "%s", nothingToCompare)
		return
	}
	for _, server := range w.Servers {
		p.add(TrustServer, w.Name, server.Name, "the server is new")
	}
	p.add(TrustClient, w.Name, "", "the provider is new")
}

const nothingToCompare = "neither a CA nor a fingerprint of its servers' certificates is given, and nothing is trusted on first use: give one"

// none tells that nobody uses a key, and that this is sure.
func (u Uses) none() bool { return u.Keys == 0 && len(u.Unseen) == 0 }

func (u Uses) text(looked bool) string {
	switch {
	case !looked:
		return "it is not known whether its keys are in use"
	case u.Keys > 0:
		return fmt.Sprintf("%d of its keys are in use (%s)", u.Keys, clean(strings.Join(u.Names, ", ")))
	case len(u.Unseen) > 0:
		return "it is not known whether its keys are in use, since not all was seen: " + clean(strings.Join(u.Unseen, "; "))
	}
	return "nobody uses its keys"
}

func (p *Plan) servers(o Observed, w Provider) {
	for _, server := range w.Servers {
		have := o.match(server)
		if have == nil {
			p.add(AddServer, w.Name, server.Name, "the provider has no such server")
			continue
		}
		if have.Name != server.Name {
			p.warn(w.Name, "vCenter calls the server at %s %q and not %q: it is taken over under that alias", server.Address, clean(have.Name), server.Name)
		}
		if how := have.updates(server); len(how) > 0 {
			p.add(UpdateServer, w.Name, have.Name, "another %s", strings.Join(how, ", ")).Desired = server.Name
		}
	}
}

// trustServers is about vCenter's trust in the servers.
func (p *Plan) trustServers(s State, d Desired, o Observed, w Provider) {
	for _, server := range w.Servers {
		have := o.match(server)
		name, why := server.Name, ""
		switch {
		case have == nil:
			why = "the server is new"
		case !have.at(server):
			name, why = have.Name, "the server has another address"
		case is(have.TrustsServer):
			p.serverEnds(s, d, w, have)
			continue
		case have.Cert == nil && len(have.differs(server)) == 0:
			p.block(w.Name, "vCenter does not reach server %s at %s:%d: %s", clean(have.Name), server.Address, server.port(), clean(have.Connection))
			continue
		default:
			name, why = have.Name, "vCenter does not trust its certificate"
		}
		if w.Server.Empty() {
			p.block(w.Name, "%s", nothingToCompare)
			return
		}
		p.add(TrustServer, w.Name, name, "%s", why)
	}
}

func (p *Plan) serverEnds(s State, d Desired, w Provider, have *ServerState) {
	switch c := have.Cert; {
	case c == nil:
	case s.Time.After(c.NotAfter):
		p.block(w.Name, "the certificate of server %s ended at %s: give the server a new one", clean(have.Name), date(c.NotAfter))
	case c.NotAfter.Sub(s.Time) < d.renewBefore():
		p.warn(w.Name, "the certificate of server %s ends at %s: change it", clean(have.Name), date(c.NotAfter))
	}
}

// trustClient is about the servers' trust in vCenter. A server that is updated in
// this plan is judged after it: it may have refused a user, and no certificate.
func (p *Plan) trustClient(s State, d Desired, o Observed, w Provider) {
	take, refuse := 0, []string{}
	for _, have := range o.Servers {
		switch {
		case is(have.TrustsClient):
			take++
		case not(have.TrustsClient) && is(have.TrustsServer) && have.Cert != nil && !w.updates(o, have):
			refuse = append(refuse, clean(have.Name))
		}
	}
	c := o.Client
	switch {
	case c == nil:
		p.add(TrustClient, w.Name, "", "vCenter has no certificate towards its servers")
	case s.Time.Before(c.NotBefore):
		p.block(w.Name, "vCenter's certificate is valid from %s only: a clock is wrong", date(c.NotBefore))
	case len(refuse) > 0 && take > 0:
		p.block(w.Name, "server %s does not take the certificate of vCenter's that others of the provider take: do they have one store?", strings.Join(refuse, ", "))
	case len(refuse) > 0:
		p.add(TrustClient, w.Name, "", "server %s does not take vCenter's certificate", strings.Join(refuse, ", "))
	case c.NotAfter.Sub(s.Time) < d.renewBefore() && w.Client.Method == ForeignCA:
		p.warn(w.Name, "vCenter's certificate ends at %s, and its CA is not ours: renew it there", date(c.NotAfter))
	case c.NotAfter.Sub(s.Time) < d.renewBefore():
		p.add(RenewClient, w.Name, "", "vCenter's certificate ends at %s", date(c.NotAfter))
	}
}

// updates tells whether the server is to be updated.
func (w Provider) updates(o Observed, have ServerState) bool {
	return slices.ContainsFunc(w.Servers, func(s Server) bool {
		m := o.match(s)
		return m != nil && m.Name == have.Name && len(m.updates(s)) > 0
	})
}

// surplus is about servers that are not desired. One goes only while a desired
// one is connected: else the provider would be left without any.
func (p *Plan) surplus(o Observed, w Provider) {
	kept := map[string]bool{}
	green := false
	for _, server := range w.Servers {
		if have := o.match(server); have != nil {
			kept[have.Name] = true
			green = green || have.Status == string(types.ManagedEntityStatusGreen)
		}
	}
	for _, have := range o.Servers {
		switch {
		case kept[have.Name]:
		case green:
			p.add(RemoveServer, w.Name, have.Name, "it is not desired")
		default:
			p.block(w.Name, "server %s is not desired, and stays until one that is desired is connected", clean(have.Name))
		}
	}
}

// defaults are set last, when their provider can be used.
func (p *Plan) defaults(s State, d Desired) {
	there := func(name string) bool {
		return d.provider(name) != nil || s.provider(name) != nil && !slices.Contains(d.Absent, name)
	}
	if d.Default != "" && s.fallback() != d.Default {
		if there(d.Default) {
			p.add(SetDefault, d.Default, "", "the default is %q", clean(s.fallback()))
		} else {
			p.block(d.Default, "it is to be the default, and there is no such provider")
		}
	}
	for _, e := range d.EntityDefaults {
		have := s.EntityDefaults[e.Entity]
		switch {
		case have == e.Provider:
		case !there(e.Provider):
			p.block(e.Provider, "it is to be the default of %s, and there is no such provider", e.Path)
		default:
			p.add(SetEntityDefault, e.Provider, "", "the default of %s is %q", e.Path, clean(have)).Entity = e.Entity
		}
	}
}

// absent is about providers that go.
func (p *Plan) absent(s State, d Desired) {
	for _, name := range d.Absent {
		o := s.provider(name)
		if o == nil {
			continue
		}
		uses, looked := s.Uses[name]
		switch {
		case !o.standard():
			p.block(name, "it is of the type %s and not ours to remove", clean(o.Type))
		case !looked || !uses.none():
			p.block(name, "it stays: %s", uses.text(looked))
		case o.Default && d.Default == "":
			p.block(name, "it is the default: name its successor")
		case p.heir(s, d, name):
			p.add(RemoveProvider, name, "", "%s", uses.text(looked))
		}
	}
}

// heir tells whether each cluster whose default goes gets another one.
func (p *Plan) heir(s State, d Desired, name string) bool {
	for entity, have := range s.EntityDefaults {
		if have == name && !slices.ContainsFunc(d.EntityDefaults, func(e EntityDefault) bool { return e.Entity == entity }) {
			p.block(name, "it is the default of %s: name a successor there", clean(s.Paths[entity]))
			return false
		}
	}
	return true
}
