package keystore_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestSealBindsARecordToItsPlace alters records under a running store. Check
// would find all of it by the head's digest; but a Get must not wait for a
// Check, so the seal itself has to tell. Each case is one thing that the seal
// is bound to.
func TestSealBindsARecordToItsPlace(t *testing.T) {
	volume := &kt.Volume{}
	r := kt.NewRig(volume.Opener())
	must(t, errors.Join(r.Create(), r.Open()))
	t.Cleanup(func() {
		kt.MustCheck(t, r.Store)
		must(t, r.Shut())
	})
	mine, first, err := r.Key("mine")
	must(t, err)
	other, second, err := r.Key("other")
	must(t, err)
	if bytes.Equal(first, second) {
		t.Fatal("two keys are the same: nothing can be shown")
	}
	object := func(uid keystore.UID) []byte { return append([]byte{'o'}, uid[:]...) }

	for name, change := range map[string]func(kv keystore.KV) error{
		"the identifier: two records swapped": func(kv keystore.KV) error {
			a, err1 := kv.Get(object(mine))
			b, err2 := kv.Get(object(other))
			a, b = bytes.Clone(a), bytes.Clone(b)
			return errors.Join(err1, err2, kv.Put(object(mine), b), kv.Put(object(other), a))
		},
		"the version": func(kv keystore.KV) error { return flip(kv, object(mine), 12) },
		"the key's generation": func(kv keystore.KV) error {
			return flip(kv, object(mine), 4)
		},
		"the kind: an object where the canary was": func(kv keystore.KV) error {
			c, err := kv.Get([]byte{'c', 0})
			return errors.Join(err, kv.Put(object(mine), bytes.Clone(c)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := volume.Snapshot()
			defer volume.Restore(before)
			must(t, volume.Open().Update(ctx, change, func(keystore.KV) error { return nil }))
			if got, _, err := r.Get(kt.Alice, mine); !errors.Is(err, keystore.ErrCorrupt) {
				t.Errorf("Get gave %d bytes and %v, want ErrCorrupt", len(got), err)
			}
		})
	}
}

// flip changes the lowest bit of one byte of a value.
func flip(kv keystore.KV, key []byte, at int) error {
	v, err := kv.Get(key)
	if err != nil {
		return err
	}
	v = bytes.Clone(v)
	v[at] ^= 1
	return kv.Put(key, v)
}
