//go:build !unix

package durable

import "errors"

// lockFile refuses: without a lock two servers could open one store.
func lockFile(string) (*Lock, error) { return nil, errors.ErrUnsupported }
