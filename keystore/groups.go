package keystore

import "github.com/keyreeve/keyreeve/kmip/ttlv"

// kindTurn is the Kind of the records that say which member of an Object Group
// was handed out last. They are the store's own, and no method for records
// reaches them.
const kindTurn Kind = 64

// turnID is the identifier of an Object Group's record inside the principal's
// group: an HMAC, since names of groups are not for the file.
func (tx *Tx) turnID(objectGroup ttlv.Item) []byte {
	prefix := tx.box.appendTerm(nil, tx.principal.Group, groupAttribute, objectGroup)
	return recordID(kindTurn, string(prefix))
}

// LastServed returns the member of an Object Group that TakeTurn was called for
// last; the zero UID if there is none. The member may be gone since.
func (tx *Tx) LastServed(objectGroup ttlv.Item) (last UID, err error) {
	defer tx.release(tx.used)
	value, _, err := tx.openRecord(tx.turnID(objectGroup))
	copy(last[:], value)
	return last, err
}

// TakeTurn notes that the object was handed out, in each of its Object Groups.
// The object itself does not change by it, nor does its Last Change Date.
func (tx *Tx) TakeTurn(o *Object) error {
	for _, a := range o.Attributes() {
		if a.Name != groupAttribute {
			continue
		}
		if err := tx.takeTurn(tx.turnID(a.Value), o.UniqueIdentifier); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) takeTurn(id []byte, uid UID) error {
	defer tx.release(tx.used)
	last, old, err := tx.openRecord(id)
	if err != nil || string(last) == string(uid[:]) {
		return err
	}
	if err := tx.writable(); err != nil {
		return err
	}
	tx.plain.Raw(uid[:])
	_, err = tx.writeRecord(familyRecord, id, old)
	return err
}

// Serve notes that an object was handed out for the first time: it is not Fresh
// any more (specification section 3.34). Whoever may look at an object may do
// so: a policy that shares it does not make it fresh for each user.
func (tx *Tx) Serve(uid UID) error {
	if err := tx.writable(); err != nil {
		return err
	}
	o, err := tx.Object(uid)
	if err != nil {
		return err
	}
	o.editable, o.Fresh = true, false
	return tx.Put(o)
}
