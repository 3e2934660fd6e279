package keystoretest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"

	"github.com/keyreeve/keyreeve/keystore"
)

// A tampering changes the content of a store behind its back. old is an
// earlier content of the same store.
type tampering struct {
	name string
	do   func(now, old map[string]string) error
}

// nth returns the nth key of a family.
func nth(all map[string]string, family byte, n int) (string, error) {
	for _, k := range sortedKeys(all) {
		if k[0] == family {
			if n == 0 {
				return k, nil
			}
			n--
		}
	}
	return "", fmt.Errorf("the store has too few keys of family %q to tamper with", family)
}

func on(family byte, do func(now, old map[string]string, key string)) func(now, old map[string]string) error {
	return func(now, old map[string]string) error {
		key, err := nth(now, family, 0)
		if err == nil {
			do(now, old, key)
		}
		return err
	}
}

func gone(now, _ map[string]string, key string) { delete(now, key) }
func back(now, old map[string]string, key string) {
	now[key] = old[key]
}
func flipped(now, _ map[string]string, key string) {
	b := []byte(now[key])
	b[len(b)/2] ^= 1
	now[key] = string(b)
}

// swapped exchanges the first two of a family.
func swapped(family byte) func(now, old map[string]string) error {
	return func(now, _ map[string]string) error {
		a, err1 := nth(now, family, 0)
		b, err2 := nth(now, family, 1)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		now[a], now[b] = now[b], now[a]
		return nil
	}
}

// tamperings are the seeded damages that Open or Check must notice.
var tamperings = func() (all []tampering) {
	for _, family := range []byte("mkchotr") {
		all = append(all,
			tampering{fmt.Sprintf("%c flipped", family), on(family, flipped)},
			tampering{fmt.Sprintf("%c gone", family), on(family, gone)})
	}
	for _, family := range []byte("otr") {
		all = append(all, tampering{fmt.Sprintf("%c swapped", family), swapped(family)})
	}
	for _, family := range []byte("nxi") {
		all = append(all,
			tampering{fmt.Sprintf("%c entry gone", family), on(family, gone)},
			tampering{fmt.Sprintf("%c entry too many", family), on(family, func(now, _ map[string]string, key string) {
				b := []byte(key)
				b[len(b)-1] ^= 1
				now[string(b)] = ""
			})})
	}
	return append(all,
		tampering{"o put back", on('o', back)},
		tampering{"r put back", on('r', back)},
		tampering{"h put back", on('h', back)},
		tampering{"o put back to before it was there", func(now, _ map[string]string) error {
			key, err := nth(now, 'o', 2)
			delete(now, key)
			return err
		}})
}()

// tampered makes a store with everything in it, tampers with it in every way,
// and wants Open or Check to say so.
func tampered(fresh func() *Rig) error {
	r := fresh()
	r.Configure = func(c *keystore.Config) { c.IndexedAttributes = []string{"x-purpose"} }
	old, now, err := furnish(r)
	if err != nil {
		return err
	}
	tape := r.Tape.Snapshot()
	for _, tampering := range tamperings {
		if err := tampering.noticed(r, maps.Clone(now), old); err != nil {
			return fmt.Errorf("%s: %w", tampering.name, err)
		}
		r.Tape.Restore(tape)
	}
	if err := errors.Join(r.setContent(now), r.Open()); err != nil {
		return err
	}
	return errors.Join(check(r.Store), r.Shut())
}

func (d *tampering) noticed(r *Rig, now, old map[string]string) error {
	if err := d.do(now, old); err != nil {
		return err
	}
	if err := r.setContent(now); err != nil {
		return err
	}
	opened := r.Open()
	if opened != nil {
		return nil // which error is for other tests
	}
	found := check(r.Store)
	if err := r.Crash(); err != nil {
		return err
	}
	if found == nil {
		return errors.New("neither Open nor Check noticed it")
	}
	return nil
}

// furnish fills a store, and returns an earlier content and the last one.
func furnish(r *Rig) (old, now map[string]string, err error) {
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		return nil, nil, err
	}
	var uids []keystore.UID
	for i := range 4 {
		uid := r.Store.NewUID()
		err := r.Do(Alice, ChangeOp, func(tx *keystore.Tx) error {
			o := NewKey(uid, bytes.Repeat([]byte{7}, 32), fmt.Sprintf("disk-%d", i))
			o.AddAttribute("x-purpose", TextItem("test"))
			return tx.Create(o)
		})
		if err != nil {
			return nil, nil, err
		}
		uids = append(uids, uid)
	}
	write := func(value string) error {
		return r.Do(Admin, ChangeOp, func(tx *keystore.Tx) error {
			return errors.Join(tx.PutRecord(keystore.KindClient, "a", []byte(value)), tx.PutRecord(keystore.KindUser, "b", []byte(value)))
		})
	}
	if err := errors.Join(r.Edit(uids[2], destroy), write("1"), r.Shut()); err != nil {
		return nil, nil, err
	}
	if old, err = r.content(); err != nil {
		return nil, nil, err
	}
	if err := r.Open(); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(r.Edit(uids[0], activate), r.Edit(uids[3], destroy), write("2"), r.Shut()); err != nil {
		return nil, nil, err
	}
	now, err = r.content()
	return old, now, err
}
