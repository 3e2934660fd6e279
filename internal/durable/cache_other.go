//go:build !linux

package durable

import "os"

// DropCache does nothing: how such a system treats pages after a failed sync is its own matter.
func DropCache(*os.File) error { return nil }
