package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// MustCheck fails the test when an invariant of the store is violated. Every
// test of a store runs it at its end.
func MustCheck(t testing.TB, s *keystore.Store) {
	t.Helper()
	if err := check(s); err != nil {
		t.Errorf("the store does not pass Check: %v", err)
	}
}

func check(s *keystore.Store) error {
	report, err := s.Check(background)
	if err != nil {
		return err
	}
	if len(report.Violations) > 0 {
		return fmt.Errorf("%w: %v", report.Err(), report.Violations)
	}
	return nil
}

// NewStore returns an empty store in memory, closed and checked when the test
// ends. configure, if not nil, may change what it is opened with.
func NewStore(t testing.TB, configure func(*keystore.Config)) *keystore.Store {
	t.Helper()
	r := NewRig((&Volume{}).Opener())
	r.Configure = configure
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		MustCheck(t, r.Store)
		if err := r.Shut(); err != nil {
			t.Error(err)
		}
	})
	return r.Store
}

// Opener returns an Opener on the volume.
func (v *Volume) Opener() Opener {
	return func() (keystore.Backend, error) { return v.Open(), nil }
}

// A Clock stands still until it is set.
type Clock struct{ seconds atomic.Int64 }

// Now is for Config.Now.
func (c *Clock) Now() time.Time { return time.Unix(c.seconds.Load(), 0) }

// Unix returns the clock's seconds.
func (c *Clock) Unix() int64 { return c.seconds.Load() }

// Add moves the clock, back too.
func (c *Clock) Add(seconds int64) { c.seconds.Add(seconds) }

// A Rig is a store with all that it stands on, so that it can be opened again
// after a crash, on another journal, or with faults in between. Its methods
// return errors instead of failing a test.
type Rig struct {
	Opener      Opener
	Tape        *Tape
	Clock       Clock
	Root        [keystore.RootKeySize]byte
	StoreID     [16]byte
	Configure   func(*keystore.Config)
	WrapBackend func(keystore.Backend) keystore.Backend
	WrapJournal func(keystore.Journal) keystore.Journal

	// As of the last Open.
	Store   *keystore.Store
	Backend keystore.Backend
	Journal *MemoryJournal
	Faulty  *Faulty
}

// NewRig returns a rig on an empty place, with an empty Tape.
func NewRig(open Opener) *Rig {
	r := &Rig{Opener: open, Tape: &Tape{}, StoreID: keystore.NewStoreID()}
	r.Clock.Add(1_700_000_000)
	copy(r.Root[:], "the rig's root key, 32 bytes long")
	return r
}

func (r *Rig) config() (keystore.Config, *secret.Bytes, error) {
	b, err := r.Opener()
	if err != nil {
		return keystore.Config{}, nil, err
	}
	r.Faulty = &Faulty{Backend: b}
	r.Backend, r.Journal = r.Faulty, r.Tape.Open()
	root := secret.Own(bytes.Clone(r.Root[:]))
	cfg := keystore.Config{Backend: r.Backend, Journal: r.Journal, RootKey: root, StoreID: r.StoreID, Now: r.Clock.Now}
	if r.Configure != nil {
		r.Configure(&cfg)
	}
	if r.WrapBackend != nil {
		cfg.Backend = r.WrapBackend(cfg.Backend)
	}
	if r.WrapJournal != nil {
		cfg.Journal = r.WrapJournal(cfg.Journal)
	}
	return cfg, root, nil
}

// Create makes the store, and leaves nothing open.
func (r *Rig) Create() error {
	cfg, root, err := r.config()
	if err != nil {
		return err
	}
	defer root.Clear()
	return errors.Join(keystore.Create(background, cfg), r.Backend.Close())
}

// Open opens the store. After an error nothing is open.
func (r *Rig) Open() error {
	cfg, root, err := r.config()
	if err != nil {
		return err
	}
	defer root.Clear()
	if r.Store, err = keystore.Open(background, cfg); err != nil {
		return errors.Join(err, r.Backend.Close())
	}
	return nil
}

// Shut closes the store in order.
func (r *Rig) Shut() error {
	return errors.Join(r.Store.Close(background), r.Journal.Flush(), r.Backend.Close())
}

// Crash lets go of the store without closing it, as a killed process does:
// what is not durable is lost.
func (r *Rig) Crash() error {
	err := r.Backend.Close()
	ended, cancel := context.WithCancel(background)
	cancel()
	_ = r.Store.Close(ended) // it cannot write any more; its goroutine ends
	return err
}

// Reopen is Shut and Open, with Check.
func (r *Rig) Reopen() error {
	if err := r.Shut(); err != nil {
		return err
	}
	if err := r.Open(); err != nil {
		return err
	}
	return check(r.Store)
}

// Ops for tests.
var (
	ChangeOp  = &keystore.Op{Name: "Change", Class: keystore.OpChange}
	UrgentOp  = &keystore.Op{Name: "Urgent Change", Class: keystore.OpChange, Urgent: true}
	ReleaseOp = &keystore.Op{Name: "Get", Class: keystore.OpRelease}
	ObserveOp = &keystore.Op{Name: "Get Attributes", Class: keystore.OpObserve}
)

// Alice and the others are principals of two groups, and an administrator.
var (
	Alice   = &keystore.Principal{Client: "vcenter-1", User: "alice", Group: "vcenter", Remote: "192.0.2.1:40000"}
	Bob     = &keystore.Principal{Client: "vcenter-1", User: "bob", Group: "vcenter", Remote: "192.0.2.1:40001"}
	Mallory = &keystore.Principal{Client: "nas", Group: "nas", Remote: "192.0.2.9:40000"}
	Admin   = &keystore.Principal{Client: "admin", Admin: true, Remote: "unix"}
)

// One is a message with one item.
type One struct {
	Op    *keystore.Op
	Apply func(tx *keystore.Tx) error
	Err   error // the item's, of the run that counted
}

// Run implements keystore.Work.
func (o *One) Run(b *keystore.Batch) error {
	o.Err = b.Do(o.Op, apply(o.Apply))
	return nil
}

type apply func(tx *keystore.Tx) error

func (f apply) Apply(tx *keystore.Tx) error { return f(tx) }

// Do sends a message with one item, and returns its error or the message's.
func (r *Rig) Do(p *keystore.Principal, op *keystore.Op, fn func(tx *keystore.Tx) error) error {
	return Do(r.Store, p, op, fn)
}

// Do sends a message with one item, and returns its error or the message's.
func Do(s *keystore.Store, p *keystore.Principal, op *keystore.Op, fn func(tx *keystore.Tx) error) error {
	w := &One{Op: op, Apply: fn}
	if err := s.Do(background, p, op.Class == keystore.OpChange, w); err != nil {
		return err
	}
	return w.Err
}

// Tags of the specification that tests need.
const (
	tagKeyBlock     ttlv.Tag = 0x420040
	tagKeyMaterial  ttlv.Tag = 0x420043
	tagKeyValue     ttlv.Tag = 0x420045
	tagSymmetricKey ttlv.Tag = 0x42008f
	tagName         ttlv.Tag = 0x420053
	tagNameType     ttlv.Tag = 0x420054
	tagNameValue    ttlv.Tag = 0x420055
	tagText         ttlv.Tag = 0x42000b // Attribute Value
)

// KeyValue returns the Value of a symmetric key with that material.
func KeyValue(material []byte) ttlv.Item {
	var w ttlv.Writer
	key := w.Begin(tagSymmetricKey)
	block := w.Begin(tagKeyBlock)
	value := w.Begin(tagKeyValue)
	w.ByteString(tagKeyMaterial, material)
	w.End(value)
	w.End(block)
	w.End(key)
	return mustParse(w.Bytes())
}

// Material returns the key material in a Value, nil if there is none.
func Material(value ttlv.Item) []byte {
	b, err := value.Find(tagKeyBlock).Find(tagKeyValue).Find(tagKeyMaterial).Bytes()
	if err != nil {
		return nil
	}
	return b
}

// NameItem returns the value of a Name attribute.
func NameItem(name string) ttlv.Item {
	var w ttlv.Writer
	all := w.Begin(tagName)
	w.TextString(tagNameValue, name)
	w.Enumeration(tagNameType, 1)
	w.End(all)
	return mustParse(w.Bytes())
}

// TextItem returns an attribute's value that is a Text String.
func TextItem(s string) ttlv.Item {
	var w ttlv.Writer
	w.TextString(tagText, s)
	return mustParse(w.Bytes())
}

func mustParse(b []byte) ttlv.Item {
	it, err := ttlv.Parse(b)
	if err != nil {
		panic(err)
	}
	return it
}

// NewKey returns a new symmetric key object, to be given to Create; with a
// Name unless it is empty.
func NewKey(uid keystore.UID, material []byte, name string) *keystore.Object {
	o := &keystore.Object{
		UniqueIdentifier: uid, Type: keystore.SymmetricKey, CryptographicAlgorithm: 3,
		CryptographicLength: int32(8 * len(material)), CryptographicUsageMask: 12, HasUsageMask: true,
		Value: KeyValue(material),
	}
	if name != "" {
		o.AddAttribute("Name", NameItem(name))
	}
	return o
}

// Key creates a key of Alice's and returns its identifier and material.
func (r *Rig) Key(name string) (uid keystore.UID, material []byte, err error) {
	uid = r.Store.NewUID()
	material = bytes.Repeat(uid[8:], 4)
	return uid, material, r.Do(Alice, ChangeOp, func(tx *keystore.Tx) error {
		return tx.Create(NewKey(uid, material, name))
	})
}

// Get returns a key's material and state.
func (r *Rig) Get(p *keystore.Principal, uid keystore.UID) (material []byte, state keystore.State, err error) {
	err = r.Do(p, ReleaseOp, func(tx *keystore.Tx) error {
		o, err := tx.Object(uid)
		if err != nil {
			return err
		}
		material, state = bytes.Clone(Material(o.Value)), o.State
		return nil
	})
	return material, state, err
}

// Edit opens an object as Alice and gives it to change.
func (r *Rig) Edit(uid keystore.UID, change func(tx *keystore.Tx, o *keystore.Object) error) error {
	return r.EditAs(Alice, ChangeOp, uid, change)
}

// EditAs opens an object and gives it to change.
func (r *Rig) EditAs(p *keystore.Principal, op *keystore.Op, uid keystore.UID, change func(tx *keystore.Tx, o *keystore.Object) error) error {
	return r.Do(p, op, func(tx *keystore.Tx) error {
		o, err := tx.Edit(uid)
		if err != nil {
			return err
		}
		return change(tx, o)
	})
}

// Edges for Edit.
func activate(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) }
func revoke(tx *keystore.Tx, o *keystore.Object) error {
	return tx.Revoke(o, 1, "no longer used", keystore.Date{})
}
func compromise(tx *keystore.Tx, o *keystore.Object) error {
	return tx.Revoke(o, 2, "", keystore.Date{})
}
func destroy(tx *keystore.Tx, o *keystore.Object) error { return tx.Destroy(o) }
