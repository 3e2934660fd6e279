package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// Views see one state for as long as they run, each Update that had returned before they began, and do not wait for
// an Update under way.
func TestViewsAndUpdatesTogether(t *testing.T) {
	t.Run("the file grows beyond its mapping", func(t *testing.T) {
		viewsAndUpdates(t, bolt.Options{MapSize: 1 << 15, GrowBy: 1 << 15})
	})
	t.Run("the mapping has room", func(t *testing.T) { viewsAndUpdates(t, bolt.Options{}) })
}

func viewsAndUpdates(t *testing.T, o bolt.Options) {
	_, b := newStoreWith(t, o)
	puts(t, b, "oa", "0", "ob", "0")
	var committed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := committed.Load()
				err := b.View(ctx, func(kv keystore.KV) error {
					x, err1 := kv.Get([]byte("oa"))
					y, err2 := kv.Get([]byte("ob"))
					if err := errors.Join(err1, err2); err != nil {
						return err
					}
					var n int64
					if _, err := fmt.Sscan(string(x), &n); err != nil || !bytes.Equal(x, y) || n < least {
						return fmt.Errorf("saw %s and %s after %d was committed (%v)", x, y, least, err)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := int64(1); i <= 300; i++ {
		n := fmt.Sprint(i)
		puts(t, b, "oa", n, "ob", n, "x"+n, strings.Repeat("large", 2000))
		committed.Store(i)
	}
	close(stop)
	wg.Wait()
	if err := b.Verify(ctx); err != nil {
		t.Error(err)
	}
}

func TestViewDuringUpdate(t *testing.T) {
	_, b := newStore(t)
	puts(t, b, "oa", "old")
	err := b.Update(ctx, func(kv keystore.KV) error {
		if err := kv.Put([]byte("oa"), []byte("new")); err != nil {
			return err
		}
		if got := stored(t, b, "o")["oa"]; got != "old" {
			t.Errorf("a View saw %q before the commit", got)
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := stored(t, b, "o")["oa"]; got != "new" {
		t.Errorf("got %q after the commit", got)
	}
}

func TestUpdateWaitsNoLongerThanItsContext(t *testing.T) {
	_, b := newStore(t)
	err := b.Update(ctx, func(keystore.KV) error {
		short, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- b.Update(short, func(keystore.KV) error { return nil }, nil) }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("waiting Update: got %v", err)
		}
		return nil
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

// One Update that is larger than the room in the mapping was thought to be makes bbolt map the file anew while a View's
// transaction is kept for the others. It must not wait for that for ever.
func TestUpdateLargerThanTheRoom(t *testing.T) {
	o := bolt.Options{MapSize: 128 << 20, GrowBy: 1 << 20}
	_, b := newStoreWith(t, o)
	puts(t, b, "oa", "old")
	large := make([]byte, 16<<20)
	err := b.Update(ctx, func(kv keystore.KV) error {
		for i := range 10 { // 160 MiB, where 64 are thought to be enough
			if err := kv.Put(fmt.Appendf(nil, "o%d", i), large); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := stored(t, b, "o")["oa"]; got != "old" {
		t.Errorf("got %q after the commit", got)
	}
}
