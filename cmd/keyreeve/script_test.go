package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyreeve/keyreeve/internal/logbuf"
	"github.com/keyreeve/keyreeve/internal/programtest"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
)

// The test binary is the command too: scripts run it as its own process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"keyreeve": main})
}

// TestScripts types what an admin types. Each script has a folder and a home of
// its own, and servers on ports that the system chooses.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Deadline:            time.Now().Add(15 * time.Minute), // a server that should have refused to start runs on
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KEYREEVE_DEV", "true")
			env.Setenv("KEYREEVE_LISTEN", "127.0.0.1:0")
			env.Setenv("KEYREEVE_METRICS_LISTEN", "127.0.0.1:0")
			env.Setenv("KEYREEVE_DATA", filepath.Join(env.WorkDir, "data"))
			env.Setenv("NAME", "evil\x1b[31m\n\u202eend")
			env.Values[serversKey{}] = &servers{running: map[string]*process{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"https":    cmdHTTPS,
			"report":   cmdReport,
			"exits":    programtest.Exits,
			"serve":    cmdServe,
			"signal":   cmdSignal,
			"ended":    cmdEnded,
			"logged":   cmdLogged,
			"as":       cmdAs,
			"device":   cmdDevice,
			"create":   cmdCreate,
			"fetch":    cmdFetch,
			"held":     cmdHeld,
			"retire":   cmdRetire,
			"get":      cmdGet,
			"status":   cmdStatus,
			"mode":     cmdMode,
			"flip":     cmdFlip,
			"cut":      cmdCut,
			"copytree": cmdCopyTree,
			"certify":  cmdCertify,
			"deep":     cmdDeep,
			"absent":   cmdAbsent,
			"nowhere":  cmdNowhere,
			"leak":     cmdLeak,
			"nocore":   cmdNoCore,
			"many":     cmdMany,
			"same":     cmdSame,
			"swapcert": cmdSwapCert,
		},
	})
}

type serversKey struct{}

// servers are the processes of one script.
type servers struct {
	running map[string]*process
	held    *kmipclient.Client // by the command held
}

type process struct {
	cmd  *exec.Cmd
	log  *logbuf.Buffer
	dead chan struct{}
}

// serve NAME [FLAG…] starts a server and sets ADDR to its KMIP address once it
// serves; with "!" the server must end by itself instead.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	name := args[0]
	ready := ts.MkAbs(name + ".ready")
	_ = os.Remove(ready)
	path, err := exec.LookPath("keyreeve")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{"server", "--ready-file", ready}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	p := &process{cmd: cmd, log: &logbuf.Buffer{}, dead: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	ts.Check(cmd.Start())
	go func() { _ = cmd.Wait(); close(p.dead) }()
	ts.Defer(func() { _ = cmd.Process.Kill(); <-p.dead })
	ts.Value(serversKey{}).(*servers).running[name] = p
	if neg {
		p.await(ts, "end", p.dead)
		return
	}
	served := poll(p.dead, func() bool {
		b, err := os.ReadFile(ready)
		if err != nil || !bytes.HasSuffix(b, []byte("\n")) {
			return false
		}
		ts.Setenv("ADDR", strings.TrimSpace(string(b)))
		return true
	})
	if !served {
		ts.Fatalf("the server does not serve:\n%s", p.log)
	}
}

func environment(ts *testscript.TestScript) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "KEYREEVE_DEV", "KEYREEVE_LISTEN", "KEYREEVE_METRICS_LISTEN",
		"KEYREEVE_DATA", "KEYREEVE_LOG_LEVEL", "KEYREEVE_LIMITS_IDLE", "KEYREEVE_ROOT_KEY_FILE", "KEYREEVE_PORT"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

const patience = 30 * time.Second

// poll waits for a process outside of ours, which has no other way to tell.
func poll(dead <-chan struct{}, done func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-dead:
			return done()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (p *process) await(ts *testscript.TestScript, what string, c <-chan struct{}) {
	select {
	case <-c:
	case <-time.After(patience):
		ts.Fatalf("the server did not %s:\n%s", what, p.log)
	}
}

func server(ts *testscript.TestScript, name string) *process {
	p, ok := ts.Value(serversKey{}).(*servers).running[name]
	if !ok {
		ts.Fatalf("no server %q was started", name)
	}
	return p
}

// signal NAME TERM|HUP|KILL
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	sig, ok := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(server(ts, args[0]).cmd.Process.Signal(sig))
}

// ended NAME CODE waits for the end and holds the exit code against CODE.
func cmdEnded(ts *testscript.TestScript, _ bool, args []string) {
	p := server(ts, args[0])
	p.await(ts, "end", p.dead)
	if strings.Contains(p.log.String(), "goroutine ") {
		ts.Fatalf("a panic:\n%s", p.log)
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, want %s\n%s", got, args[1], p.log)
	}
}

// logged NAME TEXT waits until the server has logged it; with "!" it must not
// have by now.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	p, text := server(ts, args[0]), args[1]
	if neg {
		if strings.Contains(p.log.String(), text) {
			ts.Fatalf("logged:\n%s", p.log)
		}
		return
	}
	if !poll(p.dead, func() bool { return strings.Contains(p.log.String(), text) }) {
		ts.Fatalf("not logged: %s\n%s", text, p.log)
	}
}
