package keystore_test

import (
	"bytes"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

func rootOf(b [keystore.RootKeySize]byte) *secret.Bytes { return secret.Own(bytes.Clone(b[:])) }

// changeRoot changes the root key, as that principal.
func changeRoot(r *kt.Rig, p *keystore.Principal, from, to *secret.Bytes) error {
	return r.Do(p, kt.ChangeOp, func(tx *keystore.Tx) error { return tx.ChangeRootKey(from, to) })
}

// After a change only the new root key opens the store, and every key is what
// it was. An answer that came is durable: a crash right behind it changes
// nothing.
func TestChangeRootKey(t *testing.T) {
	r := newRig(t, nil)
	uid, material, err := r.Key("before")
	must(t, err)
	old, next := r.Root, r.Root
	next[0] ^= 1
	must(t, changeRoot(r, kt.Admin, rootOf(old), rootOf(next)))
	must(t, r.Crash())
	wants(t, "Open with the old root key", r.Open(), keystore.ErrWrongRootKey)
	r.Root = next
	must(t, r.Open())
	got, _, err := r.Get(kt.Alice, uid)
	must(t, err)
	if !bytes.Equal(got, material) {
		t.Error("the key has other bytes")
	}
	newKey(t, r, "after")
	must(t, changeRoot(r, kt.Admin, rootOf(next), rootOf(old))) // and back
	must(t, r.Shut())
	r.Root = old
	must(t, r.Open())
}

// What is refused leaves the store with its root key.
func TestChangeRootKeyRefused(t *testing.T) {
	r := newRig(t, nil)
	other := r.Root
	other[5] ^= 1
	for _, row := range []struct {
		name     string
		as       *keystore.Principal
		from, to *secret.Bytes
		want     error
	}{
		{"a client", kt.Alice, rootOf(r.Root), rootOf(other), keystore.ErrPermission},
		{"a wrong old one", kt.Admin, rootOf(other), rootOf(r.Root), keystore.ErrWrongRootKey},
		{"the same one", kt.Admin, rootOf(r.Root), rootOf(r.Root), keystore.ErrInvalid},
		{"a short new one", kt.Admin, rootOf(r.Root), secret.New(16), keystore.ErrWrongRootKey},
		{"no new one", kt.Admin, rootOf(r.Root), nil, keystore.ErrWrongRootKey},
	} {
		wants(t, row.name, changeRoot(r, row.as, row.from, row.to), row.want)
	}
	must(t, r.Reopen())
}

// Whatever becomes of a commit that fails, exactly one of the two keys opens
// the store afterwards, and it is whole.
func TestChangeRootKeyFails(t *testing.T) {
	for _, stored := range []bool{false, true} {
		r := kt.NewRig((&kt.Volume{}).Opener())
		must(t, r.Create())
		must(t, r.Open())
		old, next := r.Root, r.Root
		next[0] ^= 1
		r.Faulty.Fail(stored)
		wants(t, "a commit that fails", changeRoot(r, kt.Admin, rootOf(old), rootOf(next)), keystore.ErrCommitUnknown)
		must(t, r.Crash())
		opens, not := old, next
		if stored {
			opens, not = next, old
		}
		r.Root = not
		wants(t, "Open with the other key", r.Open(), keystore.ErrWrongRootKey)
		r.Root = opens
		must(t, r.Open())
		kt.MustCheck(t, r.Store)
		must(t, r.Shut())
	}
}
