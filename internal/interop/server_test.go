//go:build interop || power

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ovh "github.com/ovh/kmip-go"
	"github.com/ovh/kmip-go/kmipclient"

	"github.com/keyreeve/keyreeve/internal/programtest"
)

// The keyreeve under test.
var programs = programtest.New("keyreeve")

func TestMain(m *testing.M) { programs.Main(m, nil) }

// A server is the real binary on a data folder of its own, with one client
// enrolled as its README says.
type server struct {
	program            string
	data, bundle, addr string

	mu   sync.Mutex
	cmd  *exec.Cmd
	log  *bytes.Buffer
	dead chan struct{} // closed when the process has ended
}

// prepare makes the folder and enrols the client, and leaves the server down.
func prepare(t *testing.T) *server {
	t.Helper()
	return prepareIn(t, t.TempDir())
}

func prepareIn(t *testing.T, dir string) *server {
	t.Helper()
	s := &server{program: programs.Path(t, "keyreeve"), data: filepath.Join(dir, "data"), bundle: filepath.Join(dir, "bundle")}
	if out, err := s.run("init", "--host", "127.0.0.1", "--dev"); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	s.launch(t)
	if out, err := s.run("client", "add", "lab", "--out", s.bundle); err != nil {
		t.Fatalf("client add: %v\n%s", err, out)
	}
	s.stop(t)
	return s
}

// start returns a server that serves.
func start(t *testing.T) *server {
	t.Helper()
	s := prepare(t)
	s.launch(t)
	t.Cleanup(func() { s.kill(); s.waitDead(t) })
	return s
}

// run runs a command of keyreeve on the server's data folder.
func (s *server) run(args ...string) (string, error) {
	out, err := exec.Command(s.program, append(args, "--data", s.data)...).CombinedOutput()
	return string(out), err
}

// launch starts the server, under a wrapper such as strace if one is given, and
// waits until it serves.
func (s *server) launch(t *testing.T, wrapper ...string) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	args := append(wrapper, s.program, "server", "--data", s.data, "--listen", "127.0.0.1:0", "--dev", "--ready-file", ready)
	cmd, log, dead := exec.Command(args[0], args[1:]...), &bytes.Buffer{}, make(chan struct{})
	cmd.Env = append(os.Environ(), "KEYREEVE_METRICS_LISTEN=off")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %v: %v (is it installed?)", args[0], err)
	}
	go func() { cmd.Wait(); close(dead) }()
	s.mu.Lock()
	s.cmd, s.log, s.dead = cmd, log, dead
	s.mu.Unlock()
	s.addr = awaitReady(t, ready, log, dead)
}

// awaitReady polls for the file that a serving server writes its address into.
func awaitReady(t *testing.T, path string, log *bytes.Buffer, dead <-chan struct{}) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(path); err == nil && bytes.HasSuffix(b, []byte("\n")) {
			return strings.TrimSpace(string(b))
		}
		select {
		case <-tick.C:
		case <-dead:
			t.Fatalf("the server ended before it served:\n%s", log)
		case <-ctx.Done():
			t.Fatal("the server did not serve within 30 s")
		}
	}
}

func (s *server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Signal(sig)
	}
}

func (s *server) kill() { s.signal(syscall.SIGKILL) }

func (s *server) waitDead(t *testing.T) {
	t.Helper()
	select {
	case <-s.dead:
	case <-time.After(30 * time.Second):
		t.Fatal("the server did not end within 30 s")
	}
}

// stop asks the server to drain and end, and wants success.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.signal(syscall.SIGTERM)
	s.waitDead(t)
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the server ended with status %d after SIGTERM:\n%s", code, s.log)
	}
}

// restart stops what runs and starts it again.
func (s *server) restart(t *testing.T) {
	t.Helper()
	s.signal(syscall.SIGTERM)
	s.waitDead(t)
	s.launch(t)
}

func (s *server) dial(v ovh.ProtocolVersion) (*kmipclient.Client, error) {
	return kmipclient.Dial(s.addr, kmipclient.EnforceVersion(v),
		kmipclient.WithRootCAFile(filepath.Join(s.bundle, "ca.pem")),
		kmipclient.WithClientCertFiles(filepath.Join(s.bundle, "cert.pem"), filepath.Join(s.bundle, "key.pem")))
}
