package unixsock

import (
	"errors"
	"net"
	"strconv"
	"syscall"
)

// oPath opens a name without reading what it names (open(2), O_PATH).
const oPath = 0x200000

// shortDir returns a short name of dir that holds until done is called.
func shortDir(dir string) (short string, done func(), err error) {
	fd, err := syscall.Open(dir, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), func() { _ = syscall.Close(fd) }, nil
}

// PeerUID returns the user on the other side of a connection that Listen's
// listener accepted.
func PeerUID(conn net.Conn) (uint32, error) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a unix socket")
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sockErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if sockErr != nil {
		return 0, sockErr
	}
	return cred.Uid, nil
}
