package ovhcloud

import (
	"cmp"
	"fmt"
	"net/netip"
)

// A StepKind is what a Step does.
type StepKind string

// The kinds.
const (
	Wait     StepKind = "wait"     // for a task that somebody began; then look again
	Register StepKind = "register" // a new entry
	Change   StepKind = "change"   // thumbprint and description of an entry
	Remove   StepKind = "remove"   // an entry of an address that is not used any more
)

// A Step is one thing to do.
type Step struct {
	Kind        StepKind
	Entry       int64 // its ID; 0: the option is waited for, or the entry does not exist yet
	IP          netip.Addr
	Thumbprint  string
	Description string
	Why         string
}

// String is the step's line in a plan.
func (s Step) String() string {
	switch s.Kind {
	case Register:
		return fmt.Sprintf("register %s with thumbprint %s: %s", s.IP, s.Thumbprint, s.Why)
	case Change:
		return fmt.Sprintf("change entry %d (%s) to thumbprint %s: %s", s.Entry, s.IP, s.Thumbprint, s.Why)
	case Remove:
		return fmt.Sprintf("remove entry %d (%s): %s", s.Entry, s.IP, s.Why)
	}
	return "wait: " + s.Why
}

// A Plan is what has to be done, in this order.
type Plan struct {
	Steps    []Step
	Blocked  string   // why nothing can be done; a person has to act
	Warnings []string // for people; nothing follows from them
}

// InSync tells that there is nothing to do.
func (p Plan) InSync() bool { return len(p.Steps) == 0 && p.Blocked == "" }

// Diff compares. It calls nobody and knows no clock; the error is Check's.
func Diff(s State, d Desired) (Plan, error) {
	w, err := d.check()
	if err != nil {
		return Plan{}, fmt.Errorf("%w: %w", ErrNotPossible, err)
	}
	p := Plan{Warnings: warn(w.ip)}
	switch s.Option {
	case optionError:
		p.Blocked = "OVHcloud reports VM encryption of " + s.Service + " as in error: its support has to repair that"
	case optionDisabling, optionMigrating:
		p.Steps = []Step{{Kind: Wait, Why: "OVHcloud is " + s.Option + " VM encryption of " + s.Service}}
	case optionEnabled, optionEnabling, optionDisabled:
		p.own(s, w)
		p.replaced(s, w)
	default:
		p.Blocked = fmt.Sprintf("OVHcloud reports VM encryption of %s as %q, which says nothing: look into the control panel", s.Service, s.Option)
	}
	return p, nil
}

// own is about the entry of the address itself.
func (p *Plan) own(s State, w wanted) {
	list := s.at(w.ip)
	if len(list) == 0 {
		p.Steps = append(p.Steps, w.step(Register, Entry{}, "no key server is registered at this address"))
		return
	}
	e := list[0]
	if len(list) > 1 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d entries are for %s: entry %d is kept true, remove the others in the control panel", len(list), w.ip, e.ID))
	}
	if e.Port != 0 && e.Port != KMIPPort {
		p.Warnings = append(p.Warnings, fmt.Sprintf("entry %d is for port %d, which nobody can ask OVHcloud for", e.ID, e.Port))
	}
	switch {
	case e.leaving():
		p.wait(e, "is being removed; it is registered again after that")
	case e.moving():
		p.wait(e, "is being changed ("+e.State+")")
	case e.State == entryError:
		p.Steps = append(p.Steps, w.step(Change, e, "OVHcloud reports the entry as in error"))
	case !e.Delivered():
		p.Blocked = fmt.Sprintf("OVHcloud reports entry %d (%s) as %q, which says nothing: look into the control panel", e.ID, e.IP, e.State)
	case e.Thumbprint != w.thumbprint:
		p.Steps = append(p.Steps, w.step(Change, e, "the server's certificate has another thumbprint than "+e.Thumbprint))
	case w.description != "" && e.Description != w.description:
		p.Steps = append(p.Steps, w.step(Change, e, fmt.Sprintf("its description is %q", e.Description)))
	}
}

// replaced is about entries of addresses that the server had before. They go
// last, and not while anything is in doubt.
func (p *Plan) replaced(s State, w wanted) {
	if p.Blocked != "" {
		return
	}
	for _, st := range p.Steps {
		if st.Kind == Wait {
			return
		}
	}
	for _, ip := range w.replaces {
		for _, e := range s.at(ip) {
			switch {
			case e.moving():
				p.wait(e, "is being changed ("+e.State+")")
			default:
				p.Steps = append(p.Steps, Step{Kind: Remove, Entry: e.ID, IP: e.IP, Thumbprint: e.Thumbprint, Why: fmt.Sprintf("the server is at %s now", w.ip)})
			}
		}
	}
}

func (p *Plan) wait(e Entry, what string) {
	p.Steps = append(p.Steps, Step{Kind: Wait, Entry: e.ID, IP: e.IP, Why: fmt.Sprintf("entry %d (%s) %s", e.ID, e.IP, what)})
}

func (w wanted) step(kind StepKind, e Entry, why string) Step {
	st := Step{Kind: kind, Entry: e.ID, IP: w.ip, Thumbprint: w.thumbprint, Description: w.description, Why: why}
	if st.Description == "" { // nobody knows whether OVHcloud keeps one that is left out
		st.Description = cmp.Or(e.raw, e.Description)
	}
	return st
}
