package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

// exported returns a journal as JSON lines, with all its checkpoints behind it.
func exported(t *testing.T, cfg audit.Config, checkpoints []audit.Checkpoint) []string {
	t.Helper()
	r := audit.NewReader(cfg, 0)
	defer func() { _ = r.Close() }()
	var out []string
	for {
		g, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if out == nil {
			begin := audit.BeginLine(cfg.StoreID, g.Before)
			out = append(out, string(begin.Append(nil)))
		}
		for _, l := range g.Lines() {
			out = append(out, string(l.Append(nil)))
		}
	}
	for i := range checkpoints {
		l := audit.CheckpointLine(&checkpoints[i])
		out = append(out, string(l.Append(nil)))
	}
	return out
}

func TestExportVerifiesWithoutTheJournal(t *testing.T) {
	m, all := sealed(t, "client ")
	whole, err := audit.Verify(small(restore(m)))
	if err != nil {
		t.Fatal(err)
	}
	out := exported(t, small(restore(m)), all)
	r, err := audit.VerifyLines(strings.NewReader(strings.Join(out, "")), signer(t, 1).Public(), all)
	if err != nil || r.Entries != whole.Entries || r.End != whole.End || r.Groups != whole.Groups || r.Signed != all[len(all)-1] {
		t.Errorf("%+v, %v; want as much as\n%+v", r, err, whole)
	}
	half := out[:20] // what goes on later begins with a line that says where
	if r, err := audit.VerifyLines(strings.NewReader(strings.Join(half, "")), nil, nil); err != nil || r.Entries+uint64(r.Torn) != 19 {
		t.Errorf("half: %+v, %v", r, err)
	}
}

// Any event, also one with names that are no text, is in its line as it was stored.
func TestEventIsReadBackFromItsLine(t *testing.T) {
	odd := full(3)
	odd.Client, odd.Reason = "bad\xff\xc3name", "line\nfeed \x00 \u202e \ufffd"
	unknown := full(4)
	unknown.Class, unknown.Outcome = 77, 99
	for _, e := range []audit.Event{full(1), odd, unknown, event("plain"), {Time: 1, Class: audit.Note, Outcome: audit.Failure}} {
		l := audit.EventLine(9, &e)
		text := string(l.Append(nil))
		if strings.Count(text, "\n") != 1 {
			t.Errorf("more than a line: %q", text)
		}
		got, err := l.Event()
		if diff := cmp.Diff(e, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}

func TestDamagedExportIsFound(t *testing.T) {
	d := newDisk()
	j := mustOpen(t, small(d))
	for i := range 8 {
		e := event(fmt.Sprint("client ", i))
		if i == 3 {
			e.Client = "odd\xff"
		}
		if _, err := j.Append(audit.Normal, e, event("and another")); err != nil {
			t.Fatal(err)
		}
	}
	all := mustSign(t, j, signer(t, 1), 0)
	_ = j.Close()
	out := exported(t, small(d), all)
	other := exported(t, small(restore(func() map[string]string { m, _ := sealed(t, "x"); return m }())), nil)
	edit := func(n int, old, new string) []string {
		lines := slices.Clone(out)
		if lines[n] = strings.Replace(lines[n], old, new, 1); lines[n] == out[n] {
			t.Fatalf("line %d has no %s: %s", n, old, out[n])
		}
		return lines
	}
	drop := func(n int) []string { return slices.Delete(slices.Clone(out), n, n+1) }
	swap := func(a, b int) []string {
		lines := slices.Clone(out)
		lines[a], lines[b] = lines[b], lines[a]
		return lines
	}
	for what, c := range map[string]struct {
		lines []string
		want  error
	}{
		"untouched":                 {out, nil},
		"a name edited":             {edit(1, "client 0", "client 9"), audit.ErrCorrupt},
		"an outcome edited":         {edit(2, "success", "failure"), audit.ErrCorrupt},
		"a time edited":             {edit(2, "2023", "2024"), audit.ErrCorrupt},
		"a sequence edited":         {edit(3, `"seq":3`, `"seq":4`), audit.ErrCorrupt},
		"the words beside raw":      {edit(7, "odd", "add"), audit.ErrCorrupt},
		"raw":                       {edit(7, "F5ec", "F5ed"), audit.ErrCorrupt},
		"something added":           {edit(2, `{"type"`, `{"note":"x","type"`), audit.ErrCorrupt},
		"a field of another type":   {edit(2, `{"type":"event"`, `{"type":"event","text":"x"`), audit.ErrCorrupt},
		"a line dropped":            {drop(1), audit.ErrCorrupt},
		"the last of a group":       {drop(2), audit.ErrCorrupt},
		"two dropped":               {slices.Delete(slices.Clone(out), 3, 5), audit.ErrCorrupt},
		"two swapped":               {swap(1, 2), audit.ErrCorrupt},
		"no first line":             {drop(0), audit.ErrCorrupt},
		"a line of another journal": {append(slices.Clone(out[:3]), other[3:]...), audit.ErrCorrupt},
		"another begins":            {append(slices.Clone(out), other...), audit.ErrCorrupt},
		"cut before the checkpoint": {append(slices.Clone(out[:7]), out[len(out)-1]), audit.ErrForked},
		"a checkpoint edited":       {edit(len(out)-1, `archived 0`, `archived 1`), audit.ErrCheckpoint},
		"the front cut off":         {append([]string{frontOf(t, d)}, out[3:]...), audit.ErrForked},
		"no line at all":            {nil, audit.ErrMissing},
		"something else":            {[]string{"hello\n"}, audit.ErrCorrupt},
	} {
		_, err := audit.VerifyLines(strings.NewReader(strings.Join(c.lines, "")), signer(t, 1).Public(), nil)
		if !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
}

// frontOf is the first line of an export that begins after the first group.
func frontOf(t *testing.T, d *disk) string {
	t.Helper()
	r := audit.NewReader(small(d), 0)
	defer func() { _ = r.Close() }()
	g, _, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	l := audit.BeginLine(storeID, g.End)
	return string(l.Append(nil))
}

// A reader follows while the journal grows over several segments, in the process that writes it and outside.
func TestReaderFollows(t *testing.T) {
	d := newDisk()
	j := mustOpen(t, small(d))
	mustAppend(t, j, "before", "before")
	for what, r := range map[string]*audit.Reader{"inside": j.NewReader(0), "outside": audit.NewReader(small(d), 0), "later": audit.NewReader(small(d), 5)} {
		var at audit.Position
		follow := func() {
			for {
				g, ok, err := r.Next()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if !ok {
					return
				}
				if at.Seq > 0 && g.Before != at || int(g.End.Seq-g.Before.Seq) != len(g.Events) {
					t.Errorf("%s: a group after %d follows %d", what, g.Before.Seq, at.Seq)
				}
				at = g.End
			}
		}
		for i := range 30 {
			follow()
			for range i % 4 {
				mustAppend(t, j, "a", "b")
			}
			j.Buffer(event("c"))
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		follow()
		if at != j.End() {
			t.Errorf("%s: it came to %d of %d", what, at.Seq, j.End().Seq)
		}
		_ = r.Close()
	}
	_ = j.Close()
}

func TestReaderBehindTheArchive(t *testing.T) {
	d := newDisk()
	j := mustOpen(t, small(d))
	slow := j.NewReader(0)
	if _, _, err := slow.Next(); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		mustAppend(t, j, "a", "b")
	}
	all, err := j.Segments()
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, j, signer(t, 1), all[2].End.Seq)
	if _, err := j.Archive(all[2].End.Seq, ""); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = slow.Next()
	}
	if !errors.Is(err, audit.ErrArchived) {
		t.Errorf("got %v, want ErrArchived", err)
	}
	_ = slow.Close()
	_ = j.Close()
}
