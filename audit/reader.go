package audit

import (
	"errors"
	"fmt"
	"time"
)

// Group is one group of the journal, for those who pass it on: with its events it holds all that the chain was made of.
type Group struct {
	Before Position // the end of the group before
	End    Position
	Marker uint64
	Time   int64   // Unix nanoseconds
	Mark   [8]byte // of its segment
	Events []Event // of the sequences Before.Seq+1 to End.Seq
}

// Reader goes through a journal group by group and remembers where it is, so that following a journal costs no more
// than what was added. It is used by one goroutine at a time.
type Reader struct {
	cfg     Config
	journal *Journal // nil: another process may write the folder
	after   uint64
	s       *scanner
}

// NewReader returns a reader of the journal in a folder, that begins behind sequence after; with 0 at the oldest event.
func NewReader(cfg Config, after uint64) *Reader {
	return &Reader{cfg: cfg.withDefaults(), after: after}
}

// NewReader is NewReader for the open journal: it sees only what is durable.
func (j *Journal) NewReader(after uint64) *Reader {
	return &Reader{cfg: j.cfg, journal: j, after: after}
}

// Close lets go of the file. The Reader must not be used any more.
func (r *Reader) Close() error {
	if r.s == nil {
		return nil
	}
	return r.s.file.Close()
}

// StoreID returns whose journal it is.
func (r *Reader) StoreID() [16]byte { return r.cfg.StoreID }

// Next returns the next group; ok is false when there is none yet. Events at or before the sequence at which the reader
// was to begin are among them where its group reaches over that. ErrArchived: what comes next was archived meanwhile.
func (r *Reader) Next() (g Group, ok bool, err error) {
	if g, ok, err = r.next(); err != nil {
		err = fmt.Errorf("reading the audit journal: %w", err)
	}
	return g, ok, err
}

func (r *Reader) next() (g Group, ok bool, err error) {
	for {
		x, err := r.extent()
		if err != nil {
			return g, false, err
		}
		if err := r.seek(x); err != nil {
			return g, false, err
		}
		before := r.s.end
		found, ok, err := r.take()
		switch {
		case err != nil:
			return g, false, err
		case ok && found.end.Seq <= r.after:
			continue
		case ok:
			r.after = found.end.Seq
			g, err = found.public(r.s, before)
			return g, err == nil, err
		case r.s.head.number == x.last:
			return g, false, r.mayEnd()
		}
		if err := r.advance(x); err != nil {
			return g, false, err
		}
	}
}

func (r *Reader) extent() (extent, error) {
	if r.journal != nil {
		_, x := r.journal.snapshot()
		return x, nil
	}
	return findSegments(&r.cfg)
}

// seek opens the first segment, and otherwise looks how far the present one may be read now.
func (r *Reader) seek(x extent) (err error) {
	if r.s == nil {
		if r.s, err = startOf(&r.cfg, r.after, x); err != nil {
			return err
		}
		r.after = max(r.after, r.s.head.base.Seq)
		return nil
	}
	size, err := r.s.file.Size()
	if r.s.limit = size; r.s.head.number == x.last && x.limit > 0 {
		r.s.limit = min(size, x.limit)
	}
	return err
}

// take reads the next group; what was read ahead may have been written since.
func (r *Reader) take() (group, bool, error) {
	g, ok, err := r.s.next()
	if !ok && err == nil {
		r.s.forget()
		g, ok, err = r.s.next()
	}
	return g, ok, err
}

// mayEnd tells whether the last segment ends here. In the open journal all that is durable must be readable. In a
// folder, what is bad may be a group that is just being written; Verify judges it.
func (r *Reader) mayEnd() error {
	if r.journal != nil && r.s.off < r.s.limit {
		return fmt.Errorf("%w: segment %d: no valid group after sequence %d", ErrCorrupt, r.s.head.number, r.s.end.Seq)
	}
	return nil
}

// advance goes to the next segment: this one is finished, since there was a later one before it was read to its end.
func (r *Reader) advance(x extent) error {
	if next := r.s.head.number + 1; next < x.first {
		return fmt.Errorf("%w: it begins with segment %d, next was %d", ErrArchived, x.first, next)
	}
	next, err := nextSegment(&r.cfg, r.s, x)
	if err != nil {
		return err
	}
	old := r.s
	r.s = next
	return old.file.Close()
}

func (g *group) public(s *scanner, before Position) (out Group, err error) {
	out = Group{Before: before, End: g.end, Marker: g.marker, Time: g.time, Mark: s.head.mark, Events: make([]Event, 0, g.count)}
	err = g.events(func(_ uint64, e Event) error {
		out.Events = append(out.Events, e)
		return nil
	})
	return out, err
}

// StoreOf returns the store to which the journal in a folder belongs, as its oldest segment says.
func StoreOf(cfg Config) (id [16]byte, err error) {
	cfg = cfg.withDefaults()
	x, err := findSegments(&cfg)
	if err != nil {
		return id, fmt.Errorf("looking at the audit journal in %s: %w", cfg.Dir, err)
	}
	f, err := cfg.FS.OpenFile(segmentPath(cfg.Dir, x.first), openRead, 0)
	if err != nil {
		return id, err
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, segmentHeader)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return id, fmt.Errorf("reading %s: %w", f.Name(), errors.Join(err, ErrCorrupt))
	}
	h, err := decodeHeader(b)
	if err != nil {
		return id, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return h.store, nil
}

// Bases returns where each segment begins, oldest first, and when.
func Bases(cfg Config) (bases []Position, created []time.Time, err error) {
	cfg = cfg.withDefaults()
	x, err := findSegments(&cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("looking at the audit journal in %s: %w", cfg.Dir, err)
	}
	for number := x.first; number <= x.last; number++ {
		f, h, err := readHeader(&cfg, number, openRead)
		if err != nil {
			return nil, nil, err
		}
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
		bases, created = append(bases, h.base), append(created, time.Unix(0, h.created))
	}
	return bases, created, nil
}
