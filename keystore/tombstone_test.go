package keystore_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

func TestTombstones(t *testing.T) {
	r := newRig(t, func(c *keystore.Config) { c.GracePeriod = 100 * time.Second })
	uid, material, err := r.Key("disk")
	must(t, err)
	destroyIt := func() { must(t, r.Edit(uid, destroy)) }
	destroyIt()
	wants(t, "Undestroy without a reason", r.EditAs(kt.Admin, kt.ChangeOp, uid, func(tx *keystore.Tx, o *keystore.Object) error {
		return tx.Undestroy(o, "")
	}), keystore.ErrInvalid)
	r.Clock.Add(99)
	if n, err := r.Store.Purge(ctx, 0); n != 0 || err != nil {
		t.Errorf("Purge in the grace period = %d, %v", n, err)
	}
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, uid, undestroy))
	if got, state, err := r.Get(kt.Alice, uid); err != nil || state != pre || !bytes.Equal(got, material) {
		t.Errorf("brought back: %x, %v, %v", got, state, err)
	}
	if !slices.ContainsFunc(r.Tape.Events(), func(e audit.Event) bool {
		return e.Class == audit.Admin && e.Object == uid && e.Reason == "a mistake"
	}) {
		t.Error("the journal does not say why it was brought back")
	}
	destroyIt()
	r.Clock.Add(100)
	wants(t, "Undestroy after the grace period", r.EditAs(kt.Admin, kt.ChangeOp, uid, undestroy), keystore.ErrNotFound)
	if n, err := r.Store.Purge(ctx, 0); n != 1 || err != nil {
		t.Errorf("Purge = %d, %v", n, err)
	}
	if info := r.Store.Info(); info.Tombstones != 0 || info.Objects != 1 {
		t.Errorf("after Purge: %+v", info)
	}
	kt.MustCheck(t, r.Store)
	second := newKey(t, r, "")
	must(t, r.Edit(second, destroy))
	purge := func(tx *keystore.Tx) error { return tx.PurgeObject(second, "asked for in writing") }
	wants(t, "a client's purge", r.Do(kt.Alice, kt.ChangeOp, purge), keystore.ErrPermission)
	must(t, r.Do(kt.Admin, kt.ChangeOp, purge))
	wants(t, "a second purge", r.Do(kt.Admin, kt.ChangeOp, purge), keystore.ErrNotFound)
}

func TestPurgeAtOnce(t *testing.T) {
	r := newRig(t, func(c *keystore.Config) { c.PurgeAtOnce = true })
	uid := newKey(t, r, "")
	must(t, r.Edit(uid, destroy))
	if info := r.Store.Info(); info.Tombstones != 0 {
		t.Errorf("%d tombstones", info.Tombstones)
	}
	wants(t, "Undestroy", r.EditAs(kt.Admin, kt.ChangeOp, uid, undestroy), keystore.ErrNotFound)
}

func TestRecords(t *testing.T) {
	r := newRig(t, nil)
	put := func(id, value string) error {
		return r.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error {
			return tx.PutRecord(keystore.KindClient, id, []byte(value))
		})
	}
	must(t, errors.Join(put("b", "1"), put("a", "2"), put("b", "3"), put("c", "4")))
	must(t, r.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error { return tx.DeleteRecord(keystore.KindClient, "c") }))
	must(t, r.Reopen())
	all := make(map[string]string)
	must(t, r.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
		one, err := tx.Record(keystore.KindClient, "b")
		if err != nil || string(one) != "3" {
			return fmt.Errorf("Record = %q, %w", one, err)
		}
		if _, err := tx.Record(keystore.KindUser, "b"); !errors.Is(err, keystore.ErrNotFound) {
			return fmt.Errorf("another kind's Record = %w", err)
		}
		return tx.Records(keystore.KindClient, func(id string, value []byte) error { all[id] = string(value); return nil })
	}))
	if diff := cmp.Diff(map[string]string{"a": "2", "b": "3"}, all); diff != "" {
		t.Error(diff)
	}
	wants(t, "a client's look", r.Do(kt.Alice, kt.ObserveOp, func(tx *keystore.Tx) error {
		_, err := tx.Record(keystore.KindClient, "a")
		return err
	}), keystore.ErrPermission)
}
