package keystore_test

import (
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestAbsentTakesAsLongAsForeign: the time of an answer must not tell another
// group's key from none. The quickest of many is compared, which a busy machine
// disturbs least; without the decoy the absent one takes a fifth.
func TestAbsentTakesAsLongAsForeign(t *testing.T) {
	r := newRig(t, nil)
	foreign, absent := newKey(t, r, "disk"), r.Store.NewUID()
	quickest := func(uid keystore.UID) time.Duration {
		best := time.Hour
		for range 3000 {
			wants(t, "Object", r.Do(kt.Mallory, kt.ObserveOp, func(tx *keystore.Tx) error {
				began := time.Now()
				_, err := tx.Object(uid)
				best = min(best, time.Since(began))
				return err
			}), keystore.ErrNotFound)
		}
		return best
	}
	none, theirs := quickest(absent), quickest(foreign)
	if none < theirs/2 || theirs < none/2 {
		t.Errorf("no object takes %v, another group's %v", none, theirs)
	}
}
