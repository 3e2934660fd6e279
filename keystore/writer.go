package keystore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/audit"
)

const (
	queueSize = 1024
	maxGroup  = 256  // messages in one commit
	maxEvents = 4096 // events after which a group takes no more messages
	// maxBytes are the bytes written after which it takes no more: each is held
	// in memory two or three times until the commit, and a client decides how
	// large its objects are.
	maxBytes = 16 << 20
)

// A request is a message that waits for the writer.
type request struct {
	batch *Batch
	state atomic.Int32
	own   error      // what its run returned
	done  chan error // has room for the outcome
}

// States of a request. Who moves it from queued decides.
const (
	queued int32 = iota
	started
	abandoned
)

// change queues b and waits for its outcome.
func (s *Store) change(ctx context.Context, b *Batch) error {
	if err := s.failure(); err != nil {
		s.recycle(b)
		return err
	}
	r := &request{batch: b, done: make(chan error, 1)}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		s.recycle(b)
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		s.recycle(b)
		return err
	case <-ctx.Done():
		if r.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err() // the writer will pass over it
		}
		err := <-r.done
		s.recycle(b)
		return err
	}
}

// write is the one writer. It takes whatever queued while the last group was
// committed: nobody waits for company.
func (s *Store) write() {
	defer close(s.stopped)
	g := &group{store: s}
	g.box.init(s.keys)
	var taken []*request
	for r := range s.queue {
		taken = s.drain(append(taken[:0], r))
		for rest := taken; len(rest) > 0; {
			rest = rest[g.commit(rest):]
		}
		clear(taken)
	}
}

func (s *Store) drain(taken []*request) []*request {
	for len(taken) < maxGroup {
		select {
		case r, ok := <-s.queue:
			if !ok {
				return taken
			}
			taken = append(taken, r)
		default:
			return taken
		}
	}
	return taken
}

// A group is the messages of one commit. The writer has one and reuses it.
type group struct {
	store *Store
	box   sealer
	buf   []byte

	live     []*request
	full     bool // the disk is
	clockRun bool // commit the head though nothing changed

	// Set anew by each run.
	ran       int // of live, in this transaction
	head      head
	now       int64
	events    []audit.Event
	fatal     bool // a message's write failed
	prepared  bool // the journal has the intents
	committed bool // there is something to commit
}

// commit takes the first n of the requests through one transaction, and
// answers them.
func (g *group) commit(requests []*request) (n int) {
	g.live = g.live[:0]
	for _, r := range requests {
		if r.state.CompareAndSwap(queued, started) {
			g.live = append(g.live, r)
		}
	}
	if len(g.live) == 0 {
		return len(requests)
	}
	begun := time.Now() // a duration for the metrics, no date
	g.full = g.store.lowSpace()
	err := g.update()
	if errors.Is(err, ErrDiskFull) && !g.prepared && !g.full {
		g.full = true // again, with the urgent changes only
		err = g.update()
	}
	if err != nil && g.fatal && !g.prepared && len(g.live) > 1 {
		g.oneByOne()
		return len(requests)
	}
	g.store.cfg.Metrics.committed(g.ran, time.Since(begun).Seconds())
	return g.answer(requests, err)
}

// oneByOne gives each message a group of its own, so that one that meets a
// damaged page does not take the others with it.
func (g *group) oneByOne() {
	all := append([]*request(nil), g.live...)
	for _, r := range all {
		g.live = append(g.live[:0], r)
		g.answer(g.live, g.update())
	}
}

// answer tells those that ran, or all if the transaction failed, how it ended.
// The others, behind a group that grew too large, are for the next one.
func (g *group) answer(requests []*request, err error) (n int) {
	done := g.live[:g.ran]
	if err != nil {
		done = g.live
	}
	for _, r := range done {
		if r.own == nil {
			r.own = err
		}
		r.done <- r.own
	}
	rest := g.live[len(done):]
	for _, r := range rest {
		r.state.Store(queued)
	}
	if len(rest) == 0 {
		return len(requests)
	}
	for n = range requests {
		if requests[n] == rest[0] {
			break
		}
	}
	return n
}

// update runs the transaction once, tells the journal that it is committed,
// and stops the store when it cannot know what is on disk.
func (g *group) update() (err error) {
	s := g.store
	if err := s.failure(); err != nil {
		g.ran, g.prepared, g.fatal = 0, false, false
		return err
	}
	g.prepared, g.committed, g.fatal = false, false, false
	err = g.transaction()
	switch {
	case err == nil && g.committed:
		h := g.head
		s.head.Store(&h)
		s.cfg.Journal.SetCommitted(h.position.Seq)
	case err == nil:
	case g.prepared, errors.Is(err, ErrCommitUnknown), errors.Is(err, ErrFailed),
		errors.Is(err, ErrAudit) && !errors.Is(err, audit.ErrTooLarge):
		s.fail(err)
	}
	return err
}

// transaction contains a panic of the backend.
func (g *group) transaction() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w", ErrCommitUnknown, g.store.panicked(p))
		}
	}()
	return g.store.cfg.Backend.Update(context.Background(), g.run, g.prepare)
}

// run is the transaction's work. It may run more than once.
func (g *group) run(kv KV) (err error) {
	s := g.store
	g.ran, g.now, g.events = 0, s.now(), g.events[:0]
	if g.head, g.buf, err = g.box.readHead(kv, g.buf); err != nil {
		return err
	}
	if seen := s.head.Load(); seen != nil && g.head.commits < seen.commits {
		return fmt.Errorf("%w while it was open: commit %d was seen, the file has %d", ErrRolledBack, seen.commits, g.head.commits)
	}
	wrote := 0
	for _, r := range g.live {
		b := r.batch
		b.full = g.full
		b.begin(kv, &g.head, g.now)
		r.own = b.run()
		if b.tx.fatal != nil {
			g.fatal = true
			return b.tx.fatal
		}
		g.ran++
		wrote += b.tx.wrote
		if g.events = append(g.events, b.events...); len(g.events) > maxEvents || wrote > maxBytes {
			break
		}
	}
	return nil
}

// prepare writes the journal, and then the head that names the position just
// reached. It runs once, after the run that counts.
func (g *group) prepare(kv KV) error {
	durable, urgent, changed := false, false, g.clockRun
	for _, r := range g.live[:g.ran] {
		durable = durable || r.batch.durable
		urgent = urgent || r.batch.urgent
		changed = changed || r.batch.intent || len(r.batch.tx.undo) > 0
	}
	if !durable {
		for i := range g.events {
			g.store.cfg.Journal.Buffer(g.events[i])
		}
	} else {
		pos, err := g.store.append(urgent, g.events)
		if err != nil {
			return err
		}
		g.head.position = pos
	}
	g.prepared = true
	if !changed {
		return nil
	}
	g.committed = true
	g.head.clock = g.now
	return g.box.writeHead(kv, &g.head)
}

// commitHead writes the clock down. It must not run beside the writer.
func (s *Store) commitHead() error {
	g := &group{store: s, clockRun: true}
	g.box.init(s.keys)
	return g.update()
}
