package audit

import (
	"errors"
	"fmt"
)

// Report is what Verify has read.
type Report struct {
	Segments uint64
	Groups   uint64
	Entries  uint64
	Bytes    int64    // of headers and groups, without preallocation
	End      Position // after the last valid group
	Marker   uint64   // of the last valid group
	Torn     int64    // bytes behind it: a group that a crash left unfinished, or that is being written now
}

// Verify reads the whole journal: the chain, the sequences, each entry, the markers, and the joins of the segments. It
// writes nothing and may run while a server appends. The report tells how far it came, also with an error.
func Verify(cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	var r Report
	if err := r.verify(&cfg); err != nil {
		return r, fmt.Errorf("verifying audit journal in %s: %w", cfg.Dir, err)
	}
	return r, nil
}

func (r *Report) verify(cfg *Config) error {
	last, err := findLast(cfg)
	if err != nil {
		return err
	}
	var before *scanner
	for number := uint64(1); number <= last; number++ {
		s, err := openScanner(cfg, number, last, 0)
		if err != nil {
			return err
		}
		err = r.segment(s, before, number == last)
		if err := errors.Join(err, s.file.Close()); err != nil {
			return fmt.Errorf("segment %d: %w", number, err)
		}
		before = s
	}
	return nil
}

// segment reads one segment; before is the one before it, read already and closed.
func (r *Report) segment(s, before *scanner, last bool) error {
	if before != nil && (s.head.base != before.end || s.head.marker < before.marker) {
		return fmt.Errorf("%w: it does not continue sequence %d of the segment before", ErrCorrupt, before.end.Seq)
	}
	r.Segments++
	r.Bytes += segmentHeader
	r.End, r.Marker = s.end, s.marker
	dirty, err := r.walk(s, last)
	if err != nil {
		return err
	}
	if r.Torn = dirty - s.off; r.Torn > 0 && !last {
		return fmt.Errorf("%w: no valid group after sequence %d, but later segments exist", ErrCorrupt, s.end.Seq)
	}
	return nil
}

// walk reads the groups and returns the end of what lies behind them. In the segment that a running server appends to,
// a group that was just being written, with another after it meanwhile, looks the same as damage. The first is whole
// when read again, damage stays.
func (r *Report) walk(s *scanner, live bool) (dirty int64, err error) {
	for again := false; ; again = true {
		before := s.off
		if err := r.groups(s); err != nil {
			return 0, err
		}
		dirty, err = s.tail()
		if !live || !errors.Is(err, ErrCorrupt) || (again && s.off == before) {
			return dirty, err
		}
		s.forget()
	}
}

// groups reads as many as follow each other.
func (r *Report) groups(s *scanner) error {
	for {
		g, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		if err := g.events(func(uint64, Event) error { return nil }); err != nil {
			return err
		}
		r.Groups++
		r.Entries += uint64(g.count)
		r.Bytes += g.size
		r.End, r.Marker = s.end, s.marker
	}
}
