package keystore

import (
	"crypto/subtle"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// ChangeRootKey wraps the store keys with another root key. The records stay as
// they are: nothing that they are sealed with changes. The old root key opens
// the store no more once the message is committed, and still opens every copy
// and backup that was made before. Administrators only; the caller opens the
// store anew afterwards.
//
// Errors: ErrWrongRootKey when from is not the store's root key, or to has the
// wrong length; ErrInvalid when both are the same.
func (tx *Tx) ChangeRootKey(from, to *secret.Bytes) error {
	if !tx.principal.Admin {
		tx.refused = "only an administrator may"
		return ErrPermission
	}
	if err := tx.writable(); err != nil {
		return err
	}
	m, err := readMeta(tx.kv)
	if err != nil {
		return err
	}
	if err := checkChange(m, from, to); err != nil {
		return err
	}
	if m.check, err = checkValue(to, m.store); err != nil {
		return err
	}
	for generation := uint32(1); generation <= tx.store.keys.current; generation++ {
		if err := tx.rewrap(m.store, generation, from, to); err != nil {
			return err
		}
	}
	return tx.put(metaKey, m.encode())
}

func checkChange(m meta, from, to *secret.Bytes) error {
	for _, root := range []*secret.Bytes{from, to} {
		if err := checkRootKey(root); err != nil {
			return err
		}
	}
	check, err := checkValue(from, m.store)
	switch {
	case err != nil:
		return err
	case subtle.ConstantTimeCompare(check, m.check) != 1:
		return fmt.Errorf("%w: the store was made with another one", ErrWrongRootKey)
	case from.Equal(to):
		return fmt.Errorf("%w: the new root key is the old one", ErrInvalid)
	}
	return nil
}

func (tx *Tx) rewrap(store [16]byte, generation uint32, from, to *secret.Bytes) error {
	at := storeKeyKey(generation)
	wrapped, err := tx.kv.Get(at)
	if err != nil {
		return err
	}
	if wrapped == nil {
		return fmt.Errorf("%w: store key %d is gone; restore a backup", ErrCorrupt, generation)
	}
	key, err := openStoreKey(from, store, generation, wrapped)
	if err != nil {
		return err
	}
	defer key.Clear()
	wrap, err := newAEAD(to, store, "wrap")
	if err != nil {
		return err
	}
	return tx.put(at, wrap.Seal(nil, nil, key.Expose(), keyAAD(store, generation)))
}
