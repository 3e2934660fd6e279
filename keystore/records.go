package keystore

import "fmt"

// Kind of a record that is no object. The numbers are on disk.
type Kind byte

// The kinds.
const (
	KindClient Kind = 1 + iota
	KindUser
	KindCA
	KindConfig
	KindAdmin     // who may use the admin API over HTTPS
	KindInventory // what an agent has reported
	KindBackup    // the last backups
	KindSigner    // keys that sign for this store, the journal's among them
)

// maxID is the longest identifier of a record, from the length of keys.
const maxID = 200

func (tx *Tx) admin(k Kind, id string) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	if k < KindClient || k > KindSigner || id == "" || len(id) > maxID {
		return fmt.Errorf("%w: record kind %d with an identifier of %d bytes", ErrInvalid, k, len(id))
	}
	return nil
}

func recordID(k Kind, id string) []byte { return append([]byte{byte(k)}, id...) }

// Record returns a record's value, a view; ErrNotFound if there is none.
// Records are sealed like objects. Administrators only.
func (tx *Tx) Record(k Kind, id string) ([]byte, error) {
	if err := tx.admin(k, id); err != nil {
		return nil, err
	}
	value, version, err := tx.openRecord(recordID(k, id))
	if err == nil && version == 0 {
		err = ErrNotFound
	}
	return value, err
}

// openRecord returns version 0 if there is none.
func (tx *Tx) openRecord(id []byte) (value []byte, version uint64, err error) {
	sealed, err := tx.kv.Get(tx.at(familyRecord, id))
	if err != nil || sealed == nil {
		return nil, 0, err
	}
	slot := tx.slot()
	slot.plain, version, err = tx.box.open(slot.plain, familyRecord, id, sealed)
	return slot.plain, version, err
}

// errInventory: what keeps a key from being destroyed is not taken away by
// whoever can write records.
var errInventory = fmt.Errorf("%w: inventories are changed by reports, by confirming them and by removing a vCenter", ErrPermission)

// changeable returns the version of a record that may be written or removed; 0
// if there is none.
func (tx *Tx) changeable(k Kind, id string) (version uint64, err error) {
	if err := tx.admin(k, id); err != nil {
		return 0, err
	}
	if err := tx.writable(); err != nil {
		return 0, err
	}
	if k == KindInventory {
		return 0, errInventory
	}
	_, version, err = tx.openRecord(recordID(k, id))
	return version, err
}

// PutRecord writes a record, new or not. The value is copied. Not for
// KindInventory. Administrators only.
func (tx *Tx) PutRecord(k Kind, id string, value []byte) error {
	old, err := tx.changeable(k, id)
	if err != nil {
		return err
	}
	tx.plain.Raw(value)
	_, err = tx.writeRecord(familyRecord, recordID(k, id), old)
	return err
}

// DeleteRecord removes a record; ErrNotFound if there is none. Not for
// KindInventory. Administrators only.
func (tx *Tx) DeleteRecord(k Kind, id string) error {
	old, err := tx.changeable(k, id)
	if err != nil {
		return err
	}
	if old == 0 {
		return ErrNotFound
	}
	return tx.deleteRecord(familyRecord, recordID(k, id), old)
}

// Records calls fn for each record of the kind, by ascending identifier, until
// fn fails. value is valid during the call. Administrators only.
func (tx *Tx) Records(k Kind, fn func(id string, value []byte) error) error {
	if err := tx.admin(k, "-"); err != nil {
		return err
	}
	var failed error
	err := tx.kv.Range([]byte{familyRecord, byte(k)}, nil, func(key, sealed []byte) bool {
		defer tx.release(tx.used)
		slot := tx.slot()
		slot.plain, _, failed = tx.box.open(slot.plain, familyRecord, key[1:], sealed)
		if failed == nil {
			failed = fn(string(key[2:]), slot.plain)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}
