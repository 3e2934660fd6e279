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
	Base     Position // before the first group; Seq 0 is the journal's beginning
	End      Position // after the last valid group
	Marker   uint64   // of the last valid group
	Torn     int64    // bytes behind it: a group that a crash left unfinished, or that is being written now
}

// Verify reads the whole journal: the chain, the sequences, each entry, the markers, and the joins of the segments. It
// writes nothing and may run while a server appends. The report tells how far it came, also with an error.
//
// A journal whose oldest segments are gone verifies, and Base says from where: that they were archived, and not cut off
// by somebody, only the store's head or a signed checkpoint can tell.
func Verify(cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	var r Report
	if err := r.verify(&cfg); err != nil {
		return r, fmt.Errorf("verifying audit journal in %s: %w", cfg.Dir, err)
	}
	return r, nil
}

func (r *Report) verify(cfg *Config) error {
	x, err := findSegments(cfg)
	if err != nil {
		return err
	}
	var before *scanner
	for number := x.first; number <= x.last; number++ {
		s, err := openScanner(cfg, number, x)
		if err != nil {
			return err
		}
		err = r.segment(s, before, number == x.last)
		if err := errors.Join(err, s.file.Close()); err != nil {
			return fmt.Errorf("segment %d: %w", number, err)
		}
		before = s
	}
	return nil
}

// segment reads one segment; before is the one before it, read already and closed.
func (r *Report) segment(s, before *scanner, last bool) error {
	if before != nil {
		if err := before.join(&s.head); err != nil {
			return err
		}
	} else {
		r.Base = s.end
	}
	r.Segments++
	r.Bytes += segmentHeader
	r.End, r.Marker = s.end, s.marker
	dirty, err := s.walk(last, func(g *group) error {
		r.Groups++
		r.Entries += uint64(g.count)
		r.Bytes += g.size
		r.End, r.Marker = s.end, s.marker
		return g.events(func(uint64, Event) error { return nil })
	})
	if err != nil {
		return err
	}
	if r.Torn = dirty - s.off; r.Torn > 0 && !last {
		return fmt.Errorf("%w: no valid group after sequence %d, but later segments exist", ErrCorrupt, s.end.Seq)
	}
	return nil
}
