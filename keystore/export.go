package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/audit"
)

// Op of Export: sealed or not, keys leave the store.
var exportOp = &Op{Name: "Export", Class: OpRelease, Urgent: true}

// Snapshot is what a store says about itself at one commit.
type Snapshot struct {
	StoreID    [16]byte
	Objects    uint64 // destroyed ones too
	Tombstones uint64
	Records    uint64 // of other kinds
	Generation uint32 // of the store key
	Commits    uint64
	Position   audit.Position // of the journal, as that commit has it
	Clock      int64          // seconds; the highest that the store had seen
	Stamp      uint64         // of the newest object's identifier; see StampTime
	Meta       []byte         // the store's first record, for CheckRootKey
}

// A Sink takes an export. What it is given is valid during the call.
type Sink interface {
	// Begin comes first, once.
	Begin(Snapshot) error
	// Record comes for each key, family by family, ascending.
	Record(key, value []byte) error
}

// StampTime is the moment at which the object of that stamp was made; the zero
// time if there never was one.
func StampTime(stamp uint64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(stamp >> 12)).UTC()
}

// Export hands all that the store holds to a sink, as it lies on disk: sealed,
// and so of use only to who has the root key, which is not among it. All of it
// is from one snapshot, and the store serves meanwhile.
//
// What is written while a snapshot is open cannot reuse the room of what it
// replaces: the sink has to be quick, and ctx to end for one that is not. That
// the export was begun, by whom and why, is in the journal before the sink is
// given the first byte. Administrators only.
func (s *Store) Export(ctx context.Context, p *Principal, reason string, sink Sink) error {
	if err := s.recordExport(ctx, p, reason); err != nil {
		return fmt.Errorf("exporting the store: %w", err)
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closing.Load() {
		return ErrClosed
	}
	err := s.cfg.Backend.View(ctx, func(kv KV) error { return s.export(ctx, kv, sink) })
	if err != nil {
		return fmt.Errorf("exporting the store: %w", err)
	}
	return nil
}

func (s *Store) recordExport(ctx context.Context, p *Principal, reason string) error {
	return s.Do(ctx, p, false, workFunc(func(b *Batch) error {
		return b.Do(exportOp, actionFunc(func(tx *Tx) error { return tx.Explain(reason) }))
	}))
}

// Explain notes why the item is done, for its journal entries. Administrators only.
func (tx *Tx) Explain(reason string) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	tx.reason = reason
	return nil
}

func (s *Store) export(ctx context.Context, kv KV, sink Sink) error {
	var box sealer
	box.init(s.keys)
	snapshot, err := box.snapshot(kv)
	if err != nil {
		return err
	}
	if err := sink.Begin(snapshot); err != nil {
		return err
	}
	for i := range len(families) {
		var failed error
		err := kv.Range([]byte{families[i]}, nil, func(key, value []byte) bool {
			if failed = ctx.Err(); failed == nil {
				failed = sink.Record(key, value)
			}
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sealer) snapshot(kv KV) (Snapshot, error) {
	h, _, err := s.readHead(kv, nil)
	if err != nil {
		return Snapshot{}, err
	}
	first, err := kv.Get(metaKey)
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{
		StoreID: s.keys.store, Objects: h.objects, Tombstones: h.tombstones, Records: h.records,
		Generation: s.keys.current, Commits: h.commits, Position: h.position, Clock: h.clock, Stamp: h.stamp,
		Meta: bytes.Clone(first),
	}, nil
}

// origin is a hash of what a root key opened: the first record and the wrapped
// store keys. A file whose copy of them went bad while it was open would
// otherwise go on serving, and into every backup.
func origin(kv KV) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, family := range []byte{familyMeta, familyKey} {
		err := kv.Range([]byte{family}, nil, func(key, value []byte) bool {
			_, _ = fmt.Fprintf(h, "%d %d ", len(key), len(value))
			_, _ = h.Write(key)
			_, _ = h.Write(value)
			return true
		})
		if err != nil {
			return sum, err
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
