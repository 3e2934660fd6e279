package audit_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

// Those who queue behind a group whose sync fails fail with it: their group must not follow one that may be absent.
func TestWaitersBehindAFailedGroupFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		cfg := large(d)
		j := mustOpen(t, cfg)
		mustAppend(t, j, "the first writes more")
		before := len(d.steps)
		d.gate = make(chan struct{})
		d.fault = func(step int, op string) fault {
			if op == "sync" && d.steps[len(d.steps)-2] == "write" {
				return fault{err: syscall.EIO}
			}
			return fault{}
		}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if _, err := j.Append(audit.Normal, event(fmt.Sprint(i))); !errors.Is(err, audit.ErrFailed) {
					t.Errorf("appender %d: got %v, want ErrFailed", i, err)
				}
			})
			synctest.Wait()
		}
		close(d.gate)
		wg.Wait()
		syncs := 0
		for _, op := range d.steps[before:] {
			if op == "sync" {
				syncs++
			}
		}
		if syncs != 1 {
			t.Errorf("%d syncs, want the failed one only: %v", syncs, d.steps[before:])
		}
		_ = j.Close()
	})
}

// A bad group whose successor begins anywhere, also across the pieces in which the tail is read.
func TestSuccessorIsFoundWhereverItBegins(t *testing.T) {
	const window = 256 << 10
	for shift := -10; shift <= 2; shift++ {
		d := newDisk()
		cfg := small(d)
		cfg.SegmentBytes = 1 << 20
		j := mustOpen(t, cfg)
		size := func(n int) int { // of a group with one entry more of n bytes in its name
			e := event(strings.Repeat("n", n))
			e.Time = 1
			return len(audit.AppendEntry(nil, &e))
		}
		want := window + shift - audit.GroupHeader - audit.GroupHash
		var events []audit.Event
		for want > 2*size(500) {
			events = append(events, event(strings.Repeat("n", 500)))
			want -= size(500)
		}
		for _, part := range []int{want / 2, want - want/2} {
			events = append(events, event(strings.Repeat("n", part-size(200)+200)))
		}
		if _, err := j.Append(audit.Normal, events...); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, j, "successor")
		m := d.snapshot()
		_ = j.Close()
		p := takeApart(m[first])
		if len(p.groups[0]) != window+shift {
			t.Fatalf("the first group has %d bytes, want %d", len(p.groups[0]), window+shift)
		}
		broken := restore(with(m, first, flip(m[first], audit.SegmentHeader+20)))
		cfg.FS = broken
		if _, err := audit.Open(cfg); !errors.Is(err, audit.ErrCorrupt) {
			t.Errorf("shift %d: got %v, want ErrCorrupt", shift, err)
		}
	}
}

// Open does not read old segments; who reads them later sees that they do not join.
func TestSinceAndHashAtCheckOldSegments(t *testing.T) {
	m, other := segments(t), segments(t)
	for what, broken := range map[string]map[string]string{
		"from another journal": with(m, name(2), other[name(2)]),
		"end lost":             with(m, name(2), m[name(2)][:len(m[name(2)])-30]),
		"entry changed":        with(m, name(2), flip(m[name(2)], audit.SegmentHeader+audit.GroupHeader+9)),
	} {
		d := restore(maps.Clone(broken))
		j, err := audit.Open(small(d))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := j.Since(0, func(uint64, audit.Event) error { return nil }); !errors.Is(err, audit.ErrCorrupt) {
			t.Errorf("%s: since: got %v, want ErrCorrupt", what, err)
		}
		_ = j.Close()
		if err := audit.Read(small(d), 0, func(uint64, audit.Event) error { return nil }); !errors.Is(err, audit.ErrCorrupt) {
			t.Errorf("%s: read: got %v, want ErrCorrupt", what, err)
		}
	}
	j, err := audit.Open(small(restore(with(m, name(2), flip(m[name(2)], audit.SegmentHeader+audit.GroupHeader+9)))))
	if err != nil {
		t.Fatal(err)
	}
	base := takeApart(m[name(2)])
	seq := uint64(base.header[47]) + 2
	if _, _, err := j.HashAt(seq); !errors.Is(err, audit.ErrCorrupt) {
		t.Errorf("HashAt(%d): got %v, want ErrCorrupt", seq, err)
	}
	_ = j.Close()
}

// Buffered events that went into a group for which there was no room are not forgotten without a word.
func TestBufferedEventsOfARefusedGroupAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.capacity = 100 << 10
		cfg := small(d)
		cfg.SegmentBytes = 8 << 10
		j := mustOpen(t, cfg)
		d.gate = make(chan struct{}, 1000)
		for range cap(d.gate) {
			d.gate <- struct{}{}
		}
		var sent int
		for !j.Full() {
			j.Buffer(event(strings.Repeat("n", 400)))
			if sent++; sent%40 == 0 { // a group larger than the zone
				_ = j.Flush()
			}
		}
		close(d.gate)
		d.mu.Lock()
		d.capacity = 0
		d.mu.Unlock()
		if err := j.Flush(); err != nil {
			t.Fatal(err)
		}
		kept, noted := 0, 0
		if err := j.Since(0, func(_ uint64, e audit.Event) error {
			if e.Operation != audit.OpDropped {
				kept++
				return nil
			}
			var n int
			_, err := fmt.Sscan(e.Reason, &n)
			noted += n
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if kept+noted != sent || noted < 40 {
			t.Errorf("%d kept and %d noted as dropped, of %d", kept, noted, sent)
		}
		_ = j.Close()
	})
}

func TestReadNeedsNoOpenJournal(t *testing.T) {
	m := segments(t)
	j, err := audit.Open(small(restore(m)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	want := names(t, j, 0)
	torn := m[name(len(m))]
	p := takeApart(torn)
	p.groups = append(p.groups, p.groups[len(p.groups)-1][:30])
	for what, d := range map[string]*disk{"whole": restore(m), "torn": restore(with(m, name(len(m)), p.String()))} {
		for _, after := range []uint64{0, 7, uint64(len(want)), 1000} {
			var got []string
			if err := audit.Read(small(d), after, func(_ uint64, e audit.Event) error { got = append(got, e.Client); return nil }); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if diff := cmp.Diff(want[min(after, uint64(len(want))):], append([]string{}, got...)); diff != "" {
				t.Errorf("%s after %d (-want +got):\n%s", what, after, diff)
			}
		}
		if len(d.steps) != 0 {
			t.Errorf("%s: the disk was changed: %v", what, d.steps)
		}
	}
	damaged := restore(with(m, name(1), flip(m[name(1)], audit.SegmentHeader+audit.GroupHeader+9)))
	if err := audit.Read(small(damaged), 0, func(uint64, audit.Event) error { return nil }); !errors.Is(err, audit.ErrCorrupt) {
		t.Errorf("damaged: got %v, want ErrCorrupt", err)
	}
	one, _ := written(t, 4)
	damaged = restore(with(one, first, flip(one[first], audit.SegmentHeader+audit.GroupHeader+9)))
	if err := audit.Read(large(damaged), 0, func(uint64, audit.Event) error { return nil }); !errors.Is(err, audit.ErrCorrupt) {
		t.Errorf("the last segment damaged: got %v, want ErrCorrupt", err)
	}
	if err := audit.Read(small(newDisk()), 0, nil); !errors.Is(err, audit.ErrMissing) {
		t.Errorf("no journal: got %v, want ErrMissing", err)
	}
}
