package keystore_test

import (
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// An operation that forgets to ask whether an object is archived gets no key
// all the same, to look at or to change; and the key is not lost for it.
func TestArchivedValueIsNotThere(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "stored away")
	archive := func(date keystore.Date) {
		must(t, r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error {
			o, err := tx.Edit(uid)
			if err != nil {
				return err
			}
			o.ArchiveDate = date
			return tx.Put(o)
		}))
	}
	there := func() (read, edited bool) {
		must(t, r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error {
			o, err := tx.Object(uid)
			if err != nil {
				return err
			}
			read = !o.Value.IsZero()
			if o, err = tx.Edit(uid); err != nil {
				return err
			}
			edited = !o.Value.IsZero()
			return nil
		}))
		return read, edited
	}
	for _, step := range []struct {
		date keystore.Date
		want bool
	}{{keystore.Date{}, true}, {keystore.At(1), false}, {keystore.Date{}, true}} {
		archive(step.date)
		if read, edited := there(); read != step.want || edited != step.want {
			t.Errorf("Archive Date %v: the key is there to read: %v, to edit: %v", step.date, read, edited)
		}
	}
}
