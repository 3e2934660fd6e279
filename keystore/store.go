package keystore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/audit"
)

// A Store is an open store. Its methods may be called from many goroutines.
type Store struct {
	cfg     Config
	indexed []string // sorted
	keys    *keyring
	canary  []byte // the sealed canary, as it was at Open

	uids     uidSource
	clock    atomic.Int64  // seconds; the highest seen
	messages atomic.Uint64 // number of the last message
	head     atomic.Pointer[head]
	failed   atomic.Pointer[failure]
	batches  sync.Pool

	inventory sync.Mutex // held over a report, and over an administrator's change of a vCenter

	gate    sync.RWMutex // held for reading by whoever uses the store, for writing by Close
	closing atomic.Bool
	close   sync.Once
	closed  chan struct{}
	queue   chan *request
	stopped chan struct{} // the writer has
}

type failure struct{ cause error }

// NewUID returns a new Unique Identifier, greater than those of all objects
// that were committed before Open and all that this process has made. Call it in prepare, never in Apply, which may run again.
func (s *Store) NewUID() UID { return s.uids.next(s.cfg.Now()) }

// now is the store's clock: it follows the machine's, but never back.
func (s *Store) now() int64 {
	t := s.cfg.Now().Unix()
	for {
		seen := s.clock.Load()
		if t <= seen {
			return seen
		}
		if s.clock.CompareAndSwap(seen, t) {
			return t
		}
	}
}

// Do is the one door: it runs a message's work in one transaction, and returns
// after everything is durable that has to be: changes committed, releases in
// the journal. Without changes the work sees a read-only snapshot; should it
// write all the same (Get of a Fresh object), it is run again as a change.
//
// A context that ends while the work waits for its turn cancels it; once
// started, work is finished and its outcome returned.
//
// If the error is not nil, no item's answer may be sent as success. It is what
// Run returned, or wraps ErrCommitUnknown, ErrFailed, ErrDiskFull, ErrAudit,
// ErrCorrupt, ErrClosed or the context's error.
func (s *Store) Do(ctx context.Context, p *Principal, changes bool, w Work) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closing.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b := s.batches.Get().(*Batch)
	b.work, b.tx.principal, b.message = w, p, s.messages.Add(1)
	b.tx.box.init(s.keys)
	if !changes {
		err := s.view(ctx, b)
		if !b.tx.promote {
			s.recycle(b)
			return err
		}
	}
	return s.change(ctx, b)
}

func (s *Store) newBatch() any {
	b := &Batch{tx: Tx{store: s}}
	b.viewFn = func(kv KV) error {
		b.begin(kv, nil, s.now())
		return b.run()
	}
	return b
}

// recycle keeps a batch for another message. What it knows of this one goes.
func (s *Store) recycle(b *Batch) {
	clear(b.events)
	clear(b.tx.undo[:cap(b.tx.undo)])
	b.tx.undo = b.tx.undo[:0]
	b.work, b.tx.principal, b.tx.kv, b.tx.head, b.tx.op = nil, nil, nil, nil, nil
	s.batches.Put(b)
}

// view runs b on a snapshot, and then makes its releases durable.
func (s *Store) view(ctx context.Context, b *Batch) error {
	b.tx.promote, b.durable, b.events = false, false, b.events[:0]
	err := s.cfg.Backend.View(ctx, b.viewFn)
	if b.tx.promote {
		return nil
	}
	if err != nil && b.durable { // the backend failed after the work had ended
		b.drop(err)
	}
	if !b.durable {
		for i := range b.events {
			s.cfg.Journal.Buffer(b.events[i])
		}
		return err
	}
	_, err = s.append(b.urgent, b.events)
	return err
}

// append makes events durable.
func (s *Store) append(urgent bool, events []audit.Event) (audit.Position, error) {
	priority := audit.Normal
	if urgent {
		priority = audit.Urgent
	}
	pos, err := s.cfg.Journal.Append(priority, events...)
	switch {
	case err == nil:
		return pos, nil
	case errors.Is(err, audit.ErrDiskFull):
		return pos, fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return pos, fmt.Errorf("%w: %w", ErrAudit, err)
}

// fail stops all changes until the store has been opened, and so checked, anew.
func (s *Store) fail(cause error) {
	if s.failed.CompareAndSwap(nil, &failure{cause}) {
		s.cfg.Metrics.stopped()
		s.cfg.Logger.Error("keystore: stopped taking changes; check the disk and restart the server", "err", cause)
	}
}

// failure says why changes are not taken; nil if they are.
func (s *Store) failure() error {
	if f := s.failed.Load(); f != nil {
		return fmt.Errorf("%w: check the disk, then restart the server (what failed: %w)", ErrFailed, f.cause)
	}
	return nil
}

// diskFull is what a change gets while the disk has too little room.
func (s *Store) diskFull() error {
	return fmt.Errorf("%w: less than the %d bytes held back are left, so only Revoke, Destroy and administrators' changes are taken; free space on the store's disk", ErrDiskFull, s.cfg.MinFree)
}

// lowSpace tells whether the guard stops changes that are not urgent.
func (s *Store) lowSpace() bool {
	if s.cfg.FreeSpace == nil {
		return false
	}
	free, err := s.cfg.FreeSpace()
	if err != nil {
		s.cfg.Logger.Warn("keystore: the free space is not known", "err", err)
		return false
	}
	return free < s.cfg.MinFree
}

// Canary opens a sealed record, as a readiness check: it fails when the
// backend cannot be read or a record cannot be opened.
func (s *Store) Canary(ctx context.Context) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closing.Load() {
		return ErrClosed
	}
	return s.cfg.Backend.View(ctx, func(kv KV) error {
		var box sealer
		box.init(s.keys)
		return box.checkCanary(kv)
	})
}

// Info is what an administrator sees of a store.
type Info struct {
	StoreID    [16]byte
	Objects    uint64 // destroyed ones too
	Tombstones uint64
	Records    uint64 // of other kinds
	Generation uint32 // of the store key
	Commits    uint64
	Position   audit.Position // of the journal, at the last commit
	Archived   uint64         // the journal may begin up to this sequence
	Clock      int64          // seconds; the highest that the store has seen
	Stamp      uint64         // of the newest object's identifier; see StampTime
	Failed     error          // why the store takes no changes any more; nil: it does
}

// Info returns figures as of the last commit of this process.
func (s *Store) Info() Info {
	h := s.head.Load()
	return Info{
		StoreID: s.keys.store, Objects: h.objects, Tombstones: h.tombstones, Records: h.records,
		Generation: s.keys.current, Commits: h.commits, Position: h.position, Archived: h.archived,
		Clock: s.clock.Load(), Stamp: h.stamp, Failed: s.failure(),
	}
}

// Close refuses new work, waits for what is under way, and writes the clock
// down. If ctx ends first, its error is returned and the rest goes on by
// itself. Backend and Journal stay open, and are closed by whoever opened them.
func (s *Store) Close(ctx context.Context) error {
	s.closing.Store(true)
	s.close.Do(func() { go s.shut() })
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the store: %w", ctx.Err())
	}
}

func (s *Store) shut() {
	s.gate.Lock()
	defer s.gate.Unlock()
	defer close(s.closed)
	close(s.queue)
	<-s.stopped
	if s.failure() == nil && s.clock.Load() > s.head.Load().clock {
		if err := s.commitHead(); err != nil {
			s.cfg.Logger.Warn("keystore: the clock was not written down at close", "err", err)
		}
	}
	s.keys.clear()
}

// adminPrincipal stands for the server itself.
var adminPrincipal = &Principal{Client: "keyreeve", Admin: true}

// workFunc and actionFunc turn functions into Work and Action.
type (
	workFunc   func(b *Batch) error
	actionFunc func(tx *Tx) error
)

func (f workFunc) Run(b *Batch) error   { return f(b) }
func (f actionFunc) Apply(tx *Tx) error { return f(tx) }
