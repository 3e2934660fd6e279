package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// quiet is a journal that keeps nothing, so that what is measured is the store.
type quiet struct{ keystore.Journal }

func (quiet) Append(audit.Priority, ...audit.Event) (audit.Position, error) {
	return audit.Position{}, nil
}
func (quiet) SetCommitted(uint64) {}
func (quiet) Buffer(audit.Event)  {}

// getter is a Get as an operation would do it, reused by its connection.
type getter struct {
	uid      keystore.UID
	response []byte
	err      error
}

func (g *getter) Run(b *keystore.Batch) error {
	g.err = b.Do(kt.ReleaseOp, g)
	return nil
}

func (g *getter) Apply(tx *keystore.Tx) error {
	o, err := tx.Object(g.uid)
	if err != nil {
		return err
	}
	g.response = append(g.response[:0], o.Value.Raw()...)
	return nil
}

func quietRig(t testing.TB) *kt.Rig {
	t.Helper()
	r := kt.NewRig((&kt.Volume{}).Opener())
	must(t, errors.Join(r.Create(), r.Open(), r.Shut()))
	r.WrapJournal = func(j keystore.Journal) keystore.Journal { return quiet{j} }
	must(t, r.Open())
	t.Cleanup(func() { must(t, r.Crash()) })
	return r
}

// TestGetAllocates: a Get allocates next to nothing. The backend in memory
// copies what it lends, without allocating; the event's slice is reused.
func TestGetAllocates(t *testing.T) {
	r := quietRig(t)
	uid := create(t, r, kt.Alice, "disk-1", nil)
	g := &getter{uid: uid}
	n := testing.AllocsPerRun(200, func() {
		if err := r.Store.Do(ctx, kt.Alice, false, g); err != nil || g.err != nil {
			t.Fatal(err, g.err)
		}
	})
	t.Logf("%v allocations for a Get", n)
	if n > maxGetAllocations {
		t.Errorf("a Get allocates %v times, at most %d are allowed", n, maxGetAllocations)
	}
}

// TestBuffersAreCleared: after a Get nothing that the store keeps holds the
// material. The view that the operation was given shows that.
func TestBuffersAreCleared(t *testing.T) {
	r := newRig(t, nil)
	uid, material, err := r.Key("")
	must(t, err)
	var kept []byte
	for _, op := range []*keystore.Op{kt.ReleaseOp, kt.ChangeOp} {
		must(t, r.Do(kt.Alice, op, func(tx *keystore.Tx) error {
			o, err := tx.Edit(uid)
			if err != nil {
				return err
			}
			kept = kt.Material(o.Value)
			if !bytes.Equal(kept, material) {
				return errors.New("no material")
			}
			return nil
		}))
		if bytes.Contains(kept, material[:4]) {
			t.Errorf("after %s the buffer still holds %x", op.Name, kept)
		}
	}
}

// TestConcurrency: writers, readers, Check and a destroyer at once, under the
// race detector. Each client knows what it was told.
func TestConcurrency(t *testing.T) {
	r := newRig(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { client(t, r) })
	}
	wg.Go(func() {
		for range 10 {
			kt.MustCheck(t, r.Store)
			if err := r.Store.Canary(ctx); err != nil {
				t.Error(err)
			}
			_ = r.Store.Info()
		}
	})
	wg.Wait()
	if info := r.Store.Info(); info.Objects != 8*20 {
		t.Errorf("%d objects after all", info.Objects)
	}
}

func client(t *testing.T, r *kt.Rig) {
	for range 20 {
		uid, material, err := r.Key("")
		if err != nil {
			t.Error(err)
			return
		}
		if got, _, err := r.Get(kt.Alice, uid); err != nil || !bytes.Equal(got, material) {
			t.Errorf("Get of what was created = %x, %v", got, err)
		}
		if err := errors.Join(r.Edit(uid, activate), r.Edit(uid, revokeFor(1)), r.Edit(uid, destroy)); err != nil {
			t.Error(err)
		}
		if got, state, err := r.Get(kt.Alice, uid); err != nil || got != nil || state != destroyed {
			t.Errorf("Get of what was destroyed = %x, %v, %v", got, state, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	r := quietRig(b)
	uid := create(b, r, kt.Alice, "disk-1", nil)
	g := &getter{uid: uid}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Store.Do(ctx, kt.Alice, false, g); err != nil || g.err != nil {
			b.Fatal(err, g.err)
		}
	}
}

func BenchmarkGetParallel(b *testing.B) {
	r := quietRig(b)
	uid := create(b, r, kt.Alice, "disk-1", nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		g := &getter{uid: uid}
		for pb.Next() {
			if err := r.Store.Do(ctx, kt.Alice, false, g); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGetAbsent(b *testing.B) {
	r := quietRig(b)
	g := &getter{uid: r.Store.NewUID()}
	for b.Loop() {
		_ = r.Store.Do(ctx, kt.Alice, false, g)
	}
}

func BenchmarkGetForeign(b *testing.B) {
	r := quietRig(b)
	g := &getter{uid: create(b, r, kt.Alice, "disk-1", nil)}
	for b.Loop() {
		_ = r.Store.Do(ctx, kt.Mallory, false, g)
	}
}

func BenchmarkCreate(b *testing.B) {
	r := quietRig(b)
	material := bytes.Repeat([]byte{1}, 32)
	b.ReportAllocs()
	for b.Loop() {
		uid := r.Store.NewUID()
		w := &kt.One{Op: kt.ChangeOp, Apply: func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(uid, material, "")) }}
		if err := errors.Join(r.Store.Do(context.Background(), kt.Alice, true, w), w.Err); err != nil {
			b.Fatal(err)
		}
	}
}
