package keystore

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

type names struct{}

func decodeAttribute(it ttlv.Item, n *names) (Attribute, error) { return Attribute{}, ErrInternal }

// A Store is an open store.
type Store struct {
	cfg  Config
	uids uidSource
}

// NewStoreID returns a new store's identifier.
func NewStoreID() (id [16]byte) { return id }

// StoreID reads a store's identifier, which its journal is opened with.
func StoreID(ctx context.Context, b Backend) (id [16]byte, err error) { return id, ErrNoStore }

// Create makes an empty store in an empty backend.
func Create(ctx context.Context, cfg Config) error { return ErrInternal }

// Open opens a store.
func Open(ctx context.Context, cfg Config) (*Store, error) { return nil, ErrInternal }

// NewUID returns a new Unique Identifier; call it in prepare, never in Apply.
func (s *Store) NewUID() UID { return s.uids.next(s.cfg.Now()) }

// Do is the one door.
func (s *Store) Do(ctx context.Context, p *Principal, changes bool, w Work) error { return ErrInternal }

// Check walks everything on a snapshot.
func (s *Store) Check(ctx context.Context) (Report, error) { return Report{}, ErrInternal }

// Canary opens a sealed record.
func (s *Store) Canary(ctx context.Context) error { return ErrInternal }

// Info tells about the store.
func (s *Store) Info() Info { return Info{} }

// Purge removes tombstones that have expired, at most limit of them (0: 1,000).
func (s *Store) Purge(ctx context.Context, limit int) (purged int, err error) { return 0, ErrInternal }

// Close drains.
func (s *Store) Close(ctx context.Context) error { return ErrInternal }

// Info is what an administrator sees of a store.
type Info struct {
	StoreID    [16]byte
	Objects    uint64
	Tombstones uint64
	Records    uint64 // of other kinds
	Generation uint32 // of the store key
	Position   audit.Position
	Clock      int64 // seconds; the highest that was seen
	Failed     error // why the store takes no changes any more; nil: it does
}

// Report is what Check found.
type Report struct {
	Objects, Tombstones, Records, IndexEntries int
	States                                     map[State]int
	Violations                                 []Violation
}

// Violation of one of the numbered invariants in the package comment.
type Violation struct {
	Invariant int
	Detail    string
}

// Err is nil when there are no violations.
func (r Report) Err() error { return nil }

// Metrics counts what a store does; nil counts nothing.
type Metrics struct{}

// NewMetrics registers.
func NewMetrics(reg prometheus.Registerer) *Metrics { return &Metrics{} }

// A Batch is a message's way to the store.
type Batch struct{ tx Tx }

// Do runs one item.
func (b *Batch) Do(op *Op, a Action) error { return ErrInternal }

// Now is the store's clock for this message, in seconds.
func (b *Batch) Now() int64 { return 0 }

// Tx is what an Action sees.
type Tx struct{ principal *Principal }

// Principal is who asks.
func (tx *Tx) Principal() *Principal { return tx.principal }

// Now is the store's clock for this message, in seconds.
func (tx *Tx) Now() int64 { return 0 }

// Object opens an object to be read.
func (tx *Tx) Object(uid UID) (*Object, error) { return nil, ErrInternal }

// Edit opens an object to be changed.
func (tx *Tx) Edit(uid UID) (*Object, error) { return nil, ErrInternal }

// Create stores a new object.
func (tx *Tx) Create(o *Object) error { return ErrInternal }

// Put stores an object that came from Edit.
func (tx *Tx) Put(o *Object) error { return ErrInternal }

// Activate does KMIP's Activate, and Put.
func (tx *Tx) Activate(o *Object) error { return ErrInternal }

// Revoke does KMIP's Revoke, and Put.
func (tx *Tx) Revoke(o *Object, reason uint32, message string, occurrence Date) error {
	return ErrInternal
}

// Destroy does KMIP's Destroy, and Put.
func (tx *Tx) Destroy(o *Object) error { return ErrInternal }

// Reactivate brings a Deactivated object back; administrators only.
func (tx *Tx) Reactivate(o *Object, reason string) error { return ErrInternal }

// Undestroy brings a destroyed object back from its tombstone; administrators only.
func (tx *Tx) Undestroy(o *Object, reason string) error { return ErrInternal }

// A Query says what Locate looks for: all that is set must hold.
type Query struct {
	Type  ObjectType
	State State
	Terms []Term
	Match func(*Object) bool
}

// A Term is an attribute that an object must have. For Name only the Name
// Value is compared, for all others the whole value.
type Term struct {
	Attribute string
	Value     ttlv.Item
}

// Locate visits what the query finds, oldest first.
func (tx *Tx) Locate(q Query, visit func(o *Object) (more bool)) error { return ErrInternal }

// Kind of a record that is no object.
type Kind byte

// The kinds.
const (
	KindClient Kind = 1 + iota
	KindUser
	KindCA
	KindConfig
)

// Record returns a record's value.
func (tx *Tx) Record(k Kind, id string) ([]byte, error) { return nil, ErrInternal }

// PutRecord writes a record.
func (tx *Tx) PutRecord(k Kind, id string, value []byte) error { return ErrInternal }

// DeleteRecord removes a record.
func (tx *Tx) DeleteRecord(k Kind, id string) error { return ErrInternal }

// Records calls fn for each record of the kind in order of id.
func (tx *Tx) Records(k Kind, fn func(id string, value []byte) error) error { return ErrInternal }
