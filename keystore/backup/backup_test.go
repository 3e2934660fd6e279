package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

func TestBackupAndRestore(t *testing.T) {
	w := newWorld(t)
	made, file := w.backup(t, "one.backup")
	if made.Objects != 30 || made.Tombstones != 1 || made.Size != int64(len(file)) || made.NewestKey.IsZero() {
		t.Errorf("made %+v", made)
	}
	must(t, w.verify(file, w.own(t)))
	r := w.restore(t, file, w.own(t))
	w.has(t, r.Rig)
	files, err := backup.Files(ctx, r.Store)
	if err != nil || len(files) != 1 || files[0].Name != "key.pem" || string(files[0].Content) != tlsKey {
		t.Errorf("the server's files are %q, %v", files, err)
	}
	if info, err := os.Stat(made.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file's mode: %v, %v", info.Mode(), err)
	}
	if names := leftovers(t, w.dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

// The restored journal begins where the backup was, says so first, and is whole.
func TestRestoredJournal(t *testing.T) {
	w := newWorld(t)
	made, file := w.backup(t, "one.backup")
	r := w.restore(t, file, w.own(t))
	must(t, r.journal.Flush())
	if base := r.journal.Base(); base.Seq != made.Sequence {
		t.Errorf("it begins after %d, the backup was at %d", base.Seq, made.Sequence)
	}
	first := true
	must(t, r.journal.Since(0, func(seq uint64, e audit.Event) error {
		if first && (seq != made.Sequence+1 || e.Operation != "Store Restored" || e.Reason != "from a test") {
			t.Errorf("first is %d %+v", seq, e)
		}
		first = false
		return nil
	}))
	report, err := audit.Verify(audit.Config{Dir: r.dir, StoreID: w.StoreID})
	if err != nil || report.Entries == 0 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// Three kinds of recipients, each opened by what belongs to it and by nothing else.
func TestRecipients(t *testing.T) {
	w := newWorld(t)
	text, recipient, err := backup.NewIdentity("a test's")
	must(t, err)
	hybrid, err := backup.ParseRecipients("# for tests\n" + recipient + "\n")
	must(t, err)
	phrase := secret.Own([]byte("correct horse battery staple"))
	passphrase, err := backup.FromPassphrase(phrase)
	must(t, err)
	byIdentity, err := backup.ParseIdentities(text)
	must(t, err)
	byPassphrase, err := backup.PassphraseIdentity(phrase)
	must(t, err)
	wrong, err := backup.PassphraseIdentity(secret.Own([]byte("incorrect horse")))
	must(t, err)
	for name, tc := range map[string]struct {
		to      backup.Recipients
		opens   backup.Identities
		others  []backup.Identities
		quantum bool
	}{
		"hybrid":     {hybrid, byIdentity, []backup.Identities{w.own(t), byPassphrase}, true},
		"passphrase": {passphrase, byPassphrase, []backup.Identities{byIdentity, wrong}, true},
		"X25519":     {w.request(t, "").Recipients, w.own(t), []backup.Identities{byIdentity}, false},
	} {
		req := w.request(t, name)
		req.Recipients = tc.to
		made, err := w.maker(t).Create(ctx, req)
		must(t, err)
		file, err := os.ReadFile(made.Path)
		must(t, err)
		if err := w.verify(file, tc.opens); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i, other := range tc.others {
			wants(t, fmt.Sprintf("%s, opened by other %d", name, i), w.verify(file, other), backup.ErrIdentity)
		}
		if tc.to.PostQuantum() != tc.quantum || len(tc.to.Names()) != 1 || len(tc.to.Names()[0]) > 40 {
			t.Errorf("%s: %v, post-quantum %v", name, tc.to.Names(), tc.to.PostQuantum())
		}
	}
}

func TestParseRecipientsRefuses(t *testing.T) {
	one, err := age.GenerateX25519Identity()
	must(t, err)
	for _, text := range []string{"", "age1", "ssh-ed25519 AAAA", "# nothing\n", one.String()} {
		_, err := backup.ParseRecipients(text)
		wants(t, fmt.Sprintf("ParseRecipients(%.8q)", text), err, backup.ErrRecipient)
		if err != nil && strings.Contains(err.Error(), one.String()[20:40]) {
			t.Errorf("the error shows the identity: %v", err)
		}
	}
	if _, err := backup.ParseIdentities(secret.Own([]byte(one.String()[:60]))); err == nil || strings.Contains(err.Error(), one.String()[20:40]) {
		t.Errorf("half an identity: %v", err)
	}
}

// open decrypts with age alone, as its own tool does.
func (w *world) open(t testing.TB, file []byte) []byte {
	t.Helper()
	plain, err := age.Decrypt(bytes.NewReader(file), w.identity)
	must(t, err)
	b, err := io.ReadAll(plain)
	must(t, err)
	return b
}

// P3: a key is in no backup in clear, not even when age has been undone; nor are
// the root key and the server's TLS key.
func TestNoKeyInBackup(t *testing.T) {
	w := newWorld(t)
	_, file := w.backup(t, "one.backup")
	plain := w.open(t, file)
	if !bytes.HasPrefix(plain, []byte("keyreeve backup 1\n")) {
		t.Errorf("it begins with %q", plain[:20])
	}
	secrets := map[string][]byte{"the root key": w.Root[:], "the TLS key": []byte(tlsKey)}
	for uid, material := range w.keys {
		secrets[uid.String()] = material
		secrets[uid.String()+"'s half"] = material[:16]
	}
	for name, s := range secrets {
		for where, b := range map[string][]byte{"the file": file, "its content": plain} {
			if bytes.Contains(b, s) || bytes.Contains(b, fmt.Appendf(nil, "%x", s)) {
				t.Errorf("%s holds %s", where, name)
			}
		}
	}
	// the search finds what is there
	if !bytes.Contains(plain, w.StoreID[:]) {
		t.Error("the search would not have found anything")
	}
}

// Whatever happens to the file, in any region, it never passes and never makes
// the program fall over.
func TestDamagedFile(t *testing.T) {
	w := newWorld(t)
	_, file := w.backup(t, "one.backup")
	own := w.own(t)
	step := max(1, len(file)/700)
	head := bytes.Index(file, []byte("\n---")) + 60
	damaged := func(what string, b []byte) {
		err := w.verify(b, own)
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrIdentity) && !errors.Is(err, backup.ErrNotBackup) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for at := 0; at < len(file); at++ {
		if at > head && at%step != 0 {
			continue
		}
		b := bytes.Clone(file)
		b[at] ^= 1 << (at % 8)
		damaged(fmt.Sprintf("bit %d of byte %d flipped", at%8, at), b)
		damaged(fmt.Sprintf("cut after %d bytes", at), file[:at])
	}
	const chunk = 64<<10 + 16
	start := bytes.Index(file, []byte("\n--- ")) + 49 + 16
	if len(file) > start+2*chunk {
		t.Fatal("write the swap of two chunks")
	}
	damaged("something follows", append(bytes.Clone(file), 0))
	damaged("twice", append(bytes.Clone(file), file...))
	damaged("nothing", nil)
	wants(t, "a text", w.verify([]byte("-----BEGIN CERTIFICATE-----\nMIIB…\n"), own), backup.ErrNotBackup)
}

// encrypted makes an age file for the world's identity, as anybody can who has
// the recipient.
func (w *world) encrypted(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	out, err := age.Encrypt(&b, w.identity.Recipient())
	must(t, err)
	_, err = out.Write(plain)
	must(t, errors.Join(err, out.Close()))
	return b.Bytes()
}

// Who has the recipient can make files that age opens. None of them passes that
// does not hold what the root key sealed.
func TestForgedContent(t *testing.T) {
	w := newWorld(t)
	_, file := w.backup(t, "one.backup")
	plain := w.open(t, file)
	must(t, w.verify(w.encrypted(t, plain), w.own(t)))
	flipped := func(fromEnd int) []byte {
		b := bytes.Clone(plain)
		b[len(b)-fromEnd] ^= 1
		return b
	}
	for name, tc := range map[string]struct {
		plain []byte
		want  error
	}{
		"something else": {[]byte("a letter to my aunt"), backup.ErrNotBackup},
		"nothing":        {nil, backup.ErrNotBackup},
		"a newer form":   {bytes.Replace(plain, []byte("backup 1"), []byte("backup 2"), 1), backup.ErrVersion},
		"other digest":   {flipped(1), backup.ErrDamaged},
		"other number":   {flipped(32 + 8 + 1), backup.ErrDamaged},
		"cut":            {plain[:len(plain)-8], backup.ErrDamaged},
		"longer":         {append(bytes.Clone(plain), 0), backup.ErrDamaged},
		"huge item":      {append(bytes.Clone(plain[:18]), 0x54, 1, 0, 1, 0xff, 0xff, 0xff, 0xf8), backup.ErrDamaged},
	} {
		wants(t, name, w.verify(w.encrypted(t, tc.plain), w.own(t)), tc.want)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b := bytes.Clone(plain)
		b[18+random.IntN(len(b)-18)] ^= byte(1 + random.IntN(255))
		if err := w.verify(w.encrypted(t, b), w.own(t)); err == nil {
			t.Error("a changed content passes")
		}
	}
}

func TestCreateIsInTheJournal(t *testing.T) {
	w := newWorld(t)
	made, _ := w.backup(t, "one.backup")
	var seen []string
	for _, e := range w.Tape.Events() {
		if e.Operation == "Export" || e.Operation == "Create Backup" {
			seen = append(seen, e.Operation+" by "+e.Client+": "+e.Reason)
		}
	}
	want := []string{
		"Export by admin: backup to " + made.Path,
		fmt.Sprintf("Create Backup by admin: %s, sha256 %s, verified: 30 keys, journal sequence %d", made.Path, made.SHA256, made.Sequence),
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	all, err := backup.List(ctx, w.Store)
	if err != nil || len(all) != 1 || all[0].ID != made.ID || all[0].SHA256 != made.SHA256 {
		t.Errorf("List = %+v, %v", all, err)
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	w := newWorld(t)
	req := w.request(t, "precious")
	must(t, os.WriteFile(req.Path, []byte("precious"), 0o600))
	_, err := w.maker(t).Create(ctx, req)
	wants(t, "Create over a file", err, os.ErrExist)
	if b, err := os.ReadFile(req.Path); string(b) != "precious" {
		t.Errorf("it is %q now, %v", b, err)
	}
}

// At whichever step the disk is full or fails, nothing is left behind, nothing
// is counted, and the next attempt works.
func TestCreateOnABadDisk(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []error{syscall.ENOSPC, syscall.EIO} {
		for steps := 0; ; steps++ {
			w.config.FS = &trouble{FS: durable.OS, steps: steps, err: bad}
			made, err := w.maker(t).Create(ctx, w.request(t, "one.backup"))
			if err == nil {
				if steps < 5 {
					t.Errorf("only %d steps", steps)
				}
				must(t, os.Remove(made.Path))
				break
			}
			wants(t, fmt.Sprintf("Create, failing at step %d", steps), err, bad)
			if names := leftovers(t, w.dir); len(names) != 0 {
				t.Fatalf("left behind at step %d: %v", steps, names)
			}
		}
	}
	all, err := backup.List(ctx, w.Store)
	if err != nil || len(all) != 2 {
		t.Errorf("%d are counted, %v; want the two that succeeded", len(all), err)
	}
}

// A disk that gives back something else than was written is found out before
// anybody counts on it.
func TestCreateReadsBack(t *testing.T) {
	w := newWorld(t)
	w.config.FS = &trouble{FS: durable.OS, corrupt: true}
	_, err := w.maker(t).Create(ctx, w.request(t, "one.backup"))
	wants(t, "Create on a disk that lies", err, backup.ErrDamaged)
	if names := leftovers(t, w.dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// A store whose records went bad while it served makes no backup.
func TestCreateFindsABadStore(t *testing.T) {
	w := newWorld(t)
	for _, family := range []byte("mkcotrnxi") {
		var key, value []byte
		must(t, w.Backend.View(ctx, func(kv keystore.KV) error {
			return kv.Range([]byte{family}, nil, func(k, v []byte) bool {
				key, value = bytes.Clone(k), bytes.Clone(v)
				return false
			})
		}))
		put := func(v []byte) {
			must(t, w.Backend.Update(ctx, func(kv keystore.KV) error {
				if v == nil {
					return kv.Delete(key)
				}
				return kv.Put(key, v)
			}, func(keystore.KV) error { return nil }))
		}
		bad := bytes.Clone(value)
		if len(bad) > 0 {
			bad[len(bad)/2] ^= 1
		}
		if key == nil { // no custom attribute in this store
			continue
		}
		if len(value) == 0 {
			put(nil)
		} else {
			put(bad)
		}
		_, err := w.maker(t).Create(ctx, w.request(t, "one.backup"))
		wants(t, fmt.Sprintf("Create with a bad %q", key), err, keystore.ErrCorrupt)
		put(value)
	}
	if names := leftovers(t, w.dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// Two at once would fill the disk twice; and whoever serves keeps serving.
func TestCreateWhileServing(t *testing.T) {
	w := newWorld(t)
	m := w.maker(t)
	var wait sync.WaitGroup
	inside, outside := make(chan struct{}), make(chan struct{})
	w.config.Scratch = func(dir string) (backup.Scratch, error) {
		close(inside)
		<-outside
		return scratch(dir)
	}
	slow := w.maker(t)
	var made backup.Made
	var failed error
	wait.Go(func() { made, failed = slow.Create(ctx, w.request(t, "slow.backup")) })
	<-inside
	_, err := slow.Create(ctx, w.request(t, "second.backup"))
	wants(t, "a second Create", err, backup.ErrBusy)
	if p := slow.Progress(); p.Phase != backup.PhaseWriting || p.Done != p.Total {
		t.Errorf("progress %+v", p)
	}
	before := len(w.keys)
	w.key(t, "made meanwhile")
	_, err = m.Create(ctx, w.request(t, "other.backup"))
	must(t, err)
	close(outside)
	wait.Wait()
	if failed != nil || made.Objects != uint64(before) {
		t.Errorf("made %+v, %v", made, failed)
	}
	if slow.Progress() != (backup.Progress{}) {
		t.Errorf("progress %+v at the end", slow.Progress())
	}
}

func TestVerifyWithAnotherRootKey(t *testing.T) {
	w := newWorld(t)
	_, file := w.backup(t, "one.backup")
	w.Root[0]++
	wants(t, "Verify", w.verify(file, w.own(t)), keystore.ErrWrongRootKey)
	w.Root[0]--
}

func TestPathsOfBackups(t *testing.T) {
	w := newWorld(t)
	req := w.request(t, "absent/one.backup")
	_, err := w.maker(t).Create(ctx, req)
	wants(t, "Create in an absent folder", err, os.ErrNotExist)
	req.By = kt.Alice
	req.Path = filepath.Join(w.dir, "alices.backup")
	_, err = w.maker(t).Create(ctx, req)
	wants(t, "a client's Create", err, keystore.ErrPermission)
	if names := leftovers(t, w.dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// FuzzContent: whatever somebody encrypts to our recipient, reading it ends with
// an error that says what is wrong, and not with a panic or all of the memory.
// (That what passes is what was written, TestForgedContent holds: a fuzzer's
// processes each have a store of their own.)
func FuzzContent(f *testing.F) {
	w := newWorld(f)
	_, file := w.backup(f, "one.backup")
	plain := w.open(f, file)
	f.Add(plain)
	f.Add(plain[:len(plain)/2])
	f.Add([]byte("keyreeve backup 1\n"))
	said := []error{nil, backup.ErrNotBackup, backup.ErrDamaged, backup.ErrVersion,
		keystore.ErrCorrupt, keystore.ErrInvalid, keystore.ErrFormat, keystore.ErrWrongRootKey}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := w.verify(w.encrypted(t, b), w.own(t))
		if !slices.ContainsFunc(said, func(e error) bool { return errors.Is(err, e) }) {
			t.Errorf("it says: %v", err)
		}
	})
}
