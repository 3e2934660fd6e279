package bolt_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

func segmentName(n int) string { return filepath.Join("audit", fmt.Sprintf("%08d.log", n)) }

// longLife is a store whose journal has several segments, and the sequence after which its third begins.
func longLife(t *testing.T, archive bool) (files folder, third uint64) {
	t.Helper()
	dir := tempDir(t)
	if err := (store{}).Init(dir, durable.OS); err != nil {
		t.Fatal(err)
	}
	opened, err := store{}.Open(dir, durable.OS, bugs{})
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*fullStore)
	for id := 1; id < 200; id++ {
		if err := s.Change(map[int]int{id: 1}); err != nil {
			t.Fatal(err)
		}
	}
	rest := readFolder(t, dir)
	delete(rest, segmentName(1))
	delete(rest, segmentName(2))
	copied := tempDir(t)
	rest.write(t, copied)
	r, err := audit.Verify(journalConfig(copied, durable.OS))
	if err != nil || r.Segments < 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if archive {
		if err := s.ArchiveJournal(ctx, r.Base.Seq, "older than configured"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return readFolder(t, dir), r.Base.Seq
}

func without(files folder, segments ...int) folder {
	files = maps.Clone(files)
	for _, n := range segments {
		delete(files, segmentName(n))
	}
	return files
}

func openFolder(t *testing.T, files folder) error {
	t.Helper()
	dir := tempDir(t)
	files.write(t, dir)
	s, err := store{}.Open(dir, durable.OS, bugs{})
	if err != nil {
		return err
	}
	return s.Close()
}

// A journal without its oldest segments is a whole chain: only the sealed head knows whether that was allowed.
func TestJournalWithoutItsBeginning(t *testing.T) {
	kept, _ := longLife(t, false)
	for _, cut := range [][]int{{1}, {1, 2}} {
		if err := openFolder(t, without(kept, cut...)); !errors.Is(err, keystore.ErrJournalCut) {
			t.Errorf("without segments %v: got %v, want ErrJournalCut", cut, err)
		}
	}
	archived, third := longLife(t, true)
	for _, cut := range [][]int{nil, {1}, {1, 2}} {
		if err := openFolder(t, without(archived, cut...)); err != nil {
			t.Errorf("archived up to %d, without segments %v: %v", third, cut, err)
		}
	}
	if err := openFolder(t, without(archived, 1, 2, 3)); !errors.Is(err, keystore.ErrJournalCut) {
		t.Errorf("archived up to %d, and the next segment gone too: got %v, want ErrJournalCut", third, err)
	}
	if err := openFolder(t, without(archived, 2)); !errors.Is(err, audit.ErrCorrupt) {
		t.Errorf("a gap: got %v, want ErrCorrupt", err)
	}
}

func TestArchiveJournalIsRecordedAndBounded(t *testing.T) {
	files, third := longLife(t, true)
	dir := tempDir(t)
	files.write(t, dir)
	opened, err := store{}.Open(dir, durable.OS, bugs{})
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*fullStore)
	defer func() { _ = s.Close() }()
	if got := s.Info().Archived; got != third {
		t.Errorf("archived %d, want %d", got, third)
	}
	if err := s.ArchiveJournal(ctx, s.j.End().Seq+1, "too far"); !errors.Is(err, keystore.ErrInvalid) {
		t.Errorf("what is not there was archived: %v", err)
	}
	if err := s.ArchiveJournal(ctx, 1, "again, less"); err != nil || s.Info().Archived != third {
		t.Errorf("archived %d, want %d: %v", s.Info().Archived, third, err)
	}
	var reasons []string
	if err := s.j.Since(0, func(_ uint64, e audit.Event) error {
		if e.Operation == "Archive Journal" && e.Outcome == audit.Success && e.Class == audit.Admin {
			reasons = append(reasons, e.Reason)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("up to sequence %d: older than configured", third); len(reasons) != 2 || reasons[0] != want {
		t.Errorf("recorded %q, want first %q", reasons, want)
	}
}

// What a restored store does: its journal begins where the backup's head was, and the store knows.
func TestStoreOnAJournalThatBeginsLater(t *testing.T) {
	dir := tempDir(t)
	base := audit.Position{Seq: 1000, Hash: [32]byte{5}}
	err := errors.Join(audit.CreateAfter(journalConfig(dir, durable.OS), base, base.Seq),
		bolt.Create(filepath.Join(dir, "store.db"), small(durable.OS)))
	if err != nil {
		t.Fatal(err)
	}
	f, cfg, err := store{}.parts(dir, durable.OS, bugs{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(keystore.Create(ctx, cfg), f.j.Close(), f.b.Close()); err != nil {
		t.Fatal(err)
	}
	for life := range 2 {
		s, err := store{}.Open(dir, durable.OS, bugs{})
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		if got := s.(*fullStore).Info(); got.Archived != base.Seq || got.Position.Seq <= base.Seq {
			t.Errorf("life %d: archived %d, position %d", life, got.Archived, got.Position.Seq)
		}
		if err := errors.Join(s.Change(map[int]int{life: 1}), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := audit.Create(journalConfig(dir, durable.OS)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second journal: got %v, want ErrExist", err)
	}
}
