package audit_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

var storeID = [16]byte{0: 0xa1, 15: 0x1a}

func clock() func() time.Time {
	at := time.Unix(1_700_000_000, 0)
	return func() time.Time { return at }
}

// small is a configuration in which a few events fill a segment.
func small(d *disk) audit.Config {
	return audit.Config{Dir: "journal", FS: d, StoreID: storeID, Now: clock(), SegmentBytes: 700}
}

func event(name string) audit.Event {
	return audit.Event{Class: audit.Change, Outcome: audit.Success, Operation: "Create", Client: name}
}

// ledger is what the journal has promised.
type ledger struct {
	created  bool
	acked    []string
	last     audit.Position
	marker   uint64
	signed   []audit.Checkpoint
	archived uint64 // the journal may begin up to here, as a store's head says
}

var crashSigner = func() *audit.Signer {
	s, err := audit.NewSigner(make([]byte, 32))
	if err != nil {
		panic(err)
	}
	return s
}()

// work is a life of a journal: made, opened, filled over several segments, signed, closed, opened again, and its oldest
// segments archived. It ends at the first error.
func (l *ledger) work(cfg audit.Config) error {
	if err := audit.Create(cfg); err != nil {
		return err
	}
	l.created = true
	for life := range 2 {
		if err := l.live(cfg, life); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) live(cfg audit.Config, life int) error {
	j, err := audit.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = j.Close() }() // also after an error: the goroutine ends
	for i := range 9 {
		if err := l.append(j, fmt.Sprintf("%d-%d", life, i)); err != nil {
			return err
		}
	}
	buffered := fmt.Sprintf("%d-buffered", life)
	j.Buffer(event(buffered))
	if err := j.Flush(); err != nil {
		return err
	}
	l.acked = append(l.acked, buffered)
	if life > 0 {
		if err := l.archive(j); err != nil {
			return err
		}
	}
	if err := j.Close(); err != nil {
		return err
	}
	return l.sign(j)
}

func (l *ledger) sign(j *audit.Journal) error {
	made, err := j.Checkpoint(crashSigner, l.archived)
	l.signed = append(l.signed, made...)
	return err
}

// archive takes the two oldest segments away.
func (l *ledger) archive(j *audit.Journal) error {
	all, err := j.Segments()
	if err != nil {
		return err
	}
	l.archived = all[1].End.Seq
	if err := l.sign(j); err != nil {
		return err
	}
	if n, err := j.Archive(l.archived, "archive"); err != nil || n != 2 {
		return fmt.Errorf("archived %d segments: %w", n, err)
	}
	return nil
}

// whole returns the clients of all events, from the archive and the journal, each once.
func whole(t *testing.T, cfg audit.Config, j *audit.Journal) (out []string) {
	t.Helper()
	last := uint64(0)
	add := func(seq uint64, e audit.Event) error {
		if seq <= last {
			return nil // copied, and not removed yet
		}
		if last++; seq != last {
			t.Errorf("sequence %d, want %d", seq, last)
		}
		out = append(out, e.Client)
		return nil
	}
	cfg.Dir = "archive"
	if err := audit.Read(cfg, 0, add); err != nil && !errors.Is(err, audit.ErrMissing) {
		t.Fatalf("reading the archive: %v", err)
	}
	if err := j.Since(0, add); err != nil {
		t.Fatalf("since: %v", err)
	}
	return out
}

func (l *ledger) append(j *audit.Journal, name string) error {
	p, err := j.Append(audit.Normal, event(name+"a"), event(name+"b"))
	if err != nil {
		return err
	}
	l.acked = append(l.acked, name+"a", name+"b")
	l.last = p
	if l.marker < p.Seq-2 {
		j.SetCommitted(p.Seq - 2)
		l.marker = p.Seq - 2
	}
	return nil
}

// check opens what is left, and expects all that was promised, in order, and a journal that works.
func (l *ledger) check(t *testing.T, cfg audit.Config) {
	t.Helper()
	if _, err := audit.Verify(cfg); err != nil && !(errors.Is(err, audit.ErrMissing) && !l.created) {
		t.Errorf("verify before open: %v", err)
	}
	j, err := audit.Open(cfg)
	if errors.Is(err, audit.ErrMissing) && !l.created {
		return
	}
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	mustHold(t, whole(t, cfg, j), l.acked)
	if base := j.Base().Seq; base > l.archived {
		t.Errorf("the journal begins after %d, archived was up to %d", base, l.archived)
	}
	hash, ok, err := j.HashAt(l.last.Seq)
	if l.last.Seq > 0 && (!ok || err != nil || hash != l.last.Hash) {
		t.Errorf("HashAt(%d) = %x, %v, %v; want %x", l.last.Seq, hash, ok, err, l.last.Hash)
	}
	if _, err := j.Append(audit.Normal, event("afterwards")); err != nil {
		t.Fatalf("append afterwards: %v", err)
	}
	if err := l.sign(j); err != nil {
		t.Fatalf("signing afterwards: %v", err)
	}
	if _, err := j.Archive(l.archived, "archive"); err != nil {
		t.Fatalf("archiving afterwards: %v", err)
	}
	if base := j.Base().Seq; base != l.archived {
		t.Errorf("archived again, the journal begins after %d, want %d", base, l.archived)
	}
	mustHold(t, whole(t, cfg, j), l.acked)
	if err := j.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	r, err := audit.VerifySigned(cfg, crashSigner.Public(), l.signed)
	if err != nil || r.Torn != 0 {
		t.Errorf("verify afterwards: %+v, %v", r, err)
	}
}

// mustHold checks that want is a subsequence of got. What is more was written, but not acknowledged.
func mustHold(t *testing.T, got, want []string) {
	t.Helper()
	rest := got
	for _, w := range want {
		i := slices.Index(rest, w)
		if i < 0 {
			t.Fatalf("acknowledged event %q is lost; journal holds %q", w, got)
		}
		rest = rest[i+1:]
	}
}

// names returns the clients of all events after seq, and checks that the sequences have no gap.
func names(t *testing.T, j *audit.Journal, seq uint64) []string {
	t.Helper()
	var out []string
	if err := j.Since(seq, func(n uint64, e audit.Event) error {
		if seq++; n != seq {
			t.Errorf("sequence %d, want %d", n, seq)
		}
		out = append(out, e.Client)
		return nil
	}); err != nil {
		t.Fatalf("since: %v", err)
	}
	return out
}

// steps runs the work once and returns its steps.
func steps(t *testing.T) []string {
	t.Helper()
	d := newDisk()
	var l ledger
	if err := l.work(small(d)); err != nil {
		t.Fatal(err)
	}
	if n := logs(d.snapshot()); n < 5 {
		t.Fatalf("only %d segments: rotation is not covered", n)
	}
	taken := slices.Clone(d.steps)
	l.check(t, small(d))
	return taken
}

// A power cut between every two system calls, with what was not synced lost, kept, or lost by sectors.
func TestPowerCutAtEveryStep(t *testing.T) {
	n := len(steps(t))
	for cut := 1; cut <= n+1; cut++ {
		for variant := range 12 {
			rng := rand.New(rand.NewPCG(uint64(cut), uint64(variant)))
			keep := map[int]func() bool{0: func() bool { return false }, 1: func() bool { return true }}[variant]
			if keep == nil {
				keep = func() bool { return rng.IntN(variant) > 0 }
			}
			d := newDisk()
			d.fault = func(step int, op string) fault {
				if step < cut {
					return fault{}
				}
				// The interrupted write is in the cache of a disk that lost its power: its sectors may have made it.
				return fault{err: errPower, stored: step == cut && op == "write"}
			}
			var l ledger
			if err := l.work(small(d)); (err == nil) != (cut > n) {
				t.Fatalf("cut at step %d of %d: work returned %v", cut, n, err)
			}
			t.Run(fmt.Sprintf("%d/%d", cut, variant), func(t *testing.T) { l.check(t, small(d.reboot(keep))) })
		}
	}
}

var errPower = errors.New("power cut")

// Faults in pairs: each step fails, once without effect and once with, and the machine lives on. What was acknowledged
// before is there, what is acknowledged after reopening survives a later power cut, although the failed sync's pages
// look written.
func TestFaultAtEveryStepInPairs(t *testing.T) {
	n := len(steps(t))
	for at := 1; at <= n; at++ {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/stored=%v", at, stored), func(t *testing.T) {
				d := newDisk()
				var op string
				d.fault = func(step int, o string) fault {
					if step != at {
						return fault{}
					}
					op = o
					return fault{err: syscall.EIO, stored: stored}
				}
				var l ledger
				if err := l.work(small(d)); !errors.Is(err, syscall.EIO) {
					t.Fatalf("%s failed, work returned %v", op, err)
				}
				d.fault = nil
				reopened := l
				reopened.acked = slices.Clone(l.acked)
				j, err := audit.Open(small(d))
				if errors.Is(err, audit.ErrMissing) && !l.created {
					return
				}
				if err != nil {
					t.Fatalf("%s failed, open: %v", op, err)
				}
				for i := range 3 {
					if err := reopened.append(j, fmt.Sprintf("reopened-%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				after := d.reboot(func() bool { return false })
				_ = j.Close()
				reopened.check(t, small(after))
			})
		}
	}
}

// After the first failed write or sync nothing is taken, whatever the disk would say now.
func TestFailStop(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		t.Run(op, func(t *testing.T) {
			d := newDisk()
			cfg := small(d)
			cfg.SegmentBytes = 1 << 20
			j := mustOpen(t, cfg)
			mustAppend(t, j, "before")
			d.fault = func(_ int, o string) fault {
				if o == op {
					return fault{err: syscall.EIO}
				}
				return fault{}
			}
			_, first := j.Append(audit.Urgent, event("failing"))
			d.fault = nil
			count := len(d.steps)
			for name, err := range map[string]error{
				"the failing Append": first,
				"Append":             func() error { _, err := j.Append(audit.Urgent, event("later")); return err }(),
				"Flush":              j.Flush(),
				"Err":                j.Err(),
				"Close":              j.Close(),
			} {
				if !errors.Is(err, audit.ErrFailed) || !errors.Is(err, syscall.EIO) {
					t.Errorf("%s: got %v, want ErrFailed and EIO", name, err)
				}
			}
			if diff := cmp.Diff([]string{}, d.steps[count:]); diff != "" {
				t.Errorf("the disk was touched after the failure (-want +got):\n%s", diff)
			}
		})
	}
}
