package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/audit"
)

func signer(t testing.TB, n byte) *audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSign(t testing.TB, j *audit.Journal, s *audit.Signer, archived uint64) []audit.Checkpoint {
	t.Helper()
	made, err := j.Checkpoint(s, archived)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// sealed is a journal of several segments, signed as it grew and at its end, and all its checkpoints.
func sealed(t *testing.T, clients string) (m map[string]string, all []audit.Checkpoint) {
	t.Helper()
	d := newDisk()
	j := mustOpen(t, small(d))
	s := signer(t, 1)
	for i := range 16 {
		mustAppend(t, j, fmt.Sprint(clients, i), "and another")
		if i%5 == 0 {
			all = append(all, mustSign(t, j, s, 0)...)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	all = append(all, mustSign(t, j, s, 0)...)
	return d.snapshot(), all
}

func notesName(n int) string { return fmt.Sprintf("journal/%08d.checkpoints", n) }

// logs returns the number of segments.
func logs(m map[string]string) (n int) {
	for name := range m {
		if strings.HasSuffix(name, ".log") {
			n++
		}
	}
	return n
}

func TestCheckpointTextIsReadBack(t *testing.T) {
	m, all := sealed(t, "client ")
	for _, c := range all {
		back, err := audit.ParseCheckpoint(c.Text())
		if err != nil || back != c {
			t.Fatalf("%v\n%s", err, c.Text())
		}
		if err := back.Check(signer(t, 1).Public()); err != nil {
			t.Error(err)
		}
		if err := back.Check(signer(t, 2).Public()); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("another key: got %v", err)
		}
	}
	var files string
	for n := range logs(m) {
		files += m[notesName(n+1)]
	}
	read, n, err := audit.ParseCheckpoints([]byte(files))
	if err != nil || n != len(files) || !slices.Equal(read, all) {
		t.Errorf("%d checkpoints of %d in %d bytes: %v", len(read), len(all), n, err)
	}
}

// Every byte of a checkpoint counts: changed, it is no checkpoint any more, or its signature is wrong.
func TestCheckpointFlipOfEveryByteIsFound(t *testing.T) {
	_, all := sealed(t, "client ")
	text := all[0].Text()
	for i := range text {
		c, err := audit.ParseCheckpoint(flip(text, i))
		if err == nil {
			err = c.Check(signer(t, 1).Public())
		}
		if !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("byte %d (%q): got %v", i, text[i], err)
		}
	}
}

func TestCheckpointAtEachSegmentsEnd(t *testing.T) {
	m, _ := sealed(t, "client ")
	for n := 1; n < logs(m); n++ {
		notes, _, err := audit.ParseCheckpoints([]byte(m[notesName(n)]))
		if err != nil || len(notes) == 0 {
			t.Fatalf("segment %d: %d checkpoints, %v", n, len(notes), err)
		}
		var base [32]byte
		copy(base[:], m[name(n+1)][72:])
		if got := notes[len(notes)-1].Hash; got != base {
			t.Errorf("segment %d: signed %x, it ends with %x", n, got, base)
		}
	}
}

func TestNothingNewIsNotSigned(t *testing.T) {
	d := newDisk()
	s := signer(t, 1)
	j := mustOpen(t, small(d))
	mustAppend(t, j, "a")
	if made := mustSign(t, j, s, 0); len(made) != 1 || made[0].Position != j.End() {
		t.Fatalf("%v", made)
	}
	for range 2 {
		if made := mustSign(t, j, s, 0); len(made) != 0 {
			t.Errorf("signed again: %v", made)
		}
		_ = j.Close()
		mustSign(t, j, s, 0)
		j = mustOpen(t, small(d)) // a life in which nothing happens
	}
	if made := mustSign(t, j, s, 1); len(made) != 1 || made[0].Archived != 1 {
		t.Errorf("another front was not signed: %v", made)
	}
}

// rehash makes a segment's chain right again after what edit has done, as a forger can.
func rehash(content string, edit func(g []byte) []byte) string {
	p := takeApart(content)
	prev := [32]byte([]byte(p.header[72:104]))
	var groups []string
	for _, old := range p.groups {
		g := edit([]byte(old))
		if g == nil {
			continue
		}
		prev = sha256.Sum256(append(prev[:], g[:len(g)-audit.GroupHash]...))
		groups = append(groups, string(append(g[:len(g)-audit.GroupHash], prev[:]...)))
	}
	return pieces{p.header, groups, p.rest}.String()
}

// A table of damages. In each the chain by itself is whole, or nearly: only a signature, here or kept elsewhere, tells.
func TestDamagesThatOnlySignaturesShow(t *testing.T) {
	m, all := sealed(t, "client ")
	other, others := sealed(t, "somebody ")
	n := logs(m)
	last := all[len(all)-1]
	without := func(names ...string) map[string]string {
		c := maps.Clone(m)
		for _, name := range names {
			delete(c, name)
		}
		return c
	}
	cut := func(content string) string {
		p := takeApart(content)
		p.groups = p.groups[:len(p.groups)-1]
		return p.String()
	}
	shorter := with(without(name(n), notesName(n)), name(n-1), cut(m[name(n-1)]))
	shorter[notesName(n-1)] = ""
	foreign := *signer(t, 2)
	resigned := resign(t, &foreign, last)
	moved := last
	moved.Seq--
	for what, c := range map[string]struct {
		files  map[string]string
		others []audit.Checkpoint
		want   error
	}{
		"untouched":                       {m, nil, nil},
		"untouched, all kept elsewhere":   {m, all, nil},
		"no checkpoints in the folder":    {without(notesName(1), notesName(2), notesName(n)), all, nil},
		"an entry edited, chain rehashed": {with(m, name(n), rehash(m[name(n)], replace("Journal Closed", "Journal closed"))), nil, audit.ErrForked},
		"edited where only we kept one":   {with(with(m, name(n), rehash(m[name(n)], replace("Journal Closed", "Journal closed"))), notesName(n), ""), []audit.Checkpoint{last}, audit.ErrForked},
		"the last group cut off":          {with(m, name(n), cut(m[name(n)])), nil, audit.ErrForked},
		"cut, with its checkpoints":       {with(with(m, name(n), cut(m[name(n)])), notesName(n), ""), []audit.Checkpoint{last}, audit.ErrForked},
		"the last segment removed":        {without(name(n), notesName(n)), []audit.Checkpoint{last}, audit.ErrForked},
		"cut back into the one before":    {shorter, all[len(all)-2:], audit.ErrForked},
		"the first segment removed":       {without(name(1), notesName(1)), nil, audit.ErrForked},
		"the first two removed":           {without(name(1), notesName(1), name(2), notesName(2)), nil, audit.ErrForked},
		"a segment dropped from within":   {without(name(2), notesName(2)), nil, audit.ErrCorrupt},
		"two segments swapped":            {with(with(m, name(2), m[name(1)]), name(1), m[name(2)]), nil, audit.ErrCorrupt},
		"a foreign segment":               {with(m, name(2), other[name(2)]), nil, audit.ErrCorrupt},
		"another journal of this store":   {other, all, audit.ErrForked},
		"its checkpoints in our folder":   {with(m, notesName(2), other[notesName(2)]), nil, audit.ErrForked},
		"two that contradict each other":  {m, others, audit.ErrForked},
		"signed by another key":           {m, []audit.Checkpoint{resigned}, audit.ErrCheckpoint},
		"a number changed":                {m, []audit.Checkpoint{moved}, audit.ErrCheckpoint},
		"inside of a group":               {m, []audit.Checkpoint{resign(t, signer(t, 1), moved)}, audit.ErrForked},
		"for another store":               {m, []audit.Checkpoint{resign(t, signer(t, 1), ofStore(last, 9))}, audit.ErrForeign},
		"garbage among the checkpoints":   {with(m, notesName(1), strings.Repeat("x\n\n", 9)+m[notesName(1)]), nil, audit.ErrCheckpoint},
		"a torn checkpoint at the end":    {with(m, notesName(n), m[notesName(n)]+last.Text()[:200]), nil, nil},
	} {
		r, err := audit.VerifySigned(small(restore(c.files)), signer(t, 1).Public(), c.others)
		if !errors.Is(err, c.want) || (err != nil) != (c.want != nil) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
		if err == nil && (r.Checkpoints < len(all) || r.Signed != last) {
			t.Errorf("%s: %d checkpoints, the newest at %d", what, r.Checkpoints, r.Signed.Seq)
		}
	}
}

func replace(old, new string) func([]byte) []byte {
	return func(g []byte) []byte { return bytes.ReplaceAll(g, []byte(old), []byte(new)) }
}

func ofStore(c audit.Checkpoint, id byte) audit.Checkpoint {
	c.StoreID[0] = id
	return c
}

func resign(t *testing.T, s *audit.Signer, c audit.Checkpoint) audit.Checkpoint {
	t.Helper()
	return audit.Sign(s, c)
}

// Opening on a journal in which less happened than was signed: store and journal were put back together.
func TestCheckpointShowsThatBothWerePutBack(t *testing.T) {
	d := newDisk()
	s := signer(t, 1)
	j := mustOpen(t, large(d))
	mustAppend(t, j, "a")
	mustSign(t, j, s, 0)
	old := d.snapshot()
	mustAppend(t, j, "b")
	mustSign(t, j, s, 0)
	_ = j.Close()
	for what, files := range map[string]map[string]string{
		"put back":              with(old, notesName(1), d.snapshot()[notesName(1)]),
		"and something else":    with(forkOf(t, old), notesName(1), d.snapshot()[notesName(1)]),
		"only the end rehashed": with(d.snapshot(), first, rehash(d.snapshot()[first], replace("b", "c"))),
	} {
		j := mustOpen(t, large(restore(files)))
		if _, err := j.Checkpoint(s, 0); !errors.Is(err, audit.ErrForked) {
			t.Errorf("%s: got %v, want ErrForked", what, err)
		}
		_ = j.Close()
	}
}

func forkOf(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	d := restore(files)
	j := mustOpen(t, large(d))
	mustAppend(t, j, "c")
	mustAppend(t, j, "d")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return d.snapshot()
}

func TestSegmentAge(t *testing.T) {
	d := newDisk()
	cfg := large(d)
	now := time.Unix(1_700_000_000, 0)
	cfg.Now, cfg.SegmentAge = func() time.Time { return now }, time.Hour
	j := mustOpen(t, cfg)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {59 * time.Minute, 1}, {time.Minute, 2}, {-30 * time.Minute, 2}, {89 * time.Minute, 2}, {time.Minute, 3}} {
		now = now.Add(step.after)
		mustAppend(t, j, "a")
		if got := logs(d.snapshot()); got != step.want {
			t.Errorf("after %s more: %d segments, want %d", step.after, got, step.want)
		}
	}
	now = now.Add(24 * time.Hour)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := j.Flush(); err != nil || logs(d.snapshot()) > 4 {
		t.Errorf("an idle journal has %d segments: %v", logs(d.snapshot()), err)
	}
}
