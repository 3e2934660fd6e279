package bolt_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/keystore"
)

// Random operations against a map, with Range from random places inside the Updates too.
func TestAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	path, b := newStore(t)
	model := make(map[string]string)
	key := func() string { return fmt.Sprintf("%c%0*d", "onx"[rnd.IntN(3)], 1+rnd.IntN(60), rnd.IntN(400)) }
	for round := range 60 {
		next := make(map[string]string)
		for k, v := range model {
			next[k] = v
		}
		keep := rnd.IntN(5) > 0
		err := b.Update(ctx, func(kv keystore.KV) error {
			for range rnd.IntN(80) {
				k := key()
				if rnd.IntN(3) == 0 {
					delete(next, k)
					if err := kv.Delete([]byte(k)); err != nil {
						return err
					}
					continue
				}
				next[k] = strings.Repeat("v", rnd.IntN(500)) + fmt.Sprint(round)
				if rnd.IntN(50) == 0 {
					next[k] = strings.Repeat("large", 5000)
				}
				if err := kv.Put([]byte(k), []byte(next[k])); err != nil {
					return err
				}
			}
			compareRange(t, kv, next, key()[:1+rnd.IntN(2)], key())
			if got, err := kv.Get([]byte(key())); err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if !keep {
				return fs.ErrInvalid
			}
			return nil
		}, nil)
		if (err == nil) != keep {
			t.Fatalf("round %d: %v", round, err)
		}
		if keep {
			model = next
		}
		if round%10 == 9 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, path)
		}
		if diff := cmp.Diff(model, stored(t, b, "nox")); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
		if err := b.Verify(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	checkWithBbolt(t, path)
}

func compareRange(t *testing.T, kv keystore.KV, model map[string]string, prefix, start string) {
	t.Helper()
	want, got, last, limit := map[string]string{}, map[string]string{}, "", 1+len(start)
	for k, v := range model {
		if strings.HasPrefix(k, prefix) && k >= start {
			want[k] = v
		}
	}
	err := kv.Range([]byte(prefix), []byte(start), func(k, v []byte) bool {
		if string(k) <= last {
			t.Errorf("Range(%q) gave %q after %q", prefix, k, last)
		}
		last = string(k)
		got[last] = string(v)
		return true
	})
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Range(%q, %q) (-want +got):\n%s", prefix, start, diff)
	}
	calls := 0
	if err := kv.Range([]byte(prefix), nil, func(_, _ []byte) bool { calls++; return calls < limit }); err != nil || calls > limit {
		t.Errorf("Range went on after false: %d calls, limit %d, %v", calls, limit, err)
	}
}

// checkWithBbolt asks bbolt's own check, as a second opinion on what we wrote and on Verify.
func checkWithBbolt(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
