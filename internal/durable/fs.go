// Package durable is the seam between Keyreeve and the disk: files that are written so that a crash leaves the old
// content or the new, and an interface small enough that a model of a disk can take its place in tests.
//
// Why a seam: that a write survives a power cut shows only on a disk that drops what was not synced. A process that is
// killed proves nothing, for the page cache outlives it. So all code of ours that must not lose data takes an FS.
//
// What is trusted: that fdatasync and fsync of a folder tell the truth, and that rename within a folder is atomic.
// A sync that failed once is never repeated to make it succeed: the kernel may have dropped the pages and report
// success the next time. The caller must stop, as the packages audit and keystore do.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// File is an open file. ReadAt and WriteAt are as in package io; the methods may be called from several goroutines
// as long as the ranges written do not overlap.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the content, and the size where it changed, durable (fdatasync). After an error the content on disk
	// is unknown and calling Sync again proves nothing.
	Sync() error
	// Truncate sets the size; bytes added read as zero and have no blocks of their own.
	Truncate(size int64) error
	// Size returns the current size in bytes.
	Size() (int64, error)
	Close() error
	// Name returns the path given to OpenFile.
	Name() string
}

// FS is the part of a file system that we use. Paths are as in package os. A change to a folder (a file created,
// renamed, removed) is durable only after SyncDir of that folder.
type FS interface {
	// OpenFile is os.OpenFile; O_APPEND is not used with WriteAt.
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	// Rename replaces newPath atomically. Both lie in one folder.
	Rename(oldPath, newPath string) error
	// RenameNew is Rename that fails with fs.ErrExist, and changes nothing, when newPath exists.
	RenameNew(oldPath, newPath string) error
	Remove(name string) error
	// SyncDir makes the folder's entries durable.
	SyncDir(dir string) error
	Stat(name string) (fs.FileInfo, error)
	// ReadDir returns the entries sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(path string, perm os.FileMode) error
}

// OS is the real file system. It has no state.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in the interface would not be nil
	}
	return osFile{f}, nil
}

func (osFS) Rename(oldPath, newPath string) error         { return os.Rename(oldPath, newPath) }
func (osFS) RenameNew(oldPath, newPath string) error      { return renameNew(oldPath, newPath) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) MkdirAll(path string, perm os.FileMode) error { return os.MkdirAll(path, perm) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// osFile narrows *os.File to File.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// DropCache is DropCache of the open file, for who wants to read what the disk has.
func (f osFile) DropCache() error { return DropCache(f.File) }

// linkNew is RenameNew in two steps, for systems without an exclusive rename: a hard link never replaces. A crash
// between the steps leaves both names, which is harmless: the old one is a temporary file.
func linkNew(oldPath, newPath string) error {
	if err := os.Link(oldPath, newPath); err != nil {
		return err
	}
	return os.Remove(oldPath)
}

// IsDiskFull reports whether err says that no space, or no quota, is left.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
