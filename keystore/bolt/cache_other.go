//go:build !linux

package bolt

import "os"

// dropCache does nothing: how such a system treats pages after a failed sync is its own matter.
func dropCache(*os.File) error { return nil }
