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
	s, err := findSegment(&j.cfg, seq, last, limit)
	if err != nil {
		return fmt.Errorf("reading audit journal: %w", err)
	}
	for {
		err := s.since(seq, end.Seq, fn)
		if err := errors.Join(err, s.file.Close()); err != nil || s.end.Seq >= end.Seq {
			return err
		}
		if s, err = nextSegment(&j.cfg, s, last, limit); err != nil {
			return fmt.Errorf("reading audit journal: %w", err)
		}
	}
}

// snapshot returns the end, and the last segment with the offset up to which it is durable.
func (j *Journal) snapshot() (end Position, last uint64, limit int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.end, j.segment, j.offset
}

// since reads s to its end, or to the group with sequence end.
func (s *scanner) since(after, end uint64, fn func(uint64, Event) error) error {
	for s.off < s.limit && s.end.Seq < end {
		g, ok, err := s.next()
		if err != nil {
			return fmt.Errorf("reading audit journal: %w", err)
		}
		if !ok {
			return nil // the zeros behind the last group; nextSegment checks the join
		}
		if g.end.Seq <= after {
			continue
		}
		if err := g.events(func(seq uint64, e Event) error {
			if seq <= after {
				return nil
			}
			return fn(seq, e)
		}); err != nil {
			return err
		}
	}
	return nil
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
	if s.head.number >= last {
		return nil, fmt.Errorf("%w: segment %d ends at sequence %d, too early", ErrCorrupt, s.head.number, s.end.Seq)
	}
	next, err := openScanner(cfg, s.head.number+1, last, limit)
	if err != nil {
		return nil, err
	}
	if next.head.base != s.end {
		err := fmt.Errorf("%w: segment %d does not continue segment %d", ErrCorrupt, next.head.number, s.head.number)
		return nil, errors.Join(err, next.file.Close())
	}
	return next, nil
}
