package keystore

import (
	"bytes"
	"errors"
)

// eachPage opens every page of a vCenter from a key on.
func (tx *Tx) eachPage(vc VCenterID, from UID, fn func(key UID, page int, plain []byte) error) error {
	prefix := []byte{familyRecord, byte(KindInventory), useRecord}
	var failed error
	err := tx.kv.Range(prefix, append(bytes.Clone(prefix), from[:]...), func(at, sealed []byte) bool {
		key, of, page, ok := splitUseID(at[1:])
		if !ok || of != vc {
			return true
		}
		defer tx.release(tx.used)
		slot := tx.slot()
		if slot.plain, _, failed = tx.box.open(slot.plain, familyRecord, at[1:], sealed); failed == nil {
			failed = fn(key, page, slot.plain)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// putUses writes all pages of a key, and removes those beyond. added tells that
// it had none.
func (tx *Tx) putUses(key UID, vc VCenterID, uses []KeyUse, stored int) (added bool, err error) {
	pages := pagesOf(len(uses))
	for page := range max(pages, stored) {
		id := useID(key, vc, page)
		old, err := tx.versionOf(id)
		if err != nil {
			return false, err
		}
		switch {
		case page < pages:
			encodeUses(&tx.plain, uses, page, 0)
			_, err = tx.writeRecord(familyRecord, id, old)
		case old != 0:
			err = tx.deleteRecord(familyRecord, id, old)
		}
		if err != nil {
			return false, err
		}
		added = added || page == 0 && old == 0
	}
	return added, nil
}

// versionOf opens a record for its version; 0 if there is none.
func (tx *Tx) versionOf(id []byte) (uint64, error) {
	defer tx.release(tx.used)
	_, version, err := tx.openRecord(id)
	return version, err
}

func (tx *Tx) markAbsent(id []byte, epoch uint64) error {
	defer tx.release(tx.used)
	plain, version, err := tx.openRecord(id)
	if err != nil || version == 0 {
		return err
	}
	p, err := decodeUses(plain)
	if err != nil {
		return err
	}
	all := tx.plain.Begin(tagUses)
	tx.plain.LongInteger(tagAbsent, int64(epoch))
	tx.plain.LongInteger(tagTotal, int64(p.total))
	for _, u := range p.uses {
		u.encode(&tx.plain)
	}
	tx.plain.End(all)
	_, err = tx.writeRecord(familyRecord, id, version)
	return err
}

// deleteUses removes all pages of a key.
func (tx *Tx) deleteUses(key UID, vc VCenterID) error {
	id := useID(key, vc, 0)
	prefix := recordKey(familyRecord, id[:len(id)-2])
	var ids [][]byte
	err := tx.kv.Range(prefix, nil, func(at, _ []byte) bool {
		ids = append(ids, bytes.Clone(at[1:]))
		return true
	})
	for _, id := range ids {
		version, failed := tx.versionOf(id)
		if failed == nil {
			failed = tx.deleteRecord(familyRecord, id, version)
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return err
}
