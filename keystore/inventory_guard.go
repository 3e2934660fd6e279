package keystore

import (
	"fmt"
)

// InUseError is why a key is not destroyed. It wraps ErrInUse.
type InUseError struct {
	Key  UID
	Used []UsedKey // by vCenter
	// Where a vCenter is not of the key's group, its names are not for that
	// group's eyes: Foreign counts those, and Used lacks them.
	Foreign int
	names   map[VCenterID]string
}

// Unwrap makes errors.Is(err, ErrInUse) true.
func (e *InUseError) Unwrap() error { return ErrInUse }

// Error says by whom the key is used, in a sentence for the key's owner: it has
// no names of another group's machines.
func (e *InUseError) Error() string {
	if len(e.Used) == 0 {
		return "the key is in use by a machine of another group"
	}
	u := &e.Used[0]
	text := "the key is in use"
	if len(u.Uses) > 0 {
		text += " by " + u.Uses[0].String()
	}
	text += fmt.Sprintf(" of vCenter %s", e.vcenter(u.VCenter))
	rest := uint64(e.Foreign)
	for _, u := range e.Used {
		rest += u.Total
	}
	if rest > 1 {
		text += fmt.Sprintf(" and %d more", rest-1)
	}
	return text
}

func (e *InUseError) vcenter(id VCenterID) string {
	if name := e.names[id]; name != "" {
		return name + " (" + id.String() + ")"
	}
	return id.String()
}

// String names the user of a key for people.
func (u *KeyUse) String() string {
	switch u.Kind {
	case UseHost:
		return fmt.Sprintf("host %q (%s)", u.Name, u.UUID)
	case UseDisk:
		return fmt.Sprintf("%q of VM %q (%s)", u.Disk, u.Name, u.UUID)
	}
	return fmt.Sprintf("VM %q (%s)", u.Name, u.UUID)
}

// unused is the guard: whatever takes a key's material away for good asks it
// first, inside its own transaction. What it costs does not depend on how many
// machines there are.
//
// The attack or accident that it stops: a key is destroyed by whoever may
// destroy it, while a machine's disks are encrypted with it.
func (tx *Tx) unused(key UID, group string) error {
	used, err := tx.uses(key)
	if err != nil || len(used) == 0 {
		return err
	}
	e := &InUseError{Key: key, names: make(map[VCenterID]string)}
	for _, u := range used {
		v, err := tx.vcenter(u.VCenter)
		if err != nil {
			return err
		}
		if v == nil || !v.owns(group) {
			e.Foreign++
			continue
		}
		e.Used = append(e.Used, u)
		e.names[u.VCenter] = v.Name
	}
	tx.refused = e.Error()
	tx.store.cfg.Metrics.inventoryRefused(tx.op.Name)
	return e
}

// unusedObject is unused for an object that is not open.
func (tx *Tx) unusedObject(uid UID) error {
	defer tx.release(tx.used)
	o, err := tx.stored(uid)
	if err != nil {
		return err
	}
	if o == nil {
		return ErrNotFound
	}
	return tx.unused(uid, o.Group)
}

// usedBy wants a key to be in use by a machine or host of that name.
func (tx *Tx) usedBy(key UID, user string) error {
	used, err := tx.uses(key)
	if err != nil {
		return err
	}
	for _, u := range used {
		for _, use := range u.Uses {
			if user != "" && use.Name == user {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: no inventory says that %q uses the key", ErrConfirm, user)
}

func (v *vcenter) owns(group string) bool {
	for _, g := range v.Groups {
		if g == group {
			return true
		}
	}
	return false
}

// uses returns, by vCenter, the first uses of a key.
func (tx *Tx) uses(key UID) (used []UsedKey, err error) {
	prefix := recordKey(familyRecord, append([]byte{byte(KindInventory), useRecord}, key[:]...))
	var failed error
	err = tx.kv.Range(prefix, nil, func(at, sealed []byte) bool {
		_, vc, page, ok := splitUseID(at[1:])
		if !ok || page != 0 {
			return true
		}
		u := UsedKey{Key: key, VCenter: vc}
		failed = tx.openUses(at[1:], sealed, func(p *usePage) {
			u.Total, u.Uses, u.Absent = p.total, p.uses, p.absent != 0
		})
		used = append(used, u)
		return failed == nil
	})
	if failed != nil {
		err = failed
	}
	return used, err
}

// openUses opens a page and gives it to fn.
func (tx *Tx) openUses(id, sealed []byte, fn func(p *usePage)) error {
	defer tx.release(tx.used)
	slot := tx.slot()
	var err error
	if slot.plain, _, err = tx.box.open(slot.plain, familyRecord, id, sealed); err != nil {
		return err
	}
	p, err := decodeUses(slot.plain)
	if err != nil {
		return fmt.Errorf("reading %s: %w", recordName(familyRecord, id), err)
	}
	fn(&p)
	return nil
}

// inUse tells whether any vCenter uses the key. A page that does not open
// counts: it was written because one does.
func (tx *Tx) inUse(key UID) (found bool, err error) {
	prefix := recordKey(familyRecord, append([]byte{byte(KindInventory), useRecord}, key[:]...))
	err = tx.kv.Range(prefix, nil, func(_, _ []byte) bool {
		found = true
		return false
	})
	return found, err
}

// vcenter opens a vCenter's record; nil if there is none.
func (tx *Tx) vcenter(id VCenterID) (*vcenter, error) {
	defer tx.release(tx.used)
	plain, version, err := tx.openRecord(vcenterID(id))
	if err != nil || version == 0 {
		return nil, err
	}
	v, err := decodeVCenter(id, plain)
	if err != nil {
		return nil, fmt.Errorf("reading the record of vCenter %s: %w", id, err)
	}
	v.version = version
	return &v, nil
}

func (tx *Tx) putVCenter(v *vcenter) error {
	v.encode(&tx.plain)
	version, err := tx.writeRecord(familyRecord, vcenterID(v.ID), v.version)
	v.version = version
	return err
}
