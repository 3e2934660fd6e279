package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vmware/govmomi/cli"

	_ "github.com/vmware/govmomi/cli/vm"
)

func TestMain(m *testing.M) {
	testscript.Main(folder{m}, map[string]func(){
		"keyreeve-agent": main,
		"govc":           func() { os.Exit(cli.Run(os.Args[1:])) },
	})
}

// folder gives the tests, not the commands that scripts call, a place for
// programs.
type folder struct{ *testing.M }

// Run is testing.M's.
func (f folder) Run() int {
	var err error
	if programs, err = os.MkdirTemp("", "keyreeve-agent-test-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(programs) }()
	return f.M.Run()
}

var programs string // where they are built

// built are the key server and the lab, built once for all tests.
var built = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-o", programs, "github.com/keyreeve/keyreeve/cmd/keyreeve", "github.com/keyreeve/keyreeve/cmd/keyreeve-lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building keyreeve and keyreeve-lab: %w\n%s", err, out)
	}
	return nil
})

// The scripts of testdata type the commands as a person does, at a real key
// server, a vCenter that speaks KMIP to it and OVHcloud's double.
func TestScripts(t *testing.T) {
	if err := built(); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GOVC_HOME", env.WorkDir)
			env.Setenv("PATH", programs+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exports": takeExports, "settings": writeSettings, "capture": capture, "exits": exits,
			"health": health, "metric": metric, "killed": killed,
		},
	})
}

// exits CODE COMMAND... runs a command that must end with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// killed PATTERN COMMAND... runs a command, and kills it, as a power cut would,
// once it has written a line to its standard error that fits.
func killed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: killed PATTERN COMMAND...")
	}
	pattern := regexp.MustCompile(args[0])
	c := exec.Command("/usr/bin/env", args[1:]...) // which looks for it in the script's path
	c.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "KEYREEVE_AGENT_VCENTER_PASSWORD"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	problems, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	said, hit := "", false
	for lines := bufio.NewScanner(problems); lines.Scan(); {
		said += lines.Text() + "\n"
		if pattern.MatchString(lines.Text()) && !hit {
			hit = true
			ts.Check(c.Process.Kill())
		}
	}
	if err := c.Wait(); err == nil || !hit {
		ts.Fatalf("it ended by itself (%v):\n%s", err, said)
	}
}

// takeExports waits for a lab's ready file, and takes over what it exports.
func takeExports(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	var content []byte
	for end := time.Now().Add(time.Minute); ; {
		var err error
		if content, err = os.ReadFile(path); err == nil && len(content) > 0 {
			break
		}
		if time.Now().After(end) {
			ts.Fatalf("the lab did not come up")
		}
		time.Sleep(10 * time.Millisecond)
	}
	for line := range strings.Lines(string(content)) {
		fields, _ := strings.CutPrefix(strings.TrimSpace(line), "export ")
		for _, pair := range strings.Fields(fields) {
			if name, value, ok := strings.Cut(pair, "="); ok {
				ts.Setenv(name, value)
			}
		}
	}
	for _, which := range []string{"", "_2"} {
		host, _, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("GOVC_URL"+which), "https://"), "/")
		ts.Setenv("VCENTER"+which, host)
	}
}

// writeSettings FROM TO puts the values of variables into a file of settings.
func writeSettings(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[1])), []byte(text), 0o600))
}

// capture NAME [PATTERN] puts the last command's output into a variable, or what
// the pattern's group finds in it.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) > 1 {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(value)
		if m == nil {
			ts.Fatalf("nothing fits %s in %s", args[1], value)
		}
		value = m[1]
	}
	ts.Setenv(args[0], value)
}

// health PORT TEXT waits until the agent's health says that.
func health(ts *testscript.TestScript, _ bool, args []string) {
	says(ts, args[0], "/healthz", args[1])
}

// metric PORT LINE waits until the agent has that metric.
func metric(ts *testscript.TestScript, _ bool, args []string) {
	says(ts, args[0], "/metrics", args[1])
}

func says(ts *testscript.TestScript, port, path, want string) {
	last := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			last = err.Error()
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if last = string(text); err == nil && strings.Contains(last, want) {
			return
		}
	}
	ts.Fatalf("%s says %s, want %s", path, last, want)
}
