package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// A world is a store with some history, and what makes backups of it.
type world struct {
	*kt.Rig
	dir       string
	keys      map[keystore.UID][]byte // what Get gives
	destroyed keystore.UID
	identity  *age.X25519Identity // quick; the hybrid kind has its own test
	config    backup.Config
}

const tlsKey = "the server's TLS key"

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{Rig: kt.NewRig((&kt.Volume{}).Opener()), dir: t.TempDir(), keys: map[keystore.UID][]byte{}}
	must(t, errors.Join(w.Create(), w.Open()))
	t.Cleanup(func() {
		kt.MustCheck(t, w.Store)
		must(t, w.Shut())
	})
	for i := range 30 {
		w.key(t, fmt.Sprintf("disk-%d", i))
	}
	for uid := range w.keys {
		w.destroyed = uid
	}
	for _, step := range []func(tx *keystore.Tx, o *keystore.Object) error{
		func(tx *keystore.Tx, o *keystore.Object) error { return tx.Activate(o) },
		func(tx *keystore.Tx, o *keystore.Object) error { return tx.Revoke(o, 1, "", keystore.Date{}) },
		func(tx *keystore.Tx, o *keystore.Object) error { return tx.Destroy(o) },
	} {
		must(t, w.Edit(w.destroyed, step))
	}
	must(t, w.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error {
		return tx.PutRecord(keystore.KindClient, "nas", []byte("a client"))
	}))
	var err error
	w.identity, err = age.GenerateX25519Identity()
	must(t, err)
	w.config = backup.Config{
		Store: w.Store, Now: w.Clock.Now, Version: "test", Host: "there", Scratch: scratch,
		Files: func() ([]backup.File, error) { return []backup.File{{Name: "key.pem", Content: []byte(tlsKey)}}, nil },
	}
	return w
}

func (w *world) key(t testing.TB, name string) {
	t.Helper()
	uid, material, err := w.Key(name)
	must(t, err)
	w.keys[uid] = material
}

func scratch(string) (backup.Scratch, error) {
	b := (&kt.Volume{}).Open()
	return backup.Scratch{Backend: b, Remove: b.Close}, nil
}

func (w *world) maker(t testing.TB) *backup.Maker {
	t.Helper()
	m, err := backup.NewMaker(ctx, w.config)
	must(t, err)
	return m
}

func (w *world) request(t testing.TB, name string) backup.Request {
	t.Helper()
	r, err := backup.ParseRecipients(w.identity.Recipient().String())
	must(t, err)
	return backup.Request{Path: filepath.Join(w.dir, name), Recipients: r, By: kt.Admin}
}

// backup makes one, and returns the file.
func (w *world) backup(t testing.TB, name string) (backup.Made, []byte) {
	t.Helper()
	made, err := w.maker(t).Create(ctx, w.request(t, name))
	must(t, err)
	file, err := os.ReadFile(made.Path)
	must(t, err)
	return made, file
}

func (w *world) own(t testing.TB) backup.Identities {
	t.Helper()
	own, err := backup.ParseIdentities(secret.Own([]byte(w.identity.String())))
	must(t, err)
	return own
}

func (w *world) root() *secret.Bytes { return secret.Own(bytes.Clone(w.Root[:])) }

// verify is what `keyreeve backup verify` does.
func (w *world) verify(file []byte, own backup.Identities) error {
	a, err := backup.Open(bytes.NewReader(file), own)
	if err != nil {
		return err
	}
	_, err = a.Verify(ctx, (&kt.Volume{}).Open(), w.root(), nil)
	return err
}

// restored is a store that Revive has left.
type restored struct {
	*kt.Rig
	journal *audit.Journal
	dir     string
}

// restore brings a backup back beside the old store, with a journal on disk.
func (w *world) restore(t testing.TB, file []byte, own backup.Identities) *restored {
	t.Helper()
	a, err := backup.Open(bytes.NewReader(file), own)
	must(t, err)
	v, dir := &kt.Volume{}, t.TempDir()
	_, err = a.Restore(ctx, v.Open(), nil)
	must(t, err)
	cfg := keystore.Config{Backend: v.Open(), RootKey: w.root(), Now: w.Clock.Now}
	must(t, a.Revive(ctx, cfg, audit.Config{Dir: dir, Now: w.Clock.Now}, "from a test", func(*keystore.Store) error { return nil }))
	r := &restored{Rig: kt.NewRig(v.Opener()), dir: dir}
	r.journal, err = audit.Open(audit.Config{Dir: dir, StoreID: a.Manifest.StoreID, Now: w.Clock.Now})
	must(t, err)
	r.Rig.Root = w.Root
	r.WrapJournal = func(keystore.Journal) keystore.Journal { return r.journal }
	must(t, r.Open())
	t.Cleanup(func() {
		kt.MustCheck(t, r.Store)
		must(t, errors.Join(r.Shut(), r.journal.Close()))
	})
	return r
}

// has checks that every key is there, byte by byte.
func (w *world) has(t testing.TB, r *kt.Rig) {
	t.Helper()
	for uid, want := range w.keys {
		got, _, err := r.Get(kt.Alice, uid)
		if uid == w.destroyed {
			want = nil
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("Get of %s = %x, %v; want %x", uid, got, err, want)
		}
	}
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, w.destroyed, func(tx *keystore.Tx, o *keystore.Object) error { return tx.Undestroy(o, "a drill") }))
	got, _, err := r.Get(kt.Alice, w.destroyed)
	if err != nil || !bytes.Equal(got, w.keys[w.destroyed]) {
		t.Errorf("the destroyed key comes back as %x, %v", got, err)
	}
	must(t, r.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
		client, err := tx.Record(keystore.KindClient, "nas")
		if string(client) != "a client" {
			t.Errorf("the client's record is %q", client)
		}
		return err
	}))
}

// leftovers are the names in the folder, of hidden files too.
func leftovers(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
