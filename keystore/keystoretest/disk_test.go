package keystoretest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// image is what the disk holds after the cut, by name.
func image(t *testing.T, r *keystoretest.Replay, cut keystoretest.Cut) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := r.Image(dir, cut); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

func newDisk(t *testing.T) (*keystoretest.Disk, durable.FS, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := keystoretest.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d, d.FS(), dir
}

func create(t *testing.T, fsys durable.FS, path, content string) durable.File {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// What was not synced goes, in the worst case; content and name have a sync each.
func TestDiskForgetsWhatWasNotSynced(t *testing.T) {
	d, fsys, dir := newDisk(t)
	path := filepath.Join(dir, "a")
	f := create(t, fsys, path, "one")
	expect := func(what string, nothing, everything map[string]string) {
		t.Helper()
		if diff := cmp.Diff(nothing, image(t, d.Replay().End(), keystoretest.Nothing())); diff != "" {
			t.Errorf("%s, nothing kept (-want +got):\n%s", what, diff)
		}
		if diff := cmp.Diff(everything, image(t, d.Replay().End(), keystoretest.Everything())); diff != "" {
			t.Errorf("%s, all kept (-want +got):\n%s", what, diff)
		}
	}
	type files = map[string]string
	expect("written", files{}, files{"a": "one"})
	must(t, fsys.SyncDir(dir))
	expect("folder synced", files{"a": ""}, files{"a": "one"})
	must(t, f.Sync())
	expect("file synced", files{"a": "one"}, files{"a": "one"})
	_, err := f.WriteAt([]byte("two!"), 0)
	must(t, err)
	expect("written again", files{"a": "one"}, files{"a": "two!"})
	must(t, f.Sync(), fsys.Rename(path, filepath.Join(dir, "b")))
	expect("renamed", files{"a": "two!"}, files{"b": "two!"})
	must(t, fsys.SyncDir(dir), f.Truncate(1))
	expect("cut", files{"b": "two!"}, files{"b": "t"})
	must(t, f.Sync(), fsys.Remove(filepath.Join(dir, "b")))
	expect("removed", files{"b": "t"}, files{})
	must(t, fsys.SyncDir(dir))
	expect("removed for good", files{}, files{})
}

// A torn write leaves any of its sectors, never part of one, and over many seeds each of them alone.
func TestDiskTearsWritesAtSectors(t *testing.T) {
	d, fsys, dir := newDisk(t)
	f := create(t, fsys, filepath.Join(dir, "a"), strings.Repeat("o", 1536))
	must(t, f.Sync(), fsys.SyncDir(dir))
	_, err := f.WriteAt([]byte(strings.Repeat("n", 1536)), 0)
	must(t, err)
	seen := make(map[string]bool)
	for seed := range uint64(500) {
		content := image(t, d.Replay().End(), keystoretest.RandomCut(seed))["a"]
		pattern := ""
		for i := 0; i < len(content); i += 512 {
			sector := content[i : i+512]
			if strings.Count(sector, sector[:1]) != 512 {
				t.Fatalf("seed %d: a sector is half old, half new", seed)
			}
			pattern += sector[:1]
		}
		seen[pattern] = true
	}
	if len(seen) != 8 {
		t.Errorf("saw %v, want all 8 combinations of old and new", seen)
	}
}

// Renames that the folder has not synced may be there or not, and a file keeps its content under whatever name.
func TestDiskMayKeepARename(t *testing.T) {
	d, fsys, dir := newDisk(t)
	must(t, durable.WriteFile(durable.OS, filepath.Join(dir, "elsewhere-not-noted"), nil, 0o600))
	must(t, durable.WriteFile(fsys, filepath.Join(dir, "a"), []byte("old"), 0o600))
	before := d.Len()
	must(t, durable.WriteFile(fsys, filepath.Join(dir, "a"), []byte("new"), 0o600))
	seen := make(map[string]bool)
	for r := d.Replay(); r.Step(); {
		if r.At() < before {
			continue
		}
		for seed := range uint64(40) {
			seen[image(t, r, keystoretest.RandomCut(seed))["a"]] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"old": true, "new": true}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDiskFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault keystoretest.Fault
		want  string // on the disk after a sync that failed so and another that worked
	}{
		"works":                     {keystoretest.Fault{}, "x"},
		"fails, not stored":         {keystoretest.Fault{Err: syscall.EIO}, ""},
		"fails, stored":             {keystoretest.Fault{Err: syscall.EIO, Stored: true}, "x"},
		"left out, made up for":     {keystoretest.Fault{Lie: true}, "x"},
		"fails, and nobody is told": {keystoretest.Fault{Lost: true}, ""},
	} {
		d, fsys, dir := newDisk(t)
		syncs := 0
		d.Fault = func(_ int, c keystoretest.Change) keystoretest.Fault {
			if c.Kind != keystoretest.Sync {
				return keystoretest.Fault{}
			}
			if syncs++; syncs == 1 {
				return tc.fault
			}
			return keystoretest.Fault{}
		}
		f := create(t, fsys, filepath.Join(dir, "a"), "x")
		if err := f.Sync(); !errors.Is(err, tc.fault.Err) {
			t.Errorf("%s: got %v", name, err)
		}
		must(t, f.Sync(), fsys.SyncDir(dir))
		if got := image(t, d.Replay().End(), keystoretest.Everything())["a"]; got != tc.want {
			t.Errorf("%s: the disk holds %q, want %q", name, got, tc.want)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(b) != "x" {
			t.Errorf("%s: the program reads %q, %v", name, b, err)
		}
	}
}

func TestDiskCountsExistingFilesAsSynced(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("there"), 0o600))
	d, err := keystoretest.NewDisk(dir)
	must(t, err)
	if diff := cmp.Diff(map[string]string{"a": "there"}, image(t, d.Replay().End(), keystoretest.Nothing())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.Len() == 0 {
		t.Error("Len does not tell where they end")
	}
}
