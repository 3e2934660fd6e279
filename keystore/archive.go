package keystore

import (
	"context"
	"fmt"
)

var archiveOp = &Op{Name: "Archive Journal", Class: OpChange}

// ArchiveJournal allows the journal to begin as late as after seq, and records
// that in the journal. Call it before segments are moved away: Open refuses a
// journal that begins later than the sealed head says. Without that whoever can
// write the folder could drop the oldest segments, and what is left would still
// be a whole chain.
func (s *Store) ArchiveJournal(ctx context.Context, seq uint64, reason string) error {
	err := s.Do(ctx, adminPrincipal, true, workFunc(func(b *Batch) error {
		return b.Do(archiveOp, actionFunc(func(tx *Tx) error { return tx.archiveJournal(seq, reason) }))
	}))
	if err != nil {
		return fmt.Errorf("allowing the journal to begin after sequence %d: %w", seq, err)
	}
	return nil
}

func (tx *Tx) archiveJournal(seq uint64, reason string) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if end := tx.store.cfg.Journal.End().Seq; seq > end { // this commit names a later one than end
		return fmt.Errorf("%w: the journal ends at sequence %d, before %d", ErrInvalid, end, seq)
	}
	tx.reason = fmt.Sprintf("up to sequence %d: %s", seq, reason)
	tx.head.archived = max(tx.head.archived, seq)
	return nil
}
