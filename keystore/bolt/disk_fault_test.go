//go:build diskmodel

package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// Each write and sync fails once, not stored and stored nevertheless. The client gets an error, no later write is
// taken, and what is there after a power cut, or after a restart and further work, has all that was answered.
func TestDiskPairedFaults(t *testing.T) {
	for name, sys := range systems {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/stored=", stored), func(t *testing.T) {
				for range rounds(t) {
					failEach(t, sys, stored)
				}
			})
		}
	}
}

// What the contract says of a commit whose outcome is unknown.
func TestDiskConformanceOfFaults(t *testing.T) {
	keystoretest.RunBackendFaults(t, func(t testing.TB) (keystoretest.Opener, func(butStored bool)) {
		d := newDisk(t, tempDir(t))
		path := filepath.Join(d.Root(), "store.db")
		o := small(d.FS())
		o.MapSize, o.GrowBy = 1<<22, 1<<20 // after the first no commit grows the file, so each has two syncs
		if err := bolt.Create(path, o); err != nil {
			t.Fatal(err)
		}
		armed, butStored, syncs := false, false, 0
		d.Fault = func(_ int, c keystoretest.Change) keystoretest.Fault {
			if c.Kind == keystoretest.Sync {
				syncs++
			}
			switch {
			case armed && !butStored: // the first write
			case armed && c.Kind == keystoretest.Sync && syncs == 2: // the last sync
			default:
				return keystoretest.Fault{}
			}
			armed = false
			return keystoretest.Fault{Err: syscall.EIO, Stored: butStored}
		}
		open := func() (keystore.Backend, error) { return bolt.Open(path, o) }
		return open, func(stored bool) { armed, butStored, syncs = true, stored, 0 }
	})
}

func failEach(t *testing.T, sys system, stored bool) {
	t.Helper()
	seed := newSeed(t)
	faults := 0
	for ; ; faults++ {
		happened, err := failOnce(t, sys, seed, faults, stored, false)
		if err != nil {
			t.Fatalf("change %d, stored %v: %v", faults, stored, err)
		}
		if !happened {
			break
		}
	}
	t.Logf("%d changes failed", faults)
	if faults < 80 {
		t.Error("that is not the whole life of a store")
	}
}

// A server that starts again after a failed sync and reads what the kernel still has in memory tells of a commit that
// the disk does not hold. This shows that the model knows the difference.
// (The whole keystore does not show it: its Open commits, and that makes the commit before it whole again.)
func TestDiskKeptCacheIsNoticed(t *testing.T) {
	seed := newSeed(t)
	for n := 0; ; n++ {
		happened, err := failOnce(t, mini{}, seed, n, false, true)
		if err != nil {
			t.Logf("found at change %d: %v", n, err)
			return
		}
		if !happened {
			t.Fatalf("%d faults did not show it", n)
		}
	}
}

// failOnce lets change n fail, and returns what is wrong then. happened is false when the workload has fewer.
func failOnce(t *testing.T, sys system, seed uint64, n int, stored, keepCache bool) (happened bool, err error) {
	t.Helper()
	var failed *keystoretest.Change
	w := workload{seed: seed, clients: 1, objects: 3, lives: 2}
	w.fault = func(i int, c keystoretest.Change) keystoretest.Fault {
		if i != n {
			return keystoretest.Fault{}
		}
		failed = &c
		return keystoretest.Fault{Err: &os.PathError{Op: c.Kind.String(), Path: c.Path, Err: syscall.EIO}, Stored: stored}
	}
	r, err := record(t, sys, w)
	switch {
	case failed == nil:
		return false, err
	case err == nil:
		err = fmt.Errorf("%v failed and nobody noticed", failed)
	case errors.Is(err, errNotRefused):
	case r.inited.answered == never:
		return true, nil // there is no store yet
	default:
		err = r.afterFault(t, seed+uint64(n), keepCache)
	}
	if err != nil {
		err = fmt.Errorf("%v failed: %w", failed, err)
	}
	return true, err
}

// afterFault has the power cut at once, and in another world the server restarted, used, and then the power cut.
func (r *recorded) afterFault(t *testing.T, seed uint64, keepCache bool) error {
	t.Helper()
	cuts := []keystoretest.Cut{keystoretest.Nothing(), keystoretest.Everything(), keystoretest.RandomCut(seed)}
	for i, cut := range cuts {
		if err := r.crash(r.d.Replay().End(), cut); err != nil {
			return fmt.Errorf("power cut at once, image %d: %w", i, err)
		}
	}
	if !keepCache {
		r.evict(t, "store.db")
	}
	if err := r.readAll(); err != nil {
		return fmt.Errorf("after a restart: %w", err)
	}
	for i, cut := range cuts {
		if err := r.crash(r.d.Replay().End(), cut); err != nil {
			return fmt.Errorf("restart, read, power cut, image %d: %w", i, err)
		}
	}
	r.lives++ // at least one more
	if err := r.live(); err != nil {
		return fmt.Errorf("after a restart: %w", err)
	}
	for i, cut := range cuts {
		if err := r.crash(r.d.Replay().End(), cut); err != nil {
			return fmt.Errorf("restart, work, power cut, image %d: %w", i, err)
		}
	}
	return nil
}

// readAll opens the store and has a client read all that is there.
func (r *recorded) readAll() error {
	s, err := r.sys.Open(r.d.Root(), r.d.FS(), r.bugs)
	if err != nil {
		return err
	}
	state, err := s.State()
	for id, version := range state {
		if version < 3 {
			err = errors.Join(err, r.get(s, id))
		}
	}
	return errors.Join(err, s.Close())
}

// evict does what Open asks the kernel for: the file's content becomes what the disk has. After a failed sync that is
// less than what programs read.
func (r *recorded) evict(t *testing.T, name string) {
	t.Helper()
	dir := tempDir(t)
	if err := r.d.Replay().End().Image(dir, keystoretest.Everything()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.d.Root(), name), readFile(t, filepath.Join(dir, name)))
}

// The power goes during recovery from a power cut, and again.
func TestDiskPowerCutDuringRecovery(t *testing.T) {
	for name, sys := range systems {
		t.Run(name, func(t *testing.T) {
			seed := newSeed(t)
			r, err := record(t, sys, workload{seed: seed, clients: 2, objects: 3, lives: 1})
			if err != nil {
				t.Fatal(err)
			}
			images := 0
			for replay := r.d.Replay(); replay.Step(); {
				if replay.At() < r.inited.answered || replay.At()%9 > 0 {
					continue
				}
				cutSeed := seed + uint64(replay.At())
				n, err := r.recoverAndCut(t, replay, cutSeed)
				if err != nil {
					t.Fatalf("power cut after change %d (%s), then: %v", replay.At(), replay.Last(), err)
				}
				images += n
			}
			t.Logf("%d images", images)
			if images < 50 {
				t.Error("too few")
			}
		})
	}
}

// recoverAndCut opens the store on an image with the disk watched, works a little, and cuts between any two changes.
func (r *recorded) recoverAndCut(t *testing.T, replay *keystoretest.Replay, seed uint64) (int, error) {
	t.Helper()
	dir := tempDir(t)
	if err := replay.Image(dir, keystoretest.RandomCut(seed)); err != nil {
		return 0, err
	}
	d := newDisk(t, dir)
	again := &recorded{ledger: r.after(replay.At(), d), sys: r.sys, workload: r.workload, life: r.life}
	again.objects, again.clients, again.lives = 1, 1, r.life+1
	if err := again.live(); err != nil {
		return 0, err
	}
	n, err := again.crashes(t, seed, 1)
	return n, err
}

// after is the ledger as it stands after a power cut: what was answered by then, and what may have happened.
func (l *ledger) after(at int, d *keystoretest.Disk) *ledger {
	next := newLedger(d)
	next.inited.answered = 0
	next.begin = d.Len()
	keep := func(from []span) (to []span) {
		for _, s := range from {
			switch {
			case s.answered <= at:
				to = append(to, span{0, 0})
			case s.asked <= at:
				to = append(to, span{0, never})
			}
		}
		return to
	}
	for id, versions := range l.versions {
		if kept := keep(versions); kept != nil {
			next.versions[id] = kept
		}
	}
	for id, gets := range l.gets {
		for _, g := range gets {
			if g.answered <= at {
				next.gets[id] = append(next.gets[id], read{0, g.version})
			}
		}
	}
	return next
}
