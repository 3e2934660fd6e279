package audit

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"
)

// seals holds a chain against checkpoints. A nil *seals holds it against none.
type seals struct {
	key   ed25519.PublicKey
	given []Checkpoint

	store [16]byte
	all   []Checkpoint // by sequence; those before next were seen
	next  int
	fit   int
}

// load gathers the checkpoints beside the segments and those given, and checks each by itself.
func (s *seals) load(cfg *Config, x extent) error {
	if s == nil {
		return nil
	}
	s.all = slices.Clone(s.given)
	for number := x.first; number <= x.last; number++ {
		found, _, err := readNotes(cfg, number)
		if err != nil {
			return err
		}
		s.all = append(s.all, found...)
	}
	return s.sort(cfg.StoreID)
}

// sort checks the signatures and that no two checkpoints contradict each other.
func (s *seals) sort(store [16]byte) error {
	s.store = store
	for i := range s.all {
		c := &s.all[i]
		if err := c.Check(s.key); err != nil {
			return err
		}
		if c.StoreID != store {
			return fmt.Errorf("%w: the checkpoint at sequence %d was signed for store %x, this is the journal of store %x", ErrForeign, c.Seq, c.StoreID, store)
		}
	}
	slices.SortStableFunc(s.all, func(a, b Checkpoint) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := 1; i < len(s.all); i++ {
		if a, b := &s.all[i-1], &s.all[i]; a.Position != b.Position && a.Seq == b.Seq {
			return fmt.Errorf("%w: two checkpoints contradict each other: sequence %d has the hash %x in the one of %s and %x in the one of %s",
				ErrForked, a.Seq, a.Hash, a.Time.Format(time.RFC3339), b.Hash, b.Time.Format(time.RFC3339))
		}
	}
	return nil
}

// begin tells where the journal begins: of what was signed before that nothing can be said.
func (s *seals) begin(p Position) error {
	if s == nil {
		return nil
	}
	for s.next < len(s.all) && s.all[s.next].Seq < p.Seq {
		s.next++
	}
	return s.at(p)
}

// at tells that a group ends here.
func (s *seals) at(p Position) error {
	if s == nil {
		return nil
	}
	for ; s.next < len(s.all) && s.all[s.next].Seq <= p.Seq; s.next++ {
		switch c := &s.all[s.next]; {
		case c.Seq == p.Seq && c.Hash == p.Hash:
			s.fit++
		case c.Seq == p.Seq:
			return fmt.Errorf("%w: at sequence %d its hash is %x, signed on %s was %x", ErrForked, c.Seq, p.Hash, c.Time.Format(time.RFC3339), c.Hash)
		default:
			return fmt.Errorf("%w: no group ends at sequence %d, which was signed on %s", ErrForked, c.Seq, c.Time.Format(time.RFC3339))
		}
	}
	return nil
}

// finish judges what only the end of the chain shows.
func (s *seals) finish(r *Report) error {
	if s == nil || len(s.all) == 0 {
		return nil
	}
	newest := s.all[len(s.all)-1]
	r.Checkpoints = s.fit
	if newest.Seq > r.End.Seq {
		return fmt.Errorf("%w: it ends at sequence %d, but %d was signed on %s: its end was cut off", ErrForked, r.End.Seq, newest.Seq, newest.Time.Format(time.RFC3339))
	}
	if s.fit > 0 {
		r.Signed = newest
	}
	for i := range s.all {
		newest.Archived = max(newest.Archived, s.all[i].Archived)
	}
	if r.Base.Seq > newest.Archived {
		return fmt.Errorf("%w: it begins after sequence %d, and only what is up to %d was archived: its beginning was cut off", ErrForked, r.Base.Seq, newest.Archived)
	}
	return nil
}
