// Keyreeve is a key management server for KMIP over mutual TLS, and the command
// line of its admin.
package main

import (
	"context"
	"io"
	"time"

	"github.com/keyreeve/keyreeve/internal/program"
)

// app is what a command has of the world.
type app struct {
	program  string // as it was called
	in       io.Reader
	out, err io.Writer
	environ  []string
	now      func() time.Time
	rand     io.Reader // of certificates
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
