package keystore

import (
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Activate is KMIP's Activate (section 4.19): it changes o, which came from
// Edit, and stores it. ErrState if the object is not Pre-Active.
func (tx *Tx) Activate(o *Object) error {
	return tx.edge(o, func() error { return o.activate(tx.now) })
}

// Revoke is KMIP's Revoke (section 4.20). A compromise is taken in every state
// but the compromised ones, any other reason only in Active. occurrence counts
// for a compromise; if it is not set, the Initial Date is taken.
func (tx *Tx) Revoke(o *Object, reason uint32, message string, occurrence Date) error {
	return tx.edge(o, func() error { return o.revoke(tx.now, reason, message, occurrence) })
}

// Destroy is KMIP's Destroy (section 4.21): the Value is gone at once for all
// clients. Unless the store purges at once, it is kept in a tombstone until
// the grace period has passed. ErrState for an Active object whose
// Deactivation Date has not come. ErrInUse, an *InUseError, while an inventory
// names the object.
func (tx *Tx) Destroy(o *Object) error {
	return tx.edge(o, func() error {
		if err := o.destroy(tx.now); err != nil {
			return err
		}
		if err := tx.unused(o.UniqueIdentifier, o.Group); err != nil {
			return err
		}
		return tx.bury(o.UniqueIdentifier, !tx.store.cfg.PurgeAtOnce)
	})
}

// DestroyInUse is Destroy of an object although an inventory names it, for the
// case that the inventory is wrong and cannot be put right. user is the name of
// one machine or host that uses it, which nobody gives by mistake. A tombstone
// is kept even in a store that purges at once. Administrators only, with a
// reason for the journal; ErrConfirm if no such user is named.
func (tx *Tx) DestroyInUse(o *Object, reason, user string) error {
	return tx.adminEdge(o, reason, func() error {
		if err := o.destroy(tx.now); err != nil {
			return err
		}
		if err := tx.usedBy(o.UniqueIdentifier, user); err != nil {
			return err
		}
		tx.reason = fmt.Sprintf("although in use by %q: %s", user, reason)
		return tx.bury(o.UniqueIdentifier, true)
	})
}

// Reactivate makes a Deactivated object Active again. It is no edge of KMIP's:
// administrators only, with a reason for the journal.
func (tx *Tx) Reactivate(o *Object, reason string) error {
	return tx.adminEdge(o, reason, o.reactivate)
}

// Undestroy brings a destroyed object back while its tombstone is there;
// ErrNotFound when it is not, or its grace period is over and no inventory names
// the object. Administrators only, with a reason for the journal.
func (tx *Tx) Undestroy(o *Object, reason string) error {
	return tx.adminEdge(o, reason, func() error {
		if err := o.undestroy(); err != nil {
			return err
		}
		return tx.unbury(o)
	})
}

func (tx *Tx) adminEdge(o *Object, reason string, move func() error) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	if reason == "" {
		return fmt.Errorf("%w: a reason must be given", ErrInvalid)
	}
	tx.reason = reason
	return tx.edge(o, move)
}

// edge moves o and stores it. o keeps what Edit's caller has changed besides,
// as far as Put would take it.
func (tx *Tx) edge(o *Object, move func() error) error {
	if err := tx.writable(); err != nil {
		return err
	}
	return tx.replace(o, func(old *Object) error {
		o.State = old.State
		if err := o.frozen(old); err != nil {
			return err
		}
		o.settle(tx.now)
		if err := move(); err != nil {
			return err
		}
		o.settle(tx.now) // Activate after the Deactivation Date
		return nil
	})
}

// bury writes a tombstone with the Value of an object about to be destroyed, if
// one is to be kept.
func (tx *Tx) bury(uid UID, keep bool) error {
	if !keep {
		return nil
	}
	defer tx.release(tx.used)
	o, err := tx.stored(uid)
	if err != nil {
		return err
	}
	if o == nil {
		return ErrNotFound
	}
	all := tx.plain.Begin(tagTombstone)
	tx.plain.DateTime(tagExpiry, tx.now+int64(tx.store.cfg.GracePeriod.Seconds()))
	value := tx.plain.Begin(tagValue)
	tx.plain.Item(o.Value)
	tx.plain.End(value)
	tx.plain.End(all)
	_, err = tx.writeRecord(familyTombstone, uid[:], 0)
	return err
}

// unbury puts the Value back into o and removes the tombstone.
func (tx *Tx) unbury(o *Object) error {
	slot := tx.slot() // o.Value views it until the item ends
	t, err := tx.tombstone(o.UniqueIdentifier, slot)
	if err != nil {
		return err
	}
	if t.expiry <= tx.now {
		used, err := tx.inUse(o.UniqueIdentifier) // then it was kept for this
		if err != nil || !used {
			return errors.Join(err, fmt.Errorf("%w: the grace period is over", ErrNotFound))
		}
	}
	o.Value = t.value
	return tx.deleteRecord(familyTombstone, o.UniqueIdentifier[:], t.version)
}

type tombstone struct {
	expiry  int64
	value   ttlv.Item
	version uint64
}

func (tx *Tx) tombstone(uid UID, slot *opened) (t tombstone, err error) {
	sealed, err := tx.kv.Get(tx.at(familyTombstone, uid[:]))
	if err != nil {
		return t, err
	}
	if sealed == nil {
		return t, fmt.Errorf("%w: nothing is left of it", ErrNotFound)
	}
	slot.plain, t.version, err = tx.box.open(slot.plain, familyTombstone, tx.key[1:], sealed)
	if err != nil {
		return t, err
	}
	t.expiry, t.value, err = decodeTombstone(slot.plain)
	return t, err
}

func decodeTombstone(plain []byte) (expiry int64, value ttlv.Item, err error) {
	it, err := ttlv.Parse(plain)
	if err != nil || it.Tag() != tagTombstone {
		return 0, value, errRecord
	}
	expiry, err1 := it.Find(tagExpiry).DateTime()
	holder := it.Find(tagValue)
	if err := errors.Join(err1, structure(holder)); err != nil {
		return 0, value, fmt.Errorf("%w: %w", errRecord, err)
	}
	if len(holder.Value()) > 0 {
		value, err = ttlv.Parse(holder.Value())
	}
	return expiry, value, err
}
