package keystore_test

import (
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestWalk: from any object on, what follows it, of all groups, and nothing else;
// what no administrator asks is refused.
func TestWalk(t *testing.T) {
	r := newRig(t, nil)
	var uids []keystore.UID
	for i, p := range []*keystore.Principal{kt.Alice, kt.Mallory, kt.Bob, kt.Alice} {
		uids = append(uids, create(t, r, p, fmt.Sprint("key-", i), nil))
	}
	walk := func(p *keystore.Principal, after keystore.UID, n int) (seen []keystore.UID, err error) {
		err = r.Do(p, kt.ObserveOp, func(tx *keystore.Tx) error {
			return tx.Walk(after, func(o *keystore.Object) bool {
				if !o.Value.IsZero() {
					t.Error("an administrator sees a Value")
				}
				seen = append(seen, o.UniqueIdentifier)
				return len(seen) < n
			})
		})
		return seen, err
	}
	for after := -1; after < len(uids); after++ {
		var from keystore.UID
		if after >= 0 {
			from = uids[after]
		}
		seen, err := walk(kt.Admin, from, 100)
		must(t, err)
		if got, want := fmt.Sprint(seen), fmt.Sprint(uids[after+1:]); got != want {
			t.Errorf("after %d: %s, want %s", after, got, want)
		}
	}
	seen, err := walk(kt.Admin, keystore.UID{}, 2)
	must(t, err)
	if len(seen) != 2 {
		t.Errorf("asked to stop after 2, saw %d", len(seen))
	}
	seen, err = walk(kt.Alice, keystore.UID{}, 100)
	wants(t, "a client walks", err, keystore.ErrPermission)
	if seen != nil {
		t.Error("a client saw objects of all groups")
	}
}

// TestRecoverableUntil: the end of the grace period, and nothing before the
// Destroy, after that end, and for whom it is not.
func TestRecoverableUntil(t *testing.T) {
	r := newRig(t, nil)
	uid := create(t, r, kt.Alice, "key", nil)
	until := func(p *keystore.Principal) (d keystore.Date, err error) {
		err = r.Do(p, kt.ObserveOp, func(tx *keystore.Tx) error {
			d, err = tx.RecoverableUntil(uid)
			return err
		})
		return d, err
	}
	if d, err := until(kt.Admin); err != nil || d.Set {
		t.Errorf("alive: %v, %v", d, err)
	}
	must(t, r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error {
		o, err := tx.Edit(uid)
		if err != nil {
			return err
		}
		return tx.Destroy(o)
	}))
	d, err := until(kt.Admin)
	if err != nil || !d.Set || d.Unix <= r.Clock.Unix() {
		t.Errorf("destroyed: %v, %v", d, err)
	}
	_, err = until(kt.Alice)
	wants(t, "a client asks", err, keystore.ErrPermission)
	r.Clock.Add(d.Unix - r.Clock.Unix())
	if d, err := until(kt.Admin); err != nil || d.Set {
		t.Errorf("after the grace period: %v, %v", d, err)
	}
}
