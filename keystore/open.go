package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// format is the version of everything on disk.
const format = 1

var (
	metaKey   = []byte{familyMeta, 0}
	canaryKey = []byte{familyCanary, 0}
)

// NewStoreID returns an identifier for a new store and its journal.
func NewStoreID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// meta is in clear. A checksum follows it, so that a damaged one is not taken
// for a wrong root key.
type meta struct {
	format int32
	store  [16]byte
	check  []byte
}

func (m *meta) encode() []byte {
	var w ttlv.Writer
	all := w.Begin(tagMeta)
	w.Integer(tagFormat, m.format)
	w.ByteString(tagStoreID, m.store[:])
	w.ByteString(tagCheckValue, m.check)
	w.End(all)
	sum := sha256.Sum256(w.Bytes())
	return append(w.Bytes(), sum[:]...)
}

func decodeMeta(b []byte) (m meta, err error) {
	damaged := fmt.Errorf("%w: its first record (format and identifier) is damaged; restore a backup", ErrCorrupt)
	n := len(b) - sha256.Size
	if n < 0 {
		return m, damaged
	}
	if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return m, damaged
	}
	it, err := ttlv.Parse(b[:n])
	if err != nil {
		return m, damaged
	}
	m.format, err = it.Find(tagFormat).Integer()
	id, err1 := it.Find(tagStoreID).Bytes()
	check, err2 := it.Find(tagCheckValue).Bytes()
	if err := errors.Join(err, err1, err2); err != nil || len(id) != len(m.store) {
		return m, damaged
	}
	m.check = append(m.check, check...)
	copy(m.store[:], id)
	if m.format != format {
		return m, fmt.Errorf("%w: %d, this version knows %d; use the version that wrote it", ErrFormat, m.format, format)
	}
	return m, nil
}

func readMeta(kv KV) (m meta, err error) {
	b, err := kv.Get(metaKey)
	if err != nil {
		return m, err
	}
	if b != nil {
		return decodeMeta(b)
	}
	if family, err := occupied(kv); err != nil || family != 0 {
		return m, errors.Join(err, fmt.Errorf("%w: its first record is gone, others are there; restore a backup", ErrCorrupt))
	}
	return m, fmt.Errorf("%w: the backend is empty; `keyreeve init` makes a new store, `keyreeve backup restore` brings one back from a backup", ErrNoStore)
}

// occupied returns a family that has keys, 0 if none has.
func occupied(kv KV) (family byte, err error) {
	for i := range len(families) {
		err := kv.Range([]byte{families[i]}, nil, func(_, _ []byte) bool {
			family = families[i]
			return false
		})
		if err != nil || family != 0 {
			return family, err
		}
	}
	return 0, nil
}

// StoreID returns the identifier of the store in a backend, with which its
// journal has to be opened. Errors: ErrNoStore, ErrCorrupt, ErrFormat.
func StoreID(ctx context.Context, b Backend) (id [16]byte, err error) {
	err = b.View(ctx, func(kv KV) error {
		m, err := readMeta(kv)
		id = m.store
		return err
	})
	if err != nil {
		return id, fmt.Errorf("reading the store's identifier: %w", err)
	}
	return id, nil
}

func checkRootKey(root *secret.Bytes) error {
	if n := root.Len(); n != RootKeySize {
		return fmt.Errorf("%w: it has %d bytes and must have %d", ErrWrongRootKey, n, RootKeySize)
	}
	return nil
}

// Create makes an empty store in an empty backend: format and store id, the
// first store key, a canary and the head. Errors: ErrExists (nothing is
// changed), ErrWrongRootKey (its length), and the backend's and journal's.
func Create(ctx context.Context, cfg Config) error {
	if err := create(ctx, cfg.withDefaults()); err != nil {
		return fmt.Errorf("creating the store: %w", err)
	}
	return nil
}

func create(ctx context.Context, cfg Config) error {
	if err := checkRootKey(cfg.RootKey); err != nil {
		return err
	}
	if cfg.StoreID == ([16]byte{}) {
		return fmt.Errorf("%w: no store identifier", ErrInvalid)
	}
	check, err := checkValue(cfg.RootKey, cfg.StoreID)
	if err != nil {
		return err
	}
	key, wrapped, err := newStoreKey(cfg.RootKey, cfg.StoreID, 1)
	if err != nil {
		return err
	}
	defer key.Clear()
	keys := &keyring{store: cfg.StoreID}
	if err := keys.add(key); err != nil {
		return err
	}
	defer keys.clear()
	var box sealer
	box.init(keys)
	h := head{clock: cfg.Now().Unix(), indexed: sortedCopy(cfg.IndexedAttributes)}
	first := meta{format, cfg.StoreID, check}
	err = cfg.Backend.Update(ctx, func(kv KV) error {
		if family, err := occupied(kv); err != nil || family != 0 {
			return errors.Join(err, fmt.Errorf("%w: it has keys of family %q; nothing was changed", ErrExists, family))
		}
		return errors.Join(kv.Put(metaKey, first.encode()), kv.Put(storeKeyKey(1), wrapped),
			kv.Put(canaryKey, box.seal(familyCanary, single, 1, newCanary())))
	}, func(kv KV) (err error) {
		h.commits, h.archived = 0, cfg.Journal.Base().Seq
		h.position, err = cfg.Journal.Append(audit.Urgent, audit.Event{Class: audit.Note, Outcome: audit.Success, Operation: "Store Created"})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAudit, err)
		}
		return box.writeHead(kv, &h)
	})
	if err == nil {
		cfg.Journal.SetCommitted(h.position.Seq)
	}
	return err
}

func sortedCopy(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func storeKeyKey(generation uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{familyKey}, generation)
}

// newCanary is the record of an object that does not exist, as large as a
// usual one: opening it in place of one that is absent takes the same time.
func newCanary() []byte {
	var value, w ttlv.Writer
	random := make([]byte, 128)
	_, _ = rand.Read(random)
	value.ByteString(tagValue, random)
	item, _ := ttlv.Parse(value.Bytes())
	o := Object{
		Type: SymmetricKey, State: Active, Group: "canary", CryptographicAlgorithm: 3, CryptographicLength: 256,
		HasUsageMask: true, InitialDate: At(1), ActivationDate: At(1), LastChangeDate: At(1),
	}
	o.encode(&w, item)
	return w.Bytes()
}

func (s *sealer) checkCanary(kv KV) error {
	sealed, err := kv.Get(canaryKey)
	if err != nil {
		return fmt.Errorf("reading the canary: %w", err)
	}
	plain, _, err := s.open(nil, familyCanary, single, sealed)
	if err != nil {
		return err
	}
	var o Object
	return o.decode(plain, nil)
}

// Open opens a store and checks that it, its root key and its journal belong
// together and to one moment; how long that takes does not depend on the
// number of objects. Intents that the journal has and the store has not
// committed, as a crash leaves them, become notes in the journal; they were
// never answered.
//
// Errors: ErrNoStore, ErrWrongRootKey, ErrRolledBack, ErrForeignJournal,
// ErrJournalCut, ErrCorrupt, ErrFormat; nothing is written then.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		cfg: cfg.withDefaults(), indexed: sortedCopy(cfg.IndexedAttributes),
		queue: make(chan *request, queueSize), closed: make(chan struct{}), stopped: make(chan struct{}),
	}
	s.batches.New = s.newBatch
	if err := s.open(ctx); err != nil {
		if s.keys != nil {
			s.keys.clear()
		}
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	s.cfg.RootKey = nil
	go s.write()
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	var h head
	err := s.cfg.Backend.View(ctx, func(kv KV) (err error) {
		if s.keys, err = openKeys(kv, s.cfg.RootKey); err != nil {
			return err
		}
		var box sealer
		box.init(s.keys)
		if err := box.checkCanary(kv); err != nil {
			return err
		}
		sealed, err := kv.Get(canaryKey)
		if err != nil {
			return err
		}
		s.canary = bytes.Clone(sealed)
		h, _, err = box.readHead(kv, nil)
		return err
	})
	if err != nil {
		return err
	}
	s.clock.Store(h.clock)
	s.uids.last = h.stamp
	lost, err := s.compareJournal(&h)
	if err != nil {
		return err
	}
	s.warnClock()
	s.messages.Store(uint64(s.now()) << 24) // so that numbers differ over restarts
	return s.begin(&h, lost)
}

// openKeys opens the store keys with the root key.
func openKeys(kv KV, root *secret.Bytes) (*keyring, error) {
	m, err := readMeta(kv)
	if err != nil {
		return nil, err
	}
	if err := m.checkKey(root); err != nil {
		return nil, err
	}
	keys := &keyring{store: m.store}
	if keys.origin, err = origin(kv); err != nil {
		return nil, err
	}
	for generation := uint32(1); ; generation++ {
		wrapped, err := kv.Get(storeKeyKey(generation))
		if err != nil {
			return nil, err
		}
		if wrapped == nil {
			break
		}
		key, err := openStoreKey(root, m.store, generation, wrapped)
		if err != nil {
			return nil, err
		}
		err = keys.add(key)
		key.Clear()
		if err != nil {
			return nil, err
		}
	}
	if keys.current == 0 {
		return nil, fmt.Errorf("%w: its keys are gone; restore a backup", ErrCorrupt)
	}
	return keys, nil
}

// compareJournal finds out whether store and journal are of one moment, and
// returns the intents that the store has not committed.
func (s *Store) compareJournal(h *head) (lost []audit.Event, err error) {
	j, at := s.cfg.Journal, h.position.Seq
	if end := j.End().Seq; end < at {
		return nil, fmt.Errorf("%w: it ends at sequence %d, the store has committed %d: an old journal was put back, or its end was removed; put the right journal back, or restore store and journal from one backup", ErrJournalCut, end, at)
	}
	if base := j.Base().Seq; base > at || base > h.archived {
		return nil, fmt.Errorf("%w: it begins after sequence %d, and only what is up to %d was archived: its beginning was removed, or store and journal are of two times; put the missing segments back", ErrJournalCut, base, h.archived)
	}
	hash, ok, err := j.HashAt(at)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAudit, err)
	}
	if !ok || hash != h.position.Hash {
		return nil, fmt.Errorf("%w: at sequence %d it is not what the store has seen; put the right journal back, or restore store and journal from one backup", ErrForeignJournal, at)
	}
	if marker := j.Marker(); marker > at {
		return nil, fmt.Errorf("%w: the journal says that sequence %d was committed, the store ends at %d: an old store was put back; put the newest store back, or restore store and journal from one backup", ErrRolledBack, marker, at)
	}
	latest := int64(0)
	err = j.Since(at, func(seq uint64, e audit.Event) error {
		latest = max(latest, e.Time/1e9)
		if e.Outcome == audit.Success && (e.Class == audit.Change || e.Class == audit.Admin) {
			e.Class, e.Outcome, e.Time = audit.Note, audit.Failure, 0
			e.Reason = fmt.Sprintf("%s, sequence %d: a crash came before it was committed; it was not answered", e.Operation, seq)
			e.Operation = "Not Committed"
			lost = append(lost, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAudit, err)
	}
	s.clock.Store(max(s.clock.Load(), latest))
	return lost, nil
}

// warnClock says that dates will stand still for a while.
func (s *Store) warnClock() {
	const slack = 60
	if ahead := s.clock.Load() - s.cfg.Now().Unix(); ahead > slack {
		s.cfg.Logger.Warn("keystore: the machine's clock was set back; until it has caught up, the store's stands still", "seconds", ahead)
	}
}

// noteChunk is how many notes go into one append.
const noteChunk = 256

// begin writes down that the store was opened, what a crash has lost, and, if
// the list of indexed attributes has changed, the indexes.
func (s *Store) begin(h *head, lost []audit.Event) error {
	s.head.Store(h)
	for chunk := range slices.Chunk(lost, noteChunk) {
		if _, err := s.append(true, chunk); err != nil {
			return err
		}
	}
	reason := ""
	if len(lost) > 0 {
		reason = fmt.Sprintf("%d changes that a crash interrupted were not made", len(lost))
	}
	pos, err := s.append(true, []audit.Event{{
		Class: audit.Note, Outcome: audit.Success, Operation: "Store Opened", Time: max(s.clock.Load()*1e9, s.cfg.Now().UnixNano()),
		Reason: reason,
	}})
	if errors.Is(err, ErrDiskFull) && len(lost) == 0 && slices.Equal(h.indexed, s.indexed) {
		s.cfg.Logger.Error("keystore: opened on a full disk, reading only until there is space", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	g := &openGroup{group: group{store: s, clockRun: true}, position: pos}
	g.box.init(s.keys)
	return g.commitOpen()
}
