package audit

import (
	"errors"
	"fmt"
)

// HashAt returns the chain hash after sequence seq, and whether a group ends exactly there. It looks from the newest
// segment backwards, reading headers, and then through one segment.
func (j *Journal) HashAt(seq uint64) (hash [32]byte, ok bool, err error) {
	end, last, limit := j.snapshot()
	switch {
	case seq > end.Seq:
		return hash, false, nil
	case seq == end.Seq:
		return end.Hash, true, nil
	}
	s, err := findSegment(&j.cfg, seq, last, limit)
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
// at the first error of fn and returns it.
func (j *Journal) Since(seq uint64, fn func(seq uint64, e Event) error) error {
	end, last, limit := j.snapshot()
	if seq >= end.Seq {
		return nil
	}
	s, err := read(&j.cfg, seq, last, limit, fn)
	if err == nil && s.end.Seq < end.Seq {
		err = fmt.Errorf("reading audit journal: %w: it ends at sequence %d, too early", ErrCorrupt, s.end.Seq)
	}
	return err
}

// Read is Since for a journal that this process has not opened, for export and inspection; it writes nothing. It ends
// quietly before a group that is torn, or that a running server is just writing.
func Read(cfg Config, seq uint64, fn func(seq uint64, e Event) error) error {
	cfg = cfg.withDefaults()
	last, err := findLast(&cfg)
	if err != nil {
		return fmt.Errorf("reading audit journal in %s: %w", cfg.Dir, err)
	}
	_, err = read(&cfg, seq, last, 0, fn)
	return err
}

// read calls fn for the events after seq, up to limit in segment last, and returns the closed scanner where it ended.
func read(cfg *Config, seq, last uint64, limit int64, fn func(uint64, Event) error) (*scanner, error) {
	s, err := findSegment(cfg, seq, last, limit)
	if err != nil {
		return nil, fmt.Errorf("reading audit journal: %w", err)
	}
	for {
		err := s.since(seq, s.head.number == last && limit == 0, fn)
		if err := errors.Join(err, s.file.Close()); err != nil || s.head.number == last {
			return s, err
		}
		if s, err = nextSegment(cfg, s, last, limit); err != nil {
			return nil, fmt.Errorf("reading audit journal: %w", err)
		}
	}
}

// snapshot returns the end, and the last segment with the offset up to which it is durable.
func (j *Journal) snapshot() (end Position, last uint64, limit int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, j.segment, j.offset
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

// findSegment opens the segment in which the entry after seq lies. limit bounds the last one.
func findSegment(cfg *Config, seq, last uint64, limit int64) (*scanner, error) {
	for number := last; number > 0; number-- {
		s, err := openScanner(cfg, number, last, limit)
		if err != nil {
			return nil, err
		}
		if s.head.base.Seq <= seq {
			return s, nil
		}
		if err := s.file.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: no segment begins the chain", ErrCorrupt)
}

func openScanner(cfg *Config, number, last uint64, limit int64) (*scanner, error) {
	f, h, err := readHeader(cfg, number, openRead)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if number == last && limit > 0 {
		size = min(size, limit)
	}
	return newScanner(f, h, size), nil
}

// nextSegment opens the segment after s, whose file is closed, and checks the join.
func nextSegment(cfg *Config, s *scanner, last uint64, limit int64) (*scanner, error) {
	next, err := openScanner(cfg, s.head.number+1, last, limit)
	if err != nil {
		return nil, err
	}
	if err := s.join(&next.head); err != nil {
		return nil, errors.Join(err, next.file.Close())
	}
	return next, nil
}
