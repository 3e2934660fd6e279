package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Report is what Check found.
type Report struct {
	Objects, Tombstones, Records, IndexEntries int
	States                                     map[State]int // as of the store's clock
	Violations                                 []Violation   // at most maxViolations
	More                                       int           // violations that are not listed
}

// Violation of one of the invariants that the package comment numbers.
type Violation struct {
	Invariant int
	Detail    string
}

func (v Violation) String() string { return fmt.Sprintf("I%d: %s", v.Invariant, v.Detail) }

const maxViolations = 100

// Err is nil when nothing was violated, and wraps ErrCorrupt otherwise.
func (r Report) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d invariants are violated, first %v; restore a backup", ErrCorrupt, len(r.Violations)+r.More, r.Violations[0])
}

// Check walks the whole store on one snapshot, while it serves, and tests all
// invariants. The error says that it could not finish; what it found is in the
// Report.
func (s *Store) Check(ctx context.Context) (Report, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closing.Load() {
		return Report{}, ErrClosed
	}
	c := &checker{store: s, ctx: ctx}
	err := s.cfg.Backend.View(ctx, c.run)
	if err == nil {
		err = c.checkJournal()
	}
	if err != nil {
		return c.report, fmt.Errorf("checking the store: %w", err)
	}
	return c.report, nil
}

// checker is one walk.
type checker struct {
	store  *Store
	ctx    context.Context
	tx     Tx
	report Report
	head   head
	digest digest
	names  map[string]UID // live Names, by index prefix
	want   int            // index entries that should be there

	vcenters map[VCenterID]uint64 // keys that each counts
	used     map[VCenterID]uint64 // keys that each has
	uses     useWalk
}

func (c *checker) violated(invariant int, format string, args ...any) {
	if len(c.report.Violations) == maxViolations {
		c.report.More++
		return
	}
	c.report.Violations = append(c.report.Violations, Violation{invariant, fmt.Sprintf(format, args...)})
}

func (c *checker) run(kv KV) (err error) {
	s := c.store
	c.report, c.digest, c.want = Report{States: make(map[State]int)}, digest{}, 0
	c.names = make(map[string]UID)
	c.vcenters, c.used, c.uses = make(map[VCenterID]uint64), make(map[VCenterID]uint64), useWalk{}
	c.tx = Tx{store: s, kv: kv, now: s.now(), principal: adminPrincipal, op: scanOp}
	c.tx.box.init(s.keys)
	defer func() { c.tx.end() }()
	if c.head, _, err = c.tx.box.readHead(kv, nil); errors.Is(err, ErrCorrupt) {
		c.violated(1, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, walk := range []func() error{
		func() error { return c.walk(familyObject, c.object) },
		func() error { return c.walk(familyTombstone, c.tombstone) },
		func() error { return c.walk(familyRecord, c.record) },
		c.entries,
	} {
		if err := walk(); err != nil {
			return err
		}
	}
	c.totals()
	c.inventories()
	return nil
}

// walk opens every record of a family; what is in it is for each.
func (c *checker) walk(family byte, each func(id, plain []byte, version uint64) error) error {
	var keys [][]byte
	collect := func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return len(keys) < 1024
	}
	for start := []byte{family}; start != nil; {
		keys = keys[:0]
		if err := errors.Join(c.ctx.Err(), c.tx.kv.Range([]byte{family}, start, collect)); err != nil {
			return err
		}
		start = nil
		for _, key := range keys {
			if err := c.open(key, each); err != nil {
				return err
			}
			start = append(bytes.Clone(key), 0)
		}
	}
	return nil
}

func (c *checker) open(key []byte, each func(id, plain []byte, version uint64) error) error {
	defer c.tx.release(c.tx.used)
	sealed, err := c.tx.kv.Get(key)
	if err != nil {
		return err
	}
	slot := c.tx.slot()
	plain, version, err := c.tx.box.open(slot.plain, key[0], key[1:], sealed)
	slot.plain = plain
	if err != nil {
		c.violated(1, "%v", err)
		return nil
	}
	if version == 0 || version > c.head.writes {
		c.violated(3, "record %s has version %d, the head knows %d", recordName(key[0], key[1:]), version, c.head.writes)
	}
	c.digest.add(c.tx.box.weigh(key[0], key[1:], version))
	return each(key[1:], plain, version)
}

func (c *checker) object(id, plain []byte, _ uint64) error {
	c.report.Objects++
	slot := c.tx.slot()
	o := &slot.object
	if err := strict(o, plain); err != nil || len(id) != len(o.UniqueIdentifier) {
		c.violated(1, "object %x: %v", id, err)
		return nil
	}
	copy(o.UniqueIdentifier[:], id)
	uid := o.UniqueIdentifier
	if err := o.check(); err != nil {
		c.violated(6, "object %s: %v", uid, err)
	}
	if o.State.destroyed() && !o.Value.IsZero() {
		c.violated(7, "object %s is %v and holds its Value", uid, o.State)
	}
	if !o.InitialDate.Set || !o.LastChangeDate.Set || o.InitialDate.Unix > o.LastChangeDate.Unix || !o.LastChangeDate.Due(c.tx.now) {
		c.violated(11, "object %s: initial date %d, last change date %d, now %d", uid, o.InitialDate.Unix, o.LastChangeDate.Unix, c.tx.now)
	}
	if o.Group == "" {
		c.violated(12, "object %s has no owner", uid)
	}
	c.uniqueNames(o)
	if err := c.indexed(o); err != nil {
		return err
	}
	o.settle(c.tx.now)
	c.report.States[o.State]++
	return nil
}

// strict decodes a record, and refuses what encode would not have written.
func strict(o *Object, plain []byte) error {
	if err := ttlv.Check(plain, ttlv.Limits{Items: maxRecord}); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	if err := o.decode(plain, nil); err != nil {
		return err
	}
	r := ttlv.NewReader(o.attributes.raw)
	for n := 0; !r.Done(); n++ {
		it, ok := r.Next()
		if _, err := decodeAttribute(it, nil); !ok || err != nil {
			return fmt.Errorf("%w: attribute %d", errRecord, n)
		}
	}
	return nil
}

func (c *checker) uniqueNames(o *Object) {
	if o.State.destroyed() {
		return
	}
	for _, a := range o.Attributes() {
		if a.Name != nameAttribute {
			continue
		}
		term := string(c.tx.box.appendTerm(nil, o.Group, a.Name, a.Value))
		if other, taken := c.names[term]; taken && other != o.UniqueIdentifier {
			c.violated(5, "objects %s and %s have the same Name", other, o.UniqueIdentifier)
		}
		c.names[term] = o.UniqueIdentifier
	}
}

func (c *checker) indexed(o *Object) error {
	for _, key := range c.tx.box.indexKeys(o, c.head.indexed) {
		c.want++
		value, err := c.tx.kv.Get(key)
		if err != nil {
			return err
		}
		if value == nil {
			c.violated(4, "object %s: an entry of index %q is gone", o.UniqueIdentifier, key[0])
		}
	}
	return nil
}

func (c *checker) tombstone(id, plain []byte, _ uint64) error {
	c.report.Tombstones++
	expiry, _, err := decodeTombstone(plain)
	if err != nil || len(id) != len(UID{}) {
		c.violated(1, "tombstone %x: %v", id, err)
		return nil
	}
	if expiry == 0 {
		c.violated(7, "tombstone %s has no expiry", UID(id))
	}
	o, err := c.tx.stored(UID(id))
	switch {
	case err != nil: // reported where the object was walked
	case o == nil:
		c.violated(8, "tombstone %s has no object", UID(id))
	case !o.State.destroyed():
		c.violated(8, "object %s has a tombstone and is %v", UID(id), o.State)
	}
	return nil
}

func (c *checker) record(id, plain []byte, _ uint64) error {
	c.report.Records++
	if Kind(id[0]) == KindInventory {
		c.inventory(id, plain)
	}
	return nil
}

// entries counts the index entries that are there. Each that should be was
// found, so more of them means that some should not.
func (c *checker) entries() error {
	for _, family := range []byte{familyName, familyValue, familyState} {
		err := c.tx.kv.Range([]byte{family}, nil, func(_, _ []byte) bool {
			c.report.IndexEntries++
			return true
		})
		if err != nil {
			return err
		}
	}
	if c.report.IndexEntries > c.want {
		c.violated(4, "%d index entries are there, %d belong to objects", c.report.IndexEntries, c.want)
	}
	return nil
}

func (c *checker) totals() {
	r, h := &c.report, &c.head
	if uint64(r.Objects) != h.objects || uint64(r.Tombstones) != h.tombstones || uint64(r.Records) != h.records {
		c.violated(2, "found %d objects, %d tombstones and %d other records; the head counts %d, %d and %d",
			r.Objects, r.Tombstones, r.Records, h.objects, h.tombstones, h.records)
	}
	if c.digest != h.digest {
		c.violated(3, "the digest of all records is not the head's: one is missing, or an older one was put back")
	}
}

// checkJournal is I9 and I10, for the head of the snapshot.
func (c *checker) checkJournal() error {
	at, j := c.head.position, c.store.cfg.Journal
	hash, ok, err := j.HashAt(at.Seq)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAudit, err)
	case c.head.commits == 0: // the head did not open
	case !ok || hash != at.Hash:
		c.violated(9, "the journal has not what the store committed at sequence %d", at.Seq)
	}
	if marker := j.Marker(); c.head.commits != 0 && marker > at.Seq {
		c.violated(10, "the journal's marker is %d, the head's position %d", marker, at.Seq)
	}
	return nil
}
