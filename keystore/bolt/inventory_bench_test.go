package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// inventoried is a store on a file with a vCenter that has reported n machines,
// each with a key of its own, one in a hundred of which the store has. took is the
// time that the first report needed.
func inventoried(b *testing.B, n int) (r *keystoretest.Rig, site *keystoretest.Site, took time.Duration) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "store.db")
	if err := bolt.Create(path, bolt.Options{}); err != nil {
		b.Fatal(err)
	}
	r = keystoretest.NewRig(func() (keystore.Backend, error) { return bolt.Open(path, bolt.Options{}) })
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Shut() })
	site, err := r.NewSite(1)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		uid := r.Store.NewUID()
		if i%100 == 0 {
			if uid, _, err = r.Key(""); err != nil {
				b.Fatal(err)
			}
		}
		site.Uses[uid] = []string{fmt.Sprintf("a machine with a name, number %d", i)}
	}
	if n == 0 {
		return r, site, 0
	}
	report := site.Report()
	begun := time.Now()
	if _, err := site.Take(report); err != nil {
		b.Fatal(err)
	}
	return r, site, time.Since(begun)
}

// A report of 100,000 machines: the first, and one like the last but for a
// hundred new machines; and for how long a Create waits at worst meanwhile.
func BenchmarkTakeInventory(b *testing.B) {
	r, site, first := inventoried(b, 100_000)
	worst := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		for range 100 {
			site.Uses[r.Store.NewUID()] = []string{"a new machine"}
		}
		report := site.Report()
		b.StartTimer()
		ctx, stop := context.WithCancel(context.Background())
		slowest := make(chan time.Duration)
		go func() {
			longest := time.Duration(0)
			for ctx.Err() == nil {
				begun := time.Now()
				if _, _, err := r.Key(""); err != nil {
					b.Error(err)
				}
				longest = max(longest, time.Since(begun))
			}
			slowest <- longest
		}()
		_, err := site.Take(report)
		stop()
		worst = max(worst, <-slowest)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(first.Seconds(), "s/first")
	b.ReportMetric(float64(worst.Milliseconds()), "ms/worst-Create")
}

// What the guard costs a Destroy: the question whether a key is in use, in a
// store with so many that are.
func BenchmarkGuard(b *testing.B) {
	for _, n := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint("keys=", n), func(b *testing.B) {
			r, site, _ := inventoried(b, n)
			var used keystore.UID
			for used = range site.Uses {
				break
			}
			unused := r.Store.NewUID()
			if err := r.Do(keystoretest.Admin, keystoretest.ObserveOp, func(tx *keystore.Tx) error {
				for b.Loop() {
					if in, err := tx.InUse(unused); err != nil || in {
						return fmt.Errorf("an unused key: %v, %w", in, err)
					}
					if in, err := tx.InUse(used); err != nil || in != (n > 0) {
						return fmt.Errorf("a used key: %v, %w", in, err)
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/question")
		})
	}
}
