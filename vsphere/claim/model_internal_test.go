package claim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A model is a vCenter with a slow network before it: each call is carried out
// some time after it was made, also when the caller has given up meanwhile, and
// answered some time after that.
type model struct {
	mu    sync.Mutex
	rnd   *rand.Rand
	slow  time.Duration // the longest way
	loose bool          // lets two make the definition at once
	away  bool          // answers nothing
	defs  []def
	last  int32
}

// under is a random time of less than max.
func under(rnd *rand.Rand, max time.Duration) time.Duration {
	return time.Duration(rnd.Int64N(int64(max)))
}

func (m *model) way() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slow == 0 {
		return 0
	}
	if m.rnd.IntN(20) > 0 { // mostly it is fast
		return under(m.rnd, m.slow/1000)
	}
	return under(m.rnd, m.slow)
}

func (m *model) call(ctx context.Context, do func() error) error {
	there, back := m.way(), m.way()
	done := make(chan error, 1)
	go func() {
		time.Sleep(there)
		m.mu.Lock()
		err := do()
		m.mu.Unlock()
		time.Sleep(back)
		done <- err
	}()
	if m.isAway() {
		<-ctx.Done()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *model) isAway() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.away
}

func (m *model) look(ctx context.Context) ([]def, time.Time, error) {
	var now time.Time
	var list []def
	if err := m.call(ctx, func() error { now = time.Now(); return nil }); err != nil {
		return nil, time.Time{}, err // now may still be written
	}
	if err := m.call(ctx, func() error { list = slices.Clone(m.defs); return nil }); err != nil {
		return nil, time.Time{}, err
	}
	return list, now, nil
}

func (m *model) add(ctx context.Context) (int32, error) {
	var key int32
	if m.loose {
		if err := m.call(ctx, m.free); err != nil {
			return 0, err
		}
	}
	err := m.call(ctx, func() error {
		if err := m.free(); err != nil && !m.loose {
			return err
		}
		m.last++
		key = m.last
		m.defs = append(m.defs, def{key: key})
		return nil
	})
	if err != nil {
		return 0, err
	}
	return key, nil
}

func (m *model) free() error {
	if len(m.defs) > 0 {
		return errTaken
	}
	return nil
}

func (m *model) set(ctx context.Context, key int32, value string) error {
	return m.call(ctx, func() error {
		for i := range m.defs {
			if m.defs[i].key == key {
				m.defs[i].value = value
				return nil
			}
		}
		return errGone
	})
}

func (m *model) remove(ctx context.Context, key int32) error {
	return m.call(ctx, func() error {
		i := slices.IndexFunc(m.defs, func(d def) bool { return d.key == key })
		if i < 0 {
			return errGone
		}
		m.defs = slices.Delete(m.defs, i, i+1)
		return nil
	})
}

const lease = 20 * time.Minute

func (m *model) claim(agent string) *Claim {
	c := New(Config{Agent: agent, Host: "host-of-" + agent, Lease: lease})
	c.store = m
	return c
}

// Agents that start, work, are released, killed and cut off at random over a
// slow network: never do two believe that they hold the vCenter.
func TestOneAtATime(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			m := &model{rnd: rand.New(rand.NewPCG(seed, 1)), slow: lease / time.Duration(1+seed%4), loose: seed%2 == 1}
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			var active, times atomic.Int32
			var wg sync.WaitGroup
			for i := range 5 {
				rnd := rand.New(rand.NewPCG(seed, uint64(2+i)))
				wg.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						live(ctx, t, m.claim(fmt.Sprintf("%d-%d", i, n)), rnd, &active, &times)
					}
				})
			}
			wg.Wait()
			time.Sleep(2 * lease) // for what is still on its way
			if times.Load() < 10 {
				t.Errorf("seed %d: the vCenter was held %d times in a day", seed, times.Load())
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// live is an agent's life, from its start to its end.
func live(ctx context.Context, t *testing.T, c *Claim, rnd *rand.Rand, active, times *atomic.Int32) {
	for {
		held, _, err := c.Acquire(ctx)
		if ctx.Err() != nil {
			return
		}
		if held && err == nil {
			break
		}
		time.Sleep(under(rnd, lease/4))
	}
	if n := active.Add(1); n != 1 {
		t.Errorf("%d agents hold the vCenter", n)
	}
	times.Add(1)
	work, stop := c.Keep(ctx)
	select {
	case <-work.Done():
	case <-time.After(under(rnd, 3*lease)):
	}
	active.Add(-1)
	stop()
	if rnd.IntN(2) == 0 { // else it was killed
		_ = c.Release(ctx)
	}
}

func TestKeep(t *testing.T) {
	start := func(t *testing.T) (*model, *Claim, context.Context) {
		m := &model{rnd: rand.New(rand.NewPCG(1, 1))}
		c := m.claim("a")
		if held, _, err := c.Acquire(t.Context()); !held || err != nil {
			t.Fatal(held, err)
		}
		work, stop := c.Keep(t.Context())
		t.Cleanup(stop)
		return m, c, work
	}
	took := func(t *testing.T, work context.Context) time.Duration {
		began := time.Now()
		<-work.Done()
		if !errors.Is(context.Cause(work), ErrLost) {
			t.Errorf("ended by %v", context.Cause(work))
		}
		return time.Since(began)
	}
	t.Run("it goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m, c, work := start(t)
			time.Sleep(100 * lease)
			if h, err := m.claim("b").Look(t.Context()); err != nil || work.Err() != nil || !c.Is(*h) {
				t.Errorf("held by %v, %v, %v", h, err, context.Cause(work))
			}
		})
	})
	t.Run("vCenter is away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m, _, work := start(t)
			time.Sleep(10 * lease)
			m.mu.Lock()
			m.away = true
			m.mu.Unlock()
			if d := took(t, work); d > lease/10*9 || d < lease/2 {
				t.Errorf("lost after %v", d)
			}
		})
	})
	t.Run("taken over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m, c, work := start(t)
			if held, other, err := m.claim("b").Acquire(t.Context()); held || err != nil || !c.Is(other) {
				t.Errorf("%v, %v, %v", held, other, err)
			}
			if held, _, err := m.claim("b").TakeOver(t.Context()); !held || err != nil {
				t.Errorf("%v, %v", held, err)
			}
			if d := took(t, work); d > lease/20 {
				t.Errorf("heard of after %v", d)
			}
			if err := c.Release(t.Context()); err != nil || len(m.defs) != 1 {
				t.Errorf("the release of what was lost: %v, %v", err, m.defs)
			}
		})
	})
}

// One who was killed holds it until its lease ends, and no longer.
func TestLeaseOfTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{rnd: rand.New(rand.NewPCG(1, 1))}
		if held, _, err := m.claim("a").Acquire(t.Context()); !held || err != nil {
			t.Fatal(held, err)
		}
		time.Sleep(lease - time.Second)
		b := m.claim("b")
		if held, other, err := b.Acquire(t.Context()); held || err != nil || other.Agent != "a" {
			t.Errorf("before its end: %v, %v, %v", held, other, err)
		}
		time.Sleep(time.Second)
		if held, _, err := b.Acquire(t.Context()); !held || err != nil {
			t.Errorf("at its end: %v, %v", held, err)
		}
	})
}
