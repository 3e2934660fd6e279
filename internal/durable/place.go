package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrTemporary is returned by CheckPermanent for a place that does not keep its content.
var ErrTemporary = errors.New("temporary place")

// CheckPermanent fails with ErrTemporary when path, which need not exist yet, lies in a folder that systems empty
// (/tmp, /var/tmp, /dev/shm, $TMPDIR) or on a file system that lives in memory. Symbolic links are followed. Keys in
// such a place are gone after a restart: that is the mistake others made before us.
func CheckPermanent(path string) error {
	real, err := resolve(path)
	if err != nil {
		return fmt.Errorf("checking where %s lies: %w", path, err)
	}
	for _, dir := range temporaryDirs() {
		if inside(real, dir) {
			return fmt.Errorf("%w: %s lies in %s, which systems empty", ErrTemporary, path, dir)
		}
	}
	existing, err := nearestExisting(real)
	if err != nil {
		return fmt.Errorf("checking where %s lies: %w", path, err)
	}
	name, inMemory, err := fileSystemInMemory(existing)
	if err != nil {
		return fmt.Errorf("checking where %s lies: %w", path, err)
	}
	if inMemory {
		return fmt.Errorf("%w: %s lies on %s, which is memory", ErrTemporary, path, name)
	}
	return nil
}

// Inside reports whether path is dir or lies below it, after following symbolic links in the parts of both that exist.
func Inside(path, dir string) (bool, error) {
	p, err := resolve(path)
	if err != nil {
		return false, err
	}
	d, err := resolve(dir)
	if err != nil {
		return false, err
	}
	return inside(p, d), nil
}

func temporaryDirs() []string {
	dirs := []string{"/tmp", "/var/tmp", "/dev/shm", os.TempDir()}
	for _, d := range dirs {
		if real, err := filepath.EvalSymlinks(d); err == nil && real != d {
			dirs = append(dirs, real)
		}
	}
	return dirs
}

func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolve makes path absolute and follows the links in the part of it that exists.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	existing, err := nearestExisting(abs)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(existing)
	if err != nil {
		return "", err
	}
	return filepath.Join(real, strings.TrimPrefix(abs, existing)), nil
}

// nearestExisting returns abs or the closest folder above it that exists. A dangling link counts as existing, and
// then fails in EvalSymlinks: where it leads cannot be known.
func nearestExisting(abs string) (string, error) {
	for {
		_, err := os.Lstat(abs)
		if err == nil {
			return abs, nil
		}
		parent := filepath.Dir(abs)
		if !errors.Is(err, os.ErrNotExist) || parent == abs {
			return "", err
		}
		abs = parent
	}
}
