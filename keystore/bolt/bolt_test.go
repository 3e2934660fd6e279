package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

func TestCreateLeavesOneFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	if err := bolt.Create(path, bolt.Options{}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("folder holds %v, %v; want one file", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Create(path, bolt.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: got %v, want fs.ErrExist", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("second Create changed the file (%v)", err)
	}
}

// failFS fails one kind of call.
type failFS struct {
	durable.FS
	call string
	temp string
}

func (f *failFS) OpenFile(name string, flag int, perm os.FileMode) (durable.File, error) {
	f.temp = name
	if f.call == "open" {
		return nil, errors.New("injected")
	}
	return f.FS.OpenFile(name, flag, perm)
}

func (f *failFS) RenameNew(a, b string) error {
	if f.call == "rename" {
		return errors.New("injected")
	}
	return f.FS.RenameNew(a, b)
}

func (f *failFS) SyncDir(dir string) error {
	if f.call == "sync" {
		return errors.New("injected")
	}
	return f.FS.SyncDir(dir)
}

func TestCreateThatFailsLeavesNoHalfStore(t *testing.T) {
	for call, left := range map[string]int{"open": 0, "rename": 0, "sync": 1} {
		dir := t.TempDir()
		f := &failFS{FS: durable.OS, call: call}
		if err := bolt.Create(filepath.Join(dir, "store.db"), bolt.Options{FS: f}); err == nil || !strings.Contains(err.Error(), "injected") {
			t.Errorf("%s: got %v", call, err)
		}
		if !durable.IsTemp(filepath.Base(f.temp)) {
			t.Errorf("%s would not be cleared after a crash", f.temp)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != left {
			t.Errorf("%s: folder holds %v, %v; want %d files", call, entries, err, left)
		}
	}
}

func TestOpenNeverCreates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	_, err := bolt.Open(path, bolt.Options{})
	if !errors.Is(err, bolt.ErrNoFile) {
		t.Fatalf("got %v, want ErrNoFile", err)
	}
	for _, want := range []string{path, "keyreeve init", "restore"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("folder holds %v, %v", entries, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("empty file: got %v, want ErrCorrupt", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("the empty file was made into a store: %v, %v", info.Size(), err)
	}
}

func TestOpenTwice(t *testing.T) {
	path, b := newStore(t)
	note := filepath.Join(filepath.Dir(path), durable.LockName)
	if err := os.WriteFile(note, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := bolt.Open(path, bolt.Options{})
	if !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	for _, want := range []string{path, "another keyreeve", "process 4711"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

// The contract of every backend.
func TestConformance(t *testing.T) {
	keystoretest.RunBackend(t, func(t testing.TB) keystoretest.Opener {
		path := filepath.Join(tempDir(t), "store.db")
		if err := bolt.Create(path, bolt.Options{}); err != nil {
			t.Fatal(err)
		}
		return func() (keystore.Backend, error) { return bolt.Open(path, bolt.Options{}) }
	})
}

func TestClosed(t *testing.T) {
	_, b := newStore(t)
	puts(t, b, "oa", "1")
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := b.View(ctx, func(keystore.KV) error { return nil }); err == nil {
		t.Error("View of a closed store succeeded")
	}
	if err := b.Update(ctx, func(keystore.KV) error { return nil }, nil); err == nil {
		t.Error("Update of a closed store succeeded")
	}
	if err := b.Verify(ctx); err == nil {
		t.Error("Verify of a closed store succeeded")
	}
}

func TestPutGetDeleteSurviveReopen(t *testing.T) {
	path, b := newStore(t)
	puts(t, b, "oa", "1", "ob", "", "na", "x")
	update(t, b, func(kv keystore.KV) error { return errors.Join(kv.Delete([]byte("na")), kv.Delete([]byte("zz"))) })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, path)
	if diff := cmp.Diff(map[string]string{"oa": "1", "ob": ""}, stored(t, b, "no")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	err := b.View(ctx, func(kv keystore.KV) error {
		for key, want := range map[string][]byte{"oa": []byte("1"), "ob": {}, "na": nil, "qq": nil} {
			got, err := kv.Get([]byte(key))
			if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("Get(%s) = %q (nil %v), %v; want %q", key, got, got == nil, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusedCalls(t *testing.T) {
	_, b := newStore(t)
	err := b.View(ctx, func(kv keystore.KV) error {
		for _, err := range []error{kv.Put([]byte("oa"), nil), kv.Delete([]byte("oa"))} {
			if !errors.Is(err, keystore.ErrReadOnly) {
				t.Errorf("write in a View: got %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	update(t, b, func(kv keystore.KV) error {
		for _, n := range []int{0, 1, 257} {
			key := make([]byte, n)
			if _, err := kv.Get(key); err == nil {
				t.Errorf("Get with a key of %d bytes succeeded", n)
			}
			if kv.Put(key, nil) == nil || kv.Delete(key) == nil {
				t.Errorf("write with a key of %d bytes succeeded", n)
			}
		}
		if err := kv.Range(nil, nil, func(_, _ []byte) bool { return true }); err == nil {
			t.Error("Range over everything succeeded")
		}
		return kv.Put(make([]byte, 256), []byte("x"))
	})
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Update(cancelled, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: got %v", err)
	}
	if err := b.View(cancelled, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("View: got %v", err)
	}
}

// An error of fn or prepared drops all, is returned as it is, and does not stop the backend; a panic likewise.
func TestRollback(t *testing.T) {
	_, b := newStore(t)
	puts(t, b, "oa", "1")
	mine := errors.New("mine")
	put := func(key string) func(keystore.KV) error {
		return func(kv keystore.KV) error { return kv.Put([]byte(key), []byte("2")) }
	}
	fail := func(kv keystore.KV) error { return errors.Join(put("oa")(kv), mine) }
	if err := b.Update(ctx, fail, put("ob")); !errors.Is(err, mine) {
		t.Errorf("fn: got %v", err)
	}
	if err := b.Update(ctx, put("ob"), fail); !errors.Is(err, mine) {
		t.Errorf("prepared: got %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != mine {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = b.Update(ctx, func(kv keystore.KV) error { _ = fail(kv); panic(mine) }, nil)
	}()
	func() {
		defer func() {
			if r := recover(); r == nil {
				t.Error("a nil dereference of the caller was swallowed")
			}
		}()
		_ = b.View(ctx, func(keystore.KV) error { var p *int; *p = 1; return nil })
	}()
	if diff := cmp.Diff(map[string]string{"oa": "1"}, stored(t, b, "o")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
	if err := b.Update(ctx, put("oc"), put("od")); err != nil {
		t.Errorf("after the failures: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"oa": "1", "oc": "2", "od": "2"}, stored(t, b, "o")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// A panic in prepared may have left the journal ahead of the store, so nothing more is written.
func TestPanicInPreparedStops(t *testing.T) {
	_, b := newStore(t)
	puts(t, b, "oa", "1")
	func() {
		defer func() { _ = recover() }()
		_ = b.Update(ctx, func(kv keystore.KV) error { return kv.Put([]byte("oa"), []byte("2")) }, func(keystore.KV) error { panic("mine") })
	}()
	if err := b.Update(ctx, func(keystore.KV) error { return nil }, nil); !errors.Is(err, keystore.ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	if diff := cmp.Diff(map[string]string{"oa": "1"}, stored(t, b, "o")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

// The buffers given to Put may be used again once fn has returned.
func TestPutCopies(t *testing.T) {
	_, b := newStore(t)
	key, value := []byte("oa"), []byte("good")
	err := b.Update(ctx, func(kv keystore.KV) error { return kv.Put(key, value) }, func(keystore.KV) error {
		copy(key, "xx")
		copy(value, "baad")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"oa": "good"}, stored(t, b, "ox")); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}
