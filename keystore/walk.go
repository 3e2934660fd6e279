package keystore

import "errors"

// Walk visits the objects of all groups whose Unique Identifiers are greater
// than after, in their order and so oldest first, until visit returns false.
// Nothing is read of what comes before, so that a page late in a large store
// costs what one at its front does; the zero UID begins at the front. The
// object is valid during the call and has no Value. Administrators only.
func (tx *Tx) Walk(after UID, visit func(o *Object) (more bool)) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	start := append(append([]byte{familyObject}, after[:]...), 0) // the next key that there can be
	var failed error
	err := tx.kv.Range([]byte{familyObject}, start, func(key, _ []byte) (more bool) {
		more, failed = tx.consider(UID(key[1:]), Query{}, visit)
		return more && failed == nil
	})
	return errors.Join(failed, err)
}

// RecoverableUntil tells until when Undestroy can bring a destroyed object back;
// not set when nothing is left of it. Administrators only.
func (tx *Tx) RecoverableUntil(uid UID) (Date, error) {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return Date{}, ErrPermission
	}
	t, err := tx.peek(uid)
	switch {
	case errors.Is(err, ErrNotFound):
		return Date{}, nil
	case err != nil:
		return Date{}, err
	case t.expiry <= tx.now:
		if used, err := tx.inUse(uid); err != nil || !used {
			return Date{}, err
		}
	}
	return At(t.expiry), nil
}
