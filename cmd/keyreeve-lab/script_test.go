package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vmware/govmomi/cli"

	_ "github.com/vmware/govmomi/cli/about"
	_ "github.com/vmware/govmomi/cli/kms"
	_ "github.com/vmware/govmomi/cli/kms/key"
	_ "github.com/vmware/govmomi/cli/object"
	_ "github.com/vmware/govmomi/cli/storage/policy"
	_ "github.com/vmware/govmomi/cli/vm"

	"github.com/keyreeve/keyreeve/internal/programtest"
)

var programs = programtest.New("keyreeve", "keyreeve-lab")

// govc is VMware's own command line, out of the same version of govmomi that
// the simulator comes from.
func TestMain(m *testing.M) {
	programs.Main(m, map[string]func(){
		"keyreeve-lab": main,
		"govc":         func() { os.Exit(cli.Run(os.Args[1:])) },
	})
}

// The scripts of testdata type the commands as a person does.
func TestScripts(t *testing.T) {
	path := programs.Dir(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", path+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("GOVC_HOME", env.WorkDir)
			env.Setenv("GOVC_SHOW_UNRELEASED", "true") // kms.key.*
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exports": programtest.Exports, "capture": programtest.Capture,
		},
	})
}
