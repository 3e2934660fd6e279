// Package unixsock listens on and connects to unix sockets by paths of any
// length, and says who is on the other side.
//
// Why: the kernel takes at most 107 bytes of path (sun_path, unix(7)), and says
// no more than "invalid argument" to a longer one. A data folder deep in a tree
// is common, so a long path goes by way of its folder: the folder is opened,
// and /proc/self/fd/N/NAME, which is short, names the same socket.
//
// Trusted: the kernel's word for the peer's user (SO_PEERCRED), which was taken
// when the peer connected.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxPath is the longest path that goes into sun_path with its closing zero.
const maxPath = 107

// ErrTooLong is wrapped when a path is too long and there is no way around.
var ErrTooLong = errors.New("the path of the socket is too long")

// Listen makes the socket with mode 0600. What lies at path is replaced, so the
// caller makes sure first, by a lock, that nobody serves there.
func Listen(path string) (net.Listener, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, bare(err))
	}
	l.SetUnlinkOnClose(false) // by the short name, which leads nowhere later
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &listener{l, path}, nil
}

type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if gone := os.Remove(l.path); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// removeSocket removes what a server that was killed left behind, and nothing
// that is not a socket.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way: it is not a socket", path)
	}
	return os.Remove(path)
}

// Dial connects to the socket at path.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", path, bare(err))
	}
	return conn, nil
}

// bare drops the short name, which tells nobody anything, from an error.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func shorten(path string) (short string, done func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, done, err := shortDir(filepath.Dir(path))
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w (%d bytes; the system takes %d): %w", path, ErrTooLong, len(path), maxPath, err)
	}
	short = dir + "/" + filepath.Base(path)
	if len(short) > maxPath {
		done()
		return "", nil, fmt.Errorf("%s: %w", path, ErrTooLong)
	}
	return short, done, nil
}
