package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/metrics"
)

// testApp is a command line in this process; out gets what it prints.
func testApp(out *bytes.Buffer) *app {
	a := newApp()
	a.in, a.out, a.err = strings.NewReader(""), out, out
	a.environ = []string{"KEYREEVE_DEV=true"}
	return a
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// hookedRand calls hook before the nth read.
type hookedRand struct {
	io.Reader
	n    int
	hook func()
}

func (r *hookedRand) Read(p []byte) (int, error) {
	if r.n--; r.n == 0 {
		r.hook()
	}
	return r.Reader.Read(p)
}

// Interrupted at the beginning or in the middle, init leaves nothing behind, and
// the next one succeeds.
func TestInterruptedInitLeavesNothing(t *testing.T) {
	for n := range 3 { // two serial numbers are read: the CA's and the server's
		dir, out := t.TempDir(), &bytes.Buffer{}
		ctx, cancel := context.WithCancel(t.Context())
		a := testApp(out)
		if n == 0 {
			cancel()
		}
		a.rand = &hookedRand{a.rand, n, cancel}
		data := filepath.Join(dir, "data")
		if code := a.run(ctx, []string{"init", "--data", data, "--key-type", "p256"}); code != exitOther || !strings.Contains(out.String(), "interrupted; nothing was made") {
			t.Errorf("read %d: exit code %d\n%s", n, code, out)
		}
		if left := names(t, dir); left != nil {
			t.Errorf("read %d: left behind: %v", n, left)
		}
		if code := testApp(out).run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"}); code != exitDone {
			t.Errorf("read %d: the next init: exit code %d\n%s", n, code, out)
		}
		cancel()
	}
}

// A source of random numbers that fails is a failed init like any other.
func TestFailedInitLeavesNothing(t *testing.T) {
	dir, out := t.TempDir(), &bytes.Buffer{}
	a := testApp(out)
	a.rand = io.MultiReader(io.LimitReader(a.rand, 24), failing{})
	if code := a.run(t.Context(), []string{"init", "--data", filepath.Join(dir, "data"), "--key-type", "p256"}); code != exitOther {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if left := names(t, dir); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no more random numbers") }

// Of many inits at once at most one makes the store, and none harms it.
func TestInitsAtOnce(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	var wg sync.WaitGroup
	codes := make([]int, 4)
	for i := range codes {
		wg.Go(func() {
			codes[i] = testApp(&bytes.Buffer{}).run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"})
		})
	}
	wg.Wait()
	made := 0
	for _, code := range codes {
		switch code {
		case exitDone:
			made++
		case exitRefused, exitInUse, exitOther:
		default:
			t.Errorf("exit code %d", code)
		}
	}
	if made > 1 {
		t.Fatalf("%d of them say that they made the store", made)
	}
	if made == 0 { // two that met in the first moment may both give up
		_ = os.RemoveAll(data + ".init")
		if code := testApp(&bytes.Buffer{}).run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"}); code != exitDone {
			t.Fatalf("the next init: exit code %d", code)
		}
	}
	if diff := cmp.Diff([]string{"data", "data.rootkey"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
	out := &bytes.Buffer{}
	if code := testApp(out).run(t.Context(), []string{"verify", "--data", data}); code != exitDone {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
}

// opened opens a store that was made at a time, at another.
func opened(t *testing.T, data string, at time.Time) (*service, error) {
	t.Helper()
	a := testApp(&bytes.Buffer{})
	a.now = func() time.Time { return at }
	c := config.Default()
	c.Data = data
	s := &service{app: a, config: c, options: &serverOptions{}, logger: slog.New(slog.DiscardHandler), metrics: metrics.NewRegistry("keyreeve")}
	err := s.open(t.Context())
	t.Cleanup(func() { _ = s.close() })
	return s, err
}

// The server's own certificate is renewed when it has ended, for the same hosts
// and with the same kind of key; one that somebody else made is not touched.
func TestExpiredServerCertificate(t *testing.T) {
	for _, kind := range []string{"rsa2048", "p256"} {
		data := filepath.Join(t.TempDir(), "data")
		out := &bytes.Buffer{}
		if code := testApp(out).run(t.Context(), []string{"init", "--data", data, "--host", "kms.example.com", "--host", "192.0.2.7", "--key-type", kind}); code != exitDone {
			t.Fatal(out)
		}
		before, err := firstCertificate(folder(data).certificate())
		if err != nil {
			t.Fatal(err)
		}
		s, err := opened(t, data, before.NotAfter.Add(time.Hour))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		after := s.reloader.Leaf()
		if certs.SHA256(after) == certs.SHA256(before) || keyTypeOf(after) != keyTypeOf(before) ||
			!cmp.Equal(hostsOf(after), []string{"kms.example.com", "192.0.2.7"}) || !after.NotAfter.After(before.NotAfter) {
			t.Errorf("%s: renewed for %v until %v", kind, hostsOf(after), after.NotAfter)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignServerCertificateIsNotRenewed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"data", "other"} {
		if code := testApp(&bytes.Buffer{}).run(t.Context(), []string{"init", "--data", filepath.Join(dir, name), "--key-type", "p256"}); code != exitDone {
			t.Fatal(name)
		}
	}
	data := folder(filepath.Join(dir, "data"))
	if err := os.RemoveAll(data.tls()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder(filepath.Join(dir, "other")).tls(), data.tls()); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(data.certificate())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened(t, string(data), time.Now().Add(900*24*time.Hour)); !errors.Is(err, certs.ErrOutsideDates) {
		t.Errorf("got %v, want that it is outside its dates", err)
	}
	if now, err := os.ReadFile(data.certificate()); err != nil || !bytes.Equal(now, foreign) {
		t.Error("somebody else's certificate was overwritten")
	}
}

// A clock that runs before the certificate begins is a wrong clock, not a reason
// for a new certificate.
func TestClockBeforeTheCertificate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if code := testApp(&bytes.Buffer{}).run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"}); code != exitDone {
		t.Fatal("init failed")
	}
	if _, err := opened(t, data, time.Now().Add(-48*time.Hour)); err == nil {
		t.Error("opened with a clock from before the certificate")
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"/var/lib/keyreeve": "/var/lib/keyreeve", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "x;y": "'x;y'",
	} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}

// Every code has a meaning, and every answer one of the codes.
func TestExitCodes(t *testing.T) {
	if len(exitMeanings) != exitNotRunning+1 {
		t.Errorf("%d meanings for %d codes", len(exitMeanings), exitNotRunning+1)
	}
	for _, a := range answers {
		if code, _ := judge(fmt.Errorf("opening: %w", a.is)); code != a.code || code == exitDone || exitMeanings[code] == "" {
			t.Errorf("%v: code %d, want %d", a.is, code, a.code)
		}
	}
	if code, hint := judge(errors.New("anything")); code != exitOther || hint != "" {
		t.Errorf("an unknown error: %d %q", code, hint)
	}
}
