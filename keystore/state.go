package keystore

import (
	"fmt"
	"slices"
)

// A cause moves an object from one state to another.
type cause uint8

const (
	activationDate   cause = iota // it came
	deactivationDate              // it came
	activate                      // the Activate operation
	revoke                        // Revoke for another reason than a compromise
	compromise                    // Revoke because of a compromise
	destroy                       // the Destroy operation
	reactivate                    // an administrator's
	undestroy                     // an administrator's, within the grace period
)

var causeNames = [...]string{"Activation Date", "Deactivation Date", "Activate", "Revoke", "Revoke (compromise)", "Destroy", "reactivate", "undestroy"}

func (c cause) String() string { return causeNames[c] }

// edges is the whole state machine: specification section 3.22, figure 3. What
// is not here is not allowed; in particular an Active object cannot be
// destroyed. The last ones are not KMIP's.
var edges = [...]struct {
	from State
	by   cause
	to   State
}{
	{PreActive, activationDate, Active},
	{PreActive, activate, Active},
	{PreActive, compromise, Compromised},
	{PreActive, destroy, Destroyed},
	{Active, deactivationDate, Deactivated},
	{Active, revoke, Deactivated},
	{Active, compromise, Compromised},
	{Deactivated, compromise, Compromised},
	{Deactivated, destroy, Destroyed},
	{Compromised, destroy, DestroyedCompromised},
	{Destroyed, compromise, DestroyedCompromised},

	{Deactivated, reactivate, Active},
	{Destroyed, undestroy, PreActive},
	{Destroyed, undestroy, Deactivated},
	{DestroyedCompromised, undestroy, Compromised},
}

// follow returns where c leads from a state; ErrState if nowhere. where, if
// not 0, chooses among several.
func follow(from State, c cause, where State) (State, error) {
	for _, e := range edges {
		if e.from == from && e.by == c && (where == 0 || where == e.to) {
			return e.to, nil
		}
	}
	var allowed []State
	for _, e := range edges {
		if e.by == c && !slices.Contains(allowed, e.from) {
			allowed = append(allowed, e.from)
		}
	}
	if from.destroyed() {
		return 0, fmt.Errorf("%w: %w: the object is %v, %v needs %v", ErrState, ErrDestroyed, from, c, oneOf(allowed))
	}
	return 0, fmt.Errorf("%w: the object is %v, %v needs %v", ErrState, from, c, oneOf(allowed))
}

func oneOf(states []State) string {
	text := ""
	for i, s := range states {
		if i > 0 {
			text += " or "
		}
		text += s.String()
	}
	return text
}

var stateNames = [...]string{"no state", "Pre-Active", "Active", "Deactivated", "Compromised", "Destroyed", "Destroyed Compromised"}

// String returns the specification's name of the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

func (s State) destroyed() bool { return s == Destroyed || s == DestroyedCompromised }

// Revocation Reason Codes of section 9.1.3.2.19 that mean a compromise.
const (
	reasonKeyCompromise = 2
	reasonCACompromise  = 3
)

// settle applies the transitions that dates have brought by now, each dated
// when it was due. Edges only lead forward, so a clock that was set back
// undoes nothing that was written down.
func (o *Object) settle(now int64) {
	if o.State == PreActive && o.ActivationDate.Due(now) {
		o.moved(activationDate, o.ActivationDate)
	}
	if o.State == Active && o.DeactivationDate.Due(now) {
		o.moved(deactivationDate, o.DeactivationDate)
	}
}

func (o *Object) moved(c cause, when Date) {
	to, err := follow(o.State, c, 0)
	if err != nil {
		return // settle has looked at the state
	}
	o.State = to
	if !o.LastChangeDate.Set || o.LastChangeDate.Unix < when.Unix {
		o.LastChangeDate = when
	}
}

// next is when a date will move the object, as it is stored.
func (o *Object) next() Date {
	switch o.State {
	case PreActive:
		return o.ActivationDate
	case Active:
		return o.DeactivationDate
	}
	return Date{}
}

func (o *Object) activate(now int64) error {
	to, err := follow(o.State, activate, 0)
	if err != nil {
		return err
	}
	o.State, o.ActivationDate = to, At(now)
	return nil
}

// revoke follows section 4.20. An occurrence that is not given becomes the
// Initial Date, as section 3.29 advises. An Opaque Object has no State to leave
// and no Deactivation Date: why it was revoked is all there is to keep, save
// that a compromise counts.
func (o *Object) revoke(now int64, reason uint32, message string, occurrence Date) error {
	c := revoke
	if reason == reasonKeyCompromise || reason == reasonCACompromise {
		c = compromise
	}
	to, err := follow(o.State, c, 0)
	stateless := c == revoke && o.Type == OpaqueObject && !o.State.destroyed()
	if stateless {
		to, err = o.State, nil
	}
	if err != nil {
		return err
	}
	switch {
	case reason == 0:
		return fmt.Errorf("%w: a Revoke without a reason", ErrInvalid)
	case occurrence.Set && !occurrence.Due(now):
		return fmt.Errorf("%w: the Compromise Occurrence Date lies in the future", ErrInvalid)
	}
	o.State, o.RevocationReason, o.RevocationMessage = to, reason, message
	if stateless {
		return nil
	}
	if c == revoke {
		o.DeactivationDate = At(now)
		return nil
	}
	o.CompromiseDate, o.CompromiseOccurrenceDate = At(now), occurrence
	if !occurrence.Set {
		o.CompromiseOccurrenceDate = o.InitialDate
	}
	return nil
}

func (o *Object) destroy(now int64) error {
	to, err := follow(o.State, destroy, 0)
	if err != nil {
		return err
	}
	o.State, o.DestroyDate = to, At(now)
	return nil
}

func (o *Object) reactivate() error {
	to, err := follow(o.State, reactivate, 0)
	if err != nil {
		return err
	}
	o.State, o.DeactivationDate, o.RevocationReason, o.RevocationMessage = to, Date{}, 0, ""
	return nil
}

// undestroy returns to the state in which Destroy found the object, or to
// Compromised if that was said later; its dates tell.
func (o *Object) undestroy() error {
	where := PreActive
	switch died := o.DestroyDate.Unix; {
	case o.CompromiseDate.Set:
		where = Compromised
	case o.ActivationDate.Due(died) && o.DeactivationDate.Due(died):
		where = Deactivated
	}
	to, err := follow(o.State, undestroy, where)
	if err != nil {
		return err
	}
	o.State, o.DestroyDate = to, Date{}
	return nil
}

// frozen refuses a change of a date that has done its work: it would be
// another past (section 3.24 and after).
func (o *Object) frozen(old *Object) error {
	for _, d := range [...]struct {
		name     string
		past     bool
		old, now Date
	}{
		{"Initial Date", true, old.InitialDate, o.InitialDate},
		{"Destroy Date", true, old.DestroyDate, o.DestroyDate},
		{"Compromise Date", true, old.CompromiseDate, o.CompromiseDate},
		{"Activation Date", old.State != PreActive, old.ActivationDate, o.ActivationDate},
		{"Deactivation Date", old.State >= Deactivated, old.DeactivationDate, o.DeactivationDate},
	} {
		if d.past && d.old != d.now {
			return fmt.Errorf("%w: the %s cannot change, the object is %v", ErrState, d.name, old.State)
		}
	}
	return nil
}

// check is invariant I6 for an object as it is stored: its state agrees with
// its dates, as of its last change.
func (o *Object) check() error {
	last := o.LastChangeDate.Unix
	bad := ""
	switch {
	case o.State < PreActive || o.State > DestroyedCompromised:
		bad = "unknown state"
	case o.State == PreActive && o.ActivationDate.Due(last):
		bad = "its Activation Date had come"
	case o.State == Active && !o.ActivationDate.Due(last):
		bad = "its Activation Date had not come"
	case o.State == Active && o.DeactivationDate.Due(last):
		bad = "its Deactivation Date had come"
	case o.State == Deactivated && !(o.ActivationDate.Due(last) && o.DeactivationDate.Due(last)):
		bad = "its dates do not say so"
	case o.CompromiseDate.Set != (o.State == Compromised || o.State == DestroyedCompromised):
		bad = "its Compromise Date says otherwise"
	case o.DestroyDate.Set != o.State.destroyed():
		bad = "its Destroy Date says otherwise"
	}
	if bad != "" {
		return fmt.Errorf("%w: the object is %v, but %s", ErrState, o.State, bad)
	}
	return nil
}
