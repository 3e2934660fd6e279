package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

var ctx = context.Background()

// newRig returns an open store with all around it, checked and closed at the end.
func newRig(t testing.TB, configure func(*keystore.Config)) *kt.Rig {
	t.Helper()
	r := kt.NewRig((&kt.Volume{}).Opener())
	r.Configure = configure
	must(t, errors.Join(r.Create(), r.Open()))
	t.Cleanup(func() {
		kt.MustCheck(t, r.Store)
		must(t, r.Shut())
	})
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func newKey(t testing.TB, r *kt.Rig, name string) keystore.UID {
	t.Helper()
	uid, _, err := r.Key(name)
	must(t, err)
	return uid
}

// create makes a key of that principal's, after change.
func create(t testing.TB, r *kt.Rig, p *keystore.Principal, name string, change func(o *keystore.Object)) keystore.UID {
	t.Helper()
	uid := r.Store.NewUID()
	must(t, r.Do(p, kt.ChangeOp, func(tx *keystore.Tx) error {
		o := kt.NewKey(uid, bytes.Repeat([]byte{1}, 32), name)
		if change != nil {
			change(o)
		}
		return tx.Create(o)
	}))
	return uid
}

// look returns a copy of an object's fields.
func look(t testing.TB, r *kt.Rig, uid keystore.UID) (o keystore.Object) {
	t.Helper()
	must(t, r.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
		seen, err := tx.Object(uid)
		if err == nil {
			o = *seen
		}
		return err
	}))
	return o
}

// locate returns what a query finds, in order.
func locate(t testing.TB, r *kt.Rig, p *keystore.Principal, q keystore.Query) (uids []keystore.UID) {
	t.Helper()
	must(t, r.Do(p, kt.ObserveOp, func(tx *keystore.Tx) error {
		uids = nil
		return tx.Locate(q, func(o *keystore.Object) bool {
			uids = append(uids, o.UniqueIdentifier)
			return true
		})
	}))
	return uids
}

// works is a Work made of a function.
type works func(b *keystore.Batch) error

func (f works) Run(b *keystore.Batch) error { return f(b) }

// acts is an Action made of a function.
type acts func(tx *keystore.Tx) error

func (f acts) Apply(tx *keystore.Tx) error { return f(tx) }
