// Keyreeve-lab is a whole lab in one command: a real keyreeve server, vCenters
// that are simulated and speak real KMIP to it, and a double of OVHcloud's API
// with its firewall between them. For demonstrations, and for the tests of
// programs that deal with vSphere VM encryption.
package main

import (
	"io"
	"os"

	"github.com/keyreeve/keyreeve/internal/program"
)

// app is what the program has of the world.
type app struct {
	out, err io.Writer
}

func main() { program.Main((&app{out: os.Stdout, err: os.Stderr}).run) }
