//go:build !linux

package unixsock

import (
	"errors"
	"net"
)

func shortDir(string) (string, func(), error) {
	return "", nil, errors.ErrUnsupported
}

// PeerUID is not supported here: the admin socket then refuses everybody.
func PeerUID(net.Conn) (uint32, error) {
	return 0, errors.ErrUnsupported
}
