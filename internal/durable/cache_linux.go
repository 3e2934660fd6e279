package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// DropCache makes the kernel forget its copy of the file. After a sync that failed, Linux keeps pages that the disk
// does not have and calls them clean: a later process would read them, and build on a commit that a power cut takes
// back.
func DropCache(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var adviseErr error
	if err := conn.Control(func(fd uintptr) { adviseErr = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED) }); err != nil {
		return err
	}
	return adviseErr
}
