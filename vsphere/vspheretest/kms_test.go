package vspheretest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// stubborn is a key server that serves nobody, and does not end when it is told to.
const stubborn = `#!/bin/sh
case "$1" in
init) mkdir "$KEYREEVE_DATA" ;;
backup) echo age1nobody ;;
server) trap '' TERM; echo ready >"$5"; echo "deaf on this ear" >&2; exec sleep 60 ;;
esac
`

// A server that does not end is killed, and said to be so; nothing waits for it
// for ever.
func TestServerThatDoesNotEnd(t *testing.T) {
	was := *vspheretest.StopTimeout
	*vspheretest.StopTimeout = 300 * time.Millisecond
	defer func() { *vspheretest.StopTimeout = was }()
	dir := t.TempDir()
	program := filepath.Join(dir, "stubborn")
	if err := os.WriteFile(program, []byte(stubborn), 0o700); err != nil {
		t.Fatal(err)
	}
	k, err := vspheretest.NewKMS(t.Context(), program, dir, "127.0.0.1:5696")
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(k.Log(), "deaf") {
		time.Sleep(time.Millisecond)
	}
	if err := k.Stop(); err == nil || !strings.Contains(err.Error(), "did not end") || !strings.Contains(err.Error(), "deaf on this ear") {
		t.Errorf("it ended with %v", err)
	}
	if err := k.Stop(); err != nil {
		t.Errorf("stopped again: %v", err)
	}
}
