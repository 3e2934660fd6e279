package bolt_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// folder is the content of all files below a folder.
type folder map[string]string

func readFolder(t *testing.T, dir string) folder {
	t.Helper()
	files := make(folder)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files[rel] = readFile(t, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (f folder) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range f {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), content)
	}
}

func isJournal(name string) bool { return filepath.Dir(name) == "audit" }

// life makes a store with eight objects, and returns its folder as it was when they were made, and after half of them
// were taken on, with what is in it then.
func life(t *testing.T, with bugs) (before, after folder, state map[int]int) {
	t.Helper()
	dir := tempDir(t)
	if err := (store{}).Init(dir, durable.OS); err != nil {
		t.Fatal(err)
	}
	state = make(map[int]int)
	change := func(ids []int) folder {
		s, err := store{}.Open(dir, durable.OS, with)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			state[id]++
			if err := s.Change(map[int]int{id: state[id]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return readFolder(t, dir)
	}
	before = change([]int{1, 2, 3, 4, 5, 6, 7, 8})
	after = change([]int{1, 1, 2, 2, 3, 4})
	return before, after, state
}

// inspectFolder opens a store on these files and reads all. A destroyed object that comes back, a missing object and
// wrong bytes are failures unless an error has said that something is wrong.
func inspectFolder(t *testing.T, files folder) (map[int]int, error) {
	t.Helper()
	dir := tempDir(t)
	defer func() { _ = os.RemoveAll(dir) }()
	files.write(t, dir)
	s, err := store{}.Open(dir, durable.OS, bugs{})
	if err != nil {
		return nil, err
	}
	state, err := s.State()
	if err == nil {
		_, err = s.Releases(state)
	}
	return state, errors.Join(err, s.Close())
}

func TestUntouchedStoreIsWhole(t *testing.T) {
	before, after, want := life(t, bugs{})
	got, err := inspectFolder(t, after)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := inspectFolder(t, before); err != nil {
		t.Error("store and journal put back together:", err)
	}
}

// mixed takes the journal from one folder and the rest from another.
func mixed(rest, journal folder) folder {
	m := make(folder)
	for name, content := range rest {
		if !isJournal(name) {
			m[name] = content
		}
	}
	for name, content := range journal {
		if isJournal(name) {
			m[name] = content
		}
	}
	return m
}

func TestOldOrForeignFileIsRefused(t *testing.T) {
	before, after, _ := life(t, bugs{})
	_, foreign, _ := life(t, bugs{})
	without := maps.Clone(after)
	maps.DeleteFunc(without, func(name, _ string) bool { return isJournal(name) })
	for name, tc := range map[string]struct {
		files folder
		want  error
	}{
		"old store put back":       {mixed(before, after), keystore.ErrRolledBack},
		"old journal put back":     {mixed(after, before), keystore.ErrJournalCut},
		"another store's journal":  {mixed(after, foreign), keystore.ErrForeignJournal},
		"no journal":               {without, nil},
		"journal without its head": {trimmed(after, 60), nil},
	} {
		if _, err := inspectFolder(t, tc.files); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// trimmed cuts the last segment of the journal to size bytes.
func trimmed(files folder, size int) folder {
	files = maps.Clone(files)
	last := ""
	for name := range files {
		if isJournal(name) && name > last {
			last = name
		}
	}
	files[last] = files[last][:min(size, len(files[last]))]
	return files
}

// The journal is cut at every eighth byte of its content: what the store has committed is missed. Only the note that
// Close has written last may go, for nothing hangs on it.
func TestCutJournalIsFound(t *testing.T) {
	_, after, want := life(t, bugs{})
	found, harmless := 0, 0
	for size := 0; size < 4<<10; size += 8 {
		got, err := inspectFolder(t, trimmed(after, size))
		switch {
		case err != nil:
			found++
		case !cmp.Equal(want, got):
			t.Fatalf("cut to %d bytes: not found, and wrong", size)
		default:
			harmless++
		}
	}
	t.Logf("%d found, %d harmless", found, harmless)
	if found < 10 {
		t.Error("nearly nothing was found")
	}
}

// Without the marker a store that was put back cannot be told: that this test would not pass then shows that the one
// above depends on it.
func TestMarkerLeftOutIsNoticed(t *testing.T) {
	before, after, _ := life(t, bugs{noMarker: true})
	if _, err := inspectFolder(t, mixed(before, after)); err != nil {
		t.Errorf("an old store was found without the marker (%v): what does the marker do?", err)
	}
}

// raw changes the file past the keystore.
func raw(t *testing.T, files folder, change func(kv keystore.KV) error) folder {
	t.Helper()
	path := filepath.Join(tempDir(t), "store.db")
	writeFile(t, path, files["store.db"])
	b := open(t, path)
	update(t, b, change)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	changed := maps.Clone(files)
	changed["store.db"] = readFile(t, path)
	return changed
}

// rows reads one key family.
func rows(t *testing.T, files folder, family byte) (all map[string]string, keys []string) {
	t.Helper()
	path := filepath.Join(tempDir(t), "store.db")
	writeFile(t, path, files["store.db"])
	b, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = b.View(ctx, func(kv keystore.KV) error {
		all = make(map[string]string)
		return kv.Range([]byte{family}, nil, func(k, v []byte) bool {
			all[string(k)] = string(v)
			keys = append(keys, string(k))
			return true
		})
	})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return all, keys
}

// For each record of each family: gone, swapped with its neighbour, put back as it was earlier, copied to a new key.
func TestRecordsThatWereTamperedWith(t *testing.T) {
	before, after, _ := life(t, bugs{})
	tried := 0
	check := func(what, key string, change func(kv keystore.KV) error) {
		t.Helper()
		tried++
		if _, err := inspectFolder(t, raw(t, after, change)); err == nil {
			t.Errorf("%s: record %q: not found", what, key)
		}
	}
	for _, family := range []byte("mkhcotrnxi") {
		old, _ := rows(t, before, family)
		now, keys := rows(t, after, family)
		for i, key := range keys {
			k := []byte(key)
			check("gone", key, func(kv keystore.KV) error { return kv.Delete(k) })
			if was, ok := old[key]; ok && was != now[key] {
				check("put back", key, func(kv keystore.KV) error { return kv.Put(k, []byte(was)) })
			}
			if other := keys[(i+1)%len(keys)]; now[other] != now[key] {
				check("swapped", key, func(kv keystore.KV) error {
					return errors.Join(kv.Put(k, []byte(now[other])), kv.Put([]byte(other), []byte(now[key])))
				})
			}
			if family != 'm' && family != 'h' && family != 'c' && family != 'k' {
				stray := append(bytes.Clone(k[:len(k)-1]), ^k[len(k)-1])
				check("copied", key, func(kv keystore.KV) error { return kv.Put(stray, []byte(now[key])) })
			}
		}
		for key, was := range old {
			if _, ok := now[key]; !ok {
				check("brought back", key, func(kv keystore.KV) error { return kv.Put([]byte(key), []byte(was)) })
			}
		}
	}
	t.Logf("%d ways", tried)
	if tried < 60 {
		t.Error("the store of this test has too few records")
	}
}

// A bit that flips anywhere in the file is harmless, or opening, reading or checking says so. Never wrong bytes.
func TestFlippedBitsUnderTheStore(t *testing.T) {
	_, after, want := life(t, bugs{})
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	used := len(bytes.TrimRight([]byte(after["store.db"]), "\x00"))
	harmless, found := 0, 0
	for range 500 {
		bit := rnd.IntN(used * 8)
		flipped := []byte(after["store.db"])
		flipped[bit/8] ^= 1 << (bit % 8)
		files := maps.Clone(after)
		files["store.db"] = string(flipped)
		got, err := inspectFolder(t, files)
		switch {
		case errors.Is(err, errWrongBytes):
			t.Fatalf("seed %d, bit %d: %v", seed, bit, err)
		case err != nil:
			found++
		case !cmp.Equal(want, got):
			t.Fatalf("seed %d, bit %d: not found, and the store says %v instead of %v", seed, bit, got, want)
		default:
			harmless++
		}
	}
	t.Logf("seed %d: %d harmless, %d found", seed, harmless, found)
	if found < 20 {
		t.Error("nearly nothing was found")
	}
}
