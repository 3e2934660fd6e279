//go:build diskmodel

package bolt_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// A View that begins at any step of a commit tells the old state: never a commit that is not synced yet, and it does
// not wait. Only when the file is about to outgrow its mapping it waits for the last sync.
func TestDiskViewDuringCommit(t *testing.T) {
	t.Run("room in the mapping", func(t *testing.T) {
		viewDuringCommit(t, func(o bolt.Options) bolt.Options { o.MapSize = 1 << 30; return o }, "old")
	})
	t.Run("no room", func(t *testing.T) {
		viewDuringCommit(t, func(o bolt.Options) bolt.Options { return o }, "waits")
	})
}

func viewDuringCommit(t *testing.T, with func(bolt.Options) bolt.Options, atLastSync string) {
	d := newDisk(t, tempDir(t))
	path := filepath.Join(d.Root(), "store.db")
	if err := bolt.Create(path, small(d.FS())); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, with(small(d.FS())))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	puts(t, b, "oa", "old")
	var seen []string
	look := func() {
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		err := b.View(short, func(kv keystore.KV) error {
			v, err := kv.Get([]byte("oa"))
			seen = append(seen, string(v))
			return err
		})
		if errors.Is(err, context.DeadlineExceeded) {
			seen, err = append(seen, "waits"), nil
		}
		if err != nil {
			t.Error(err)
		}
	}
	sync := bbolt.Hook.Sync
	bbolt.Hook.Sync = func(f *os.File) error { look(); return sync(f) }
	puts(t, b, "oa", "new")
	bbolt.Hook.Sync = sync
	look()
	if len(seen) < 3 || seen[0] != "old" || seen[len(seen)-2] != atLastSync || seen[len(seen)-1] != "new" {
		t.Errorf("Views saw %q", seen)
	}
}

// A full disk is named in words, wherever bbolt meets it.
func TestDiskFullIsSaid(t *testing.T) {
	for n := range 12 {
		d := newDisk(t, tempDir(t))
		path := filepath.Join(d.Root(), "store.db")
		if err := bolt.Create(path, small(d.FS())); err != nil {
			t.Fatal(err)
		}
		b, err := bolt.Open(path, small(d.FS()))
		if err != nil {
			t.Fatal(err)
		}
		left := n
		full := func(f *os.File) error {
			if left--; left < 0 {
				return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
			}
			return nil
		}
		bbolt.Hook.WriteAt = func(f *os.File, b []byte, off int64) (int, error) {
			if err := full(f); err != nil {
				return 0, err
			}
			return d.WriteAt(f, b, off)
		}
		bbolt.Hook.Truncate = func(f *os.File, size int64) error { return errors.Join(full(f), d.Truncate(f, size)) }
		bbolt.Hook.Sync = func(f *os.File) error { return errors.Join(full(f), d.Sync(f)) }
		for i := 0; err == nil; i++ {
			err = b.Update(ctx, func(kv keystore.KV) error { return kv.Put(miniKey(i), make([]byte, 30_000)) }, nil)
		}
		if !errors.Is(err, keystore.ErrCommitUnknown) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("fault %d: got %v", n, err)
		}
		again := b.Update(ctx, func(kv keystore.KV) error { return kv.Put([]byte("oz"), nil) }, nil)
		if !errors.Is(again, keystore.ErrFailed) || !strings.Contains(again.Error(), "disk is full") {
			t.Errorf("fault %d: after it got %v", n, again)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
