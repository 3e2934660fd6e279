//go:build !linux

package durable

import "os"

func datasync(f *os.File) error { return f.Sync() }

func renameNew(oldPath, newPath string) error { return linkNew(oldPath, newPath) }

func fileSystemInMemory(string) (name string, inMemory bool, err error) { return "", false, nil }
