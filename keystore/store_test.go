package keystore_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestIsolation: who gets what of Alice's key.
func TestIsolation(t *testing.T) {
	r := newRig(t, nil)
	key := create(t, r, kt.Alice, "shared", nil)
	cert := create(t, r, kt.Alice, "", func(o *keystore.Object) { o.Type = keystore.Certificate })
	absent := r.Store.NewUID()
	nobody := &keystore.Principal{Client: "nobody"}
	for _, c := range []struct {
		name           string
		p              *keystore.Principal
		uid            keystore.UID
		object, edited error
	}{
		{"the owner", kt.Alice, key, nil, nil},
		{"another user", kt.Bob, key, keystore.ErrPermission, keystore.ErrPermission},
		{"another user, certificate", kt.Bob, cert, nil, keystore.ErrPermission},
		{"another group", kt.Mallory, key, keystore.ErrNotFound, keystore.ErrNotFound},
		{"another group, certificate", kt.Mallory, cert, keystore.ErrNotFound, keystore.ErrNotFound},
		{"no group", nobody, key, keystore.ErrNotFound, keystore.ErrNotFound},
		{"an administrator", kt.Admin, key, nil, nil},
		{"the owner, absent", kt.Alice, absent, keystore.ErrNotFound, keystore.ErrNotFound},
		{"another group, absent", kt.Mallory, absent, keystore.ErrNotFound, keystore.ErrNotFound},
		{"an administrator, absent", kt.Admin, absent, keystore.ErrNotFound, keystore.ErrNotFound},
	} {
		_, _, err := r.Get(c.p, c.uid)
		if !errors.Is(err, c.object) || c.object == nil && err != nil {
			t.Errorf("%s: Object = %v, want %v", c.name, err, c.object)
		}
		err = r.EditAs(c.p, kt.ChangeOp, c.uid, put)
		if !errors.Is(err, c.edited) || c.edited == nil && err != nil {
			t.Errorf("%s: Edit = %v, want %v", c.name, err, c.edited)
		}
	}
	_, _, foreign := r.Get(kt.Mallory, key)
	_, _, gone := r.Get(kt.Mallory, absent)
	if foreign.Error() != gone.Error() {
		t.Errorf("a stranger can tell %q from %q", foreign, gone)
	}
	wants(t, "Create without a group", r.Do(nobody, kt.ChangeOp, func(tx *keystore.Tx) error {
		return tx.Create(kt.NewKey(r.Store.NewUID(), []byte("k"), ""))
	}), keystore.ErrPermission)
	for _, c := range []struct {
		p    *keystore.Principal
		want []keystore.UID
	}{{kt.Alice, []keystore.UID{key, cert}}, {kt.Bob, []keystore.UID{cert}}, {kt.Mallory, nil}, {nobody, nil}, {kt.Admin, []keystore.UID{key, cert}}} {
		if diff := cmp.Diff(c.want, locate(t, r, c.p, keystore.Query{})); diff != "" {
			t.Errorf("Locate by %s: %s", c.p.Client, diff)
		}
	}
}

// TestValueNeedsARecord: without a durable record there is no Value, whatever
// the operation does; and never for an administrator.
func TestValueNeedsARecord(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "")
	for _, c := range []struct {
		p    *keystore.Principal
		op   *keystore.Op
		want bool
	}{
		{kt.Alice, &keystore.Op{Name: "Query"}, false},
		{kt.Alice, kt.ObserveOp, false},
		{kt.Alice, kt.ReleaseOp, true},
		{kt.Alice, kt.ChangeOp, true},
		{kt.Admin, kt.ReleaseOp, false},
		{kt.Admin, kt.ChangeOp, false},
	} {
		must(t, r.Do(c.p, c.op, func(tx *keystore.Tx) error {
			for _, open := range []func(keystore.UID) (*keystore.Object, error){tx.Object, tx.Edit} {
				o, err := open(uid)
				if err != nil {
					return err
				}
				if (kt.Material(o.Value) != nil) != c.want {
					t.Errorf("%s by %s: Value there: %v", c.op.Name, c.p.Client, !c.want)
				}
			}
			return nil
		}))
	}
	wants(t, "a write by an operation that is none", r.Do(kt.Alice, kt.ObserveOp, func(tx *keystore.Tx) error {
		o, err := tx.Edit(uid)
		if err == nil {
			err = tx.Put(o)
		}
		return err
	}), keystore.ErrInvalid)
}

func TestNamesAreUniqueInTheirGroup(t *testing.T) {
	r := newRig(t, nil)
	first := newKey(t, r, "disk")
	_, _, err := r.Key("disk")
	wants(t, "a second Create", err, keystore.ErrNameTaken)
	create(t, r, kt.Mallory, "disk", nil) // another group's
	other := newKey(t, r, "other")
	rename := func(uid keystore.UID, name string) error {
		return r.Edit(uid, func(tx *keystore.Tx, o *keystore.Object) error {
			o.AddAttribute("Name", kt.NameItem(name))
			return tx.Put(o)
		})
	}
	wants(t, "Put with a taken Name", rename(other, "disk"), keystore.ErrNameTaken)
	must(t, rename(other, "third"))
	must(t, r.Edit(first, destroy))
	second := newKey(t, r, "disk") // the first is no live object any more
	byName := keystore.Query{Terms: []keystore.Term{{Attribute: "Name", Value: kt.NameItem("disk")}}}
	if diff := cmp.Diff([]keystore.UID{first, second}, locate(t, r, kt.Alice, byName)); diff != "" {
		t.Error(diff)
	}
	wants(t, "Undestroy with a taken Name", r.EditAs(kt.Admin, kt.ChangeOp, first, undestroy), keystore.ErrNameTaken)
	must(t, r.Edit(second, func(tx *keystore.Tx, o *keystore.Object) error {
		if !o.RemoveAttribute("Name", 0) {
			return errors.New("no Name to remove")
		}
		return tx.Put(o)
	}))
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, first, undestroy))
	if _, _, err := r.Get(kt.Alice, first); err != nil {
		t.Error(err)
	}
}

func TestLocate(t *testing.T) {
	r := newRig(t, func(c *keystore.Config) { c.IndexedAttributes = []string{"x-site"} })
	var uids []keystore.UID
	for i := range 6 {
		uids = append(uids, create(t, r, kt.Alice, fmt.Sprint("disk-", i), func(o *keystore.Object) {
			o.AddAttribute("x-site", kt.TextItem([]string{"ber", "rbx"}[i%2]))
			o.AddAttribute("x-odd", kt.TextItem(fmt.Sprint(i%3)))
			o.AddAttribute("Object Group", kt.TextItem("all"))
			if i >= 4 {
				o.Type = keystore.SecretData
			}
		}))
	}
	must(t, r.Edit(uids[1], activate))
	term := func(name, value string) keystore.Term {
		return keystore.Term{Attribute: name, Value: kt.TextItem(value)}
	}
	for _, c := range []struct {
		name string
		q    keystore.Query
		want []int
	}{
		{"all", keystore.Query{}, []int{0, 1, 2, 3, 4, 5}},
		{"type", keystore.Query{Type: keystore.SecretData}, []int{4, 5}},
		{"state", keystore.Query{State: active}, []int{1}},
		{"type and state", keystore.Query{Type: keystore.SecretData, State: pre}, []int{4, 5}},
		{"name", keystore.Query{Terms: []keystore.Term{{Attribute: "Name", Value: kt.NameItem("disk-3")}}}, []int{3}},
		{"no such name", keystore.Query{Terms: []keystore.Term{{Attribute: "Name", Value: kt.NameItem("disk-9")}}}, nil},
		{"indexed", keystore.Query{Terms: []keystore.Term{term("x-site", "rbx")}}, []int{1, 3, 5}},
		{"not indexed", keystore.Query{Terms: []keystore.Term{term("x-odd", "1")}}, []int{1, 4}},
		{"both", keystore.Query{Terms: []keystore.Term{term("x-odd", "1"), term("x-site", "rbx")}}, []int{1}},
		{"name and another's value", keystore.Query{Terms: []keystore.Term{term("x-site", "ber"), {Attribute: "Name", Value: kt.NameItem("disk-3")}}}, nil},
		{"group and match", keystore.Query{Terms: []keystore.Term{term("Object Group", "all")},
			Match: func(o *keystore.Object) bool { return o.State == active }}, []int{1}},
	} {
		var want []keystore.UID
		for _, i := range c.want {
			want = append(want, uids[i])
		}
		for _, p := range []*keystore.Principal{kt.Alice, kt.Admin} {
			if diff := cmp.Diff(want, locate(t, r, p, c.q)); diff != "" {
				t.Errorf("%s by %s: %s", c.name, p.Client, diff)
			}
		}
	}
	n := 0
	must(t, r.Do(kt.Alice, kt.ObserveOp, func(tx *keystore.Tx) error {
		return tx.Locate(keystore.Query{}, func(o *keystore.Object) bool { n++; return n < 2 })
	}))
	if n != 2 {
		t.Errorf("visit was called %d times, it stopped at 2", n)
	}
}

// TestReindex changes the list of indexed attributes over a restart.
func TestReindex(t *testing.T) {
	list := []string{"x-a"}
	r := newRig(t, func(c *keystore.Config) { c.IndexedAttributes = list })
	uid := create(t, r, kt.Alice, "", func(o *keystore.Object) {
		o.AddAttribute("x-a", kt.TextItem("1"))
		o.AddAttribute("x-b", kt.TextItem("2"))
	})
	for _, list = range [][]string{{"x-b"}, {"x-b", "x-a"}, nil, {"x-a"}} {
		must(t, r.Reopen())
		for name, value := range map[string]string{"x-a": "1", "x-b": "2"} {
			q := keystore.Query{Terms: []keystore.Term{{Attribute: name, Value: kt.TextItem(value)}}}
			if diff := cmp.Diff([]keystore.UID{uid}, locate(t, r, kt.Alice, q)); diff != "" {
				t.Errorf("%q, by %s: %s", list, name, diff)
			}
		}
	}
}

// TestItemsAreKeptOrDroppedByThemselves: the items of a message, and messages
// of which one fails as a whole.
func TestItemsAreKeptOrDroppedByThemselves(t *testing.T) {
	r := newRig(t, nil)
	a, b, c := r.Store.NewUID(), r.Store.NewUID(), r.Store.NewUID()
	add := func(uid keystore.UID, name string, then error) keystore.Action {
		return acts(func(tx *keystore.Tx) error {
			if err := tx.Create(kt.NewKey(uid, []byte("material"), name)); err != nil {
				return err
			}
			return then
		})
	}
	oops := errors.New("after the write")
	work := func(outcome error) works {
		return func(batch *keystore.Batch) error {
			return errors.Join(
				batch.Do(kt.ChangeOp, add(a, "one", nil)),
				expect(batch.Do(kt.ChangeOp, add(b, "two", oops)), oops),
				expect(batch.Do(kt.ChangeOp, acts(func(*keystore.Tx) error { panic("boom") })), keystore.ErrInternal),
				expect(batch.Do(kt.ChangeOp, add(c, "one", nil)), keystore.ErrNameTaken),
				batch.Do(kt.ChangeOp, add(c, "two", nil)), // the second's Name is free again
				outcome)
		}
	}
	wants(t, "a message to be undone", r.Store.Do(ctx, kt.Alice, true, work(oops)), oops)
	if found := locate(t, r, kt.Alice, keystore.Query{}); len(found) != 0 {
		t.Errorf("a message that was undone left %v", found)
	}
	wants(t, "a Run that panics", r.Store.Do(ctx, kt.Alice, true, works(func(b *keystore.Batch) error {
		_ = work(nil)(b)
		panic("boom")
	})), keystore.ErrInternal)
	must(t, r.Store.Do(ctx, kt.Alice, true, work(nil)))
	if diff := cmp.Diff([]keystore.UID{a, c}, locate(t, r, kt.Alice, keystore.Query{})); diff != "" {
		t.Error(diff)
	}
	if info := r.Store.Info(); info.Objects != 2 {
		t.Errorf("the head counts %d objects", info.Objects)
	}
	for _, e := range r.Tape.Events() {
		if strings.Contains(fmt.Sprint(e), "boom") || strings.Contains(fmt.Sprint(e), "material") {
			t.Errorf("the journal holds what was thrown: %v", e)
		}
	}
}

func expect(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got %w, want %w", err, want)
	}
	return nil
}

// TestPromotion: a Get of a Fresh object begins as a view, and has to write.
func TestPromotion(t *testing.T) {
	r := newRig(t, nil)
	uid := create(t, r, kt.Alice, "", func(o *keystore.Object) { o.Fresh = true })
	runs := 0
	get := func() error {
		return r.Do(kt.Alice, kt.ReleaseOp, func(tx *keystore.Tx) error {
			runs++
			o, err := tx.Edit(uid)
			if err != nil || !o.Fresh {
				return err
			}
			o.Fresh = false
			return tx.Put(o)
		})
	}
	must(t, get())
	if o := look(t, r, uid); o.Fresh || runs < 2 {
		t.Errorf("Fresh: %v after %d runs", o.Fresh, runs)
	}
	runs = 0
	must(t, get())
	releases := 0
	for _, e := range r.Tape.Events() {
		if e.Class == audit.Release {
			releases++
		}
	}
	if runs != 1 || releases != 2 {
		t.Errorf("the second Get ran %d times, the journal has %d releases of 2", runs, releases)
	}
}

func TestDiskSpace(t *testing.T) {
	var free atomic.Uint64
	free.Store(1000)
	r := newRig(t, func(c *keystore.Config) {
		c.FreeSpace, c.MinFree = func() (uint64, error) { return free.Load(), nil }, 500
	})
	uid := newKey(t, r, "")
	free.Store(499)
	_, _, err := r.Key("")
	wants(t, "Create on a full disk", err, keystore.ErrDiskFull)
	if _, _, err := r.Get(kt.Alice, uid); err != nil {
		t.Errorf("Get on a full disk: %v", err)
	}
	made := r.Store.NewUID()
	err = r.Do(kt.Alice, opGet, func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(made, bytes.Repeat([]byte{1}, 32), "")) })
	wants(t, "a release that makes an object, on a full disk", err, keystore.ErrDiskFull)
	must(t, r.Do(kt.Alice, opGet, func(tx *keystore.Tx) error { return tx.Serve(uid) })) // as a Get does once
	must(t, r.EditAs(kt.Alice, kt.UrgentOp, uid, revokeFor(2)))
	free.Store(500)
	newKey(t, r, "")
	// The journal's own disk.
	r.Journal.SetFull(true)
	_, _, err = r.Key("")
	wants(t, "Create with a full journal", err, keystore.ErrDiskFull)
	_, _, err = r.Get(kt.Alice, uid)
	wants(t, "Get with a full journal", err, keystore.ErrDiskFull)
	must(t, r.EditAs(kt.Alice, kt.UrgentOp, uid, destroy))
	r.Journal.SetFull(false)
	newKey(t, r, "")
}

func TestClose(t *testing.T) {
	r := newRig(t, nil)
	must(t, r.Store.Close(ctx))
	must(t, r.Store.Close(ctx))
	_, _, err := r.Key("")
	wants(t, "Do after Close", err, keystore.ErrClosed)
	wants(t, "Canary after Close", r.Store.Canary(ctx), keystore.ErrClosed)
	must(t, r.Open())
	must(t, r.Store.Canary(ctx))
}

func TestStale(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "")
	must(t, r.Edit(uid, func(tx *keystore.Tx, one *keystore.Object) error {
		two, err := tx.Edit(uid)
		if err != nil {
			return err
		}
		if err := errors.Join(tx.Put(two), tx.Put(two)); err != nil {
			return err
		}
		return expect(tx.Put(one), keystore.ErrStale)
	}))
	must(t, r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error {
		o, err := tx.Object(uid)
		if err != nil {
			return err
		}
		return expect(tx.Put(o), keystore.ErrInvalid)
	}))
}

func TestCreateTwice(t *testing.T) {
	r := newRig(t, nil)
	must(t, r.Shut())
	wants(t, "Create over a store", r.Create(), keystore.ErrExists)
	must(t, r.Open())
	empty := kt.NewRig((&kt.Volume{}).Opener())
	wants(t, "Open of nothing", empty.Open(), keystore.ErrNoStore)
}
