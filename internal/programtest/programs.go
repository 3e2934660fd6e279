// Package programtest builds our programs for tests that run them as processes,
// and has the commands that the scripts of several programs share.
package programtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

const module = "github.com/keyreeve/keyreeve/cmd/"

// Programs are programs below cmd that the tests of one package run. They are
// built once, when the first test asks. Main must have been called.
type Programs struct {
	names []string
	dir   string
	build func() error
}

// New names them.
func New(names ...string) *Programs {
	p := &Programs{names: names}
	p.build = sync.OnceValue(p.compile)
	return p
}

// Main is for a TestMain: it runs the tests, or the command as which a script
// called the test binary, and exits.
func (p *Programs) Main(m *testing.M, commands map[string]func()) {
	testscript.Main(place{m, p}, commands)
}

// place gives the tests, not the commands that scripts call, a folder.
type place struct {
	*testing.M
	programs *Programs
}

// Run is testing.M's.
func (r place) Run() int {
	dir, err := os.MkdirTemp("", "keyreeve-programs-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r.programs.dir = dir
	return r.M.Run()
}

// Dir is the folder that they are in.
func (p *Programs) Dir(t testing.TB) string {
	t.Helper()
	if err := p.build(); err != nil {
		t.Fatal(err)
	}
	return p.dir
}

// Path is the path of one of them.
func (p *Programs) Path(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(p.Dir(t), name)
}

func (p *Programs) compile() error {
	args := []string{"build", "-o", p.dir + string(os.PathSeparator)}
	for _, name := range p.names {
		args = append(args, module+name)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", p.names, err, out)
	}
	return nil
}
