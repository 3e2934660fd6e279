package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// faultFS fails the nth call, counted over all calls that change something, and notes the calls.
type faultFS struct {
	durable.FS
	failAt int
	err    error
	calls  []string
}

func (f *faultFS) step(call string) error {
	f.calls = append(f.calls, call)
	if len(f.calls) == f.failAt {
		return f.err
	}
	return nil
}

func (f *faultFS) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	if err := f.step("open"); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f}, nil
}

func (f *faultFS) Rename(a, b string) error {
	if err := f.step("rename"); err != nil {
		return err
	}
	return f.FS.Rename(a, b)
}

func (f *faultFS) RenameNew(a, b string) error {
	if err := f.step("rename-new"); err != nil {
		return err
	}
	return f.FS.RenameNew(a, b)
}

func (f *faultFS) SyncDir(d string) error {
	if err := f.step("sync-dir"); err != nil {
		return err
	}
	return f.FS.SyncDir(d)
}

type faultFile struct {
	durable.File
	fs *faultFS
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.step("write"); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off) // a disk that fills up takes a part
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Sync() error {
	if err := f.fs.step("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileOrderOfCalls(t *testing.T) {
	for name, tc := range map[string]struct {
		write func(durable.FS, string, []byte, os.FileMode) error
		want  []string
	}{
		"WriteFile":  {durable.WriteFile, []string{"open", "write", "sync", "rename", "sync-dir"}},
		"CreateFile": {durable.CreateFile, []string{"open", "write", "sync", "rename-new", "sync-dir"}},
	} {
		f := &faultFS{FS: durable.OS}
		path := filepath.Join(t.TempDir(), "file")
		if err := tc.write(f, path, []byte("new"), 0o600); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, f.calls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", name, info.Mode(), err)
		}
	}
}

// Whatever call fails, the file is the old one or the new one, whole, and nothing else is left in the folder.
func TestWriteFileLeavesNoHalfFile(t *testing.T) {
	for failAt := 1; failAt <= 5; failAt++ {
		t.Run(fmt.Sprint(failAt), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, []byte("old content"), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &faultFS{FS: durable.OS, failAt: failAt, err: syscall.ENOSPC}
			err := durable.WriteFile(f, path, []byte("new content"), 0o600)
			if !durable.IsDiskFull(err) {
				t.Fatalf("error %v does not say that the disk is full", err)
			}
			want := "old content"
			if f.calls[failAt-1] == "sync-dir" {
				want = "new content"
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != want {
				t.Errorf("content %q, %v; want %q", got, err, want)
			}
			if diff := cmp.Diff([]string{"file"}, names(t, dir)); diff != "" {
				t.Errorf("folder (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreateFileRefusesExisting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := durable.CreateFile(durable.OS, path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := durable.CreateFile(durable.OS, path, []byte("second"), 0o600)
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	got, err := durable.ReadFile(durable.OS, path, 100)
	if err != nil || string(got) != "first" {
		t.Errorf("content %q, %v", got, err)
	}
	if diff := cmp.Diff([]string{"file"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

func TestCreateFileRaceHasOneWinner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var won atomic.Int32
	var winner atomic.Value
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			content := fmt.Sprint("content of ", i)
			if err := durable.CreateFile(durable.OS, path, []byte(content), 0o600); err == nil {
				won.Add(1)
				winner.Store(content)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(path)
	if err != nil || won.Load() != 1 || string(got) != winner.Load() {
		t.Errorf("%d winners, content %q, %v; want one winner %q", won.Load(), got, err, winner.Load())
	}
}

func TestReadFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int64]error{10: durable.ErrTooLarge, 11: nil} {
		if _, err := durable.ReadFile(durable.OS, path, limit); !errors.Is(err, want) {
			t.Errorf("limit %d: got %v, want %v", limit, err, want)
		}
	}
	if _, err := durable.ReadFile(durable.OS, path+"x", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: got %v", err)
	}
}

func TestRemoveTempTakesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	f := &noRemove{durable.OS}
	if err := durable.WriteFile(&faultFS{FS: f, failAt: 4, err: syscall.EIO}, filepath.Join(dir, "file"), nil, 0o600); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".hidden"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := names(t, dir); len(n) != 2 {
		t.Fatalf("nothing to clear: %v", n)
	}
	if err := durable.RemoveTemp(durable.OS, dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".hidden"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

type noRemove struct{ durable.FS }

func (noRemove) Remove(string) error { return syscall.EIO }

func TestFileSizeAndTruncate(t *testing.T) {
	f, err := durable.OS.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, want := range []int64{10, 3} {
		if err := f.Truncate(want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Size(); got != want || err != nil {
			t.Errorf("size %d, %v; want %d", got, err, want)
		}
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func TestSyncOfClosedFileFails(t *testing.T) {
	f, err := durable.OS.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Error("Sync of a closed file succeeded")
	}
}

func TestLockIsExclusiveAndNamesTheHolder(t *testing.T) {
	dir := t.TempDir()
	l, err := durable.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = durable.LockDir(dir)
	if !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("second lock: got %v, want ErrLocked", err)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d", os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, durable.LockName), []byte("not a number"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockDir(dir); !errors.Is(err, durable.ErrLocked) || strings.Contains(err.Error(), "process") {
		t.Errorf("unreadable holder: got %v", err)
	}
	for range 2 {
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
	}
	again, err := durable.LockFile(filepath.Join(dir, durable.LockName))
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	_ = again.Unlock()
}

// A process that is killed holds nothing any more.
func TestLockOfAKilledProcessIsFree(t *testing.T) {
	if dir := os.Getenv("DURABLE_TEST_LOCK"); dir != "" {
		if _, err := durable.LockDir(dir); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfAKilledProcessIsFree$")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b [7]byte
	if _, err := out.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := durable.LockDir(dir); !errors.Is(err, durable.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("while it lives: got %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l, err := durable.LockDir(dir)
	if err != nil {
		t.Fatalf("after the kill: %v", err)
	}
	_ = l.Unlock()
}

func TestCheckPermanent(t *testing.T) {
	elsewhere := t.TempDir() // below os.TempDir, so temporary itself; the link to it must not hide that
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/opt/scratch-of-the-test")
	for path, temporary := range map[string]bool{
		"/tmp":                                true,
		"/tmp/not/there/yet":                  true,
		"/var/tmp/keyreeve":                   true,
		"/dev/shm/keyreeve":                   true,
		"/opt/scratch-of-the-test/x":          true,
		"/opt/scratch-of-the-test/../real":    false,
		"/opt/scratch-of-the-test-not/x":      false,
		"/tmpfoo-of-the-test":                 false,
		filepath.Join(link, "keyreeve"):       strings.HasPrefix(elsewhere, "/tmp"),
		"/usr/lib/keyreeve-of-the-test/a/b/c": false,
	} {
		err := durable.CheckPermanent(path)
		if errors.Is(err, durable.ErrTemporary) != temporary || (!temporary && err != nil) {
			t.Errorf("%s: got %v, want temporary %v", path, err, temporary)
		}
	}
}

func TestInside(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		data: true, filepath.Join(data, "a", "b"): true, filepath.Join(link, "key"): true,
		data + ".rootkey": false, filepath.Join(data, "..", "x"): false, filepath.Join(data, "..x"): true, dir: false,
	} {
		if got, err := durable.Inside(path, data); got != want || err != nil {
			t.Errorf("Inside(%s) = %v, %v; want %v", path, got, err, want)
		}
	}
}

func TestReserveHasRealBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reserve")
	const size = 3<<20 + 17
	for range 2 { // the second call finds it there
		if err := durable.EnsureReserve(durable.OS, path, size); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != size {
		t.Fatalf("size %v, %v; want %d", info.Size(), err, size)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Blocks*512 < size {
		t.Errorf("%d bytes of blocks, want at least %d", st.Blocks*512, size)
	}
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, make([]byte, 64)) {
		t.Errorf("the reserve holds zeros, %v", err)
	}
	for _, want := range []bool{true, false} {
		if released, err := durable.ReleaseReserve(durable.OS, path); released != want || err != nil {
			t.Errorf("released %v, %v; want %v", released, err, want)
		}
	}
}

func TestReserveOnAFullDiskLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f := &faultFS{FS: durable.OS, failAt: 3, err: syscall.ENOSPC}
	if err := durable.EnsureReserve(f, filepath.Join(dir, "reserve"), 5<<20); !durable.IsDiskFull(err) {
		t.Fatalf("got %v, want disk full", err)
	}
	if n := names(t, dir); len(n) != 0 {
		t.Errorf("left behind: %v", n)
	}
}
