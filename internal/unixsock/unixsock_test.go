package unixsock_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/unixsock"
)

// Bytes get through, whatever the length of the path, and the peer is known.
func TestRoundTrip(t *testing.T) {
	for name, sub := range map[string]string{
		"short": "d",
		"long":  filepath.Join(strings.Repeat("a", 100), strings.Repeat("b", 200)),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), sub)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "admin.sock")
			for range 2 { // the second time after a clean end
				roundTrip(t, path)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left behind: %v", err)
			}
		})
	}
}

func roundTrip(t *testing.T, path string) {
	t.Helper()
	l, err := unixsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	client, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if uid, err := unixsock.PeerUID(server); err != nil || int(uid) != os.Getuid() {
		t.Errorf("peer's user %d, %v; want %d", uid, err, os.Getuid())
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// What a killed server left is replaced; what is no socket is not touched.
func TestListenReplacesOnlySockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	first, err := unixsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() }) // not before: as after a kill, the file is there
	second, err := unixsock.Listen(path)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	_ = second.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := unixsock.Listen(path); err == nil || !strings.Contains(err.Error(), "is in the way") {
		t.Errorf("over a file: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "mine" {
		t.Error("the file was overwritten")
	}
}

func TestDialErrors(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{
		filepath.Join(dir, "none.sock"),
		filepath.Join(dir, strings.Repeat("x", 120), "none.sock"),
	} {
		_, err := unixsock.Dial(context.Background(), path)
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
	if _, err := unixsock.Dial(context.Background(), filepath.Join(dir, strings.Repeat("x", 300))); err == nil {
		t.Error("a name that no folder can hold was dialled")
	}
}
