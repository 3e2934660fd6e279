// Keyreeve-lab is a whole lab in one command: a real keyreeve server, vCenters
// that are simulated and speak real KMIP to it, and a double of OVHcloud's API
// with its firewall between them. For demonstrations, and for the tests of
// programs that deal with vSphere VM encryption.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// app is what the program has of the world.
type app struct {
	out, err io.Writer
	program  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	a := &app{out: os.Stdout, err: os.Stderr, program: os.Args[0]}
	os.Exit(a.run(ctx, os.Args[1:]))
}
