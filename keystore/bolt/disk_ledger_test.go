//go:build diskmodel

package bolt_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

const never = int(^uint(0) >> 1)

// span is when something was asked for and when it was answered, in numbers of changes on the disk.
type span struct{ asked, answered int }

// ledger is what clients were told. Each object has one client, so its versions come one after the other.
type ledger struct {
	d *keystoretest.Disk

	mu       sync.Mutex
	inited   span
	versions map[int][]span // of an object: versions 1, 2, 3
	gets     map[int][]span
}

func newLedger(d *keystoretest.Disk) *ledger {
	return &ledger{d: d, inited: span{0, never}, versions: make(map[int][]span), gets: make(map[int][]span)}
}

// change asks s for the next versions and notes the answer.
func (l *ledger) change(s subject, ids ...int) error {
	next := make(map[int]int)
	l.mu.Lock()
	for _, id := range ids {
		l.versions[id] = append(l.versions[id], span{l.d.Len(), never})
		next[id] = len(l.versions[id])
	}
	l.mu.Unlock()
	err := s.Change(next)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, version := range next {
		if err == nil {
			l.versions[id][version-1].answered = l.d.Len()
		}
	}
	return err
}

func (l *ledger) get(s subject, id int) error {
	asked := l.d.Len()
	err := s.Get(id)
	if err == nil {
		l.mu.Lock()
		l.gets[id] = append(l.gets[id], span{asked, l.d.Len()})
		l.mu.Unlock()
	}
	return err
}

// judge compares what a crash after so many changes left with what had been answered by then.
func (l *ledger) judge(at int, state, releases map[int]int) error {
	for id := range state {
		if l.versions[id] == nil {
			return fmt.Errorf("object %d was never made", id)
		}
	}
	for id, versions := range l.versions {
		least, most := 0, 0
		for i, v := range versions {
			if v.answered <= at {
				least = i + 1
			}
			if v.asked <= at {
				most = i + 1
			}
		}
		if got := state[id]; got < least || got > most {
			return fmt.Errorf("object %d has version %d; %d was answered, %d was asked for", id, got, least, most)
		}
	}
	for id, gets := range l.gets {
		answered := 0
		for _, g := range gets {
			if g.answered <= at {
				answered++
			}
		}
		if releases[id] < answered {
			return fmt.Errorf("object %d was released %d times, %d are in the journal", id, answered, releases[id])
		}
	}
	return nil
}

// recorded is one run of the workload.
type recorded struct {
	*ledger
	sys system
}

// record runs the workload: the store is made, opened, used by several clients, closed, opened again and used. The
// first error ends it; the caller says whether there may be one.
func record(t *testing.T, sys system, seed uint64, with bugs, fault func(int, keystoretest.Change) keystoretest.Fault) (recorded, error) {
	t.Helper()
	d := newDisk(t, t.TempDir())
	d.Fault = fault
	r := recorded{newLedger(d), sys}
	return r, r.work(d.Root(), seed, with)
}

func newDisk(t *testing.T, dir string) *keystoretest.Disk {
	t.Helper()
	d, err := keystoretest.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	hook(d)
	return d
}

func (r *recorded) work(dir string, seed uint64, with bugs) error {
	if err := r.sys.Init(dir, r.d.FS()); err != nil {
		return err
	}
	r.inited.answered = r.d.Len()
	for life := range 2 {
		s, err := r.sys.Open(dir, r.d.FS(), with)
		if err != nil {
			return err
		}
		err = r.clients(s, seed, life)
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

const (
	clients = 3
	objects = 4 // that each client makes in each life
)

func (r *recorded) clients(s subject, seed uint64, life int) error {
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for c := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(life*clients+c)))
			errs[c] = r.client(s, rnd, (life*clients+c)*objects)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// client makes objects one by one and two at a time, and takes them on through their lives, reading between.
func (r *recorded) client(s subject, rnd *rand.Rand, first int) error {
	made := 0
	for step := 0; made < objects || step < 3*objects; step++ {
		var err error
		switch id := first + rnd.IntN(max(made, 1)); {
		case made == 0 || made < objects && rnd.IntN(3) == 0:
			n := min(1+rnd.IntN(2), objects-made)
			ids := []int{first + made, first + made + 1}[:n]
			made += n
			err = r.change(s, ids...)
		case len(r.versionsOf(id)) < 3 && rnd.IntN(2) == 0:
			err = r.change(s, id)
		case len(r.versionsOf(id)) < 3:
			err = r.get(s, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recorded) versionsOf(id int) []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[id]
}

// inspect opens what a crash left in dir and judges it. Before init had been answered there may be no store yet.
func (r *recorded) inspect(dir string, at int) error {
	s, err := r.sys.Open(dir, durable.OS, bugs{})
	if err != nil {
		if at < r.inited.answered {
			return nil
		}
		return fmt.Errorf("opening: %w", err)
	}
	state, err := s.State()
	if err == nil {
		var releases map[int]int
		if releases, err = s.Releases(state); err == nil {
			err = r.judge(at, state, releases)
		}
	}
	return errors.Join(err, s.Close())
}

// crashes makes images of every moment of the run, count of each, and returns the first that is wrong.
func (r *recorded) crashes(t *testing.T, seed uint64, count int) (images int, err error) {
	t.Helper()
	replay := r.d.Replay()
	for {
		for i := range count {
			cut := keystoretest.RandomCut(seed + uint64(replay.At()*count+i))
			if err := r.crash(replay, cut); err != nil {
				return images, fmt.Errorf("seed %d, power cut after change %d (%s), image %d: %w", seed, replay.At(), replay.Last(), i, err)
			}
			images++
		}
		if !replay.Step() {
			return images, nil
		}
	}
}

func (r *recorded) crash(replay *keystoretest.Replay, cut keystoretest.Cut) error {
	dir, err := os.MkdirTemp("", "keyreeve-crash-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := replay.Image(dir, cut); err != nil {
		return err
	}
	return r.inspect(dir, replay.At())
}
