package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrLocked is returned when another process, or another open of this one, holds the lock.
var ErrLocked = errors.New("in use")

// Lock is an advisory lock (flock) that the kernel drops when the process ends, however it ends.
type Lock struct{ f *os.File }

// LockName is the file in a folder that LockDir locks. It is never removed: removing it would let two processes hold
// locks on two files of that name.
const LockName = "lock"

// LockDir locks dir for this process, without waiting. The error wraps ErrLocked when somebody else holds it, names
// dir, and the holder's process id when the lock file tells it.
func LockDir(dir string) (*Lock, error) {
	l, err := lockFile(filepath.Join(dir, LockName))
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return l, nil
}

// LockFile is LockDir for a lock file of the caller's choice, made with mode 0600 when missing. Its content is
// overwritten, so it is a file of its own and not the one it protects.
func LockFile(path string) (*Lock, error) {
	l, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return l, nil
}

// Unlock gives the lock back; once is enough, nil does nothing.
func (l *Lock) Unlock() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
