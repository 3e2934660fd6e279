package keystore

import (
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// writeRecord seals what is in tx.plain, which is cleared, and writes it. old
// is the version of the record that it replaces, which the caller has opened;
// 0 if there is none.
func (tx *Tx) writeRecord(family byte, id []byte, old uint64) (version uint64, err error) {
	plain := tx.plain.Bytes()
	defer func() {
		secret.Clear(plain)
		tx.plain.Reset(plain)
	}()
	if len(plain) > maxRecord {
		return 0, fmt.Errorf("%w: %d bytes are more than the %d that a record may have", ErrInvalid, len(plain), maxRecord)
	}
	if old != 0 {
		tx.head.digest.sub(tx.box.weigh(family, id, old))
	} else {
		*tx.head.count(family)++
	}
	tx.head.writes++
	version = tx.head.writes
	tx.head.digest.add(tx.box.weigh(family, id, version))
	return version, tx.put(recordKey(family, id), tx.box.seal(family, id, version, plain))
}

// deleteRecord removes a record whose version the caller has opened.
func (tx *Tx) deleteRecord(family byte, id []byte, old uint64) error {
	tx.head.digest.sub(tx.box.weigh(family, id, old))
	*tx.head.count(family)--
	return tx.remove(recordKey(family, id))
}

func recordKey(family byte, id []byte) []byte {
	return append(append(make([]byte, 0, 1+len(id)), family), id...)
}

// put and remove write a key and note how it was. A failure there stops the
// whole group: what it has written cannot be told any more.
func (tx *Tx) put(key, value []byte) error {
	tx.wrote += len(key) + len(value)
	return tx.write(key, func() error { return tx.kv.Put(key, value) })
}

func (tx *Tx) remove(key []byte) error {
	return tx.write(key, func() error { return tx.kv.Delete(key) })
}

func (tx *Tx) write(key []byte, do func() error) error {
	if err := tx.writable(); err != nil {
		return err
	}
	old, err := tx.kv.Get(key)
	if err == nil {
		tx.undo = append(tx.undo, undone{key, old})
		err = do()
	}
	if err != nil {
		tx.fatal = fmt.Errorf("writing to the store: %w", err)
	}
	return tx.fatal
}

// mark is a point to which a transaction can go back.
type mark struct {
	undo int
	head head
}

func (tx *Tx) mark() (m mark) {
	if tx.head != nil {
		m = mark{len(tx.undo), *tx.head}
	}
	return m
}

// rollback undoes what was written since m.
func (tx *Tx) rollback(m mark) {
	if tx.head == nil || tx.fatal != nil {
		return
	}
	for i := len(tx.undo) - 1; i >= m.undo; i-- {
		u := tx.undo[i]
		var err error
		if u.value == nil {
			err = tx.kv.Delete(u.key)
		} else {
			err = tx.kv.Put(u.key, u.value)
		}
		if err != nil {
			tx.fatal = fmt.Errorf("undoing a write: %w", err)
			return
		}
	}
	clear(tx.undo[m.undo:])
	tx.undo = tx.undo[:m.undo]
	*tx.head = m.head
}
