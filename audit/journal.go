package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

var (
	// ErrFailed is returned by everything that writes after a write or sync has failed: what the disk then holds is
	// unknown, and a sync that is repeated may lie. Whether the events of the failed group are stored is unknown too.
	ErrFailed = errors.New("audit journal failed and takes nothing until the server is restarted")
	// ErrDiskFull is returned when there is no room for an event of this priority. Nothing was written; the journal
	// recovers by itself when there is space again.
	ErrDiskFull = errors.New("disk full: the audit journal takes only Revoke, Destroy and admin actions; free space on its disk")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("audit journal is closed")
	// ErrTooLarge is returned for an Append of more events than a group can hold.
	ErrTooLarge = errors.New("too many events in one group of the audit journal")
)

// Priority says who still gets into the journal when the disk is full.
type Priority uint8

const (
	// Normal events are refused on a full disk.
	Normal Priority = iota
	// Urgent events (Revoke, Destroy, admin actions) may use the space that was set aside.
	Urgent
)

// BufferDelay is how long an event given to Buffer waits for company before it is written.
const BufferDelay = time.Second

const (
	defaultSegment = 64 << 20
	maxBatch       = 128 << 10 // bytes of entries after which a group takes no further Append
	maxBuffered    = 128 << 10 // bytes of entries that Buffer holds
	zoneStep       = 1 << 20   // zeros written ahead at a time, and kept ahead as the reserve for Urgent
)

// Position is a place between two groups: the sequence of the last entry before it and the chain hash there.
type Position struct {
	Seq  uint64
	Hash [32]byte
}

// Config is what a journal needs. Dir and StoreID are required.
type Config struct {
	Dir          string           // folder of the segments, for this journal alone
	FS           durable.FS       // nil means durable.OS
	StoreID      [16]byte         // of the store that this journal belongs to
	Now          func() time.Time // nil means time.Now
	SegmentBytes int64            // size at which a new segment begins; 0 or less means 64 MiB
	SegmentAge   time.Duration    // age at which the next event begins a new one; 0 or less means at no age
	Logger       *slog.Logger     // nil discards
	Metrics      *Metrics         // nil counts nothing
}

func (cfg Config) withDefaults() Config {
	if cfg.FS == nil {
		cfg.FS = durable.OS
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = defaultSegment
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// zone is how far ahead zeros are written.
func (cfg *Config) zone() int64 { return min(zoneStep, cfg.SegmentBytes) }

// Journal is an open journal. Its methods may be called from many goroutines. One process may have it open once: the
// caller holds the lock of the data folder.
type Journal struct {
	cfg  Config
	torn int64

	mu       sync.Mutex
	turn     sync.Cond // where the leader of the pending batch waits for the group in flight
	room     sync.Cond // where an Append waits when the pending batch is full
	pending  *batch    // gathers Appends; its first one leads
	spare    []*batch
	writing  bool // a group is in flight; whoever set it owns out
	buffered buffer
	base     Position // where the oldest segment begins
	end      Position
	first    uint64 // number of the oldest segment
	segment  uint64 // the last one, and
	offset   int64  // how far it is durable
	marker   uint64 // for the next group
	onDisk   uint64 // marker of the last group on disk at open
	full     bool
	err      error // sticky
	// unsettled is what has to be done before the first group is written; nil afterwards. Whoever leads calls it.
	unsettled func() error
	closed    bool

	out writer

	signing sync.Mutex // guards notes; held while a checkpoint is made
	notes   notes

	wake    chan struct{} // something is buffered, or the disk is full
	kick    chan struct{} // the buffer is half full
	stop    chan struct{}
	stopped chan struct{}
}

// batch gathers the events of the next group. Those who wait for it count as refs and read pos and err when done.
type batch struct {
	buf  []byte // hash before, group header, entries, hash; see writer
	n    int    // entries
	refs int
	done bool
	wait sync.Cond
	pos  Position
	err  error
}

// Append writes the events as one unbroken run, in order, and returns after the fdatasync of the group that holds
// them with the position after that group. Appends that run together share a group. The first of them writes it on
// its own goroutine, so a lone caller waits for nobody.
//
// Errors: ErrFailed (outcome unknown), ErrDiskFull, ErrClosed, ErrTooLarge (nothing written). Strings longer than
// MaxString are cut. The events are not kept.
func (j *Journal) Append(p Priority, events ...Event) (Position, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, err := j.admit(p, len(events)*maxEntry)
	if err != nil {
		return Position{}, err
	}
	for _, e := range events {
		b.buf = appendEntry(b.buf, j.stamped(&e))
		b.n++
	}
	return j.await(b)
}

// Flush writes what Buffer holds and waits for it.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.refusal(); err != nil {
		return err
	}
	_, err := j.await(j.pending)
	return err
}

// refusal says why nothing can be written.
func (j *Journal) refusal() error {
	if j.err != nil {
		return j.err
	}
	if j.closed {
		return ErrClosed
	}
	return nil
}

// admit returns the pending batch once it has room.
func (j *Journal) admit(p Priority, worst int) (*batch, error) {
	if worst > maxBody/2 {
		return nil, ErrTooLarge
	}
	for {
		if err := j.refusal(); err != nil {
			return nil, err
		}
		if j.full && p != Urgent {
			return nil, ErrDiskFull
		}
		if len(j.pending.buf) < maxBatch {
			return j.pending, nil
		}
		j.room.Wait()
	}
}

// Buffer takes an event that nobody waits for: it goes with the next group, or with one of its own within
// BufferDelay. When the buffer is full, or the journal has failed, the event is dropped; the number of dropped events
// becomes an entry.
func (j *Journal) Buffer(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil || j.closed || j.full || len(j.buffered.buf)+maxEntry > maxBuffered {
		j.buffered.dropped++
		j.cfg.Metrics.drop(1)
		return
	}
	j.buffered.buf = appendEntry(j.buffered.buf, j.stamped(&e))
	j.buffered.n++
	if j.buffered.n == 1 {
		signal(j.wake)
	}
	if len(j.buffered.buf) > maxBuffered/2 {
		signal(j.kick)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// SetCommitted tells that the store has durably committed up to seq; each later group carries the highest value told.
// A value that the journal has not yet made durable is a bug of the caller, and is logged and left out (J4).
func (j *Journal) SetCommitted(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq > j.end.Seq {
		j.cfg.Logger.Error("audit journal: committed sequence is not in the journal", "seq", seq, "end", j.end.Seq)
		return
	}
	j.marker = max(j.marker, seq)
}

// End returns the position after the last durable group.
func (j *Journal) End() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end
}

// Base returns the position before the oldest event that the folder holds: with sequence 0 for a journal that is there
// from its beginning, more where old segments were archived or the store came from a backup.
func (j *Journal) Base() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.base
}

// Marker returns the marker of the last group that was on disk when the journal was opened: what the store had
// certainly committed.
func (j *Journal) Marker() uint64 { return j.onDisk }

// Torn returns how many bytes of an unfinished last group were cut off at open; 0 after a clean end.
func (j *Journal) Torn() int64 { return j.torn }

// Err returns the error, wrapping ErrFailed, that stopped the journal, or nil.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Full reports whether only Urgent events are taken.
func (j *Journal) Full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// Close writes what is buffered and a last group with the marker, unless nothing was written since Open, and closes the
// files. A failed journal only closes;
// the error that stopped it is returned again.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.room.Broadcast()
	err := j.err
	if err == nil && j.unsettled == nil { // else nothing was written, and nothing is
		b := j.pending
		e := Event{Class: Note, Outcome: Success, Operation: opClosed}
		b.buf = appendEntry(b.buf, j.stamped(&e))
		b.n++
		_, err = j.await(b)
	}
	for j.writing {
		j.turn.Wait()
	}
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	return errors.Join(err, j.out.close())
}

// flusher writes buffered events after BufferDelay, and looks each BufferDelay whether a full disk has space again. It
// sleeps without a timer while there is nothing to do.
func (j *Journal) flusher() {
	defer close(j.stopped)
	for {
		select {
		case <-j.stop:
			return
		case <-j.wake:
		}
		delay := time.NewTimer(BufferDelay)
		select {
		case <-j.stop:
			delay.Stop()
			return
		case <-delay.C:
		case <-j.kick:
			delay.Stop()
		}
		_ = j.Flush() // a failure is sticky, and was logged where it happened
		if j.Full() {
			signal(j.wake)
		}
	}
}

func (j *Journal) fail(err error) error {
	j.err = fmt.Errorf("%w: %w", ErrFailed, err)
	j.cfg.Logger.Error("audit journal failed: no key is released and nothing is changed until the server is restarted", "dir", j.cfg.Dir, "err", err)
	return j.err
}
