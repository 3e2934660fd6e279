package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// importBytes are the bytes of one commit of an import.
const importBytes = 8 << 20

// An Importer fills an empty backend with what an Export gave. It is a Sink.
// Until Finish the backend holds no store: the records without which none opens
// are written last. Not for concurrent use.
type Importer struct {
	ctx     context.Context
	backend Backend
	last    []byte
	pending []pair
	bytes   int
	held    []pair // of the families that make it a store
}

type pair struct{ key, value []byte }

// NewImporter returns an Importer into a backend that has no keys; ErrExists if
// it has any.
func NewImporter(ctx context.Context, b Backend) (*Importer, error) {
	err := b.View(ctx, func(kv KV) error {
		family, err := occupied(kv)
		if err == nil && family != 0 {
			err = fmt.Errorf("%w: it has keys of family %q; nothing was changed", ErrExists, family)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("importing a store: %w", err)
	}
	return &Importer{ctx: ctx, backend: b}, nil
}

// Begin implements Sink.
func (i *Importer) Begin(Snapshot) error { return nil }

// Record takes the next key. Keys must come in the order of Export: one that
// comes twice would otherwise be taken for the later of the two.
func (i *Importer) Record(key, value []byte) error {
	if len(key) < 2 || len(key) > 256 || len(value) > maxRecord+overhead || strings.IndexByte(families, key[0]) < 0 {
		return fmt.Errorf("%w: a key of %d bytes with a value of %d", ErrInvalid, len(key), len(value))
	}
	if i.last != nil && !exportedBefore(i.last, key) {
		return fmt.Errorf("%w: its records are not in order", ErrInvalid)
	}
	i.last = append(i.last[:0], key...)
	p := pair{bytes.Clone(key), bytes.Clone(value)}
	if p.value == nil {
		p.value = []byte{}
	}
	if key[0] == familyMeta || key[0] == familyHead {
		i.held = append(i.held, p)
		return nil
	}
	i.pending = append(i.pending, p)
	if i.bytes += len(key) + len(value); i.bytes < importBytes {
		return nil
	}
	return i.flush()
}

// exportedBefore tells whether Export gives a before b.
func exportedBefore(a, b []byte) bool {
	fa, fb := strings.IndexByte(families, a[0]), strings.IndexByte(families, b[0])
	return fa < fb || fa == fb && bytes.Compare(a, b) < 0
}

// Finish writes the rest, and with it what makes the backend a store.
func (i *Importer) Finish() error {
	i.pending = append(i.pending, i.held...)
	i.held = nil
	return i.flush()
}

func (i *Importer) flush() error {
	err := i.backend.Update(i.ctx, func(kv KV) error {
		for _, p := range i.pending {
			if err := kv.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	}, func(KV) error { return nil })
	if err != nil {
		return fmt.Errorf("importing a store: %w", err)
	}
	i.pending, i.bytes = i.pending[:0], 0
	return nil
}

// CheckRootKey tells whether a root key is the one of the store whose first
// record meta is. Errors: ErrWrongRootKey, ErrCorrupt, ErrFormat.
func CheckRootKey(meta []byte, root *secret.Bytes) error {
	m, err := decodeMeta(meta)
	if err != nil {
		return err
	}
	return m.checkKey(root)
}

func (m *meta) checkKey(root *secret.Bytes) error {
	if err := checkRootKey(root); err != nil {
		return err
	}
	check, err := checkValue(root, m.store)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(check, m.check) != 1 {
		return fmt.Errorf("%w: the store was made with another one; find the root key that belongs to store %x", ErrWrongRootKey, m.store)
	}
	return nil
}

// CheckCopy is Check over a copy of a store, which need not have a journal: what
// position the copy's journal has to have is in the snapshot that is returned.
// It writes nothing.
func CheckCopy(ctx context.Context, b Backend, root *secret.Bytes) (r Report, snapshot Snapshot, err error) {
	var keys *keyring
	err = b.View(ctx, func(kv KV) (err error) {
		keys, err = openKeys(kv, root)
		return err
	})
	if err != nil {
		return r, snapshot, fmt.Errorf("checking a copy: %w", err)
	}
	defer keys.clear()
	s := &Store{cfg: Config{}.withDefaults(), keys: keys}
	return s.checkCopy(ctx, b)
}

// CheckCopy is Check over a copy of this very store, which has to be what an
// Export of it gave to an Importer. The root key is not at hand any more, so the
// copy's wrapped keys are compared with those that it has opened.
func (s *Store) CheckCopy(ctx context.Context, b Backend) (r Report, snapshot Snapshot, err error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closing.Load() {
		return r, snapshot, ErrClosed
	}
	return s.checkCopy(ctx, b)
}

func (s *Store) checkCopy(ctx context.Context, b Backend) (Report, Snapshot, error) {
	var snapshot Snapshot
	c := &checker{store: s, ctx: ctx}
	err := b.View(ctx, func(kv KV) error {
		sum, err := origin(kv)
		if err != nil {
			return err
		}
		if sum != s.keys.origin {
			return fmt.Errorf("%w: the copy's format record or wrapped store keys are not those that the root key opened", ErrCorrupt)
		}
		var box sealer
		box.init(s.keys)
		if err := box.checkCanary(kv); err != nil {
			return err
		}
		if snapshot, err = box.snapshot(kv); err != nil {
			return err
		}
		c.store = &Store{cfg: s.cfg, keys: s.keys}
		c.store.clock.Store(max(s.clock.Load(), snapshot.Clock)) // it may have seen a later time than this machine
		return c.run(kv)
	})
	if err != nil {
		return c.report, snapshot, fmt.Errorf("checking a copy: %w", err)
	}
	return c.report, snapshot, nil
}

// Fork gives a store that an Importer filled a life of its own: its journal,
// which begins at the copy's position, gets a first entry with the reason, and
// the store a head that names it. Open opens it then.
//
// The store that the copy was made of may live on, with the same keys. So that
// no record of the one ever passes for a record of the other, the versions that
// the fork gives begin at a random place far above those of the copy.
//
// Errors: as Open's; nothing is written then.
func Fork(ctx context.Context, cfg Config, reason string) error {
	if err := fork(ctx, cfg.withDefaults(), reason); err != nil {
		return fmt.Errorf("restoring the store: %w", err)
	}
	return nil
}

func fork(ctx context.Context, cfg Config, reason string) error {
	var h head
	var box sealer
	err := cfg.Backend.View(ctx, func(kv KV) error {
		keys, err := openKeys(kv, cfg.RootKey)
		if err != nil {
			return err
		}
		box.init(keys)
		return box.checkCanary(kv)
	})
	if err != nil {
		return err
	}
	defer box.keys.clear()
	err = cfg.Backend.Update(ctx, func(kv KV) (err error) {
		if h, _, err = box.readHead(kv, nil); err != nil {
			return err
		}
		if end := cfg.Journal.End(); end != h.position {
			return fmt.Errorf("%w: it ends at sequence %d, the copy's is %d", ErrForeignJournal, end.Seq, h.position.Seq)
		}
		return nil
	}, func(kv KV) (err error) {
		h.archived = cfg.Journal.Base().Seq
		h.writes += forkJump()
		h.clock = max(h.clock, cfg.Now().Unix())
		h.position, err = cfg.Journal.Append(audit.Urgent, audit.Event{
			Class: audit.Note, Outcome: audit.Success, Operation: "Store Restored", Time: max(h.clock*1e9, cfg.Now().UnixNano()), Reason: reason,
		})
		if err != nil {
			return errors.Join(ErrAudit, err)
		}
		return box.writeHead(kv, &h)
	})
	if err == nil {
		cfg.Journal.SetCommitted(h.position.Seq)
	}
	return err
}

// forkJump is between 2^40 and 2^41: two million restores of restores are below
// the end of the numbers, and two forks of one copy meet by chance in about one
// of 2^40 / (what they write).
func forkJump() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return 1<<40 | binary.BigEndian.Uint64(b[:])>>24
}
