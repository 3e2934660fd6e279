package keystore

import (
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Tx is what an Action sees of the store. It is valid, as is all that came
// from it, until Apply returns. It is used by one goroutine.
type Tx struct {
	store     *Store
	kv        KV
	head      *head // the group's; nil in a view
	box       sealer
	principal *Principal
	now       int64
	op        *Op

	names  names
	key    []byte
	opened []*opened // the first used are in use
	used   int
	plain  ttlv.Writer // of a record about to be sealed

	undo    []undone
	wrote   int   // bytes put, what was taken back included
	promote bool  // a view met a write
	fatal   error // the backend failed inside a change: the group cannot go on

	touched []UID // read, in the order of first touch; for the journal
	changed []UID
	refused string // why somebody was refused, for the journal only
	reason  string // an administrator's, for the journal
}

// opened is an object with the memory that its views point to.
type opened struct {
	object Object
	plain  []byte
}

// undone is how a key was before it was written.
type undone struct{ key, value []byte }

// Principal is who asks.
func (tx *Tx) Principal() *Principal { return tx.principal }

// Now is the store's clock for this message, in seconds. It is the same in all
// its items, and never runs backwards, over restarts either.
func (tx *Tx) Now() int64 { return tx.now }

// slot returns the next free object.
func (tx *Tx) slot() *opened {
	if tx.used == len(tx.opened) {
		tx.opened = append(tx.opened, new(opened))
	}
	tx.used++
	return tx.opened[tx.used-1]
}

// release gives back all that was opened since tx.used was level, and clears it.
func (tx *Tx) release(level int) {
	for ; tx.used > level; tx.used-- {
		op := tx.opened[tx.used-1]
		op.object.reset()
		secret.Clear(op.plain[:cap(op.plain)])
		op.plain = op.plain[:0]
		if cap(op.plain) > keepMemory {
			op.plain = nil
		}
	}
}

// keepMemory is the largest buffer that is kept for the next message.
const keepMemory = 64 << 10

// end clears what an item opened.
func (tx *Tx) end() {
	tx.release(0)
	plain := tx.plain.Bytes()
	secret.Clear(plain[:cap(plain)])
	if cap(plain) > keepMemory {
		plain = nil
	}
	tx.plain.Reset(plain)
	tx.touched, tx.changed = tx.touched[:0], tx.changed[:0]
	tx.refused, tx.reason = "", ""
}

// at returns family ‖ id in memory that the next call reuses.
func (tx *Tx) at(family byte, id []byte) []byte {
	tx.key = append(append(tx.key[:0], family), id...)
	return tx.key
}

// read opens an object, with its due transitions applied, for whoever asks;
// nil if there is none.
func (tx *Tx) read(uid UID) (*Object, error) {
	o, err := tx.stored(uid)
	if o != nil {
		o.settle(tx.now)
	}
	return o, err
}

// stored is read without the transitions: the object as the indexes have it.
func (tx *Tx) stored(uid UID) (*Object, error) {
	level := tx.used
	op := tx.slot()
	sealed, err := tx.kv.Get(tx.at(familyObject, uid[:]))
	if err == nil && sealed == nil {
		tx.release(level)
		return nil, nil
	}
	o := &op.object
	if err == nil {
		op.plain, o.Version, err = tx.box.open(op.plain, familyObject, tx.key[1:], sealed)
	}
	if err == nil {
		o.UniqueIdentifier = uid
		err = o.decode(op.plain, &tx.names)
	}
	if err != nil {
		tx.release(level)
		return nil, fmt.Errorf("reading object %s: %w", uid, err)
	}
	return o, nil
}

// find is read for the principal, who wants to do that with the object. What
// belongs to another group is as absent as what does not exist, and takes about
// as long: a decoy is opened.
func (tx *Tx) find(uid UID, what purpose) (*Object, error) {
	tx.touch(uid)
	level := tx.used
	o, err := tx.read(uid)
	if err != nil {
		return nil, err
	}
	if o == nil {
		tx.decoy()
		return nil, ErrNotFound
	}
	if err := tx.principal.may(o, what); err != nil {
		tx.release(level)
		tx.refused = refusal(err)
		return nil, err
	}
	if o.ArchiveDate.Set {
		o.Value = ttlv.Item{} // until it is recovered, no operation can use it
	}
	return o, nil
}

// decoy spends what opening and decoding a record costs.
func (tx *Tx) decoy() {
	level := tx.used
	op := tx.slot()
	op.plain, _, _ = tx.box.open(op.plain, familyCanary, single, tx.store.canary)
	_ = op.object.decode(op.plain, &tx.names)
	tx.release(level)
}

func (tx *Tx) touch(uid UID) {
	for _, t := range tx.touched {
		if t == uid {
			return
		}
	}
	tx.touched = append(tx.touched, uid)
}

// Object opens an object to be read, with the transitions applied that are due
// by now.
//
// An object that does not exist and one of another group give the same
// ErrNotFound. One of another user of the group gives ErrPermission, unless its
// Operation Policy lets all users of the group look at it (access.go).
//
// Its Value is there only in an operation of class OpRelease or OpChange, whose
// record is durable before the answer leaves, and never for an administrator or
// of an archived object.
func (tx *Tx) Object(uid UID) (*Object, error) {
	o, err := tx.find(uid, toLook)
	if err != nil {
		return nil, err
	}
	tx.withhold(o)
	return o, nil
}

// withhold takes the Value from who is not to see it.
func (tx *Tx) withhold(o *Object) {
	if tx.principal.Admin || tx.op.Class < OpRelease {
		o.Value = ttlv.Item{}
	}
}

// Edit opens an object that may be changed and then given to Put. Only the
// owner may: the user that made it, or an administrator. Its Value is there as
// Object says; Put keeps what is stored.
func (tx *Tx) Edit(uid UID) (*Object, error) {
	o, err := tx.find(uid, toChange)
	if err != nil {
		return nil, err
	}
	tx.withhold(o)
	o.editable = true
	return o, nil
}

// Refuse returns ErrPermission, and has the journal say why: in words of the
// caller's, which the principal is not told.
func (tx *Tx) Refuse(reason string) error {
	tx.refused = reason
	return ErrPermission
}

// Note has the journal say of this item what text says: whom an administrator's
// act is about, where it is about no object.
func (tx *Tx) Note(text string) { tx.reason = text }

// writable marks a view for promotion, and keeps operations from changing
// anything whose Op says that they do not.
func (tx *Tx) writable() error {
	if tx.op.Class < OpRelease {
		return fmt.Errorf("%w: %s is declared to change nothing", ErrInvalid, tx.op.Name)
	}
	if tx.head == nil {
		tx.promote = true
		return ErrReadOnly
	}
	return tx.fatal
}

// Create stores a new object. It sets the owner from the principal, Initial
// Date and Last Change Date, and the State from the dates: Active if the
// Activation Date has come. The UniqueIdentifier must come from NewUID.
//
// Errors: ErrNameTaken, ErrInvalid, ErrReadOnly.
func (tx *Tx) Create(o *Object) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if err := tx.checkNew(o); err != nil {
		return err
	}
	o.Group, o.User, o.Client = tx.principal.Group, tx.principal.User, tx.principal.Client
	o.State, o.Version = PreActive, 0
	o.InitialDate, o.LastChangeDate = At(tx.now), At(tx.now)
	o.settle(tx.now)
	if err := tx.checkNames(o); err != nil {
		return err
	}
	if err := tx.store1(o, o.Value, 0); err != nil {
		return err
	}
	o.editable = true
	tx.head.stamp = max(tx.head.stamp, o.UniqueIdentifier.Stamp())
	return tx.reindex(nil, o)
}

func (tx *Tx) checkNew(o *Object) error {
	switch {
	case tx.principal.Group == "":
		return fmt.Errorf("%w: who has no group owns no objects", ErrPermission)
	case o.UniqueIdentifier == UID{}:
		return fmt.Errorf("%w: no Unique Identifier", ErrInvalid)
	case o.Type < Certificate || o.Type > PGPKey:
		return fmt.Errorf("%w: unknown Object Type %d", ErrInvalid, o.Type)
	case o.CompromiseDate.Set || o.DestroyDate.Set || o.RevocationReason != 0:
		return fmt.Errorf("%w: a new object is not revoked or destroyed", ErrInvalid)
	}
	old, err := tx.kv.Get(tx.at(familyObject, o.UniqueIdentifier[:]))
	if err == nil && old != nil {
		err = fmt.Errorf("%w: the Unique Identifier is in use", ErrInvalid)
	}
	return err
}

// Put stores an object that came from Edit, and sets its Last Change Date. The
// State follows the dates; it cannot be set (Activate, Revoke and Destroy do
// that), and a date that has done its work cannot be moved: ErrState. Owner
// and Value stay as they are, whatever o says. ErrStale if the object was
// written since Edit; o can be Put again after Put.
func (tx *Tx) Put(o *Object) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.replace(o, func(old *Object) error {
		o.State = old.State
		if err := o.frozen(old); err != nil {
			return err
		}
		o.settle(tx.now)
		return nil
	})
}

// replace writes o over the object that is stored, old, if change agrees.
func (tx *Tx) replace(o *Object, change func(old *Object) error) error {
	if !o.editable {
		return fmt.Errorf("%w: it did not come from Edit", ErrInvalid)
	}
	defer tx.release(tx.used)
	old, err := tx.stored(o.UniqueIdentifier)
	if err != nil {
		return err
	}
	if old == nil || old.Version != o.Version {
		return ErrStale
	}
	value := old.Value
	settled := *old
	settled.settle(tx.now)
	if err := change(&settled); err != nil {
		return err
	}
	o.Type, o.Group, o.User, o.Client = old.Type, old.Group, old.User, old.Client
	o.LastChangeDate = At(tx.now)
	switch {
	case o.State.destroyed():
		value, o.Value = ttlv.Item{}, ttlv.Item{}
	case old.State.destroyed():
		value, o.Value = o.Value, ttlv.Item{} // Undestroy has put it there
	}
	if !o.State.destroyed() {
		if err := tx.checkNames(o); err != nil {
			return err
		}
	}
	if err := tx.store1(o, value, old.Version); err != nil {
		return err
	}
	return tx.reindex(old, o)
}

// store1 seals and writes one object, and sets its Version.
func (tx *Tx) store1(o *Object, value ttlv.Item, old uint64) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	o.encode(&tx.plain, value)
	tx.touch(o.UniqueIdentifier)
	tx.changed = append(tx.changed, o.UniqueIdentifier)
	o.Version, err = tx.writeRecord(familyObject, o.UniqueIdentifier[:], old)
	return err
}
