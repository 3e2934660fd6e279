package audit

import (
	"errors"
	"fmt"
	"time"
)

// notes is what a Journal knows of its checkpoints.
type notes struct {
	loaded bool
	last   Checkpoint
	number uint64 // of the segment beside which last lies; 0 for none
}

// Checkpoint signs where the journal ends now, and where each segment ended that was finished meanwhile, and writes
// that beside the segments; it returns after the sync. archived is up to where the store allows the journal to have lost
// its front. It returns no new checkpoints when there is nothing new to say. It also works after Close.
//
// The first call compares the newest checkpoint that is there already with the journal: ErrForked says that store and
// journal were both put back to an earlier moment, or replaced. A journal in which something was signed that it does
// not hold must not go on.
func (j *Journal) Checkpoint(s *Signer, archived uint64) (made []Checkpoint, err error) {
	j.signing.Lock()
	defer j.signing.Unlock()
	end, x := j.snapshot()
	if err := j.loadNotes(s, x); err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	for number := max(j.notes.number, x.first); number <= x.last; number++ {
		at := end
		if number < x.last {
			if at, err = baseOf(&j.cfg, number+1); err != nil {
				return made, fmt.Errorf("signing a checkpoint: %w", err)
			}
		}
		allowed := min(archived, at.Seq)
		if last := &j.notes.last; at.Seq < last.Seq || (at.Seq == last.Seq && allowed <= last.Archived) {
			continue
		}
		c := s.sign(Checkpoint{
			StoreID: j.cfg.StoreID, Archived: allowed, Position: at, Time: j.cfg.Now().UTC().Truncate(time.Second),
		})
		if err := appendNote(&j.cfg, number, &c); err != nil {
			return made, fmt.Errorf("writing a checkpoint: %w", err)
		}
		j.notes.last, j.notes.number = c, number
		made = append(made, c)
	}
	return made, nil
}

// loadNotes reads the newest checkpoint once.
func (j *Journal) loadNotes(s *Signer, x extent) error {
	if j.notes.loaded {
		return nil
	}
	c, number, err := lastNote(&j.cfg, x)
	if err != nil {
		return err
	}
	if number != 0 {
		if err := j.compareNote(s, &c); err != nil {
			return err
		}
	}
	j.notes = notes{loaded: true, last: c, number: number}
	return nil
}

func (j *Journal) compareNote(s *Signer, c *Checkpoint) error {
	if err := c.Check(s.Public()); err != nil {
		return err
	}
	if c.StoreID != j.cfg.StoreID {
		return fmt.Errorf("%w: the newest checkpoint is of store %x", ErrForeign, c.StoreID)
	}
	hash, ok, err := j.HashAt(c.Seq)
	switch {
	case errors.Is(err, ErrArchived):
		return nil
	case err != nil:
		return err
	case c.Seq > j.End().Seq:
		return fmt.Errorf("%w: sequence %d was signed on %s, the journal ends at %d: store and journal were put back to an earlier moment; put the newest ones back, or move %s away to go on without what came after",
			ErrForked, c.Seq, c.Time.Format(time.RFC3339), j.End().Seq, notesPath(j.cfg.Dir, j.segment))
	case !ok || hash != c.Hash:
		return fmt.Errorf("%w: at sequence %d it is not what was signed on %s", ErrForked, c.Seq, c.Time.Format(time.RFC3339))
	}
	return nil
}

// Signed returns the newest checkpoint that this process has made or found; its sequence is 0 when there is none.
func (j *Journal) Signed() Checkpoint {
	j.signing.Lock()
	defer j.signing.Unlock()
	return j.notes.last
}
