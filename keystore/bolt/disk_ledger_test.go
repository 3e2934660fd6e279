//go:build diskmodel

package bolt_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// hook sends what bbolt writes to d.
func hook(d *keystoretest.Disk) {
	bbolt.Hook.WriteAt, bbolt.Hook.Truncate, bbolt.Hook.Sync = d.WriteAt, d.Truncate, d.Sync
}

const never = int(^uint(0) >> 1)

// span is when something was asked for and when it was answered, in numbers of changes on the disk.
type span struct{ asked, answered int }

// read is an answer that told a version. What was read must stay, even where the answer to its writer was an error.
type read struct{ answered, version int }

// ledger is what clients were told. Each object has one client, so its versions come one after the other.
type ledger struct {
	d *keystoretest.Disk

	begin int // changes that are older than the run

	mu       sync.Mutex
	inited   span
	versions map[int][]span // of an object: versions 1, 2, 3
	gets     map[int][]read
}

func newLedger(d *keystoretest.Disk) *ledger {
	return &ledger{d: d, inited: span{0, never}, versions: make(map[int][]span), gets: make(map[int][]read)}
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
	version, err := s.Get(id)
	if err == nil {
		l.mu.Lock()
		l.gets[id] = append(l.gets[id], read{l.d.Len(), version})
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
		for _, g := range l.gets[id] {
			if g.answered <= at {
				least = max(least, g.version)
			}
		}
		if got := state[id]; got < least || got > most {
			return fmt.Errorf("object %d has version %d; %d was told, %d was asked for", id, got, least, most)
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

// workload is what clients do. A life is from open to close; each client makes so many objects in each.
type workload struct {
	seed                    uint64
	clients, objects, lives int
	bugs                    bugs
	fault                   func(int, keystoretest.Change) keystoretest.Fault
}

func usual(seed uint64) workload { return workload{seed: seed, clients: 3, objects: 4, lives: 2} }

// recorded is one run of a workload.
type recorded struct {
	*ledger
	workload
	sys  system
	life int
}

// record runs the workload: the store is made, opened, used, closed, opened again and used. The first error ends it;
// the caller says whether there may be one.
func record(t *testing.T, sys system, w workload) (*recorded, error) {
	t.Helper()
	d := newDisk(t, tempDir(t))
	d.Fault = w.fault
	r := &recorded{ledger: newLedger(d), workload: w, sys: sys}
	if err := sys.Init(d.Root(), d.FS()); err != nil {
		return r, err
	}
	r.inited.answered = d.Len()
	return r, r.live()
}

func newDisk(t testing.TB, dir string) *keystoretest.Disk {
	t.Helper()
	d, err := keystoretest.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	hook(d)
	return d
}

// live goes through the lives that are left.
func (r *recorded) live() error {
	for r.life < r.lives {
		s, err := r.sys.Open(r.d.Root(), r.d.FS(), r.bugs)
		if err != nil {
			return err
		}
		r.life++
		err = r.use(s)
		if err := errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorded) use(s subject) error {
	var wg sync.WaitGroup
	errs := make([]error, r.clients)
	for c := range r.clients {
		n := r.life*r.clients + c
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(r.seed, uint64(n)))
			if errs[c] = r.client(s, rnd, n*r.objects); errs[c] != nil {
				errs[c] = errors.Join(errs[c], r.refused(s, 1_000+n))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var errNotRefused = errors.New("a change was taken after a failed write or sync")

// refused reads all and tries a change after a failure. A read may fail; if it does not, what it told must stay.
func (r *recorded) refused(s subject, id int) error {
	r.mu.Lock()
	ids := slices.Sorted(maps.Keys(r.versions))
	r.mu.Unlock()
	for _, id := range ids {
		_ = r.get(s, id)
	}
	if r.change(s, id) == nil {
		return errNotRefused
	}
	return nil
}

// client makes objects one by one and two at a time, and takes them on through their lives, reading between.
func (r *recorded) client(s subject, rnd *rand.Rand, first int) error {
	made := 0
	for step := 0; made < r.objects || step < 3*r.objects; step++ {
		var err error
		switch id := first + rnd.IntN(max(made, 1)); {
		case made == 0 || made < r.objects && rnd.IntN(3) == 0:
			n := min(1+rnd.IntN(2), r.objects-made)
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
	for replay.At() < r.begin {
		replay.Step()
	}
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
	dir, err := os.MkdirTemp(scratch(), "keyreeve-crash-")
	if err != nil {
		return err
	}
	hook(r.d)
	defer func() { _ = os.RemoveAll(dir) }()
	if err := replay.Image(dir, cut); err != nil {
		return err
	}
	return r.inspect(dir, replay.At())
}
