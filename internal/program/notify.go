package program

import (
	"net"
	"strings"
)

// Notify tells the service manager at address, which the variable NOTIFY_SOCKET
// holds, how the program is, as sd_notify(3) does. Without one it does nothing.
func Notify(address, state string) error {
	if address == "" {
		return nil
	}
	if name, abstract := strings.CutPrefix(address, "@"); abstract {
		address = "\x00" + name
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	_ = c.Close()
	return err
}
