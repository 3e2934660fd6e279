package forward_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/audit/forward"
	"github.com/keyreeve/keyreeve/internal/durable"
)

func (b *bench) file(bytes int64) *forward.File {
	known := func(p audit.Position) bool {
		hash, ok, err := b.j.HashAt(p.Seq)
		return err == nil && ok && hash == p.Hash
	}
	return forward.NewFile(durable.OS, filepath.Join(b.dir, "export.jsonl"), bytes, known, time.Now)
}

// exported reads all files of the export, oldest first.
func (b *bench) exported(t *testing.T) (files int, all []byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(b.dir, "export*.jsonl*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(names, func(x, y string) int { // the one without a time is the newest
		return strings.Compare(strings.Replace(x, "export.jsonl", "export-9", 1), strings.Replace(y, "export.jsonl", "export-9", 1))
	})
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return len(names), all
}

func (b *bench) mustVerify(t *testing.T, what string) {
	t.Helper()
	_, data := b.exported(t)
	r, err := audit.VerifyLines(bytes.NewReader(data), b.s.Public(), nil)
	if err != nil || r.End != b.j.End() {
		t.Fatalf("%s: it verifies up to %d of %d, %v", what, r.End.Seq, b.j.End().Seq, err)
	}
}

func (b *bench) export(t *testing.T, bytes int64, fn func(*forward.File)) {
	t.Helper()
	sink := b.file(bytes)
	f := b.forwarder(t, sink)
	run(f, func() {
		if fn != nil {
			fn(sink)
		}
		b.sign(t, f)
		eventually(t, "all is in the file", func() bool { return f.Settled() == b.j.End().Seq })
	})
}

// The exported files, over restarts, rotation, and every way in which a crash leaves the last one, hold the whole chain.
func TestFileHoldsTheWholeChain(t *testing.T) {
	b := newBench(t)
	b.append(t, 40)
	b.export(t, 0, nil)
	b.mustVerify(t, "at first")
	path := filepath.Join(b.dir, "export.jsonl")
	for cut := 1; cut < 900; cut += 111 {
		b.append(t, 3)
		b.export(t, 0, nil)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()-int64(cut)); err != nil { // what was not synced, with the position before
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(b.dir, "position")); err != nil {
			t.Fatal(err)
		}
		b.append(t, 1)
		b.export(t, 0, nil)
		b.mustVerify(t, fmt.Sprint("after a crash that took ", cut, " bytes"))
	}
	b.export(t, 20<<10, func(*forward.File) { b.append(t, 200) })
	b.mustVerify(t, "rotated by size")
	b.export(t, 0, func(f *forward.File) {
		b.append(t, 1)
		eventually(t, "there is a file", func() bool { _, err := os.Stat(path); return err == nil })
		if err := os.Rename(path, filepath.Join(b.dir, "export-8.jsonl")); err != nil {
			t.Fatal(err)
		}
		f.Reopen()
		b.append(t, 5)
	})
	b.mustVerify(t, "rotated from outside")
	if n, _ := b.exported(t); n < 4 {
		t.Errorf("only %d files: rotation is not covered", n)
	}
}

// A file that is no export is left as it is.
func TestFileOfAnotherKindIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.append(t, 1)
	path := filepath.Join(b.dir, "export.jsonl")
	if err := os.WriteFile(path, []byte("my thesis\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := b.forwarder(t, b.file(0))
	run(f, func() {
		eventually(t, "it gave up", func() bool { return strings.Contains(b.log.String(), "audit export stopped") })
	})
	if data, err := os.ReadFile(path); err != nil || string(data) != "my thesis\n" {
		t.Errorf("%q, %v", data, err)
	}
}

// A crash in the middle of a group that is larger than what is read of the file's end at first does not end the export.
func TestFileGoesOnAfterALargeTornGroup(t *testing.T) {
	b := newBench(t)
	b.append(t, 3)
	b.export(t, 0, nil)
	path := filepath.Join(b.dir, "export.jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := audit.Event{Class: audit.Release, Outcome: audit.Success, Operation: "Get", Reason: strings.Repeat("x", 500)}
	l := audit.EventLine(99, &e)
	if _, err := f.Write(bytes.Repeat(l.Append(nil), 10_000)); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() < 5<<20 {
		t.Fatal(info.Size(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b.append(t, 3)
	b.export(t, 0, nil)
	b.mustVerify(t, "after the crash")
}
