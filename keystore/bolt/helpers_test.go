package bolt_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

var ctx = context.Background()

func newStore(t testing.TB) (path string, b *bolt.Backend) {
	t.Helper()
	return newStoreWith(t, bolt.Options{})
}

func newStoreWith(t testing.TB, o bolt.Options) (path string, b *bolt.Backend) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	if err := bolt.Create(path, o); err != nil {
		t.Fatal(err)
	}
	return path, openWith(t, path, o)
}

func open(t testing.TB, path string) *bolt.Backend {
	t.Helper()
	return openWith(t, path, bolt.Options{})
}

func openWith(t testing.TB, path string, o bolt.Options) *bolt.Backend {
	t.Helper()
	b, err := bolt.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func update(t testing.TB, b *bolt.Backend, fn func(kv keystore.KV) error) {
	t.Helper()
	if err := b.Update(ctx, fn, nil); err != nil {
		t.Fatal(err)
	}
}

func puts(t testing.TB, b *bolt.Backend, pairs ...string) {
	t.Helper()
	update(t, b, func(kv keystore.KV) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := kv.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
}

// content reads everything of the families given.
func content(kv keystore.KV, families string) (map[string]string, error) {
	all := make(map[string]string)
	for i := range len(families) {
		err := kv.Range([]byte{families[i]}, nil, func(k, v []byte) bool {
			all[string(k)] = string(v)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func stored(t testing.TB, b *bolt.Backend, families string) (all map[string]string) {
	t.Helper()
	err := b.View(ctx, func(kv keystore.KV) (err error) {
		all, err = content(kv, families)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// scratch is where the model's files lie: in memory where there is such a place, for the disk is modelled and its
// syncs would only take time.
func scratch() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// tempDir is t.TempDir in scratch.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(), "keyreeve-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
