package users

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/kmip"
)

// TestBound: a client that floods waits for itself; others pass it by, as many
// at a time as there are slots.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound()
		active, most := map[string]int{}, 0
		check := func(client string) {
			leave, err := b.enter(t.Context(), client)
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			b.mu.Lock() // the bubble's time stands still meanwhile
			active[client]++
			all := 0
			for _, n := range active {
				all += n
			}
			most = max(most, all)
			if active[client] > 1 || all > cap(b.slots) {
				t.Errorf("%d at a time for %s, %d over all", active[client], client, all)
			}
			b.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			b.mu.Lock()
			active[client]--
			b.mu.Unlock()
		}
		began := time.Now()
		for range 1000 {
			go check("flood")
		}
		synctest.Wait()
		for i := range 10 {
			check(fmt.Sprintf("client %d", i))
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("ten others waited %v behind a flood", took)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if most != cap(b.slots) {
			t.Errorf("at most %d at a time, want %d", most, cap(b.slots))
		}
		if len(b.lanes) != 0 || len(b.slots) != 0 {
			t.Errorf("%d lanes and %d slots are left", len(b.lanes), len(b.slots))
		}
	})
}

func TestBoundGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBound()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range cap(b.slots) {
			if _, err := b.enter(ctx, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		failed := make(chan error, 2)
		for _, client := range []string{"0", "another"} { // one waits for its turn, one for a slot
			go func() { _, err := b.enter(ctx, client); failed <- err }()
		}
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		if len(b.lanes) != cap(b.slots) {
			t.Errorf("%d lanes are left, want those that are in use", len(b.lanes))
		}
	})
}

// TestRecollectionIsBounded: no more is remembered than there is room for, and
// what has had its time goes first.
func TestRecollectionIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	m := newRecollection(func() time.Time { return now })
	tag := func(i int) (t [32]byte) { copy(t[:], fmt.Sprint(i)); return t }
	for i := range maxRemembered - 1 {
		m.add(tag(i), "old")
	}
	now = now.Add(rememberFor)
	m.add(tag(-1), "new")
	m.add(tag(-2), "new")
	if len(m.known) != 2 || !m.has(tag(-1)) || !m.has(tag(-2)) || m.has(tag(0)) {
		t.Errorf("%d are remembered, want the two that are new", len(m.known))
	}
	for i := range 2 * maxRemembered {
		m.add(tag(i), "more")
	}
	if len(m.known) != maxRemembered {
		t.Errorf("%d are remembered, want %d", len(m.known), maxRemembered)
	}
	m.forget("more")
	m.forget("new")
	if len(m.known) != 0 {
		t.Errorf("%d are left", len(m.known))
	}
}

// TestForgottenWithTheRecord: a change or removal drops what was remembered, and
// what a check that was under way remembers after it fits no later record.
func TestForgottenWithTheRecord(t *testing.T) {
	u := User{Name: "Fred", Group: "storage", Password: CheapHash([]byte("p"))}
	r, err := NewRegistry(Config{}, []User{u})
	if err != nil {
		t.Fatal(err)
	}
	c := &kmip.Credential{Username: []byte("Fred"), Password: []byte("p")}
	id := ID(u.Group, u.Name)
	old := r.memory.tag("nas", r.table.Load().byID[id], c)
	for what, change := range map[string]func(){
		"Put":    func() { err = r.Put(u) },
		"Remove": func() { r.Remove(u.Group, u.Name) },
	} {
		r.memory.add(old, id)
		if change(); err != nil || len(r.memory.known) != 0 {
			t.Errorf("after %s %d are remembered, %v", what, len(r.memory.known), err)
		}
	}
	if err := r.Put(u); err != nil || r.memory.tag("nas", r.table.Load().byID[id], c) == old {
		t.Errorf("the same record again is known by the old tag, %v", err)
	}
}
