// Keyreeve-agent is the key server's companion at a vCenter: it registers the
// server with OVHcloud and vCenter, says which machine uses which key, and
// keeps both true. It holds credentials of both and no key: no code of the key
// store is linked into it.
package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/keyreeve/keyreeve/internal/program"
)

// app is what a command has of the world.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	now      func() time.Time
}

func newApp() *app {
	return &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), now: time.Now}
}

func main() { program.Main(newApp().run) }

// run carries out a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	cmd := a.root()
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	return program.Run(ctx, cmd, args, judge)
}
