package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vmware/govmomi/cli"

	_ "github.com/vmware/govmomi/cli/about"
	_ "github.com/vmware/govmomi/cli/kms"
	_ "github.com/vmware/govmomi/cli/kms/key"
	_ "github.com/vmware/govmomi/cli/object"
	_ "github.com/vmware/govmomi/cli/storage/policy"
	_ "github.com/vmware/govmomi/cli/vm"
)

// govc is VMware's own command line, out of the same version of govmomi that
// the simulator comes from.
func TestMain(m *testing.M) {
	testscript.Main(folder{m}, map[string]func(){
		"keyreeve-lab": main,
		"govc":         func() { os.Exit(cli.Run(os.Args[1:])) },
	})
}

// folder gives the tests, not the commands that scripts call, a place for
// programs.
type folder struct{ *testing.M }

// Run is testing.M's.
func (f folder) Run() int {
	var err error
	if programs, err = os.MkdirTemp("", "keyreeve-lab-test-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(programs) }()
	return f.M.Run()
}

// built is the real program, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "keyreeve")
	build := exec.Command("go", "build", "-o", path, "github.com/keyreeve/keyreeve/cmd/keyreeve")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building keyreeve: %w\n%s", err, out)
	}
	return path, nil
})

var programs string // where it goes

func keyreeve(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The scripts of testdata type the commands as a person does.
func TestScripts(t *testing.T) {
	program := keyreeve(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("GOVC_HOME", env.WorkDir)
			env.Setenv("GOVC_SHOW_UNRELEASED", "true") // kms.key.*
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exports": takeExports, "capture": capture,
		},
	})
}

// takeExports waits for a lab's ready file, and takes over what it exports.
func takeExports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: exports FILE")
	}
	path := ts.MkAbs(args[0])
	var content []byte
	for end := time.Now().Add(30 * time.Second); ; {
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
		fields, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			continue
		}
		for _, pair := range strings.Fields(fields) {
			name, value, _ := strings.Cut(pair, "=")
			ts.Setenv(name, value)
		}
	}
}

// capture puts the last command's output, without the end of line, into a
// variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
