package audit_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// disk is a file system that forgets at reboot what was not synced. Every call that changes something is a step, and
// fault decides what becomes of it.
type disk struct {
	mu       sync.Mutex
	names    map[string]*inode // as programs see it
	stable   map[string]*inode // as it would be found after a power cut
	unsynced []func(map[string]*inode)
	steps    []string
	fault    func(step int, op string) fault
	capacity int64 // bytes of all files; 0 is no limit
	gate     chan struct{}
}

// fault says what a step does: with err nil it works.
type fault struct {
	err    error
	stored bool // it took effect all the same
}

type inode struct {
	data    []byte
	stable  []byte
	pending []change
}

// change is a write, or with data nil the setting of the size.
type change struct {
	off  int64
	data []byte
}

const sector = 512

func newDisk() *disk {
	return &disk{names: map[string]*inode{}, stable: map[string]*inode{}}
}

// step counts a call; d.mu is held.
func (d *disk) step(op string) fault {
	d.steps = append(d.steps, op)
	if d.fault == nil {
		return fault{}
	}
	return d.fault(len(d.steps), op)
}

// reboot returns the disk after a power cut: keep decides for each unsynced sector, size and name whether it made it.
func (d *disk) reboot(keep func() bool) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.stable)
	for _, change := range d.unsynced {
		if !keep() {
			break // a folder's journal loses a tail, not a middle
		}
		change(names)
	}
	n := newDisk()
	for name, f := range names {
		n.names[name] = f.afterCrash(keep)
	}
	n.stable = maps.Clone(n.names)
	return n
}

func (f *inode) afterCrash(keep func() bool) *inode {
	data := slices.Clone(f.stable)
	for _, c := range f.pending {
		if c.data == nil {
			if keep() {
				data = resize(data, c.off)
			}
			continue
		}
		for off, rest := c.off, c.data; len(rest) > 0; {
			n := min(sector-off%sector, int64(len(rest)))
			if keep() {
				data = put(data, off, rest[:n])
			}
			off, rest = off+n, rest[n:]
		}
	}
	return &inode{data: data, stable: slices.Clone(data)}
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func put(b []byte, off int64, p []byte) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], p)
	return b
}

// snapshot copies what programs see.
func (d *disk) snapshot() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := map[string]string{}
	for name, f := range d.names {
		m[name] = string(f.data)
	}
	return m
}

// restore makes a disk, all durable, of a snapshot.
func restore(m map[string]string) *disk {
	d := newDisk()
	for name, content := range m {
		d.names[name] = &inode{data: []byte(content), stable: []byte(content)}
	}
	d.stable = maps.Clone(d.names)
	return d
}

func (d *disk) rename(op, from, to string, replace bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.step(op)
	if f.err != nil && !f.stored {
		return f.err
	}
	if _, ok := d.names[from]; !ok {
		return fs.ErrNotExist
	}
	if _, ok := d.names[to]; ok && !replace {
		return fs.ErrExist
	}
	d.change(func(m map[string]*inode) { m[to] = m[from]; delete(m, from) })
	return f.err
}

// change alters the names, and notes it for SyncDir.
func (d *disk) change(fn func(map[string]*inode)) {
	fn(d.names)
	d.unsynced = append(d.unsynced, fn)
}

func (d *disk) Rename(from, to string) error    { return d.rename("rename", from, to, true) }
func (d *disk) RenameNew(from, to string) error { return d.rename("rename", from, to, false) }

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.step("remove")
	if f.err != nil && !f.stored {
		return f.err
	}
	if _, ok := d.names[name]; !ok {
		return fs.ErrNotExist
	}
	d.change(func(m map[string]*inode) { delete(m, name) })
	return f.err
}

func (d *disk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.step("sync-dir")
	if f.err == nil || f.stored {
		for _, change := range d.unsynced {
			change(d.stable)
		}
		d.unsynced = nil
	}
	return f.err
}

func (d *disk) MkdirAll(string, os.FileMode) error { return nil }

func (d *disk) Stat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return info{filepath.Base(name), int64(len(f.data))}, nil
}

func (d *disk) ReadDir(dir string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if filepath.Dir(name) == dir {
			entries = append(entries, fs.FileInfoToDirEntry(info{filepath.Base(name), 0}))
		}
	}
	return entries, nil
}

type info struct {
	name string
	size int64
}

func (i info) Name() string     { return i.name }
func (i info) Size() int64      { return i.size }
func (info) Mode() fs.FileMode  { return 0o600 }
func (info) ModTime() time.Time { return time.Time{} }
func (info) IsDir() bool        { return false }
func (info) Sys() any           { return nil }

func (d *disk) OpenFile(name string, flag int, _ os.FileMode) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.names[name]; ok {
		if flag&os.O_EXCL != 0 {
			return nil, fs.ErrExist
		}
		return &handle{d, f, name}, nil
	}
	if flag&os.O_CREATE == 0 {
		return nil, fs.ErrNotExist
	}
	made := d.step("create")
	if made.err != nil && !made.stored {
		return nil, made.err
	}
	f := &inode{}
	d.change(func(m map[string]*inode) { m[name] = f })
	return &handle{d, f, name}, made.err
}

type handle struct {
	d    *disk
	f    *inode
	name string
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	f := h.d.step("write")
	if f.err != nil && !f.stored {
		return 0, f.err
	}
	if h.d.lacks(off + int64(len(p)) - int64(len(h.f.data))) {
		return 0, syscall.ENOSPC
	}
	h.f.data = put(h.f.data, off, p)
	h.f.pending = append(h.f.pending, change{off, slices.Clone(p)})
	return len(p), f.err
}

// lacks reports whether there is no space for more bytes.
func (d *disk) lacks(more int64) bool {
	if d.capacity == 0 || more <= 0 {
		return false
	}
	for _, f := range d.names {
		more += int64(len(f.data))
	}
	return more > d.capacity
}

// Sync fails as Linux does: the pages count as clean afterwards, and no later sync writes them.
//
// A sync that works makes only what is pending durable, so the model does not heal an earlier failure.
func (h *handle) Sync() error {
	if h.d.gate != nil {
		<-h.d.gate
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	f := h.d.step("sync")
	if f.err == nil || f.stored {
		for _, c := range h.f.pending {
			if c.data == nil {
				h.f.stable = resize(h.f.stable, c.off)
			} else {
				h.f.stable = put(h.f.stable, c.off, c.data)
			}
		}
	}
	h.f.pending = nil
	return f.err
}

func (h *handle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	f := h.d.step("truncate")
	if f.err != nil && !f.stored {
		return f.err
	}
	h.f.data = slices.Clone(resize(h.f.data, size))
	h.f.pending = append(h.f.pending, change{off: size})
	return f.err
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *handle) Close() error { return nil }
func (h *handle) Name() string { return h.name }

// The model itself: what is synced stays, what is not may go, and a failed sync is not made good by the next.
func TestDiskForgetsWhatWasNotSynced(t *testing.T) {
	never, always := func() bool { return false }, func() bool { return true }
	d := newDisk()
	f, err := d.OpenFile("a", os.O_CREATE, 0)
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string, off int64) {
		if _, err := f.WriteAt([]byte(s), off); err != nil {
			t.Fatal(err)
		}
	}
	content := func(d *disk) string { return d.snapshot()["a"] }
	write("one", 0)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.reboot(never).names["a"]; ok {
		t.Error("a name that was not synced survived")
	}
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	write("two", 3)
	if got := content(d.reboot(never)); got != "one" {
		t.Errorf("unsynced write: %q", got)
	}
	if got := content(d.reboot(always)); got != "onetwo" {
		t.Errorf("kept write: %q", got)
	}
	d.fault = func(int, string) fault { return fault{err: syscall.EIO} }
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	d.fault = nil
	write("!", 6)
	if got := content(d.reboot(always)); got != "one\x00\x00\x00!" {
		t.Errorf("after a failed sync: %q, want the pages it dropped to be lost", got)
	}
}
