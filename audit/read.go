package audit

import (
	"errors"
	"fmt"
)

// HashAt returns the chain hash after sequence seq, and whether a group ends exactly there. It looks from the newest
// segment backwards, reading headers, and then through one segment. At the journal's Base it answers the hash that the
// oldest segment was made to follow; before it, ErrArchived.
func (j *Journal) HashAt(seq uint64) (hash [32]byte, ok bool, err error) {
	end, x := j.snapshot()
	switch {
	case seq > end.Seq:
		return hash, false, nil
	case seq == end.Seq:
		return end.Hash, true, nil
	}
	s, err := findSegment(&j.cfg, seq, x)
	if err != nil {
		return hash, false, fmt.Errorf("reading audit journal: %w", err)
	}
	defer func() { _ = s.file.Close() }()
	for s.end.Seq < seq {
		if _, err := s.must(); err != nil {
			return hash, false, fmt.Errorf("reading audit journal: %w", err)
		}
	}
	return s.end.Hash, s.end.Seq == seq, nil
}

// Since calls fn for each durable event after seq, in order, up to the end as it was when Since was called. It stops
// at the first error of fn and returns it. With seq 0 it begins with the oldest event that the folder holds; any other
// seq before that is ErrArchived, so that nobody takes a gap for the whole.
func (j *Journal) Since(seq uint64, fn func(seq uint64, e Event) error) error {
	end, x := j.snapshot()
	if seq >= end.Seq {
		return nil
	}
	s, err := read(&j.cfg, seq, x, fn)
	if err == nil && s.end.Seq < end.Seq {
		err = fmt.Errorf("reading audit journal: %w: it ends at sequence %d, too early", ErrCorrupt, s.end.Seq)
	}
	return err
}

// Read is Since for a journal that this process has not opened, for export and inspection; it writes nothing. It ends
// quietly before a group that is torn, or that a running server is just writing.
func Read(cfg Config, seq uint64, fn func(seq uint64, e Event) error) error {
	cfg = cfg.withDefaults()
	x, err := findSegments(&cfg)
	if err != nil {
		return fmt.Errorf("reading audit journal in %s: %w", cfg.Dir, err)
	}
	_, err = read(&cfg, seq, x, fn)
	return err
}

// read calls fn for the events after seq and returns the closed scanner where it ended.
func read(cfg *Config, seq uint64, x extent, fn func(uint64, Event) error) (*scanner, error) {
	s, err := startOf(cfg, seq, x)
	if err != nil {
		return nil, fmt.Errorf("reading audit journal: %w", err)
	}
	for {
		err := s.since(seq, x.live(s.head.number), fn)
		if err := errors.Join(err, s.file.Close()); err != nil || s.head.number == x.last {
			return s, err
		}
		if s, err = nextSegment(cfg, s, x); err != nil {
			return nil, fmt.Errorf("reading audit journal: %w", err)
		}
	}
}

// snapshot returns the end, and the segments with the offset up to which the last is durable.
func (j *Journal) snapshot() (end Position, x extent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, extent{first: j.first, last: j.segment, limit: j.offset}
}

// since reads s to its end.
func (s *scanner) since(after uint64, live bool, fn func(uint64, Event) error) error {
	_, err := s.walk(live, func(g *group) error {
		if g.end.Seq <= after {
			return nil
		}
		return g.events(func(seq uint64, e Event) error {
			if seq <= after {
				return nil
			}
			return fn(seq, e)
		})
	})
	return err
}

// must is next where a group has to be.
func (s *scanner) must() (group, error) {
	g, ok, err := s.next()
	if err == nil && !ok {
		err = fmt.Errorf("%w: segment %d: no valid group after sequence %d", ErrCorrupt, s.head.number, s.end.Seq)
	}
	return g, err
}

// startOf is findSegment for readers, who with 0 mean the oldest there is.
func startOf(cfg *Config, seq uint64, x extent) (*scanner, error) {
	if seq == 0 {
		return openScanner(cfg, x.first, x)
	}
	return findSegment(cfg, seq, x)
}

// findSegment opens the segment in which the entry after seq lies.
func findSegment(cfg *Config, seq uint64, x extent) (*scanner, error) {
	for number := x.last; ; number-- {
		s, err := openScanner(cfg, number, x)
		if err != nil {
			return nil, err
		}
		if s.head.base.Seq <= seq {
			return s, nil
		}
		if err := s.file.Close(); err != nil {
			return nil, err
		}
		if number == x.first {
			return nil, fmt.Errorf("%w: it begins after sequence %d, asked was what follows %d", ErrArchived, s.head.base.Seq, seq)
		}
	}
}

func openScanner(cfg *Config, number uint64, x extent) (*scanner, error) {
	f, h, err := readHeader(cfg, number, openRead)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if number == x.last && x.limit > 0 {
		size = min(size, x.limit)
	}
	return newScanner(f, h, size), nil
}

// nextSegment opens the segment after s, whose file is closed, and checks the join.
func nextSegment(cfg *Config, s *scanner, x extent) (*scanner, error) {
	next, err := openScanner(cfg, s.head.number+1, x)
	if err != nil {
		return nil, err
	}
	if err := s.join(&next.head); err != nil {
		return nil, errors.Join(err, next.file.Close())
	}
	return next, nil
}
