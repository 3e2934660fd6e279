package keystore

import (
	"context"
	"fmt"
)

// The operations of Purge: what it looks at is not worth a record.
var (
	purgeOp = &Op{Name: "Purge", Class: OpChange, Urgent: true}
	scanOp  = &Op{Name: "Purge Scan"}
)

const defaultPurge = 1000

// Purge removes the tombstones whose grace period is over, at most limit of
// them (0: 1,000) in one transaction, and returns how many. Call it now and
// then, and again while it returns limit: nothing else removes them. One that an
// inventory names is kept, and the log says so.
func (s *Store) Purge(ctx context.Context, limit int) (purged int, err error) {
	if limit <= 0 {
		limit = defaultPurge
	}
	expired, err := s.expired(ctx, limit)
	if err != nil || len(expired) == 0 {
		return 0, err
	}
	err = s.Do(ctx, adminPrincipal, true, workFunc(func(b *Batch) error {
		return b.Do(purgeOp, actionFunc(func(tx *Tx) (err error) {
			purged, err = tx.purge(expired)
			return err
		}))
	}))
	if err != nil {
		return 0, fmt.Errorf("purging destroyed objects: %w", err)
	}
	return purged, nil
}

// expired looks for tombstones to purge outside of the writer.
func (s *Store) expired(ctx context.Context, limit int) (uids []UID, err error) {
	var kept []UID
	defer func() { s.warnKept(kept) }()
	err = s.Do(ctx, adminPrincipal, false, workFunc(func(b *Batch) error {
		uids, kept = uids[:0], kept[:0]
		return b.Do(scanOp, actionFunc(func(tx *Tx) error {
			all, err := tx.gather([]byte{familyTombstone}, nil)
			for _, uid := range all {
				if t, err := tx.peek(uid); err != nil || t.expiry > tx.now {
					continue // what does not open is for Check to report
				}
				if used, err := tx.inUse(uid); err != nil || used {
					kept = append(kept, uid)
					continue
				}
				if uids = append(uids, uid); len(uids) == limit {
					break
				}
			}
			return err
		}))
	}))
	return uids, err
}

// warnKept says what is not purged although its time has come.
func (s *Store) warnKept(kept []UID) {
	if len(kept) == 0 {
		return
	}
	var names []string
	for _, uid := range kept[:min(len(kept), 5)] {
		names = append(names, uid.String())
		s.cfg.Metrics.inventoryRefused(purgeOp.Name)
	}
	s.cfg.Logger.Error("keystore: destroyed keys are kept although their grace period is over: an inventory says that machines use them; bring them back: keyreeve key recover",
		"keys", len(kept), "some", names)
}

// peek opens a tombstone; its Value is gone when it returns.
func (tx *Tx) peek(uid UID) (tombstone, error) {
	defer tx.release(tx.used)
	return tx.tombstone(uid, tx.slot())
}

// purge looks again, inside the transaction: an Undestroy may have come first.
func (tx *Tx) purge(uids []UID) (purged int, err error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	for _, uid := range uids {
		t, err := tx.peek(uid)
		if err != nil || t.expiry > tx.now {
			continue
		}
		if used, err := tx.inUse(uid); err != nil || used { // a report came since
			continue
		}
		if err := tx.deleteRecord(familyTombstone, uid[:], t.version); err != nil {
			return purged, err
		}
		tx.changed = append(tx.changed, uid)
		purged++
	}
	return purged, nil
}

// PurgeObject removes an object's tombstone now, so that nothing can bring it
// back; ErrNotFound if there is none, ErrInUse while an inventory names it. Administrators only, with a reason for
// the journal.
func (tx *Tx) PurgeObject(uid UID, reason string) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	if reason == "" {
		return fmt.Errorf("%w: a reason must be given", ErrInvalid)
	}
	if err := tx.writable(); err != nil {
		return err
	}
	tx.reason = reason
	tx.touch(uid)
	t, err := tx.peek(uid)
	if err != nil {
		return err
	}
	if err := tx.unusedObject(uid); err != nil {
		return err
	}
	tx.changed = append(tx.changed, uid)
	return tx.deleteRecord(familyTombstone, uid[:], t.version)
}
