package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// The operations of the journal's own notes.
const (
	opClosed  = "Journal Closed"
	opDropped = "Events Dropped"
	opTorn    = "Torn Group Cut"
)

// batchHead is what precedes the entries in a batch's buffer: the hash before, which is hashed but not written, and the group header.
const batchHead = sha256.Size + groupHeader

// buffer holds the entries that nobody waits for.
type buffer struct {
	buf     []byte
	n       int
	dropped uint64 // since the last group
}

// stamped fills in the time. The event is the caller's copy.
func (j *Journal) stamped(e *Event) *Event {
	if e.Time == 0 {
		e.Time = j.cfg.Now().UnixNano()
	}
	return e
}

// await waits, with j.mu held, until b is written. The first to wait for a batch leads: it writes the group, while
// the next batch gathers.
func (j *Journal) await(b *batch) (Position, error) {
	b.refs++
	if b.refs == 1 {
		j.lead(b)
	}
	for !b.done {
		b.wait.Wait()
	}
	pos, err := b.pos, b.err
	if b.refs--; b.refs == 0 {
		j.recycle(b)
	}
	return pos, err
}

// lead waits for the group in flight, takes the batch out of the queue and writes it.
func (j *Journal) lead(b *batch) {
	for j.writing {
		j.turn.Wait()
	}
	j.writing = true
	j.pending = j.fresh()
	j.room.Broadcast()
	if j.err != nil {
		b.err = j.err // the group before failed: nothing may follow it
	} else {
		lost := j.takeBuffered(b)
		j.write(b)
		if errors.Is(b.err, ErrDiskFull) {
			j.buffered.dropped += lost
		}
	}
	b.done = true
	j.writing = false
	j.turn.Broadcast()
	b.wait.Broadcast()
}

// takeBuffered adds what Buffer holds, and returns for how many events that stands.
func (j *Journal) takeBuffered(b *batch) uint64 {
	n := uint64(j.buffered.n) + j.buffered.dropped
	b.buf = append(b.buf, j.buffered.buf...)
	b.n += j.buffered.n
	if j.buffered.dropped > 0 {
		b.buf = appendEntry(b.buf, j.stamped(&Event{
			Class: Note, Outcome: Failure, Operation: opDropped,
			Reason: fmt.Sprintf("%d events were not recorded: the buffer was full", j.buffered.dropped),
		}))
		b.n++
	}
	j.buffered.buf, j.buffered.n, j.buffered.dropped = j.buffered.buf[:0], 0, 0
	return n
}

// write puts b on disk, with j.mu released meanwhile, and sets its result.
func (j *Journal) write(b *batch) {
	end, marker, wasFull, settle := j.end, j.marker, j.full, j.unsettled
	j.mu.Unlock()
	var noSpace, err error
	if settle != nil {
		err = settle()
	}
	if err == nil {
		end, noSpace, err = j.out.group(b, end, marker)
	}
	j.mu.Lock()
	j.unsettled = nil // or failed, for good
	j.full = noSpace != nil
	if j.full != wasFull {
		j.tellFull(noSpace)
	}
	switch {
	case err == nil:
		j.end, b.pos = end, end
		j.segment, j.offset = j.out.head.number, j.out.off
	case errors.Is(err, ErrDiskFull):
		b.err = err
	default:
		b.err = j.fail(err)
	}
}

func (j *Journal) tellFull(noSpace error) {
	if noSpace == nil {
		j.cfg.Logger.Info("audit journal: there is space again, all events are taken", "dir", j.cfg.Dir)
		return
	}
	j.cfg.Logger.Error("audit journal: disk full, only urgent events are taken", "dir", j.cfg.Dir, "err", noSpace)
	signal(j.wake)
}

func (j *Journal) fresh() *batch {
	if n := len(j.spare); n > 0 {
		b := j.spare[n-1]
		j.spare = j.spare[:n-1]
		return b
	}
	b := &batch{buf: make([]byte, batchHead, 4096)}
	b.wait.L = &j.mu
	return b
}

// recycle keeps b for later, unless an unusual Append made it large.
func (j *Journal) recycle(b *batch) {
	if cap(b.buf) > 4*maxBatch {
		return
	}
	b.buf, b.n, b.done, b.pos, b.err = b.buf[:batchHead], 0, false, Position{}, nil
	j.spare = append(j.spare, b)
}

// writer is the last segment, open. It is used by one goroutine at a time.
type writer struct {
	cfg  *Config
	file durable.File
	head header
	off  int64 // of the next group
	size int64 // of the file: zeros from off on
}

// group writes and syncs b after end and returns the position after it. noSpace is not nil when the zone could not be
// extended; that alone is no error while the group still fits into it. ErrDiskFull means that nothing was written, any
// other error that the disk's state is unknown.
func (w *writer) group(b *batch, end Position, marker uint64) (after Position, noSpace, err error) {
	size := int64(len(b.buf)) // the hash before, in front, is as long as the hash behind
	start := w.cfg.Now()
	if noSpace, err = w.makeRoom(size, end, marker, start); err != nil {
		return end, nil, err
	}
	if b.n == 0 {
		return end, noSpace, nil
	}
	if w.size-w.off < size {
		return end, noSpace, fmt.Errorf("%w: %w", ErrDiskFull, noSpace)
	}
	after = w.seal(b, end, marker, start)
	if _, err := w.file.WriteAt(b.buf[sha256.Size:], w.off); err != nil {
		return end, nil, err
	}
	if err := w.file.Sync(); err != nil {
		return end, nil, err
	}
	w.off += size
	w.cfg.Metrics.wrote(b.n, int(size), w.cfg.Now().Sub(start).Seconds())
	return after, noSpace, nil
}

// seal fills in the hash before and the header, and appends the hash.
func (w *writer) seal(b *batch, end Position, marker uint64, now time.Time) Position {
	copy(b.buf, end.Hash[:])
	putHeader(b.buf[sha256.Size:], w.head.mark, b.n, end.Seq+1, marker, now)
	after := Position{Seq: end.Seq + uint64(b.n), Hash: sha256.Sum256(b.buf)}
	b.buf = append(b.buf, after.Hash[:]...)
	return after
}

// putHeader fills in the header at the start of a group, behind which lie its entries and nothing else.
func putHeader(group []byte, mark [8]byte, entries int, first, marker uint64, now time.Time) {
	h := group[:groupHeader]
	copy(h, mark[:])
	binary.BigEndian.PutUint32(h[8:], uint32(len(group)-groupHeader))
	binary.BigEndian.PutUint32(h[12:], uint32(entries))
	binary.BigEndian.PutUint64(h[16:], first)
	binary.BigEndian.PutUint64(h[24:], marker)
	binary.BigEndian.PutUint64(h[32:], uint64(now.UnixNano()))
	binary.BigEndian.PutUint32(h[groupHeader-4:], headerSum(h))
}

// makeRoom begins a new segment when this one has its size or age, and keeps zeros written ahead. noSpace says that the
// disk was too full for one of them.
func (w *writer) makeRoom(size int64, end Position, marker uint64, now time.Time) (noSpace, err error) {
	if w.off >= w.cfg.SegmentBytes || w.aged(now) {
		if noSpace, err = w.rotate(end, marker); err != nil {
			return nil, err
		}
	}
	switch err := w.extend(w.off + size + w.cfg.zone()); {
	case durable.IsDiskFull(err):
		return err, nil
	case err != nil:
		return nil, err
	}
	return noSpace, nil
}

// aged reports whether a segment that holds something is old. A clock that was set back does not make it so.
func (w *writer) aged(now time.Time) bool {
	age := w.cfg.SegmentAge
	return age > 0 && w.off > segmentHeader && now.UnixNano()-w.head.created >= int64(age)
}

var zeros [64 << 10]byte

// extend writes zeros until the file ends at or after until. The group's own sync makes them durable: the group lies
// in what was written before, except for an unusually large one.
func (w *writer) extend(until int64) error {
	if w.size >= until {
		return nil
	}
	for until = max(until, w.size+w.cfg.zone()); w.size < until; {
		n := min(int64(len(zeros)), until-w.size)
		if _, err := w.file.WriteAt(zeros[:n], w.size); err != nil {
			return err
		}
		w.size += n
	}
	return nil
}

// rotate makes the next segment and goes on there. On a full disk this one goes on, but only when it is certain that
// there is no next one: once that exists, a group written here would break the join. The old segment loses its zeros;
// should a crash bring them back, they do no harm.
func (w *writer) rotate(end Position, marker uint64) (noSpace, err error) {
	h := newHeader(w.cfg, w.head.number+1, end, marker)
	if err := createSegment(w.cfg, h, w.cfg.zone()); err != nil {
		if _, statErr := w.cfg.FS.Stat(segmentPath(w.cfg.Dir, h.number)); durable.IsDiskFull(err) && errors.Is(statErr, fs.ErrNotExist) {
			return err, nil
		}
		return nil, err
	}
	next, err := openWriter(w.cfg, h.number)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(w.file.Truncate(w.off), w.file.Close()); err != nil {
		return nil, errors.Join(err, next.close())
	}
	*w = next
	return nil, nil
}

func openWriter(cfg *Config, number uint64) (writer, error) {
	f, h, err := readHeader(cfg, number, openReadWrite)
	if err != nil {
		return writer{}, err
	}
	size, err := f.Size()
	if err != nil {
		return writer{}, errors.Join(err, f.Close())
	}
	return writer{cfg: cfg, file: f, head: h, off: segmentHeader, size: size}, nil
}

func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
