package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// A Destroy and a report that names the key, at the same time: either the
// Destroy comes first, and the report finds the key destroyed and keeps its
// tombstone, or it is refused. Never is the key gone and nobody knows.
func TestDestroyBesideAReport(t *testing.T) {
	for round := range 40 {
		r := kt.NewRig((&kt.Volume{}).Opener())
		r.Configure = func(c *keystore.Config) { c.GracePeriod = time.Second }
		must(t, errors.Join(r.Create(), r.Open()))
		s, err := r.NewSite(1)
		must(t, err)
		for i := range 5 {
			s.Uses[newKey(t, r, "")] = []string{fmt.Sprint(i)}
		}
		report := s.Report()
		errs := make(map[keystore.UID]error)
		var mu sync.Mutex
		var wg sync.WaitGroup
		wg.Go(func() { _, err := s.Take(report); must(t, err) })
		for key := range s.Uses {
			wg.Go(func() {
				err := r.Edit(key, destroy)
				mu.Lock()
				defer mu.Unlock()
				errs[key] = err
			})
		}
		wg.Wait()
		r.Clock.Add(3600)
		_, err = r.Store.Purge(ctx, 0)
		must(t, err)
		destroyed := uint64(0)
		for key, err := range errs {
			_, state, getErr := r.Get(kt.Alice, key)
			must(t, getErr)
			if (err == nil) != (state == keystore.Destroyed) || err != nil && !errors.Is(err, keystore.ErrInUse) {
				t.Errorf("round %d: Destroy = %v, and the key is %v", round, err, state)
			}
			if err == nil {
				destroyed++
				must(t, r.EditAs(kt.Admin, kt.ChangeOp, key, undestroy))
			}
		}
		info, err := s.Look()
		must(t, err)
		if info.Destroyed != destroyed || info.Keys != 5 {
			t.Errorf("round %d: %d were destroyed, the record says %+v", round, destroyed, info)
		}
		kt.MustCheck(t, r.Store)
		must(t, r.Shut())
	}
}

// afterView calls a function once, when a View has ended.
type afterView struct {
	keystore.Backend
	once func()
}

func (b *afterView) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	err := b.Backend.View(ctx, fn)
	if once := b.once; once != nil {
		b.once = nil
		once()
	}
	return err
}

// A report that names a destroyed key arrives after Purge has looked for what is
// due, and before it removes anything.
func TestReportBetweenPurgesLooks(t *testing.T) {
	backend := &afterView{}
	r, s, _ := newSite(t, 2, func(c *keystore.Config) { c.GracePeriod = time.Second })
	gone := newKey(t, r, "")
	must(t, errors.Join(r.Edit(gone, destroy), r.Shut()))
	r.WrapBackend = func(b keystore.Backend) keystore.Backend { backend.Backend = b; return backend }
	must(t, r.Open())
	r.Clock.Add(10)
	backend.once = func() { s.Uses[gone] = []string{"copied-back"}; send(t, s) }
	if n, err := r.Store.Purge(ctx, 0); n != 0 || err != nil || r.Store.Info().Tombstones != 1 {
		t.Errorf("Purge = %d, %v; %+v", n, err, r.Store.Info())
	}
}
