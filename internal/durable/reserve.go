package durable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const reserveStep = 1 << 20 // bytes written at a time

// EnsureReserve makes sure that path is a file of size bytes of real blocks, which ReleaseReserve gives back when the
// disk is full, so that a Revoke can still be written. The content is random: a file system that compresses or
// leaves out zeros would reserve nothing. A file of that size is left alone. When the disk is too full to hold it,
// the part written is removed and the error returned.
func EnsureReserve(fsys FS, path string, size int64) error {
	if info, err := fsys.Stat(path); err == nil && info.Size() == size {
		return nil
	}
	if err := writeReserve(fsys, path, size); err != nil {
		return errors.Join(fmt.Errorf("reserving %d bytes of disk: %w", size, err), removeQuietly(fsys, path))
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("reserving %d bytes of disk: %w", size, err)
	}
	return nil
}

func writeReserve(fsys FS, path string, size int64) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{}) // no secret: it only must not compress
	buf := make([]byte, reserveStep)
	for off := int64(0); off < size; off += reserveStep {
		_, _ = noise.Read(buf)
		if _, err := f.WriteAt(buf[:min(reserveStep, size-off)], off); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReleaseReserve removes the reserve and reports whether there was one to remove, and so whether trying again what
// failed on the full disk makes sense.
func ReleaseReserve(fsys FS, path string) (released bool, err error) {
	err = fsys.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("releasing the disk reserve: %w", err)
	}
	return true, fsys.SyncDir(filepath.Dir(path))
}
