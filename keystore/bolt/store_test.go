package bolt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// store is the whole keystore on this backend and a real journal, as a system.
type store struct{}

var _, _ system = store{}, mini{}

type fullStore struct {
	*keystore.Store
	b *bolt.Backend
	j *audit.Journal
}

var (
	rootKey   = []byte("a root key of exactly 32 bytes..")
	principal = &keystore.Principal{Client: "test", Group: "group", Remote: "local"}
	opCreate  = &keystore.Op{Name: "Create", Class: keystore.OpChange}
	opActive  = &keystore.Op{Name: "Activate", Class: keystore.OpChange}
	opRevoke  = &keystore.Op{Name: "Revoke", Class: keystore.OpChange, Urgent: true}
	opDestroy = &keystore.Op{Name: "Destroy", Class: keystore.OpChange, Urgent: true}
	opGet     = &keystore.Op{Name: "Get", Class: keystore.OpRelease}
	opInspect = &keystore.Op{Name: "Inspect", Class: keystore.OpRelease}
)

// lateJournal and silentJournal are bugs built into the store's journal.
type lateJournal struct {
	keystore.Journal
	late []audit.Event
}

// Append puts changes off until the store says that they are committed.
func (l *lateJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	for _, e := range events {
		if e.Class != audit.Change {
			return l.Journal.Append(p, events...)
		}
	}
	l.late = append(l.late, events...)
	return l.End(), nil
}

func (l *lateJournal) SetCommitted(uint64) {
	_, _ = l.Journal.Append(audit.Normal, l.late...)
	l.late = nil
}

type silentJournal struct{ keystore.Journal }

func (silentJournal) SetCommitted(uint64) {}

func (b bugs) journal(j keystore.Journal) keystore.Journal {
	if b.journalTwo {
		j = &lateJournal{Journal: j}
	}
	if b.noMarker {
		j = silentJournal{j}
	}
	return j
}

func (store) parts(dir string, fsys durable.FS, with bugs) (f *fullStore, cfg keystore.Config, err error) {
	f = new(fullStore)
	if f.b, err = bolt.Open(filepath.Join(dir, "store.db"), small(fsys)); err != nil {
		return nil, cfg, err
	}
	if with.noSync {
		f.b.SetNoSync()
	}
	if f.j, err = audit.Open(journalConfig(dir, fsys)); err != nil {
		return nil, cfg, errors.Join(err, f.b.Close())
	}
	return f, keystore.Config{
		Backend: f.b, Journal: with.journal(f.j), StoreID: storeID,
		RootKey: secret.Own(append([]byte(nil), rootKey...)),
		Now:     func() time.Time { return time.Unix(1_700_000_000, 0) },
	}, nil
}

func (s store) Init(dir string, fsys durable.FS) error {
	if err := (mini{}).Init(dir, fsys); err != nil {
		return err
	}
	f, cfg, err := s.parts(dir, fsys, bugs{})
	if err != nil {
		return err
	}
	return errors.Join(keystore.Create(ctx, cfg), f.j.Close(), f.b.Close())
}

func (s store) Open(dir string, fsys durable.FS, with bugs) (subject, error) {
	f, cfg, err := s.parts(dir, fsys, with)
	if err != nil {
		return nil, err
	}
	if f.Store, err = keystore.Open(ctx, cfg); err != nil {
		return nil, errors.Join(err, f.j.Close(), f.b.Close())
	}
	return f, nil
}

func (f *fullStore) Close() error {
	return errors.Join(f.Store.Close(ctx), f.j.Close(), f.b.Close())
}

func objectUID(id int) (u keystore.UID) {
	copy(u[:], "\x01\x8b\xcf\xe5\x68\x00\x70\x00\x80\x00")
	binary.BigEndian.PutUint32(u[12:], uint32(id))
	return u
}

func uidObject(u [16]byte) int { return int(binary.BigEndian.Uint32(u[12:])) }

const (
	tagAttributeValue ttlv.Tag = 0x42000B
	tagKeyMaterial    ttlv.Tag = 0x420043
	tagSymmetricKey   ttlv.Tag = 0x42008F
	tagNameType       ttlv.Tag = 0x420054
	tagNameValue      ttlv.Tag = 0x420055
)

func structure(tag ttlv.Tag, fill func(w *ttlv.Writer)) ttlv.Item {
	w := ttlv.NewWriter(nil)
	mark := w.Begin(tag)
	fill(w)
	w.End(mark)
	item, err := ttlv.Parse(w.Bytes())
	if err != nil {
		panic(err)
	}
	return item
}

// material is an object's key: different for each, and of different lengths.
func material(id int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("key of object %d. ", id), 3+id%17))
}

func newObject(id int) *keystore.Object {
	o := &keystore.Object{UniqueIdentifier: objectUID(id), Type: keystore.SymmetricKey, CryptographicAlgorithm: 3, CryptographicLength: 256}
	o.Value = structure(tagSymmetricKey, func(w *ttlv.Writer) { w.ByteString(tagKeyMaterial, material(id)) })
	o.AddAttribute("Name", structure(tagAttributeValue, func(w *ttlv.Writer) {
		w.TextString(tagNameValue, fmt.Sprint("name ", id))
		w.Enumeration(tagNameType, 1)
	}))
	return o
}

type action func(tx *keystore.Tx) error

func (a action) Apply(tx *keystore.Tx) error { return a(tx) }

type work func(b *keystore.Batch) error

func (w work) Run(b *keystore.Batch) error { return w(b) }

// edit is an item that opens an object and changes it.
func edit(b *keystore.Batch, op *keystore.Op, id int, change func(*keystore.Tx, *keystore.Object) error) error {
	return b.Do(op, action(func(tx *keystore.Tx) error {
		o, err := tx.Edit(objectUID(id))
		if err != nil {
			return err
		}
		return change(tx, o)
	}))
}

// step takes one object to a version: created, activated, revoked and destroyed.
func step(b *keystore.Batch, id, version int) error {
	switch version {
	case 1:
		return b.Do(opCreate, action(func(tx *keystore.Tx) error { return tx.Create(newObject(id)) }))
	case 2:
		return edit(b, opActive, id, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) })
	}
	err := edit(b, opRevoke, id, func(tx *keystore.Tx, o *keystore.Object) error {
		return tx.Revoke(o, 1, "done", keystore.Date{})
	})
	if err != nil {
		return err
	}
	return edit(b, opDestroy, id, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Destroy(o) })
}

func (f *fullStore) Change(next map[int]int) error {
	return f.Do(ctx, principal, true, work(func(b *keystore.Batch) error {
		for id, version := range next {
			if err := step(b, id, version); err != nil {
				return err
			}
		}
		return nil
	}))
}

// read is one object's version, with its key compared.
func (f *fullStore) read(op *keystore.Op, id int) (version int, err error) {
	var item error
	err = f.Do(ctx, principal, false, work(func(b *keystore.Batch) error {
		item = b.Do(op, action(func(tx *keystore.Tx) error {
			o, err := tx.Object(objectUID(id))
			if err != nil {
				return err
			}
			version, err = versionOf(o, id)
			return err
		}))
		return nil
	}))
	return version, errors.Join(err, item)
}

func versionOf(o *keystore.Object, id int) (int, error) {
	version := map[keystore.State]int{keystore.PreActive: 1, keystore.Active: 2, keystore.Destroyed: 3}[o.State]
	if version == 0 {
		return 0, fmt.Errorf("object %d is %v", id, o.State)
	}
	if version == 3 {
		if !o.Value.IsZero() {
			return 0, fmt.Errorf("object %d is destroyed and has its key", id)
		}
		return version, nil
	}
	key, err := o.Value.Find(tagKeyMaterial).Bytes()
	if err == nil && string(key) != string(material(id)) {
		err = fmt.Errorf("object %d: %w", id, errWrongBytes)
	}
	return version, err
}

// errWrongBytes is what must never happen, whatever the disk did.
var errWrongBytes = errors.New("has wrong bytes")

func (f *fullStore) Get(id int) (int, error) { return f.read(opGet, id) }

func (f *fullStore) State() (map[int]int, error) {
	if err := f.b.Verify(ctx); err != nil {
		return nil, err
	}
	report, err := f.Check(ctx)
	if err := errors.Join(err, report.Err()); err != nil {
		return nil, err
	}
	var ids []int
	var item error
	err = f.Do(ctx, principal, false, work(func(b *keystore.Batch) error {
		ids = ids[:0]
		item = b.Do(&keystore.Op{Name: "Locate", Class: keystore.OpObserve}, action(func(tx *keystore.Tx) error {
			return tx.Locate(keystore.Query{}, func(o *keystore.Object) bool {
				ids = append(ids, uidObject(o.UniqueIdentifier))
				return true
			})
		}))
		return nil
	}))
	if err := errors.Join(err, item); err != nil {
		return nil, err
	}
	state := make(map[int]int)
	for _, id := range ids {
		if state[id], err = f.read(opInspect, id); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func (f *fullStore) Releases(state map[int]int) (map[int]int, error) {
	releases, recorded := make(map[int]int), make(recordedVersions)
	err := f.j.Since(0, func(_ uint64, e audit.Event) error {
		if !e.HasObject || e.Outcome != audit.Success {
			return nil
		}
		id := uidObject(e.Object)
		if e.Class == audit.Release && e.Operation == opGet.Name {
			releases[id]++
		}
		recorded.note(id, e)
		return nil
	})
	return releases, errors.Join(err, recorded.lack(state))
}
