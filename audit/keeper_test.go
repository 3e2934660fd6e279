package audit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/audit"
)

// office is a journal with its keeper, and what a store would remember.
type office struct {
	d *disk
	j *audit.Journal
	k *audit.Keeper

	mu     sync.Mutex // the keeper's goroutine writes while the test reads
	noted  uint64
	why    []string
	listed []audit.Checkpoint
}

// archived is up to where the store allows the front to go, reasons why.
func (o *office) archived() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.noted
}

func (o *office) reasons() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.why)
}

// made are the checkpoints that were published.
func (o *office) made() []audit.Checkpoint {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.listed)
}

// newOffice opens a keeper in a bubble of synctest, whose clock it follows.
func newOffice(t *testing.T, segment int64, r audit.Retention, exported func() uint64) *office {
	t.Helper()
	o := &office{d: newDisk()}
	cfg := small(o.d)
	cfg.Now, cfg.SegmentBytes = time.Now, segment
	o.j = mustOpen(t, cfg)
	o.k = audit.NewKeeper(audit.KeeperConfig{
		Journal: o.j, Signer: signer(t, 1), Every: 10 * time.Minute, Entries: 100, Archive: r,
		Archived: o.archived,
		Allow: func(_ context.Context, seq uint64, reason string) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.noted, o.why = seq, append(o.why, reason)
			return nil
		},
		Exported: exported,
		Publish: func(c audit.Checkpoint) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.listed = append(o.listed, c)
		},
	})
	return o
}

func (o *office) run(t *testing.T, fn func()) {
	t.Helper()
	if err := o.k.Sign(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { o.k.Run(ctx); close(done) }()
	fn()
	cancel()
	<-done
	_ = o.j.Close()
}

func (o *office) fill(t *testing.T, groups int) {
	t.Helper()
	for i := range groups {
		mustAppend(t, o.j, fmt.Sprint("client ", i), "and another")
	}
}

func TestKeeperSignsWhenSomethingHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, 700, audit.Retention{}, nil)
		o.run(t, func() {
			pass(time.Hour)
			if len(o.made()) != 0 {
				t.Errorf("signed an empty journal: %v", o.made())
			}
			mustAppend(t, o.j, "a")
			pass(10 * time.Second)
			if len(o.made()) != 1 { // ten minutes have passed since the last
				t.Fatalf("%d checkpoints", len(o.made()))
			}
			mustAppend(t, o.j, "b")
			pass(9 * time.Minute)
			if len(o.made()) != 1 {
				t.Errorf("signed after nine minutes")
			}
			pass(2 * time.Minute)
			if len(o.made()) != 2 || o.made()[1].Position != o.j.End() {
				t.Errorf("not signed after eleven minutes")
			}
			o.fill(t, 4)
			pass(10 * time.Second)
			if n := len(o.made()); n <= 2 {
				t.Errorf("a finished segment was not signed at once")
			}
			pass(24 * time.Hour)
			n := len(o.made())
			pass(24 * time.Hour)
			if len(o.made()) != n {
				t.Errorf("an idle journal was signed again")
			}
		})
	})
}

func TestKeeperSignsAfterSoManyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, 1<<20, audit.Retention{}, nil)
		mustAppend(t, o.j, "a")
		o.run(t, func() {
			mustAppend(t, o.j, slices.Repeat([]string{"b"}, 99)...)
			pass(time.Minute)
			if len(o.made()) != 1 {
				t.Errorf("%d checkpoints after 99 entries", len(o.made()))
			}
			mustAppend(t, o.j, "c")
			pass(10 * time.Second)
			if len(o.made()) != 2 {
				t.Errorf("%d checkpoints after 100 entries", len(o.made()))
			}
		})
	})
}

// The table of what retention takes, and what it leaves.
func TestRetention(t *testing.T) {
	day := 24 * time.Hour
	for what, c := range map[string]struct {
		r        audit.Retention
		exported func() uint64
		takes    bool
	}{
		"nothing set":                   {audit.Retention{}, nil, false},
		"only a folder":                 {audit.Retention{Folder: "archive"}, nil, false},
		"an age, and no place to go":    {audit.Retention{After: day}, nil, false},
		"an age and a folder":           {audit.Retention{After: day, Folder: "archive"}, nil, true},
		"an age, and deleting":          {audit.Retention{After: day, Delete: true}, nil, true},
		"not old enough":                {audit.Retention{After: 30 * day, Folder: "archive"}, nil, false},
		"a size":                        {audit.Retention{Above: 1000, Folder: "archive"}, nil, true},
		"not large enough":              {audit.Retention{Above: 1 << 20, Folder: "archive"}, nil, false},
		"large, but to be kept":         {audit.Retention{Above: 1000, Keep: 30 * day, Folder: "archive"}, nil, false},
		"old, but to be kept":           {audit.Retention{After: day, Keep: 30 * day, Folder: "archive"}, nil, false},
		"old, but not exported yet":     {audit.Retention{After: day, Folder: "archive"}, func() uint64 { return 2 }, false},
		"old, and exported":             {audit.Retention{After: day, Folder: "archive"}, func() uint64 { return 1 << 40 }, true},
		"old, exported by the end of 1": {audit.Retention{After: day, Delete: true}, func() uint64 { return 12 }, true},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, 700, c.r, c.exported)
				o.run(t, func() {
					o.fill(t, 16)
					before := o.d.snapshot()
					pass(2 * day)
					o.mustHaveTaken(t, before, c.takes, c.r)
				})
			})
		})
	}
}

func (o *office) mustHaveTaken(t *testing.T, before map[string]string, takes bool, r audit.Retention) {
	t.Helper()
	after := o.d.snapshot()
	if _, there := after[first]; there == takes {
		t.Fatalf("the first segment is there: %v; left are %v", there, slices.Sorted(maps.Keys(after)))
	}
	if !takes {
		if o.archived() != 0 {
			t.Errorf("the store was told that up to %d may go", o.archived())
		}
		return
	}
	kept, ok := after["archive/00000001.log"]
	if ok != (r.Folder != "") || (ok && kept != before[first]) {
		t.Errorf("the archive has the first segment: %v, the same: %v", ok, kept == before[first])
	}
	if o.j.Base().Seq != o.archived() || len(o.reasons()) == 0 {
		t.Errorf("it begins after %d, the store allows %d, because %q", o.j.Base().Seq, o.archived(), o.reasons())
	}
	// Who has only the folder and the key finds nothing wrong, and somebody who takes one more segment is found out.
	if _, err := audit.VerifySigned(small(o.d), signer(t, 1).Public(), o.made()); err != nil {
		t.Error(err)
	}
	for name := range after {
		if strings.HasPrefix(name, "journal/") && strings.HasSuffix(name, ".log") {
			delete(after, name)
			break
		}
	}
	if _, err := audit.VerifySigned(small(restore(after)), signer(t, 1).Public(), o.made()); err == nil {
		t.Error("a segment less was not noticed")
	}
}

func TestArchiveTakesNothingUnsigned(t *testing.T) {
	d := newDisk()
	j := mustOpen(t, small(d))
	for range 16 {
		mustAppend(t, j, "a", "b")
	}
	all, err := j.Segments()
	if err != nil || len(all) < 2 {
		t.Fatal(len(all), err)
	}
	if n, err := j.Archive(all[0].End.Seq, ""); err == nil || n != 0 {
		t.Errorf("%d segments went without a signature: %v", n, err)
	}
	mustSign(t, j, signer(t, 1), all[0].End.Seq)
	d.names["archive/00000001.log"] = &inode{data: []byte("something else")}
	if n, err := j.Archive(all[0].End.Seq, "archive"); err == nil || n != 0 {
		t.Errorf("an archived segment was overwritten: %d, %v", n, err)
	}
	if _, ok := d.snapshot()[first]; !ok {
		t.Error("the segment went although it could not be kept")
	}
	if n, err := j.Archive(all[1].End.Seq-1, "elsewhere"); err != nil || n != 1 {
		t.Errorf("archived %d: %v", n, err)
	}
	if _, _, err := j.HashAt(all[0].End.Seq - 1); !errors.Is(err, audit.ErrArchived) {
		t.Errorf("got %v, want ErrArchived", err)
	}
}

// A segment that cannot be removed is tried again before the next one goes: a gap would be a journal that does not open.
func TestArchiveLeavesNoGap(t *testing.T) {
	for at := 1; at <= 2; at++ { // its checkpoints, or the segment itself
		for _, stored := range []bool{false, true} {
			d := newDisk()
			j := mustOpen(t, small(d))
			for range 16 {
				mustAppend(t, j, "a", "b")
			}
			all, err := j.Segments()
			if err != nil || len(all) < 3 {
				t.Fatal(len(all), err)
			}
			mustSign(t, j, signer(t, 1), all[1].End.Seq)
			removed := 0
			d.fault = func(_ int, op string) (f fault) {
				if op == "remove" {
					if removed++; removed == at {
						f = fault{err: errors.New("input/output error"), stored: stored}
					}
				}
				return f
			}
			if n, err := j.Archive(all[1].End.Seq, ""); err == nil || n != 0 {
				t.Fatalf("archived %d segments, %v", n, err)
			}
			if _, err := j.Archive(all[1].End.Seq, ""); err != nil {
				t.Fatalf("the second time: %v", err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if base := mustOpen(t, small(d)).Base(); base != all[1].End {
				t.Errorf("it begins after sequence %d, want %d", base.Seq, all[1].End.Seq)
			}
		}
	}
}

// pass lets time go by in a bubble, and then all that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
