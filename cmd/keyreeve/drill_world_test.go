package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// A site is a machine with a store that has a history, as it is on disk: data,
// data.rootkey, the folder as it was at the older backup, and beside them what
// an admin keeps apart: identity, kept.rootkey, older.age and right.age.
type site struct {
	dir       string
	keys      map[keystore.UID][]byte // what Get gave of each when right.age was made
	destroyed map[keystore.UID][]byte // what Undestroy brings back
	older     int                     // keys in older.age
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// command carries out a command line in this process.
func command(t testing.TB, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := testApp(&out).run(context.Background(), args); got != want {
		t.Fatalf("keyreeve %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out.String())
	}
	return out.String()
}

// inside opens a data folder for fn.
func inside(t testing.TB, data, rootKey string, fn func(*vault)) {
	t.Helper()
	var out bytes.Buffer
	c := config.Default()
	c.RootKeyFile = rootKey
	v, err := testApp(&out).open(context.Background(), folder(data), opening{config: c, logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("opening %s: %v", data, err)
	}
	defer func() {
		if err := v.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	fn(v)
}

// messages runs fn as one message with as many items as it likes.
type messages func(b *keystore.Batch) error

func (m messages) Run(b *keystore.Batch) error { return m(b) }

type item func(tx *keystore.Tx) error

func (i item) Apply(tx *keystore.Tx) error { return i(tx) }

func change(t testing.TB, v *vault, p *keystore.Principal, n int, fn func(i int, tx *keystore.Tx) error) {
	t.Helper()
	err := v.store.Do(context.Background(), p, true, messages(func(b *keystore.Batch) error {
		for i := range n {
			if err := b.Do(kt.ChangeOp, item(func(tx *keystore.Tx) error { return fn(i, tx) })); err != nil {
				return err
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// grow makes n keys.
func (s *site) grow(t testing.TB, v *vault, n int) {
	t.Helper()
	uids := make([]keystore.UID, n)
	for i := range uids {
		uids[i] = v.store.NewUID()
		s.keys[uids[i]] = bytes.Repeat(uids[i][8:], 4)
	}
	change(t, v, kt.Alice, n, func(i int, tx *keystore.Tx) error {
		return tx.Create(kt.NewKey(uids[i], s.keys[uids[i]], fmt.Sprintf("disk-%x", uids[i])))
	})
}

// destroy takes n keys through their lives.
func (s *site) destroy(t testing.TB, v *vault, n int) {
	t.Helper()
	var uids []keystore.UID
	for uid := range s.keys {
		if len(uids) < n {
			uids = append(uids, uid)
		}
	}
	change(t, v, kt.Alice, n, func(i int, tx *keystore.Tx) error {
		o, err := tx.Edit(uids[i])
		if err != nil {
			return err
		}
		return errors.Join(tx.Activate(o), tx.Revoke(o, 1, "", keystore.Date{}), tx.Destroy(o))
	})
	for _, uid := range uids {
		s.destroyed[uid] = s.keys[uid]
		delete(s.keys, uid)
	}
}

// people enrols a client and a user.
func (s *site) people(t testing.TB, v *vault) {
	t.Helper()
	client, err := certs.Pin(certs.ClientRequest{Name: "vcenter", Group: "vcenter"}, foreignPEM(t, "self", "vcenter"), false, testApp(nil).now())
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(client)
	if err != nil {
		t.Fatal(err)
	}
	change(t, v, kt.Admin, 1, func(_ int, tx *keystore.Tx) error {
		return errors.Join(tx.PutRecord(keystore.KindClient, client.Name, record), tx.PutRecord(keystore.KindUser, "vcenter/alice", []byte("a user")))
	})
}

// newSite makes a machine and its backups.
func newSite(t testing.TB, keys int) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), keys: map[keystore.UID][]byte{}, destroyed: map[keystore.UID][]byte{}}
	data := s.path("data")
	command(t, 0, "init", "--data", data, "--host", "127.0.0.1", "--key-type", "p256")
	command(t, 0, "backup", "keygen", "--out", s.path("identity"))
	recipient := recipientOf(t, s.path("identity"))
	inside(t, data, "", func(v *vault) {
		s.people(t, v)
		s.grow(t, v, keys/2)
		s.destroy(t, v, keys/20)
	})
	s.older = len(s.keys) + len(s.destroyed)
	command(t, 0, "backup", "create", "--data", data, "--to", s.path("older.age"), "--recipient", recipient)
	copySparse(t, data, s.path("past"))
	inside(t, data, "", func(v *vault) {
		s.grow(t, v, keys/2)
		s.destroy(t, v, keys/20)
	})
	command(t, 0, "backup", "create", "--data", data, "--to", s.path("right.age"), "--recipient", recipient)
	copySparse(t, s.path("data.rootkey"), s.path("kept.rootkey"))
	return s
}

func recipientOf(t testing.TB, identity string) string {
	t.Helper()
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "# recipient: ")
	recipient, _, _ := strings.Cut(after, "\n")
	return recipient
}

// copySparse copies a file, or a folder with all in it, without the zeros: a
// fresh store's file is mostly holes.
func copySparse(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return copyFile(path, target)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, 16<<10)
	for at := int64(0); ; at += int64(len(buf)) {
		n, err := io.ReadFull(in, buf)
		if n > 0 && bytes.Trim(buf[:n], "\x00") != nil {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		if err != nil {
			return errors.Join(out.Truncate(at+int64(n)), out.Close())
		}
	}
}

// A drill is a site of its own to break.
type drill struct {
	*site
	t *testing.T
}

func (s *site) drill(t *testing.T) *drill {
	t.Helper()
	d := &drill{site: &site{dir: t.TempDir(), keys: s.keys, destroyed: s.destroyed, older: s.older}, t: t}
	copySparse(t, s.dir, d.dir)
	return d
}

func (d *drill) args(file string) []string {
	return []string{"backup", "restore", d.path(file), "--data", d.path("data"), "--identity", d.path("identity"), "--root-key", d.path("kept.rootkey")}
}

// refused tries to restore a file that must not be restored, and looks for leftovers.
func (d *drill) refused(file string, code int) {
	d.t.Helper()
	if err := os.RemoveAll(d.path("data")); err != nil {
		d.t.Fatal(err)
	}
	before := names(d.t, d.dir)
	command(d.t, code, d.args(file)...)
	if after := names(d.t, d.dir); !slices.Equal(before, after) {
		d.t.Errorf("left behind: %v, before %v", after, before)
	}
}

// recovered moves away what is left, restores the right backup, and proves that
// all of it is back.
func (d *drill) recovered() {
	d.t.Helper()
	if _, err := os.Lstat(d.path("data")); err == nil {
		if err := os.Rename(d.path("data"), d.path("broken")); err != nil {
			d.t.Fatal(err)
		}
	}
	command(d.t, 0, d.args("right.age")...)
	if _, err := os.Stat(folder(d.path("data")).restoring()); err == nil {
		d.t.Error("the staging folder is left")
	}
	d.proved(d.path("data"), d.path("kept.rootkey"))
}

// proved holds a restored folder against what the site had.
func (d *drill) proved(data, rootKey string) {
	d.t.Helper()
	inside(d.t, data, rootKey, func(v *vault) { d.site.has(d.t, v) })
	inside(d.t, data, rootKey, func(v *vault) { // opened once more: the journal has grown
		report, err := audit.Verify(v.auditConfig(testApp(nil), slog.New(slog.DiscardHandler)))
		if err != nil || report.Base.Seq == 0 {
			d.t.Errorf("the journal: %+v, %v", report, err)
		}
		first := true
		if err := v.journal.Since(0, func(_ uint64, e audit.Event) error {
			if first && (e.Operation != "Store Restored" || !strings.Contains(e.Reason, "right.age")) {
				d.t.Errorf("the journal begins with %+v", e)
			}
			first = false
			return nil
		}); err != nil {
			d.t.Error(err)
		}
	})
}

// has compares every key byte by byte, and all that is not a key.
func (s *site) has(t testing.TB, v *vault) {
	t.Helper()
	ctx := context.Background()
	same := func(wants map[keystore.UID][]byte, what string) {
		wrong := 0
		err := v.store.Do(ctx, kt.Alice, false, messages(func(b *keystore.Batch) error {
			for uid, want := range wants {
				err := b.Do(kt.ReleaseOp, item(func(tx *keystore.Tx) error {
					o, err := tx.Object(uid)
					if err == nil && !bytes.Equal(kt.Material(o.Value), want) {
						wrong++
					}
					return err
				}))
				if err != nil {
					return err
				}
			}
			return nil
		}))
		if err != nil || wrong > 0 {
			t.Errorf("%d of %d %s are other keys than before, %v", wrong, len(wants), what, err)
		}
	}
	same(s.keys, "keys")
	uids := make([]keystore.UID, 0, len(s.destroyed))
	for uid := range s.destroyed {
		uids = append(uids, uid)
	}
	change(t, v, kt.Admin, len(uids), func(i int, tx *keystore.Tx) error {
		o, err := tx.Edit(uids[i])
		if err != nil {
			return err
		}
		return tx.Undestroy(o, "a drill")
	})
	same(s.destroyed, "destroyed keys, brought back,")
	if objects := v.store.Info().Objects; objects != uint64(len(s.keys)+len(s.destroyed)) {
		t.Errorf("%d keys are there, want %d", objects, len(s.keys)+len(s.destroyed))
	}
	_, clients, err := adminserver.Load(ctx, v.store, testApp(nil).now, testApp(nil).rand)
	if err != nil || len(clients) != 1 || clients[0].Name != "vcenter" {
		t.Errorf("CA and clients: %v, %v", clients, err)
	}
	change(t, v, kt.Admin, 1, func(_ int, tx *keystore.Tx) error {
		user, err := tx.Record(keystore.KindUser, "vcenter/alice")
		if string(user) != "a user" {
			t.Errorf("the user's record is %q", user)
		}
		return err
	})
	kt.MustCheck(t, v.store)
}
