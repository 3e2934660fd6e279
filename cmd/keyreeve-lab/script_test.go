package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	testscript.Main(m, map[string]func(){
		"keyreeve-lab": main,
		"govc":         func() { os.Exit(cli.Run(os.Args[1:])) },
	})
}

// keyreeve builds the real program, once.
func keyreeve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keyreeve-lab-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "keyreeve")
	build := exec.Command("go", "build", "-o", path, "github.com/keyreeve/keyreeve/cmd/keyreeve")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building keyreeve: %v\n%s", err, out)
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
