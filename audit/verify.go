package audit

import (
	"crypto/ed25519"
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

	Checkpoints int        // that fit the chain
	Signed      Checkpoint // the newest of them; Seq 0 for none
}

// Verify reads the whole journal: the chain, the sequences, each entry, the markers, and the joins of the segments. It
// writes nothing and may run while a server appends. The report tells how far it came, also with an error.
//
// A journal whose oldest segments are gone verifies, and Base says from where: that they were archived, and not cut off
// by somebody, only the store's head or a signed checkpoint can tell.
func Verify(cfg Config) (Report, error) { return verify(cfg, nil) }

// VerifySigned is Verify that also holds the journal against checkpoints: those in the folder, and others that were
// kept elsewhere. All must be signed by key. ErrForked says that the chain is not the one that was signed: something
// was edited, cut off, dropped or replaced, and whoever did it has computed the hashes anew.
func VerifySigned(cfg Config, key ed25519.PublicKey, others []Checkpoint) (Report, error) {
	return verify(cfg, &seals{key: key, given: others})
}

func verify(cfg Config, signed *seals) (r Report, err error) {
	cfg = cfg.withDefaults()
	if err := r.verify(&cfg, signed); err != nil {
		return r, fmt.Errorf("verifying audit journal in %s: %w", cfg.Dir, err)
	}
	return r, nil
}

func (r *Report) verify(cfg *Config, signed *seals) error {
	x, err := findSegments(cfg)
	if err != nil {
		return err
	}
	if err := signed.load(cfg, x); err != nil { // before the chain, which goes on meanwhile
		return err
	}
	var before *scanner
	for number := x.first; number <= x.last; number++ {
		s, err := openScanner(cfg, number, x)
		if err != nil {
			return err
		}
		err = r.segment(s, before, number == x.last, signed)
		if err := errors.Join(err, s.file.Close()); err != nil {
			return fmt.Errorf("segment %d: %w", number, err)
		}
		before = s
	}
	return signed.finish(r)
}

// segment reads one segment; before is the one before it, read already and closed.
func (r *Report) segment(s, before *scanner, last bool, signed *seals) error {
	if before != nil {
		if err := before.join(&s.head); err != nil {
			return err
		}
	} else {
		r.Base = s.end
		if err := signed.begin(s.end); err != nil {
			return err
		}
	}
	r.Segments++
	r.Bytes += segmentHeader
	r.End, r.Marker = s.end, s.marker
	dirty, err := s.walk(last, func(g *group) error {
		r.Groups++
		r.Entries += uint64(g.count)
		r.Bytes += g.size
		r.End, r.Marker = s.end, s.marker
		if err := signed.at(g.end); err != nil {
			return err
		}
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
