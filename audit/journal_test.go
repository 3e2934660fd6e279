package audit_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

func mustOpen(t testing.TB, cfg audit.Config) *audit.Journal {
	t.Helper()
	if err := audit.Create(cfg); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	j, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustAppend(t testing.TB, j *audit.Journal, names ...string) audit.Position {
	t.Helper()
	var events []audit.Event
	for _, n := range names {
		events = append(events, event(n))
	}
	p, err := j.Append(audit.Normal, events...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func full(n int) audit.Event {
	return audit.Event{
		Time: 1_700_000_000_000_000_000 + int64(n), Class: audit.Release, Outcome: audit.Denied,
		HasObject: true, Object: [16]byte{1, 2, 3, byte(n)}, Message: uint64(n) << 30, Item: uint32(n),
		Operation: "Get", Client: "vcenter", User: "u", Group: "lab", Remote: "192.0.2.1:4711", Reason: "the group is another\n",
	}
}

func TestRoundTripOnARealDisk(t *testing.T) {
	cfg := audit.Config{Dir: filepath.Join(t.TempDir(), "journal"), StoreID: storeID}
	var want []audit.Event
	for life := range 3 {
		j := mustOpen(t, cfg)
		for i := range 5 {
			events := []audit.Event{full(10*life + i), {Time: 1, Class: audit.Admin, Outcome: audit.Success}}
			p, err := j.Append(audit.Normal, events...)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, events...)
			if p != j.End() || p.Seq != uint64(len(want)) {
				t.Errorf("position %d, end %d, want %d", p.Seq, j.End().Seq, len(want))
			}
		}
		want = append(want, audit.Event{Class: audit.Note, Outcome: audit.Success, Operation: audit.OpClosed})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j := mustOpen(t, cfg)
	var got []audit.Event
	if err := j.Since(0, func(_ uint64, e audit.Event) error {
		if e.Operation == audit.OpClosed {
			e.Time = 0
		}
		got = append(got, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r, err := audit.Verify(cfg)
	if err != nil || r.Entries != uint64(len(want)) || r.End != j.End() || r.Torn != 0 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

func TestMarkerIsCarriedAndNeverRunsBack(t *testing.T) {
	cfg := small(newDisk())
	j := mustOpen(t, cfg)
	p := mustAppend(t, j, "a", "b", "c")
	for _, seq := range []uint64{2, 1, p.Seq + 7} { // the last names the future: a bug that must not reach the disk
		j.SetCommitted(seq)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for range 6 { // over rotations, and segments without a group of their own
		j = mustOpen(t, cfg)
		if got := j.Marker(); got != 2 {
			t.Fatalf("marker %d, want 2", got)
		}
		mustAppend(t, j, strings.Repeat("x", 400))
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := audit.Verify(cfg); err != nil || r.Marker != 2 || r.Segments < 3 {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

func TestHashAtFindsGroupEndsOnly(t *testing.T) {
	j := mustOpen(t, small(newDisk()))
	ends := map[uint64][32]byte{0: j.End().Hash}
	for i := range 12 {
		p := mustAppend(t, j, fmt.Sprint("first of ", i), "second")
		ends[p.Seq] = p.Hash
	}
	for seq := range j.End().Seq + 5 {
		want, isEnd := ends[seq]
		got, ok, err := j.HashAt(seq)
		if err != nil || ok != isEnd || (ok && got != want) {
			t.Errorf("HashAt(%d) = %x, %v, %v; want %x, %v", seq, got, ok, err, want, isEnd)
		}
	}
}

func TestSinceStartsAnywhereAndStops(t *testing.T) {
	j := mustOpen(t, small(newDisk()))
	var all []string
	for i := range 10 {
		mustAppend(t, j, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
		all = append(all, fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
	}
	for seq := range uint64(len(all) + 2) {
		if diff := cmp.Diff(all[min(int(seq), len(all)):], append([]string{}, names(t, j, seq)...)); diff != "" {
			t.Errorf("since %d (-want +got):\n%s", seq, diff)
		}
	}
	stop := errors.New("enough")
	calls := 0
	if err := j.Since(3, func(uint64, audit.Event) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestOpenRefuses(t *testing.T) {
	d := newDisk()
	cfg := small(d)
	if _, err := audit.Open(cfg); !errors.Is(err, audit.ErrMissing) {
		t.Errorf("no journal: got %v, want ErrMissing", err)
	}
	if _, err := audit.Verify(cfg); !errors.Is(err, audit.ErrMissing) {
		t.Errorf("verify of no journal: got %v, want ErrMissing", err)
	}
	mustAppend(t, mustOpen(t, cfg), "a")
	before := d.snapshot()
	if err := audit.Create(cfg); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second create: got %v, want fs.ErrExist", err)
	}
	other := cfg
	other.StoreID[3]++
	if _, err := audit.Open(other); !errors.Is(err, audit.ErrForeign) {
		t.Errorf("another store: got %v, want ErrForeign", err)
	}
	if diff := cmp.Diff(before, d.snapshot()); diff != "" {
		t.Errorf("the disk was changed:\n%s", diff)
	}
}

func TestClosedTakesNothing(t *testing.T) {
	j := mustOpen(t, small(newDisk()))
	for range 2 {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Append(audit.Urgent, event("late")); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("append: got %v, want ErrClosed", err)
	}
	if err := j.Flush(); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("flush: got %v, want ErrClosed", err)
	}
}

func TestTooLargeIsRefusedWhole(t *testing.T) {
	j := mustOpen(t, small(newDisk()))
	if _, err := j.Append(audit.Normal, make([]audit.Event, 20_000)...); !errors.Is(err, audit.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if p := mustAppend(t, j, "next"); p.Seq != 1 {
		t.Errorf("sequence %d after the refusal, want 1", p.Seq)
	}
}

func TestAppendsThatRunTogetherShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := small(d)
		cfg.SegmentBytes = 1 << 20
		j := mustOpen(t, cfg)
		d.gate = make(chan struct{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		positions := map[audit.Position]int{}
		for i := range 9 {
			wg.Go(func() {
				p, err := j.Append(audit.Normal, event(fmt.Sprint(i)))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				positions[p]++
				mu.Unlock()
			})
			synctest.Wait() // the first is in its sync now, the others queue behind it
		}
		if got := j.End().Seq; got != 0 {
			t.Errorf("end %d before the first sync", got)
		}
		close(d.gate)
		wg.Wait()
		var counts []int
		for _, seq := range []uint64{1, 9} {
			for p, n := range positions {
				if p.Seq == seq {
					counts = append(counts, n)
				}
			}
		}
		if diff := cmp.Diff([]int{1, 8}, counts); diff != "" {
			t.Errorf("callers by group (-want +got):\n%s", diff)
		}
		_ = j.Close()
	})
}

func TestBufferedEventsAreWrittenWithinTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, small(newDisk()))
		for round := range 3 {
			j.Buffer(event("a"))
			j.Buffer(event("b"))
			synctest.Wait()
			if got := j.End().Seq; got != uint64(2*round) {
				t.Errorf("end %d at once, want %d", got, 2*round)
			}
			time.Sleep(audit.BufferDelay)
			synctest.Wait()
			if got := j.End().Seq; got != uint64(2*round+2) {
				t.Errorf("end %d after the delay, want %d", got, 2*round+2)
			}
		}
		j.Buffer(event("c"))
		if p := mustAppend(t, j, "d"); p.Seq != 8 {
			t.Errorf("end %d, want 8: the buffered event goes with the next group", p.Seq)
		}
		_ = j.Close()
	})
}

func TestDroppedEventsAreCountedInTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := small(d)
		cfg.SegmentBytes = 4 << 20
		j := mustOpen(t, cfg)
		d.gate = make(chan struct{})
		const sent = 5000
		for range sent {
			j.Buffer(event(strings.Repeat("n", 100)))
			synctest.Wait() // the flusher takes half a buffer, and hangs in its sync
		}
		close(d.gate)
		if err := j.Flush(); err != nil {
			t.Fatal(err)
		}
		kept, noted := 0, 0
		if err := j.Since(0, func(_ uint64, e audit.Event) error {
			if e.Operation == audit.OpDropped {
				var n int
				if _, err := fmt.Sscan(e.Reason, &n); err != nil {
					t.Errorf("reason %q: %v", e.Reason, err)
				}
				noted += n
			} else {
				kept++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if kept+noted != sent || noted == 0 || kept < audit.MaxBuffered/200 {
			t.Errorf("%d kept and %d noted as dropped, of %d", kept, noted, sent)
		}
		_ = j.Close()
	})
}

// Many appenders, buffers, readers and marker setters at once; run with -race.
func TestConcurrent(t *testing.T) {
	cfg := audit.Config{Dir: filepath.Join(t.TempDir(), "journal"), StoreID: storeID, SegmentBytes: 20_000}
	j := mustOpen(t, cfg)
	var wg sync.WaitGroup
	const workers, rounds = 16, 30
	for w := range workers {
		wg.Go(func() {
			var last uint64
			for i := range rounds {
				p, err := j.Append(audit.Priority(i%2), event(fmt.Sprintf("%d-%d-a", w, i)), event(fmt.Sprintf("%d-%d-b", w, i)))
				if err != nil || p.Seq <= last {
					t.Errorf("position %d after %d, %v", p.Seq, last, err)
					return
				}
				last = p.Seq
				j.SetCommitted(last)
				j.Buffer(event("buffered"))
				if hash, ok, err := j.HashAt(p.Seq); err != nil || !ok || hash != p.Hash {
					t.Errorf("HashAt(%d): %v, %v", p.Seq, ok, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if _, err := audit.Verify(cfg); err != nil {
				t.Errorf("verify while it runs: %v", err)
			}
			names(t, j, 0)
		}
	})
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, cfg)
	mustBeRuns(t, names(t, j, 0), workers, rounds)
}

// mustBeRuns checks that the two events of each Append stand together, each worker's in its order, and none is absent.
func mustBeRuns(t *testing.T, got []string, workers, rounds int) {
	t.Helper()
	next := make([]int, workers)
	buffered := 0
	for i, name := range got {
		var w, n int
		switch {
		case name == "buffered":
			buffered++
		case strings.HasSuffix(name, "-a"):
			if _, err := fmt.Sscanf(name, "%d-%d-a", &w, &n); err != nil || n != next[w] || got[i+1] != fmt.Sprintf("%d-%d-b", w, n) {
				t.Fatalf("%q followed by %q, want round %d, %v", name, got[i+1], next[w], err)
			}
			next[w]++
		}
	}
	for w, n := range next {
		if n != rounds {
			t.Errorf("worker %d: %d rounds, want %d", w, n, rounds)
		}
	}
	if buffered != workers*rounds {
		t.Errorf("%d buffered events, want %d", buffered, workers*rounds)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	j := mustOpen(t, audit.Config{Dir: filepath.Join(t.TempDir(), "journal"), StoreID: storeID})
	e := full(1)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := j.Append(audit.Normal, e); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Append: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(200, func() { j.Buffer(e) }); n != 0 {
		t.Errorf("Buffer: %v allocations, want 0", n)
	}
}
