package keystoretest

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
)

// A Tape is what a journal in memory has made durable: it outlives the journal
// as a disk outlives a process. The zero Tape is empty.
type Tape struct {
	mu     sync.Mutex
	base   audit.Position
	groups []tapeGroup
}

// tapeGroup is what one Append, or what was buffered before it, made durable.
type tapeGroup struct {
	events []audit.Event
	end    audit.Position
	marker uint64
}

// NewTape returns a tape that begins at a position, as the journal of a store
// does that was restored from a backup.
func NewTape(base audit.Position) *Tape {
	return &Tape{base: base, groups: []tapeGroup{{end: base}}}
}

// Open returns a journal that goes on where the tape ends.
func (t *Tape) Open() *MemoryJournal {
	j := &MemoryJournal{tape: t, marker: t.last().marker}
	j.onDisk = j.marker
	return j
}

// Snapshot returns a copy of the tape, as a file kept aside would be.
func (t *Tape) Snapshot() *Tape {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Tape{groups: append([]tapeGroup(nil), t.groups...)}
}

// Restore puts back what Snapshot kept.
func (t *Tape) Restore(old *Tape) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups = append([]tapeGroup(nil), old.groups...)
}

// Events returns all durable events, in order.
func (t *Tape) Events() (all []audit.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.groups {
		all = append(all, g.events...)
	}
	return all
}

// last returns the last group; the zero group of an empty tape.
func (t *Tape) last() tapeGroup {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups) == 0 {
		return tapeGroup{}
	}
	return t.groups[len(t.groups)-1]
}

// chain returns the position after the events.
func chain(at audit.Position, events []audit.Event) audit.Position {
	if len(events) == 0 {
		return at
	}
	sum := sha256.Sum256(fmt.Appendf(at.Hash[:], "%v", events))
	return audit.Position{Seq: at.Seq + uint64(len(events)), Hash: sum}
}

// MemoryJournal is a keystore.Journal in memory. As in audit, what is buffered
// and the marker become durable with the next group, or are lost.
type MemoryJournal struct {
	tape *Tape

	mu       sync.Mutex
	buffered []audit.Event
	marker   uint64
	onDisk   uint64
	full     bool
	failed   error
}

var _ keystore.Journal = (*MemoryJournal)(nil)

// Fail makes the journal fail as audit does after a failed sync: for good.
func (j *MemoryJournal) Fail() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = fmt.Errorf("%w: a sync failed", audit.ErrFailed)
}

// SetFull makes the journal's disk full, or not.
func (j *MemoryJournal) SetFull(full bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = full
}

// Append implements keystore.Journal.
func (j *MemoryJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.failed != nil:
		return audit.Position{}, j.failed
	case j.full && p != audit.Urgent:
		return audit.Position{}, audit.ErrDiskFull
	}
	group := append(append([]audit.Event(nil), events...), j.buffered...)
	j.buffered = nil
	end := chain(j.tape.last().end, group)
	j.tape.mu.Lock()
	defer j.tape.mu.Unlock()
	j.tape.groups = append(j.tape.groups, tapeGroup{events: group, end: end, marker: j.marker})
	return end, nil
}

// Buffer implements keystore.Journal.
func (j *MemoryJournal) Buffer(e audit.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.buffered) < 1024 {
		j.buffered = append(j.buffered, e)
	}
}

// Flush makes what is buffered, and the marker, durable.
func (j *MemoryJournal) Flush() error {
	_, err := j.Append(audit.Urgent)
	return err
}

// SetCommitted implements keystore.Journal.
func (j *MemoryJournal) SetCommitted(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq > j.tape.last().end.Seq {
		panic(fmt.Errorf("%w: sequence %d is committed before it is in the journal", ErrPolice, seq))
	}
	j.marker = max(j.marker, seq)
}

// Base implements keystore.Journal: nothing is ever archived.
func (j *MemoryJournal) Base() audit.Position { return j.tape.base }

// End implements keystore.Journal.
func (j *MemoryJournal) End() audit.Position { return j.tape.last().end }

// Marker implements keystore.Journal.
func (j *MemoryJournal) Marker() uint64 { return j.onDisk }

// HashAt implements keystore.Journal.
func (j *MemoryJournal) HashAt(seq uint64) (hash [32]byte, ok bool, err error) {
	j.tape.mu.Lock()
	defer j.tape.mu.Unlock()
	for _, g := range j.tape.groups {
		if g.end.Seq == seq {
			hash, ok = g.end.Hash, true
		}
	}
	return hash, ok || seq == 0, nil
}

// Since implements keystore.Journal.
func (j *MemoryJournal) Since(seq uint64, fn func(seq uint64, e audit.Event) error) error {
	j.tape.mu.Lock()
	groups := j.tape.groups
	j.tape.mu.Unlock()
	for _, g := range groups {
		first := g.end.Seq - uint64(len(g.events))
		for i, e := range g.events {
			if at := first + uint64(i) + 1; at > seq {
				if err := fn(at, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
