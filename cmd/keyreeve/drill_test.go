package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// edited changes a file's bytes.
func edited(t testing.TB, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *drill) gone(names ...string) {
	for _, name := range names {
		if err := os.RemoveAll(d.path(name)); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *drill) instead(name, of string) {
	d.gone(of)
	copySparse(d.t, d.path(name), d.path(of))
}

func zero(b []byte, from, to int) []byte {
	clear(b[min(from, len(b)):min(to, len(b))])
	return b
}

// used is how much of a store's file holds anything.
func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

const (
	storeFile = "data/store.db"
	journal1  = "data/journal/00000001.log"
	page      = 4096
)

// A live drill breaks the machine. found is the exit code of `verify` on what is
// left of it; 0 is for what verify has nothing to say about.
type live struct {
	name   string
	found  int
	damage func(d *drill)
}

func store(change func(b []byte) []byte) func(*drill) {
	return func(d *drill) { edited(d.t, d.path(storeFile), change) }
}

func journal(change func(b []byte) []byte) func(*drill) {
	return func(d *drill) { edited(d.t, d.path(journal1), change) }
}

var liveDrills = []live{
	{"the folder is gone", exitNoStore, func(d *drill) { d.gone("data") }},
	{"the folder is empty", exitNoStore, func(d *drill) { d.gone("data"); _ = os.Mkdir(d.path("data"), 0o700) }},
	{"the store is gone", exitDamaged, func(d *drill) { d.gone(storeFile) }},
	{"the store is empty", exitDamaged, store(func([]byte) []byte { return nil })},
	{"the store is cut in half", exitDamaged, store(func(b []byte) []byte { return b[:used(b)/2] })},
	{"the store lost its last page", exitDamaged, store(func(b []byte) []byte { return b[:(used(b)-1)/page*page] })},
	{"the store is zeros", exitDamaged, store(func(b []byte) []byte { return zero(b, 0, len(b)) })},
	{"the store's beginning is zeros", exitDamaged, store(func(b []byte) []byte { return zero(b, 0, 64<<10) })},
	{"both meta pages are zeros", exitDamaged, store(func(b []byte) []byte { return zero(b, 0, 2*page) })},
	{"a third of the store is zeros", exitDamaged, store(func(b []byte) []byte { return zero(b, used(b)/3, 2*used(b)/3) })},
	{"a bit is flipped in every page", exitDamaged, store(func(b []byte) []byte {
		for at := 2*page + 100; at < used(b); at += page {
			b[at] ^= 8
		}
		return b
	})},
	{"noise in the middle of the store", exitDamaged, store(func(b []byte) []byte {
		noise := rand.NewChaCha8([32]byte{1})
		_, _ = noise.Read(b[used(b)/2/page*page:][:16*page])
		return b
	})},
	{"the store's pages are in another order", exitDamaged, store(func(b []byte) []byte {
		pages := used(b) / page
		for i := 2; i+1 < pages; i += 2 {
			one := bytes.Clone(b[i*page:][:page])
			copy(b[i*page:], b[(i+1)*page:][:page])
			copy(b[(i+1)*page:], one)
		}
		return b
	})},
	{"a text in place of the store", exitDamaged, store(func([]byte) []byte { return []byte("I was here\n") })},
	{"an old store was put back", exitRolledBack, func(d *drill) { d.instead("past/store.db", storeFile) }},
	{"another store was put there", exitRolledBack, func(d *drill) {
		command(d.t, 0, "init", "--data", d.path("other"), "--host", "127.0.0.1", "--key-type", "p256")
		d.instead("other/store.db", storeFile)
	}},
	{"the store is a link to nowhere", exitDamaged, func(d *drill) { d.gone(storeFile); _ = os.Symlink("/nowhere/at/all", d.path(storeFile)) }},
	{"the journal is gone", exitDamaged, func(d *drill) { d.gone("data/journal") }},
	{"the journal lost its end", exitRolledBack, journal(func(b []byte) []byte { return b[:300] })},
	{"the journal's header is cut", exitDamaged, journal(func(b []byte) []byte { return b[:100] })},
	{"a bit of the journal is flipped", exitDamaged, journal(func(b []byte) []byte { b[300] ^= 1; return b })},
	{"the journal is zeros", exitDamaged, journal(func(b []byte) []byte { return zero(b, 0, len(b)) })},
	{"an old journal was put back", exitRolledBack, func(d *drill) { d.instead("past/journal", "data/journal") }},
	{"another store's journal was put there", exitRolledBack, func(d *drill) {
		command(d.t, 0, "init", "--data", d.path("other"), "--host", "127.0.0.1", "--key-type", "p256")
		d.instead("other/journal", "data/journal")
	}},
	{"the root key's file is gone", exitWrongKey, func(d *drill) { d.gone("data.rootkey") }},
	{"the root key's file is another's", exitWrongKey, func(d *drill) {
		command(d.t, 0, "init", "--data", d.path("other"), "--host", "127.0.0.1", "--key-type", "p256")
		d.instead("other.rootkey", "data.rootkey")
	}},
	{"the server's key is gone", exitDone, func(d *drill) { d.gone("data/tls") }},
	{"a file in the folder's place", exitOther, func(d *drill) { d.gone("data"); _ = os.WriteFile(d.path("data"), nil, 0o600) }},
}

// chunk is age's, with its tag; payload is where the first one begins.
const chunk = 64<<10 + 16

func payload(b []byte) int { return bytes.Index(b, []byte("\n--- ")) + 49 + 16 }

// A spoilt drill breaks the only copy of the backup that is at hand. It must be
// refused with that code, and leave nothing; the right one brings all back.
type spoilt struct {
	name string
	code int
	edit func(b []byte) []byte
}

func flipped(at func(b []byte) int) func(b []byte) []byte {
	return func(b []byte) []byte { b[at(b)] ^= 1; return b }
}

func swapped(b []byte, i, j int) []byte {
	one, other := b[payload(b)+i*chunk:][:chunk], b[payload(b)+j*chunk:][:chunk]
	kept := bytes.Clone(one)
	copy(one, other)
	copy(other, kept)
	return b
}

var spoiltDrills = []spoilt{
	{"first byte", exitDamaged, flipped(func([]byte) int { return 0 })},
	{"its recipient", exitWrongKey, func(b []byte) []byte { // still base64: what is none is damage
		at := bytes.IndexByte(b, '>') + 40
		b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
		return b
	}},
	{"its head's sum", exitDamaged, flipped(func(b []byte) int { return bytes.Index(b, []byte("\n--- ")) + 10 })},
	{"its nonce", exitDamaged, flipped(func(b []byte) int { return payload(b) - 5 })},
	{"the first chunk", exitDamaged, flipped(func(b []byte) int { return payload(b) + 1000 })},
	{"a chunk in the middle", exitDamaged, flipped(func(b []byte) int { return payload(b) + chunk + 1000 })},
	{"the last byte", exitDamaged, flipped(func(b []byte) int { return len(b) - 1 })},
	{"cut to its head", exitDamaged, func(b []byte) []byte { return b[:payload(b)-16] }},
	{"cut between chunks", exitDamaged, func(b []byte) []byte { return b[:payload(b)+chunk] }},
	{"cut by a byte", exitDamaged, func(b []byte) []byte { return b[:len(b)-1] }},
	{"empty", exitDamaged, func([]byte) []byte { return nil }},
	{"zeros", exitDamaged, func(b []byte) []byte { return zero(b, 0, len(b)) }},
	{"a byte longer", exitDamaged, func(b []byte) []byte { return append(b, 0) }},
	{"chunks swapped", exitDamaged, func(b []byte) []byte { return swapped(b, 0, 1) }},
	{"a chunk twice", exitDamaged, func(b []byte) []byte {
		copy(b[payload(b)+chunk:], b[payload(b):][:chunk])
		return b
	}},
}

// TestRestoreDrills: whatever happens to the machine, to a backup or to a
// restore, the right backup brings every key back, byte by byte.
func TestRestoreDrills(t *testing.T) {
	began := time.Now()
	s := newSite(t, 400)
	drills := 0
	run := func(name string, fn func(d *drill)) {
		drills++
		t.Run(name, func(t *testing.T) { fn(s.drill(t)) })
	}
	for _, l := range liveDrills {
		run(l.name, func(d *drill) {
			l.damage(d)
			command(t, l.found, "verify", "--data", d.path("data"))
			d.recovered()
		})
	}
	for _, sp := range spoiltDrills {
		run("a backup: "+sp.name, func(d *drill) {
			copySparse(t, d.path("right.age"), d.path("spoilt.age"))
			edited(d.t, d.path("spoilt.age"), sp.edit)
			d.refused("spoilt.age", sp.code)
			d.recovered()
		})
	}
	run("a backup: a chunk of an older one", func(d *drill) {
		older, err := os.ReadFile(d.path("older.age"))
		if err != nil {
			t.Fatal(err)
		}
		copySparse(t, d.path("right.age"), d.path("spoilt.age"))
		edited(d.t, d.path("spoilt.age"), func(b []byte) []byte { copy(b[payload(b):], older[payload(older):][:chunk]); return b })
		d.refused("spoilt.age", exitDamaged)
		d.recovered()
	})
	run("a backup: an older one under a newer name", olderUnderNewName)
	run("a backup: of another store", ofAnotherStore)
	run("a backup: for another identity", func(d *drill) {
		d.instead("identity", "right-identity")
		d.gone("identity")
		command(t, 0, "backup", "keygen", "--out", d.path("identity"))
		d.refused("right.age", exitWrongKey)
		d.instead("right-identity", "identity")
		d.recovered()
	})
	for i := range (&restorer{}).steps() {
		run(fmt.Sprintf("a restore that dies after %d steps", i), func(d *drill) { diesAfter(d, i) })
	}
	run("a restore on a disk that is full", diskFull)
	run("a restore that is interrupted", interrupted)
	if drills < 50 {
		t.Errorf("only %d drills", drills)
	}
	t.Logf("%d drills in %v", drills, time.Since(began).Round(time.Millisecond))
}

// It restores, since nothing is wrong with it; but it says how old it is.
func olderUnderNewName(d *drill) {
	d.instead("older.age", "newest.age")
	d.gone("data")
	out := command(d.t, 0, d.args("newest.age")...)
	if !strings.Contains(out, fmt.Sprintf("restored %d keys", d.older)) || !strings.Contains(out, "keys made in that time are missing") {
		d.t.Errorf("it says:\n%s", out)
	}
	d.recovered()
}

func ofAnotherStore(d *drill) {
	command(d.t, 0, "init", "--data", d.path("other"), "--host", "127.0.0.1", "--key-type", "p256")
	command(d.t, 0, "backup", "create", "--data", d.path("other"), "--to", d.path("others.age"), "--recipient", recipientOf(d.t, d.path("identity")))
	d.refused("others.age", exitWrongKey)
	d.recovered()
}

// diesAfter does what a killed process does: it stops, and cleans nothing up.
func diesAfter(d *drill, steps int) {
	d.gone("data")
	var out bytes.Buffer
	a := testApp(&out)
	f := folder(d.path("data"))
	o := restoreOptions{file: d.path("right.age"), open: unlock{identity: d.path("identity")}, key: keyOptions{file: d.path("kept.rootkey")}}
	b, err := a.openBackup(a.root(), o.file, o.open)
	if err != nil {
		d.t.Fatal(err)
	}
	stage := folder(f.restoring())
	if err := os.Mkdir(string(stage), 0o700); err != nil {
		d.t.Fatal(err)
	}
	r := &restorer{app: a, folder: f, options: o, backup: b}
	if r.lock, err = durable.LockDir(string(stage)); err != nil {
		d.t.Fatal(err)
	}
	for _, step := range r.steps()[:steps] {
		if err := step(context.Background(), stage); err != nil {
			d.t.Fatal(err)
		}
	}
	_ = r.lock.Unlock() // the kernel does, and closes the rest
	_ = b.close()
	command(d.t, exitNoStore, "server", "--data", d.path("data"), "--metrics-listen", "off")
	if out := command(d.t, exitRefused, d.args("right.age")...); !strings.Contains(out, "rm -rf "+string(stage)) {
		d.t.Errorf("it does not say what to remove:\n%s", out)
	}
	d.gone(filepath.Base(string(stage)))
	d.recovered()
}

// diskFull is a limit on how long a file may become, in another process: writing
// fails somewhere in the middle.
func diskFull(d *drill) {
	d.gone("data")
	before, keyreeve := names(d.t, d.dir), asKeyreeve(d.t)
	for _, blocks := range []string{"8", "200", "1200"} { // of 512 bytes or a KiB
		script := []string{"-c", "ulimit -f " + blocks + " && exec \"$@\"", "sh", keyreeve}
		cmd := exec.Command("/bin/sh", append(script, d.args("right.age")...)...)
		cmd.Env = append(os.Environ(), "KEYREEVE_DEV=true")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("error: ")) || bytes.Contains(out, []byte("goroutine ")) {
			d.t.Errorf("with %s blocks: %v\n%s", blocks, err, out)
		}
		if after := names(d.t, d.dir); strings.Join(before, " ") != strings.Join(after, " ") {
			d.t.Errorf("left behind with %s blocks: %v, before %v", blocks, after, before)
		}
	}
	d.recovered()
}

// asKeyreeve is a path under which this test is the command.
func asKeyreeve(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyreeve")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// interrupted ends each restore after a while, as Ctrl-C does.
func interrupted(d *drill) {
	d.gone("data")
	before := names(d.t, d.dir)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		var out bytes.Buffer
		code := testApp(&out).run(ctx, d.args("right.age"))
		cancel()
		if code == exitDone { // it was quicker
			d.gone("data")
			continue
		}
		if now := names(d.t, d.dir); strings.Join(before, " ") != strings.Join(now, " ") {
			d.t.Errorf("left behind after %v: %v, before %v\n%s", after, now, before, out.String())
		}
	}
	d.recovered()
}

// A store that was made with a passphrase needs nothing but that and the backup:
// what makes it into the root key is in the file.
func TestRestoreWithThePassphraseAlone(t *testing.T) {
	dir := t.TempDir()
	phrase := filepath.Join(dir, "phrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	command(t, 0, "init", "--data", data, "--host", "127.0.0.1", "--key-type", "p256", "--passphrase-file", phrase)
	command(t, 0, "backup", "keygen", "--out", filepath.Join(dir, "identity"))
	command(t, 0, "backup", "create", "--data", data, "--passphrase-file", phrase, "--to", filepath.Join(dir, "one.age"),
		"--recipient", recipientOf(t, filepath.Join(dir, "identity")))
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	command(t, 0, "backup", "restore", filepath.Join(dir, "one.age"), "--data", data, "--identity", filepath.Join(dir, "identity"), "--passphrase-file", phrase)
	command(t, 0, "verify", "--data", data, "--passphrase-file", phrase)
}

// TestRecoveryTime prints how long it takes to bring 10,000 keys back.
func TestRecoveryTime(t *testing.T) {
	const keys = 10_000
	s := newSite(t, keys)
	d := &drill{site: s, t: t}
	d.gone("data")
	info, err := os.Stat(d.path("right.age"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	command(t, 0, d.args("right.age")...)
	took := time.Since(began)
	d.proved(d.path("data"), d.path("kept.rootkey"))
	t.Logf("%d keys, a backup of %d KiB: restored and checked in %v", keys, info.Size()>>10, took.Round(time.Millisecond))
}
