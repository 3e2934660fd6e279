package keystore

import (
	"context"
	"errors"
)

// errEnough ends a walk.
var errEnough = errors.New("enough")

// VCenters returns all vCenters that were assigned. Administrators only.
func (tx *Tx) VCenters() (all []VCenterInfo, err error) {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return nil, err
	}
	prefix := []byte{familyRecord, byte(KindInventory), vcenterRecord}
	var ids []VCenterID
	err = tx.kv.Range(prefix, nil, func(key, _ []byte) bool {
		ids = append(ids, VCenterID(key[len(key)-len(VCenterID{}):]))
		return true
	})
	for _, id := range ids {
		v, failed := tx.vcenter(id)
		if failed != nil {
			return nil, failed
		}
		if v != nil {
			all = append(all, v.VCenterInfo)
		}
	}
	return all, err
}

// VCenter returns one vCenter; ErrNotFound if it was not assigned.
// Administrators only.
func (tx *Tx) VCenter(id VCenterID) (info VCenterInfo, err error) {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return info, err
	}
	v, err := tx.vcenter(id)
	if err == nil && v == nil {
		err = ErrNotFound
	}
	if err != nil {
		return info, err
	}
	return v.VCenterInfo, nil
}

// UsedKeys visits the keys that a vCenter uses, from one identifier on, until
// visit returns false. Administrators only.
func (tx *Tx) UsedKeys(id VCenterID, from UID, visit func(u UsedKey) (more bool)) error {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return err
	}
	err := tx.eachPage(id, from, func(key UID, page int, plain []byte) error {
		if page != 0 {
			return nil
		}
		p, err := decodeUses(plain)
		if err == nil && !visit(UsedKey{Key: key, VCenter: id, Total: p.total, Uses: p.uses, Absent: p.absent != 0}) {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// Uses returns who uses a key, by vCenter, with the first of each vCenter's
// uses; nothing if it is not in use. What it costs does not depend on how many
// machines there are. Administrators only.
func (tx *Tx) Uses(key UID) ([]UsedKey, error) {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return nil, err
	}
	return tx.uses(key)
}

// InUse is Uses for those who want to know only whether there are any.
// Administrators only.
func (tx *Tx) InUse(key UID) (bool, error) {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return false, err
	}
	return tx.inUse(key)
}

// Inventories returns all vCenters that were assigned, for metrics and status.
func (s *Store) Inventories(ctx context.Context) (all []VCenterInfo, err error) {
	err = s.Do(ctx, adminPrincipal, false, workFunc(func(b *Batch) error {
		return b.Do(lookOp, actionFunc(func(tx *Tx) (err error) {
			all, err = tx.VCenters()
			return err
		}))
	}))
	return all, err
}
