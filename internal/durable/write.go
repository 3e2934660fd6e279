package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tempMark is in the name of every temporary file of WriteFile and CreateFile.
const tempMark = ".keyreeve-tmp-"

// WriteFile puts data at path, replacing what is there. After nil the content is durable. After an error path holds
// the old content or the new, whole in either case; a crash may leave a temporary file beside it (see RemoveTemp).
//
// The expected system calls, in order: openat(temp, O_WRONLY|O_CREAT|O_EXCL), pwrite64, fdatasync, close,
// rename(temp, path), openat(folder), fsync(folder), close.
func WriteFile(fsys FS, path string, data []byte, perm os.FileMode) error {
	return writeThen(fsys, path, data, perm, fsys.Rename)
}

// CreateFile is WriteFile that fails with an error wrapping fs.ErrExist when path exists, and leaves that file as it
// is: of two racing creators exactly one wins.
//
// The expected system calls are those of WriteFile with renameat2(temp, path, RENAME_NOREPLACE) for rename.
func CreateFile(fsys FS, path string, data []byte, perm os.FileMode) error {
	return writeThen(fsys, path, data, perm, fsys.RenameNew)
}

func writeThen(fsys FS, path string, data []byte, perm os.FileMode, move func(string, string) error) error {
	dir, base := filepath.Split(path)
	if base == "" {
		return fmt.Errorf("writing %q: not a file name", path)
	}
	temp := filepath.Join(dir, "."+base+tempMark+suffix())
	if err := writeTemp(fsys, temp, data, perm); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), removeQuietly(fsys, temp))
	}
	if err := move(temp, path); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), removeQuietly(fsys, temp))
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("writing %s: syncing the folder: %w", path, err)
	}
	return nil
}

func writeTemp(fsys FS, temp string, data []byte, perm os.FileMode) error {
	f, err := fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// removeQuietly reports only what the reader of the first error does not know: that a temporary file stayed behind.
func removeQuietly(fsys FS, temp string) error {
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the temporary file: %w", err)
	}
	return nil
}

func suffix() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// IsTemp reports whether name (without folder) is that of a temporary file of this package.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, tempMark)
}

// RemoveTemp removes the temporary files that crashes left in dir. Call it only while holding the folder's lock:
// another process may be between its write and its rename.
func RemoveTemp(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clearing temporary files: %w", err)
	}
	for _, e := range entries {
		if !IsTemp(e.Name()) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("clearing temporary files: %w", err)
		}
	}
	return nil
}

// ErrTooLarge is returned by ReadFile for a file above its limit.
var ErrTooLarge = errors.New("file is larger than expected")

// ReadFile returns the content of path, at most limit bytes: a wrong path must not fill the memory.
func ReadFile(fsys FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if size > limit {
		return nil, fmt.Errorf("reading %s: %w: %d bytes, limit %d", path, ErrTooLarge, size, limit)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(data)) {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}
