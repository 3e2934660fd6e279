package bolt

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// readFromDisk makes the kernel forget its copy of the file. After a sync that failed, Linux keeps pages that the disk
// does not have and calls them clean: a later process would read them, and build on a commit that a power cut takes
// back. Pages that were not written yet are synced first, and an error then is the disk's last word.
func readFromDisk(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := conn.Control(func(fd uintptr) {
		if syncErr = unix.Fdatasync(int(fd)); syncErr == nil {
			syncErr = unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED)
		}
	}); err != nil {
		return err
	}
	if syncErr != nil {
		return fmt.Errorf("syncing what an earlier process left: %w", syncErr)
	}
	return nil
}
