package rootkey_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// places returns a path for a key and a data folder beside it.
func places(t *testing.T) (path, data string) {
	t.Helper()
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data + ".rootkey", data
}

func mustCreate(t *testing.T) string {
	t.Helper()
	path, data := places(t)
	if err := rootkey.CreateFile(path, data); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustKey(t *testing.T, s rootkey.Source) *secret.Bytes {
	t.Helper()
	key, err := s.RootKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestFileRoundTrip(t *testing.T) {
	path := mustCreate(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	source := rootkey.FromFile(path)
	a, b := mustKey(t, source), mustKey(t, source)
	if a.Len() != rootkey.Size || !a.Equal(b) || a.Equal(secret.New(rootkey.Size)) {
		t.Errorf("keys of %d and %d bytes", a.Len(), b.Len())
	}
	a.Clear()
	if b.Len() != rootkey.Size {
		t.Error("the keys share memory")
	}
	if mustKey(t, rootkey.FromFile(mustCreate(t))).Equal(b) {
		t.Error("two created keys are the same")
	}
	if !strings.Contains(source.Describe(), path) {
		t.Errorf("description %q does not name the file", source.Describe())
	}
}

// A vector that must stay readable as long as the format has this number.
func TestFileVector(t *testing.T) {
	path, _ := places(t)
	const text = "keyreeve-root-key-1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8hRDul\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, rootkey.Size)
	for i := range want {
		want[i] = byte(i)
	}
	if diff := cmp.Diff(want, mustKey(t, rootkey.FromFile(path)).Expose()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCreateFileRefuses(t *testing.T) {
	path, data := places(t)
	link := filepath.Join(filepath.Dir(data), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		want error
	}{
		"existing":              {path, fs.ErrExist},
		"in the data folder":    {filepath.Join(data, "key"), rootkey.ErrInsideData},
		"deep in it":            {filepath.Join(data, "a", "b", "key"), rootkey.ErrInsideData},
		"in it through a link":  {filepath.Join(link, "key"), rootkey.ErrInsideData},
		"in it through dots":    {filepath.Join(data, "..", "data", "key"), rootkey.ErrInsideData},
		"in an absent folder":   {filepath.Join(filepath.Dir(data), "absent", "key"), fs.ErrNotExist},
		"the data folder":       {data, rootkey.ErrInsideData},
		"the link to the store": {link, rootkey.ErrInsideData},
	} {
		if err := rootkey.CreateFile(tc.path, data); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the existing file was changed: %q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(data))
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestFileRefusesModes(t *testing.T) {
	path := mustCreate(t)
	for mode := fs.FileMode(0); mode <= 0o777; mode++ {
		if mode&0o400 == 0 {
			continue // we could not read it
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		var want error
		if mode&0o077 != 0 {
			want = rootkey.ErrTooOpen
		}
		if _, err := rootkey.FromFile(path).RootKey(); !errors.Is(err, want) {
			t.Errorf("mode %#o: got %v, want %v", mode, err, want)
		}
	}
}

func TestFileOfAnotherUserIsRefused(t *testing.T) {
	info, err := os.Stat(mustCreate(t))
	if err != nil {
		t.Fatal(err)
	}
	us := os.Geteuid()
	if err := rootkey.CheckAccess(info, us); err != nil {
		t.Errorf("our own: %v", err)
	}
	if err := rootkey.CheckAccess(info, us+1); !errors.Is(err, rootkey.ErrTooOpen) {
		t.Errorf("another's: got %v, want ErrTooOpen", err)
	}
}

func TestFileRefusesOtherThings(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "absent"): rootkey.ErrMissing,
		dir:                          rootkey.ErrNotRootKey,
		pipe:                         rootkey.ErrNotRootKey, // and does not hang
	} {
		_, err := rootkey.FromFile(path).RootKey()
		if !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %v and the path", path, err, want)
		}
	}
}

func TestFileContent(t *testing.T) {
	path := mustCreate(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, line, _ := strings.Cut(strings.TrimSuffix(string(good), "\n"), "\n")
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"as made":              {string(good), nil},
		"no end of line":       {header + "\n" + line, nil},
		"edited on Windows":    {header + "\r\n" + line + "\r\n", nil},
		"empty":                {"", rootkey.ErrNotRootKey},
		"only the header":      {header, rootkey.ErrNotRootKey},
		"header, no key":       {header + "\n", rootkey.ErrDamaged},
		"a certificate":        {"-----BEGIN CERTIFICATE-----\nMIIB\n", rootkey.ErrNotRootKey},
		"a newer format":       {"keyreeve-root-key-2\n" + line + "\n", rootkey.ErrNotRootKey},
		"raw bytes":            {strings.Repeat("\x07", 32), rootkey.ErrNotRootKey},
		"cut short":            {header + "\n" + line[:40], rootkey.ErrDamaged},
		"key doubled":          {header + "\n" + line + line, rootkey.ErrDamaged},
		"something after":      {string(good) + "x", rootkey.ErrDamaged},
		"not base64":           {header + "\n" + "!" + line[1:], rootkey.ErrDamaged},
		"key of zeros":         {header + "\n" + base64.StdEncoding.EncodeToString(make([]byte, 36)), rootkey.ErrDamaged},
		"endless":              {string(good) + strings.Repeat("\n", 5000), rootkey.ErrNotRootKey},
		"another letter case":  {header + "\n" + strings.ToLower(line) + "\n", rootkey.ErrDamaged},
		"line break in middle": {header + "\n" + line[:20] + "\n" + line[20:] + "\n", rootkey.ErrDamaged},
	} {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := rootkey.FromFile(path).RootKey()
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		if err != nil && (strings.Contains(err.Error(), line[:8]) || strings.Contains(err.Error(), line[1:9])) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

// Each changed character is damage, not another key.
func TestFileFlips(t *testing.T) {
	path := mustCreate(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range len(good) - 1 {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := rootkey.FromFile(path).RootKey(); !errors.Is(err, rootkey.ErrDamaged) && !errors.Is(err, rootkey.ErrNotRootKey) {
				t.Errorf("byte %d, bit %d: got %v", i, bit, err)
			}
		}
	}
}

func TestSourceShowsNoKey(t *testing.T) {
	path := mustCreate(t)
	key := mustKey(t, rootkey.FromFile(path))
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		if out := fmt.Sprintf(verb, key); out != secret.Redacted {
			t.Errorf("%s prints %q", verb, out)
		}
	}
}
