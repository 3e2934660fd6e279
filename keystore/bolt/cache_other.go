//go:build !linux

package bolt

import "os"

// readFromDisk only syncs: how such a system treats pages after a failed sync is its own matter.
func readFromDisk(f *os.File) error { return f.Sync() }
