//go:build unix

package bolt

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

const lockRetry = 50 * time.Millisecond

// lockFile takes the lock that bbolt will take again on the same open file, where it is ours already.
func lockFile(f *os.File, timeout time.Duration) error {
	for waited := time.Duration(0); ; waited += lockRetry {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if waited >= timeout {
			return durable.ErrLocked
		}
		time.Sleep(lockRetry)
	}
}

// unlockFile is needed besides closing: a mapping that is left keeps the open file, and so its lock, alive.
func unlockFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var unlockErr error
	err = conn.Control(func(fd uintptr) { unlockErr = syscall.Flock(int(fd), syscall.LOCK_UN) })
	return errors.Join(err, unlockErr)
}
