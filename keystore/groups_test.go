package keystore_test

import (
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var (
	opGet    = &keystore.Op{Name: "Get", Class: keystore.OpRelease}
	opLocate = &keystore.Op{Name: "Locate", Class: keystore.OpObserve}
)

func lastServed(t *testing.T, r *kt.Rig, p *keystore.Principal, group ttlv.Item) (last keystore.UID) {
	t.Helper()
	must(t, r.Do(p, opLocate, func(tx *keystore.Tx) (err error) {
		last, err = tx.LastServed(group)
		return err
	}))
	return last
}

func takeTurn(r *kt.Rig, p *keystore.Principal, op *keystore.Op, uid keystore.UID) error {
	return r.Do(p, op, func(tx *keystore.Tx) error {
		o, err := tx.Object(uid)
		if err != nil {
			return err
		}
		return tx.TakeTurn(o)
	})
}

// Whose turn it was in an Object Group is kept for each client's group, over a
// restart, and changes nothing about the object.
func TestTurns(t *testing.T) {
	r := newRig(t, nil)
	g, h := kt.TextItem("g"), kt.TextItem("h")
	member := func(p *keystore.Principal, groups ...ttlv.Item) keystore.UID {
		return create(t, r, p, "", func(o *keystore.Object) {
			for _, item := range groups {
				o.AddAttribute("Object Group", item)
			}
		})
	}
	mine, both, theirs := member(kt.Alice, g), member(kt.Alice, g, h), member(kt.Mallory, g)
	if got := lastServed(t, r, kt.Alice, g); got != (keystore.UID{}) {
		t.Errorf("before any Get it was the turn of %s", got)
	}
	before := look(t, r, mine)
	must(t, takeTurn(r, kt.Alice, opGet, mine))
	must(t, takeTurn(r, kt.Mallory, opGet, theirs))
	if err := takeTurn(r, kt.Alice, opLocate, both); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("a Locate takes a turn: %v", err)
	}
	must(t, r.Reopen())
	for _, want := range []struct {
		who   *keystore.Principal
		group ttlv.Item
		uid   keystore.UID
	}{{kt.Alice, g, mine}, {kt.Alice, h, keystore.UID{}}, {kt.Mallory, g, theirs}} {
		if got := lastServed(t, r, want.who, want.group); got != want.uid {
			t.Errorf("the last one of %s was %s, want %s", want.who.Group, got, want.uid)
		}
	}
	if after := look(t, r, mine); after.Version != before.Version || after.LastChangeDate != before.LastChangeDate {
		t.Error("taking a turn changed the object")
	}
	must(t, takeTurn(r, kt.Alice, opGet, both))
	for _, group := range []ttlv.Item{g, h} {
		if got := lastServed(t, r, kt.Alice, group); got != both {
			t.Errorf("the last one was %s, want %s", got, both)
		}
	}
	records := r.Store.Info().Records
	must(t, takeTurn(r, kt.Alice, opGet, both))
	if got := r.Store.Info().Records; got != records {
		t.Errorf("the same turn again makes %d records of %d", got, records)
	}
}

// Who may look at an object ends its being Fresh; who may not, does not.
func TestServe(t *testing.T) {
	r := newRig(t, nil)
	bob := &keystore.Principal{Client: "c", User: "bob-the-other", Group: kt.Alice.Group}
	serve := func(p *keystore.Principal, uid keystore.UID) error {
		return r.Do(p, opGet, func(tx *keystore.Tx) error { return tx.Serve(uid) })
	}
	made := func(policy string) keystore.UID {
		return create(t, r, kt.Alice, "", func(o *keystore.Object) {
			o.Fresh = true
			o.AddAttribute("Operation Policy Name", kt.TextItem(policy))
		})
	}
	private, shared := made("default"), made("group-read")
	for _, c := range []struct {
		who  *keystore.Principal
		uid  keystore.UID
		want error
	}{{bob, private, keystore.ErrPermission}, {kt.Mallory, shared, keystore.ErrNotFound}, {bob, shared, nil}, {kt.Alice, private, nil}} {
		fresh := look(t, r, c.uid).Fresh
		if err := serve(c.who, c.uid); !errors.Is(err, c.want) {
			t.Errorf("%s serves: %v, want %v", c.who.Client, err, c.want)
		}
		if got := look(t, r, c.uid).Fresh; got != (fresh && c.want != nil) {
			t.Errorf("after %s: Fresh is %v", c.who.Client, got)
		}
	}
}
