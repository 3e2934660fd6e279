package keystore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// stalled wraps a backend so that an Update waits until it is let go.
type stalled struct {
	keystore.Backend
	entered chan struct{}
	release chan struct{}
	updates atomic.Int64
}

func (b *stalled) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	b.updates.Add(1)
	if b.entered != nil {
		b.entered <- struct{}{}
		<-b.release
	}
	return b.Backend.Update(ctx, fn, prepared)
}

// stallable is a rig whose commits can be held up once it is open.
func stallable(t *testing.T) (*kt.Rig, *stalled) {
	b := &stalled{}
	r := newRig(t, nil)
	must(t, r.Shut())
	r.WrapBackend = func(inner keystore.Backend) keystore.Backend { b.Backend = inner; return b }
	must(t, r.Open())
	return r, b
}

// TestGroupCommit: what queues while a commit runs goes into the next one, up
// to what a group may hold in memory.
func TestGroupCommit(t *testing.T) {
	for name, tc := range map[string]struct{ messages, bytes, commits int }{
		"small ones go together":   {64, 32, 1},
		"large ones fill a commit": {6, 6 << 20, 2}, // three are over 16 MiB
	} {
		t.Run(name, func(t *testing.T) { groupCommit(t, tc.messages, tc.bytes, tc.commits) })
	}
}

func groupCommit(t *testing.T, messages, bytes, commits int) {
	r, b := stallable(t)
	b.entered, b.release = make(chan struct{}), make(chan struct{})
	before := b.updates.Load()
	var wg sync.WaitGroup
	write := func(size int) {
		uid := r.Store.NewUID()
		if err := r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error {
			return tx.Create(kt.NewKey(uid, make([]byte, size), ""))
		}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { write(32) })
	<-b.entered
	for range messages {
		wg.Go(func() { write(bytes) })
	}
	for r.Store.Queued() < messages {
		runtime.Gosched() // until all have reached the queue
	}
	b.release <- struct{}{}
	for range commits {
		<-b.entered
		b.release <- struct{}{}
	}
	wg.Wait()
	b.entered = nil
	if n := int(b.updates.Load() - before); n != 1+commits {
		t.Errorf("%d commits for one message and then %d together, want 1 and %d", n, messages, commits)
	}
}

// TestContext: it counts while the work waits, not once it has begun.
func TestContext(t *testing.T) {
	r, b := stallable(t)
	b.entered, b.release = make(chan struct{}), make(chan struct{})
	send := func(uid keystore.UID) (cancel func(), done chan error) {
		c, cancel := context.WithCancel(ctx)
		done = make(chan error, 1)
		go func() {
			w := &kt.One{Op: kt.ChangeOp, Apply: func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(uid, []byte("k"), "")) }}
			done <- errors.Join(r.Store.Do(c, kt.Alice, true, w), w.Err)
		}()
		return cancel, done
	}
	first, second := r.Store.NewUID(), r.Store.NewUID()
	cancelFirst, firstDone := send(first)
	<-b.entered
	cancelSecond, secondDone := send(second)
	cancelSecond()
	wants(t, "a message whose context ended in the queue", <-secondDone, context.Canceled)
	cancelFirst()
	b.release <- struct{}{}
	must(t, <-firstDone) // it had begun, so it was finished
	b.entered = nil
	if diff := cmp.Diff([]keystore.UID{first}, locate(t, r, kt.Alice, keystore.Query{})); diff != "" {
		t.Error(diff)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	wants(t, "a context that is over", r.Store.Do(over, kt.Alice, false, &kt.One{Op: kt.ObserveOp}), context.Canceled)
}
