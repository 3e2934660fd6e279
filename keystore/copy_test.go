package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// parcel is a Sink that keeps what it is given.
type parcel struct {
	snapshot keystore.Snapshot
	records  [][2][]byte
}

func (p *parcel) Begin(s keystore.Snapshot) error {
	p.snapshot = s
	return nil
}

func (p *parcel) Record(key, value []byte) error {
	p.records = append(p.records, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
	return nil
}

// lived returns a store with some history, and what Get gives of its keys.
func lived(t *testing.T) (r *kt.Rig, keys map[keystore.UID][]byte, destroyed keystore.UID) {
	t.Helper()
	r, keys = newRig(t, nil), map[keystore.UID][]byte{}
	for i := range 20 {
		uid, material, err := r.Key(fmt.Sprintf("disk-%d", i))
		must(t, err)
		keys[uid] = material
		destroyed = uid
	}
	must(t, r.Edit(destroyed, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) }))
	must(t, r.Edit(destroyed, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Revoke(o, 1, "", keystore.Date{}) }))
	must(t, r.Edit(destroyed, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Destroy(o) }))
	delete(keys, destroyed)
	must(t, r.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error {
		return tx.PutRecord(keystore.KindClient, "nas", []byte("a client"))
	}))
	return r, keys, destroyed
}

func export(t *testing.T, r *kt.Rig) *parcel {
	t.Helper()
	p := &parcel{}
	must(t, r.Store.Export(ctx, kt.Admin, "to a test", p))
	return p
}

// unpack imports the parcel into a volume of its own.
func (p *parcel) unpack(t *testing.T) *kt.Volume {
	t.Helper()
	v := &kt.Volume{}
	b := v.Open()
	i, err := keystore.NewImporter(ctx, b)
	must(t, err)
	for _, record := range p.records {
		must(t, i.Record(record[0], record[1]))
	}
	must(t, errors.Join(i.Finish(), b.Close()))
	return v
}

func root(r *kt.Rig) *secret.Bytes { return secret.Own(bytes.Clone(r.Root[:])) }

// forked returns a rig of its own on the volume, opened as a restore does.
func (p *parcel) forked(t *testing.T, r *kt.Rig) *kt.Rig {
	t.Helper()
	f := kt.NewRig(p.unpack(t).Opener())
	f.Root, f.Tape = r.Root, kt.NewTape(p.snapshot.Position)
	b, err := f.Opener()
	must(t, err)
	must(t, keystore.Fork(ctx, keystore.Config{Backend: b, Journal: f.Tape.Open(), RootKey: root(r), Now: f.Clock.Now}, "from a test"))
	must(t, errors.Join(b.Close(), f.Open()))
	t.Cleanup(func() {
		kt.MustCheck(t, f.Store)
		must(t, f.Shut())
	})
	return f
}

func TestForkHasAllOfTheStore(t *testing.T) {
	r, keys, destroyed := lived(t)
	f := export(t, r).forked(t, r)
	for uid, want := range keys {
		got, state, err := f.Get(kt.Alice, uid)
		if err != nil || !bytes.Equal(got, want) || state != keystore.PreActive {
			t.Errorf("Get of %s = %x, %v, %v; want %x", uid, got, state, err, want)
		}
	}
	must(t, f.EditAs(kt.Admin, kt.ChangeOp, destroyed, func(tx *keystore.Tx, o *keystore.Object) error {
		return tx.Undestroy(o, "restored")
	}))
	must(t, f.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
		value, err := tx.Record(keystore.KindClient, "nas")
		if string(value) != "a client" {
			t.Errorf("the client's record is %q", value)
		}
		return err
	}))
	events := f.Tape.Events()
	if e := events[0]; e.Operation != "Store Restored" || e.Reason != "from a test" || e.Class != audit.Note {
		t.Errorf("the journal of the fork begins with %+v", e)
	}
}

// An export is in the journal before its first byte is out: were it only
// written at the end, a thief who is an admin would break it off there.
func TestExportIsRecordedFirst(t *testing.T) {
	broken, p := kt.NewRig((&kt.Volume{}).Opener()), &parcel{}
	must(t, errors.Join(broken.Create(), broken.Open()))
	broken.Journal.Fail()
	wants(t, "Export without a journal", broken.Store.Export(ctx, kt.Admin, "", p), keystore.ErrAudit)
	if len(p.records) > 0 {
		t.Error("records were exported all the same")
	}
	must(t, broken.Crash())

	r := newRig(t, nil)
	export(t, r)
	events := r.Tape.Events()
	if e := events[len(events)-1]; e.Operation != "Export" || e.Reason != "to a test" || e.Client != kt.Admin.Client {
		t.Errorf("the last event is %+v", e)
	}
}

func TestExportIsForAdministrators(t *testing.T) {
	r, _, _ := lived(t)
	p := &parcel{}
	wants(t, "a client's Export", r.Store.Export(ctx, kt.Alice, "", p), keystore.ErrPermission)
	if len(p.records) > 0 {
		t.Error("records were exported all the same")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wants(t, "Export at the end", r.Store.Export(ended, kt.Admin, "", p), context.Canceled)
}

func TestExportHoldsNoKeyInClear(t *testing.T) {
	r, keys, _ := lived(t)
	for _, record := range export(t, r).records {
		for uid, material := range keys {
			if bytes.Contains(record[1], material[:16]) || bytes.Contains(record[1], r.Root[:8]) {
				t.Errorf("record %q holds the key %s", record[0], uid)
			}
		}
	}
}

func TestCheckCopy(t *testing.T) {
	r, _, _ := lived(t)
	p := export(t, r)
	report, snapshot, err := r.Store.CheckCopy(ctx, p.unpack(t).Open())
	if err != nil || report.Err() != nil || report.Objects != 20 || report.Tombstones != 1 || snapshot.Position != p.snapshot.Position {
		t.Errorf("CheckCopy = %+v, %+v, %v", report, snapshot, err)
	}
	report, again, err := keystore.CheckCopy(ctx, p.unpack(t).Open(), root(r))
	if err != nil || report.Err() != nil || again.Commits != snapshot.Commits || again.Stamp != snapshot.Stamp {
		t.Errorf("CheckCopy with the root key = %+v, %+v, %v", report, again, err)
	}
	wrong := root(r)
	wrong.Expose()[0]++
	_, _, err = keystore.CheckCopy(ctx, p.unpack(t).Open(), wrong)
	wants(t, "CheckCopy with another root key", err, keystore.ErrWrongRootKey)
}

// Each record that is changed, missing or another's is found, the wrapped store
// keys by the server too, though it has no root key to try them with.
func TestCheckCopyFindsDamage(t *testing.T) {
	r, _, _ := lived(t)
	good := export(t, r)
	for i := range good.records {
		for _, damage := range []string{"changed", "missing"} {
			bad := &parcel{records: append([][2][]byte(nil), good.records...)}
			if key, value := bad.records[i][0], bytes.Clone(bad.records[i][1]); damage == "changed" && len(value) > 0 {
				value[len(value)/2] ^= 1
				bad.records[i] = [2][]byte{key, value}
			} else {
				bad.records = append(bad.records[:i:i], bad.records[i+1:]...)
			}
			v := bad.unpack(t)
			report, _, err := r.Store.CheckCopy(ctx, v.Open())
			if err == nil && report.Err() == nil {
				t.Errorf("record %q %s: the server finds nothing", good.records[i][0], damage)
			}
			report, _, err = keystore.CheckCopy(ctx, v.Open(), root(r))
			if err == nil && report.Err() == nil {
				t.Errorf("record %q %s: nothing is found with the root key", good.records[i][0], damage)
			}
		}
	}
}

func TestImporterRefuses(t *testing.T) {
	r, _, _ := lived(t)
	p := export(t, r)
	_, err := keystore.NewImporter(ctx, p.unpack(t).Open())
	wants(t, "an import over a store", err, keystore.ErrExists)
	for name, records := range map[string][][2][]byte{
		"twice":            {p.records[0], p.records[0]},
		"out of order":     {p.records[5], p.records[4]},
		"unknown family":   {{[]byte("z1"), nil}},
		"no key":           {{nil, nil}},
		"a key of a byte":  {{[]byte("o"), nil}},
		"a key too long":   {{[]byte("o" + strings.Repeat("x", 256)), nil}},
		"a value too long": {{[]byte("o1"), make([]byte, 17<<20)}},
	} {
		i, err := keystore.NewImporter(ctx, (&kt.Volume{}).Open())
		must(t, err)
		for _, record := range records {
			err = errors.Join(err, i.Record(record[0], record[1]))
		}
		wants(t, name, err, keystore.ErrInvalid)
	}
}

// What was not finished is no store, so nobody can serve half of one.
func TestUnfinishedImportIsNoStore(t *testing.T) {
	r, _, _ := lived(t)
	v := &kt.Volume{}
	i, err := keystore.NewImporter(ctx, v.Open())
	must(t, err)
	for _, record := range export(t, r).records {
		must(t, i.Record(record[0], record[1]))
	}
	if _, err = keystore.StoreID(ctx, v.Open()); err == nil {
		t.Error("half of an import is a store")
	}
}

func TestForkRefuses(t *testing.T) {
	r, _, _ := lived(t)
	p := export(t, r)
	wrong := root(r)
	wrong.Expose()[0]++
	elsewhere := p.snapshot.Position
	elsewhere.Seq++
	for name, tc := range map[string]struct {
		key  *secret.Bytes
		base audit.Position
		want error
	}{
		"wrong root key":  {wrong, p.snapshot.Position, keystore.ErrWrongRootKey},
		"another journal": {root(r), elsewhere, keystore.ErrForeignJournal},
	} {
		v, tape := p.unpack(t), kt.NewTape(tc.base)
		err := keystore.Fork(ctx, keystore.Config{Backend: v.Open(), Journal: tape.Open(), RootKey: tc.key}, "")
		wants(t, name, err, tc.want)
		if len(tape.Events()) > 0 {
			t.Errorf("%s: the journal was written", name)
		}
	}
}

// The old machine goes on, and so does the fork. A record of the one put into
// the other must not pass there, though both have the same keys.
func TestForkTakesNoRecordOfTheOther(t *testing.T) {
	r, _, _ := lived(t)
	p := export(t, r)
	f := p.forked(t, r)
	uid := keystore.UID(func() []byte {
		for _, record := range p.records {
			if record[0][0] == 'o' {
				return record[0][1:]
			}
		}
		return nil
	}())
	change := func(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) }
	must(t, errors.Join(r.Edit(uid, change), f.Edit(uid, change)))
	key := append([]byte{'o'}, uid[:]...)
	read := func(r *kt.Rig) (value []byte) {
		must(t, r.Backend.View(ctx, func(kv keystore.KV) error {
			sealed, err := kv.Get(key)
			value = bytes.Clone(sealed)
			return err
		}))
		return value
	}
	put := func(value []byte) {
		must(t, f.Backend.Update(ctx, func(kv keystore.KV) error { return kv.Put(key, value) }, func(keystore.KV) error { return nil }))
	}
	own := read(f)
	put(read(r))
	report, err := f.Store.Check(ctx)
	must(t, err)
	if report.Err() == nil {
		t.Error("the other store's record passes")
	}
	put(own)
}
