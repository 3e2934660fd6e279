package program

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal tells whether a person is at the other end of a file.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
