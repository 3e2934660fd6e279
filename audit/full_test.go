package audit_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// unreadable fails one read, counted over all files.
type unreadable struct {
	*disk
	failAt int
	reads  int
}

func (u *unreadable) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f, err := u.disk.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &unreadableFile{f, u}, nil
}

type unreadableFile struct {
	durable.File
	u *unreadable
}

func (f *unreadableFile) ReadAt(p []byte, off int64) (int, error) {
	if f.u.reads++; f.u.reads == f.u.failAt {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}

// fill appends until the journal refuses, and returns how many it took.
func fill(t *testing.T, j *audit.Journal, p audit.Priority) (taken int) {
	t.Helper()
	for {
		_, err := j.Append(p, event(strings.Repeat("n", 200)))
		if errors.Is(err, audit.ErrDiskFull) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		if taken++; taken > 20_000 {
			t.Fatal("the disk is never full")
		}
	}
}

// On a full disk, urgent events still get in, others are refused before anything is written, and all of them again when
// there is space; over the end of a segment too.
func TestDiskFull(t *testing.T) {
	for name, tc := range map[string]struct{ segment, capacity int64 }{
		"in a segment":            {1 << 20, 3 << 20},
		"at the next segment":     {64 << 10, 200 << 10},
		"with the zone cut short": {256 << 10, 600_123},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			d.capacity = tc.capacity
			cfg := small(d)
			cfg.SegmentBytes = tc.segment
			j := mustOpen(t, cfg)
			normal := fill(t, j, audit.Normal)
			if !j.Full() || j.Err() != nil {
				t.Fatalf("full %v, err %v; want full and not failed", j.Full(), j.Err())
			}
			urgent := fill(t, j, audit.Urgent)
			if urgent < 40 {
				t.Errorf("%d urgent events after %d normal ones, want at least 40", urgent, normal)
			}
			if _, err := j.Append(audit.Normal, event("refused")); !errors.Is(err, audit.ErrDiskFull) {
				t.Errorf("got %v, want ErrDiskFull", err)
			}
			d.mu.Lock()
			d.capacity *= 2
			d.mu.Unlock()
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
			p := mustAppend(t, j, "space again")
			if want := uint64(normal + urgent + 1); p.Seq != want {
				t.Errorf("sequence %d, want %d", p.Seq, want)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			after := cfg
			after.FS = d.reboot(func() bool { return false })
			if r, err := audit.Verify(after); err != nil || r.Entries != p.Seq+1 {
				t.Errorf("verify: %+v, %v", r, err)
			}
		})
	}
}

// Nobody has to ask: the journal looks by itself, and what Buffer had to drop meanwhile is noted.
func TestDiskFullRecoversByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		d.capacity = 300 << 10
		cfg := small(d)
		cfg.SegmentBytes = 128 << 10
		j := mustOpen(t, cfg)
		fill(t, j, audit.Normal)
		j.Buffer(event("dropped"))
		time.Sleep(3 * audit.BufferDelay)
		synctest.Wait()
		if !j.Full() {
			t.Fatal("recovered without space")
		}
		d.mu.Lock()
		d.capacity = 0
		d.mu.Unlock()
		time.Sleep(2 * audit.BufferDelay)
		synctest.Wait()
		if j.Full() {
			t.Fatal("still full")
		}
		mustAppend(t, j, "space again")
		noted := false
		if err := j.Since(0, func(_ uint64, e audit.Event) error {
			noted = noted || e.Operation == audit.OpDropped && strings.HasPrefix(e.Reason, "1 ")
			return nil
		}); err != nil || !noted {
			t.Errorf("the dropped event is not noted, %v", err)
		}
		_ = j.Close()
	})
}

// A new segment whose folder entry may or may not be there: going on in the old one would break the join.
func TestFullDiskWhileRenamingASegmentStops(t *testing.T) {
	d := newDisk()
	cfg := small(d)
	j := mustOpen(t, cfg)
	d.fault = func(_ int, op string) fault {
		if op == "sync-dir" {
			return fault{err: syscall.ENOSPC}
		}
		return fault{}
	}
	var err error
	for range 20 {
		if _, err = j.Append(audit.Normal, event("x")); err != nil {
			break
		}
	}
	if !errors.Is(err, audit.ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	d.fault = nil
	_ = j.Close()
	if _, err := audit.Verify(cfg); err != nil {
		t.Error(err)
	}
}
