package bolt_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

const damagePage = 4096

// sample is a file with branch pages, pages that overflow, an inline bucket, free pages and a freelist.
func sample(t testing.TB) (file []byte, content map[string]string) {
	t.Helper()
	path := filepath.Join(tempDir(t), "store.db")
	o := bolt.Options{MapSize: 1 << 15, GrowBy: 1 << 15}
	if err := bolt.Create(path, o); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	content = make(map[string]string)
	for group := range 6 {
		update(t, b, func(kv keystore.KV) error {
			for n := range 60 {
				key := fmt.Sprintf("o%02d%04d%s", n, group, strings.Repeat("k", 30))
				content[key] = strings.Repeat(fmt.Sprint(n), 40+n)
				if n == 30 {
					content[key] = strings.Repeat("overflow", 1200)
				}
				if err := kv.Put([]byte(key), []byte(content[key])); err != nil {
					return err
				}
			}
			content["head"] = fmt.Sprint(group)
			return kv.Put([]byte("head"), []byte(content["head"]))
		})
	}
	update(t, b, func(kv keystore.KV) error {
		for key := range content {
			if strings.HasPrefix(key, "o1") {
				delete(content, key)
				if err := kv.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(b.Verify(ctx), b.Close()); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, content
}

// outcome of using a damaged file.
type outcome uint8

const (
	harmless outcome = iota // all is as it was
	found                   // ErrCorrupt
	silent                  // other bytes, or keys missing: for the keystore's seal and digest to find
)

// use does everything that can be done with a file: open, get, range, verify, write. Every error must be ErrCorrupt.
func use(t *testing.T, file []byte, content map[string]string) outcome {
	t.Helper()
	dir := tempDir(t)
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "store.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	worst := harmless
	note := func(err error) {
		if err == nil {
			return
		}
		if !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("got %v, which is not ErrCorrupt", err)
		}
		worst = max(worst, found)
	}
	b, err := bolt.Open(path, bolt.Options{MapSize: 1 << 15, GrowBy: 1 << 15})
	if err != nil {
		note(err)
		return worst
	}
	seen := 0
	note(b.View(ctx, func(kv keystore.KV) error {
		for key, want := range content {
			got, err := kv.Get([]byte(key))
			note(err)
			if err == nil && string(got) != want {
				worst = silent
			}
		}
		return kv.Range([]byte("o"), nil, func(k, v []byte) bool {
			if content[string(k)] != string(v) {
				worst = silent
			}
			seen++
			return true
		})
	}))
	if worst == harmless && seen != len(content)-1 {
		worst = silent
	}
	if err := b.Verify(ctx); err != nil {
		note(err)
		if worst == silent {
			worst = found
		}
	}
	for key := range content {
		note(corruptOrFailed(b.Update(ctx, func(kv keystore.KV) error {
			return errors.Join(kv.Put([]byte(key), []byte("new")), kv.Delete([]byte(key+"x")))
		}, nil)))
		note(corruptOrFailed(b.Update(ctx, func(kv keystore.KV) error { return kv.Delete([]byte(key)) }, nil)))
		break
	}
	closeWithin(t, b)
	return worst
}

// corruptOrFailed lets pass what a backend says after it has stopped.
func corruptOrFailed(err error) error {
	if errors.Is(err, keystore.ErrFailed) {
		return nil
	}
	return err
}

func closeWithin(t *testing.T, b *bolt.Backend) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close hangs")
	}
}

func pageFlags(file []byte, page int) uint16 {
	return binary.NativeEndian.Uint16(file[page*damagePage+8:])
}

// Every bit in the headers and elements of every branch page, of the meta pages, of the freelist and of the directory:
// where bbolt follows what it reads. Never a panic, never a hang, and each that matters is found here.
func TestFlippedStructureBits(t *testing.T) {
	file, content := sample(t)
	var counts [3]int
	kinds := make(map[uint16]int)
	for page := range len(file) / damagePage {
		flags := pageFlags(file, page)
		elements := int(binary.NativeEndian.Uint16(file[page*damagePage+10:]))
		if binary.NativeEndian.Uint64(file[page*damagePage:]) != uint64(page) {
			continue // the rest of a page before it
		}
		kinds[flags]++
		if flags == 0x02 && kinds[flags] > 2 {
			continue // some leaves are enough here; the random flips meet them all
		}
		for at := range min(16+16*min(elements, 3), 80) {
			for bit := range 8 {
				if (at+bit+page)%5 > 0 && (flags != 0x01 || (at+bit)%2 > 0) {
					continue
				}
				damaged := append([]byte(nil), file...)
				damaged[page*damagePage+at] ^= 1 << bit
				got := use(t, damaged, content)
				counts[got]++
				if got == silent && flags != 0x02 { // of a leaf the sizes are content, and what they cut off is not missed here
					t.Errorf("page %d, byte %d, bit %d: neither found nor harmless", page, at, bit)
				}
				if t.Failed() {
					return
				}
			}
		}
	}
	t.Logf("pages of each kind %v; %d flips were harmless, %d found", kinds, counts[harmless], counts[found])
	if kinds[1] == 0 || kinds[0x10] == 0 || counts[found] < 200 {
		t.Error("the sample is not what this test needs")
	}
}

// Random bits anywhere. A bit in a key's or a value's own bytes is silent here: the keystore's seal is for that.
func TestFlippedRandomBits(t *testing.T) {
	file, content := sample(t)
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var counts [3]int
	for range 400 {
		damaged := append([]byte(nil), file...)
		bit := rnd.IntN(len(file) * 8)
		damaged[bit/8] ^= 1 << (bit % 8)
		counts[use(t, damaged, content)]++
		if t.Failed() {
			t.Fatalf("seed %d, bit %d", seed, bit)
		}
	}
	t.Logf("seed %d: %d harmless, %d found, %d in keys and values", seed, counts[harmless], counts[found], counts[silent])
}

// A branch whose child is itself or its parent sends bbolt's search into a recursion that ends the process.
func TestCycle(t *testing.T) {
	file, content := sample(t)
	done := 0
	for page := range len(file) / damagePage {
		if pageFlags(file, page) != 0x01 {
			continue
		}
		for element := range int(binary.NativeEndian.Uint16(file[page*damagePage+10:])) {
			damaged := append([]byte(nil), file...)
			binary.NativeEndian.PutUint64(damaged[page*damagePage+16+16*element+8:], uint64(page))
			done++
			if got := use(t, damaged, content); got == silent {
				t.Errorf("page %d, element %d: not found", page, element)
			}
		}
	}
	if done == 0 {
		t.Error("no branch page")
	}
}

func TestTruncatedFile(t *testing.T) {
	file, content := sample(t)
	for size := 0; size < len(file); size += 1777 {
		if got := use(t, file[:size], content); got == silent {
			t.Errorf("cut to %d bytes: not found", size)
		}
	}
}

// A file that is cut while it is open faults where it is read. That is an error of this View; Close still works.
func TestTruncatedWhileOpen(t *testing.T) {
	path, b := newStore(t)
	big := strings.Repeat("v", 1<<20)
	puts(t, b, "oa", big, "ob", "small")
	if err := os.Truncate(path, 4*damagePage); err != nil {
		t.Fatal(err)
	}
	get := func(kv keystore.KV) error { _, err := kv.Get([]byte("oa")); return err }
	said := b.View(ctx, get)
	if !errors.Is(said, keystore.ErrCorrupt) {
		t.Fatalf("Get: got %v", said)
	}
	if text := said.Error(); strings.Contains(text, "runtime error") || !strings.Contains(text, "cut while it was open") {
		t.Errorf("Get speaks of memory, not of the file: %s", text)
	}
	all := func(kv keystore.KV) error { _, err := content(kv, "o"); return err }
	if err := b.View(ctx, all); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("Range: got %v", err)
	}
	if err := b.Verify(ctx); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("Verify: got %v", err)
	}
	if err := b.Update(ctx, func(kv keystore.KV) error { return kv.Put([]byte("oa"), []byte("x")) }, func(keystore.KV) error { return nil }); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("Update: got %v", err)
	}
	closeWithin(t, b)
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a store\n", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	noList := filepath.Join(dir, "nolist")
	db, err := bbolt.Open(noList, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(*bbolt.Tx) error { return nil }), db.Close()); err != nil {
		t.Fatal(err)
	}
	nested := filepath.Join(dir, "nested")
	if db, err = bbolt.Open(nested, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("long name")); return err }), db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, noList, nested} {
		if b, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("%s: got %v", path, err)
			_ = b.Close()
		}
		if again, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("%s is still locked: %v", path, err)
			_ = again.Close()
		}
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	_, b := newStore(t)
	puts(t, b, "oa", "1")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Verify(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
