package main

import (
	"net"
	"strings"
)

// notify tells the service manager how the server is, as sd_notify(3) does,
// where one has asked for it.
func (a *app) notify(state string) error {
	address := a.env("NOTIFY_SOCKET")
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
