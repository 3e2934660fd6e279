// Keyreeve is a key management server for KMIP over mutual TLS, and the command
// line of its admin.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	a := newApp()
	os.Exit(a.run(ctx, os.Args[1:]))
}

// run carries out a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	if err := cmd.ExecuteContext(ctx); err != nil {
		return a.fail(err)
	}
	return exitDone
}
