package keystore_test

import (
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

const (
	pre         = keystore.PreActive
	active      = keystore.Active
	deactivated = keystore.Deactivated
	compromised = keystore.Compromised
	destroyed   = keystore.Destroyed
	both        = keystore.DestroyedCompromised
)

type edit func(tx *keystore.Tx, o *keystore.Object) error

func activate(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) }
func destroy(tx *keystore.Tx, o *keystore.Object) error  { return tx.Destroy(o) }
func revokeFor(reason uint32) edit {
	return func(tx *keystore.Tx, o *keystore.Object) error {
		return tx.Revoke(o, reason, "said so", keystore.Date{})
	}
}
func reactivate(tx *keystore.Tx, o *keystore.Object) error { return tx.Reactivate(o, "a mistake") }
func undestroy(tx *keystore.Tx, o *keystore.Object) error  { return tx.Undestroy(o, "a mistake") }
func put(tx *keystore.Tx, o *keystore.Object) error        { return tx.Put(o) }

// to leads a new key to each state.
var to = map[keystore.State][]edit{
	pre:         nil,
	active:      {activate},
	deactivated: {activate, revokeFor(1)},
	compromised: {revokeFor(2)},
	destroyed:   {destroy},
	both:        {revokeFor(2), destroy},
}

// TestEdges tries every operation in every state. 0 means refused.
func TestEdges(t *testing.T) {
	for _, c := range []struct {
		name  string
		do    edit
		admin bool
		want  [6]keystore.State // from pre, active, deactivated, compromised, destroyed, both
	}{
		{"Activate", activate, false, [6]keystore.State{active, 0, 0, 0, 0, 0}},
		{"Revoke, unspecified", revokeFor(1), false, [6]keystore.State{0, deactivated, 0, 0, 0, 0}},
		{"Revoke, key compromise", revokeFor(2), false, [6]keystore.State{compromised, compromised, compromised, 0, both, 0}},
		{"Revoke, CA compromise", revokeFor(3), false, [6]keystore.State{compromised, compromised, compromised, 0, both, 0}},
		{"Revoke, affiliation changed", revokeFor(4), false, [6]keystore.State{0, deactivated, 0, 0, 0, 0}},
		{"Revoke, superseded", revokeFor(5), false, [6]keystore.State{0, deactivated, 0, 0, 0, 0}},
		{"Revoke, cessation of operation", revokeFor(6), false, [6]keystore.State{0, deactivated, 0, 0, 0, 0}},
		{"Revoke, privilege withdrawn", revokeFor(7), false, [6]keystore.State{0, deactivated, 0, 0, 0, 0}},
		{"Destroy", destroy, false, [6]keystore.State{destroyed, 0, destroyed, both, 0, 0}},
		{"Put", put, false, [6]keystore.State{pre, active, deactivated, compromised, destroyed, both}},
		{"reactivate", reactivate, true, [6]keystore.State{0, 0, active, 0, 0, 0}},
		{"undestroy", undestroy, true, [6]keystore.State{0, 0, 0, 0, pre, compromised}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			for from := pre; from <= both; from++ {
				edge(t, r, from, c.do, c.admin, c.want[from-1])
			}
		})
	}
}

func edge(t *testing.T, r *kt.Rig, from keystore.State, do edit, admin bool, want keystore.State) {
	t.Helper()
	uid := newKey(t, r, "")
	for _, step := range to[from] {
		must(t, r.Edit(uid, step))
	}
	before := look(t, r, uid)
	if before.State != from {
		t.Fatalf("a key led to %v is %v", from, before.State)
	}
	r.Clock.Add(10)
	p := kt.Alice
	if admin {
		wants(t, "a client's use of an administrator's edge", r.Edit(uid, do), keystore.ErrPermission)
		p = kt.Admin
	}
	err := r.EditAs(p, kt.ChangeOp, uid, do)
	after := look(t, r, uid)
	if want == 0 {
		if !errors.Is(err, keystore.ErrState) || after.State != from || after.LastChangeDate != before.LastChangeDate {
			t.Errorf("from %v: %v, then %v; want ErrState and nothing changed", from, err, after.State)
		}
		if errors.Is(err, keystore.ErrDestroyed) != (from >= destroyed) {
			t.Errorf("from %v: %v, ErrDestroyed is wrapped wrongly", from, err)
		}
		return
	}
	if err != nil || after.State != want || after.LastChangeDate != keystore.At(r.Clock.Unix()) {
		t.Errorf("from %v: %v, then %v at %v; want %v now", from, err, after.State, after.LastChangeDate, want)
	}
}

// TestDatesDrive: each row is a new key with dates relative to now, and what
// it is after a while.
func TestDatesDrive(t *testing.T) {
	at := func(r *kt.Rig, in int64) keystore.Date {
		if in == 0 {
			return keystore.Date{}
		}
		return keystore.At(r.Clock.Unix() + in)
	}
	for _, c := range []struct {
		activation, deactivation int64 // 0: not set
		wait                     int64
		want                     keystore.State
		changed                  int64 // Last Change Date, after creation
	}{
		{0, 0, 100, pre, 0},
		{50, 0, 49, pre, 0},
		{50, 0, 50, active, 50},
		{50, 0, 99, active, 50},
		{50, 60, 59, active, 50},
		{50, 60, 60, deactivated, 60},
		{50, 60, 99, deactivated, 60},
		{0, 60, 99, pre, 0}, // never Active, so never Deactivated
		{-5, 0, 0, active, 0},
		{-5, -1, 0, deactivated, 0},
		{-5, 10, 99, deactivated, 10},
		{60, 50, 55, pre, 0},
		{60, 50, 60, deactivated, 60},
	} {
		r := newRig(t, nil)
		begun := r.Clock.Unix()
		uid := create(t, r, kt.Alice, "", func(o *keystore.Object) {
			o.ActivationDate, o.DeactivationDate = at(r, c.activation), at(r, c.deactivation)
		})
		r.Clock.Add(c.wait)
		check := func(when string) {
			o := look(t, r, uid)
			if o.State != c.want || o.LastChangeDate.Unix-begun != c.changed {
				t.Errorf("%+v %s: %v, changed at %+d", c, when, o.State, o.LastChangeDate.Unix-begun)
			}
			for s := pre; s <= both; s++ {
				found := len(locate(t, r, kt.Alice, keystore.Query{State: s, Type: keystore.SymmetricKey}))
				all := len(locate(t, r, kt.Alice, keystore.Query{State: s}))
				if want := map[bool]int{true: 1}[s == c.want]; found != want || all != want {
					t.Errorf("%+v %s: Locate by %v finds %d, %d", c, when, s, found, all)
				}
			}
		}
		check("at read")
		must(t, r.Reopen())
		check("after reopening")
		must(t, r.Edit(uid, put))
		if o := look(t, r, uid); o.State != c.want {
			t.Errorf("%+v written down: %v", c, o.State)
		}
		// The clock goes back: nothing that was seen is undone.
		r.Clock.Add(-c.wait - 1000)
		if o := look(t, r, uid); o.State != c.want {
			t.Errorf("%+v after the clock went back: %v", c, o.State)
		}
		must(t, r.Reopen())
		if o := look(t, r, uid); o.State != c.want {
			t.Errorf("%+v after the clock went back and a restart: %v", c, o.State)
		}
	}
}

func TestRevokeDates(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "")
	born := keystore.At(r.Clock.Unix())
	r.Clock.Add(100)
	now := keystore.At(r.Clock.Unix())
	future := func(tx *keystore.Tx, o *keystore.Object) error {
		return tx.Revoke(o, 2, "", keystore.At(now.Unix+1))
	}
	wants(t, "an occurrence in the future", r.Edit(uid, future), keystore.ErrInvalid)
	wants(t, "no reason", r.Edit(uid, func(tx *keystore.Tx, o *keystore.Object) error {
		o.State = active // a caller's lie
		return tx.Revoke(o, 0, "", keystore.Date{})
	}), keystore.ErrState)
	must(t, r.Edit(uid, revokeFor(2)))
	o := look(t, r, uid)
	if o.CompromiseDate != now || o.CompromiseOccurrenceDate != born || o.RevocationReason != 2 || o.RevocationMessage != "said so" {
		t.Errorf("a compromise without occurrence: %+v", o)
	}
	other := newKey(t, r, "")
	must(t, errors.Join(r.Edit(other, activate), r.Edit(other, revokeFor(5))))
	if o := look(t, r, other); o.DeactivationDate != now || o.CompromiseDate.Set || o.RevocationReason != 5 {
		t.Errorf("superseded: %+v", o)
	}
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, other, reactivate))
	if o := look(t, r, other); o.DeactivationDate.Set || o.RevocationReason != 0 || o.RevocationMessage != "" {
		t.Errorf("reactivated: %+v", o)
	}
}

// TestPastIsFrozen: Put cannot move a date that has done its work, nor set a
// State.
func TestPastIsFrozen(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "")
	must(t, r.Edit(uid, activate))
	set := func(change func(o *keystore.Object)) error {
		return r.Edit(uid, func(tx *keystore.Tx, o *keystore.Object) error {
			change(o)
			return tx.Put(o)
		})
	}
	now := keystore.At(r.Clock.Unix())
	for name, change := range map[string]func(o *keystore.Object){
		"Activation Date": func(o *keystore.Object) { o.ActivationDate = keystore.At(now.Unix + 5) },
		"Initial Date":    func(o *keystore.Object) { o.InitialDate = keystore.At(5) },
		"Compromise Date": func(o *keystore.Object) { o.CompromiseDate = now },
		"Destroy Date":    func(o *keystore.Object) { o.DestroyDate = now },
	} {
		wants(t, name, set(change), keystore.ErrState)
	}
	must(t, set(func(o *keystore.Object) {
		o.State, o.Group, o.User, o.Value = destroyed, "nas", "", kt.KeyValue([]byte("another"))
	}))
	material, state, err := r.Get(kt.Alice, uid)
	if err != nil || state != active || string(material) == "another" {
		t.Errorf("Put changed more than attributes: %v, %v, %v", state, material, err)
	}
	must(t, set(func(o *keystore.Object) { o.DeactivationDate = now }))
	if o := look(t, r, uid); o.State != deactivated {
		t.Errorf("a Deactivation Date that has come leaves it %v", o.State)
	}
	wants(t, "Deactivation Date", set(func(o *keystore.Object) { o.DeactivationDate = keystore.Date{} }), keystore.ErrState)
}
