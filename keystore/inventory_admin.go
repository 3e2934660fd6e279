package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// The operations of an administrator on inventories.
var (
	assignOp  = &Op{Name: "Assign vCenter", Class: OpChange}
	confirmOp = &Op{Name: "Confirm Inventory", Class: OpChange}
	removeOp  = &Op{Name: "Remove vCenter", Class: OpChange}
)

// ErrConfirm: what was confirmed is not what there is; look again.
var ErrConfirm = errors.New("that is not what there is to confirm")

// AssignVCenter says which agent alone reports on a vCenter, what people call
// it, and whose groups' keys it uses. Without it no report is taken: an agent
// must not make up a vCenter. Of one that is known the uses stay; reports begin
// a new row. Administrators only.
func (s *Store) AssignVCenter(ctx context.Context, p *Principal, a VCenterInfo) (VCenterInfo, error) {
	s.inventory.Lock()
	defer s.inventory.Unlock()
	var out VCenterInfo
	err := s.Do(ctx, p, true, workFunc(func(b *Batch) error {
		return b.Do(assignOp, actionFunc(func(tx *Tx) (err error) {
			out, err = tx.assign(a)
			return err
		}))
	}))
	return out, err
}

func (tx *Tx) assign(a VCenterInfo) (out VCenterInfo, err error) {
	if err := tx.admin(KindInventory, "-"); err != nil {
		return out, err
	}
	if a.ID == (VCenterID{}) || a.Agent == "" || len(a.Groups) == 0 || slices.Contains(a.Groups, "") {
		return out, fmt.Errorf("%w: a vCenter has a UUID, an agent and at least one group", ErrInvalid)
	}
	v, err := tx.vcenter(a.ID)
	if err != nil {
		return out, err
	}
	switch {
	case v == nil:
		v = &vcenter{VCenterInfo: VCenterInfo{ID: a.ID}}
	case v.Removing:
		return out, fmt.Errorf("%w: vCenter %s is being removed; finish that first", ErrState, a.ID)
	case v.Agent != a.Agent:
		v.run = v.epoch + 1
	}
	v.Name, v.Agent, v.Groups, v.Assigned = clean(a.Name), a.Agent, cleanAll(a.Groups), tx.now
	tx.reason = fmt.Sprintf("vCenter %s, agent %s", v.ID, v.Agent)
	return v.VCenterInfo, tx.putVCenter(v)
}

// ConfirmInventory releases the keys of a vCenter that wait for a person:
// number and keys are of the report that the person has looked at, and must
// still be so. Administrators only, with a reason for the journal.
func (s *Store) ConfirmInventory(ctx context.Context, p *Principal, id VCenterID, number, keys uint64, reason string) (VCenterInfo, error) {
	s.inventory.Lock()
	defer s.inventory.Unlock()
	t := &taking{store: s, ctx: ctx, p: p, r: &InventoryReport{VCenter: id}}
	err := t.start(confirmOp, reason, func(_ *Tx, v *vcenter) error {
		if v.Waiting == 0 || v.Waiting != keys || v.Number != number {
			return fmt.Errorf("%w: %d keys wait as of report %d of vCenter %s, not %d as of report %d", ErrConfirm, v.Waiting, v.Number, v.ID, keys, number)
		}
		return nil
	})
	if err != nil {
		return VCenterInfo{}, err
	}
	if err := t.gather(func(p *usePage) bool { return released(p.absent, t.v.run, t.v.epoch) }); err != nil {
		return VCenterInfo{}, err
	}
	if err := t.free(t.ripe, reason); err != nil {
		return VCenterInfo{}, err
	}
	err = t.change(confirmOp, func(tx *Tx, v *vcenter) error {
		tx.reason = fmt.Sprintf("vCenter %s, %d keys: %s", id, len(t.ripe), reason)
		v.Waiting, v.since = 0, 0 // what a person has confirmed does not count as released without one
		return nil
	})
	return t.v.VCenterInfo, err
}

// start checks, in a transaction of its own, whether an administrator's change
// may begin.
func (t *taking) start(op *Op, reason string, check func(tx *Tx, v *vcenter) error) error {
	if reason == "" {
		return fmt.Errorf("%w: a reason must be given", ErrInvalid)
	}
	return t.change(op, func(tx *Tx, v *vcenter) error {
		tx.reason = fmt.Sprintf("begun: vCenter %s: %s", v.ID, reason)
		return check(tx, v)
	})
}

// gather finds the keys of the vCenter whose page 0 is so.
func (t *taking) gather(is func(p *usePage) bool) error {
	return t.see(func(tx *Tx) error {
		t.ripe = t.ripe[:0]
		return tx.eachPage(t.v.ID, UID{}, func(key UID, page int, plain []byte) error {
			if page != 0 {
				return nil
			}
			p, err := decodeUses(plain)
			if err == nil && is(&p) {
				t.ripe = append(t.ripe, key)
			}
			return err
		})
	})
}

// removeAfter is how long a vCenter must have been silent before it can be
// removed, in seconds: one that still reports is not gone.
const removeAfter = 24 * 60 * 60

// RemoveVCenter forgets a vCenter that is gone for good, and releases all of
// its keys; keys is how many, as the person knows. One that has reported within
// a day is not gone: ErrConfirm. Should it be interrupted, calling it again
// goes on. Administrators only, with a reason for the journal.
func (s *Store) RemoveVCenter(ctx context.Context, p *Principal, id VCenterID, keys uint64, reason string) error {
	s.inventory.Lock()
	defer s.inventory.Unlock()
	t := &taking{store: s, ctx: ctx, p: p, r: &InventoryReport{VCenter: id}}
	err := t.start(removeOp, reason, func(tx *Tx, v *vcenter) error {
		switch silent := tx.now - v.Received; {
		case v.Keys != keys:
			return fmt.Errorf("%w: vCenter %s uses %d keys, not %d", ErrConfirm, id, v.Keys, keys)
		case v.Number != 0 && silent < removeAfter:
			return fmt.Errorf("%w: vCenter %s reported %d s ago, so it is not gone; stop its agent, and remove it when it has been silent for a day", ErrConfirm, id, silent)
		}
		v.Removing = true
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.gather(func(*usePage) bool { return true }); err != nil {
		return err
	}
	if err := t.free(t.ripe, "removed: "+reason); err != nil {
		return err
	}
	return s.Do(ctx, p, true, workFunc(func(b *Batch) error {
		return b.Do(removeOp, actionFunc(func(tx *Tx) error {
			tx.reason = fmt.Sprintf("vCenter %s, %d keys: %s", id, len(t.ripe), reason)
			v, err := tx.vcenter(id)
			if err != nil || v == nil {
				return err
			}
			return tx.deleteRecord(familyRecord, vcenterID(id), v.version)
		}))
	}))
}
