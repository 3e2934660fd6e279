// Package peeraddr says by what a peer's connections are counted, for the limits
// of what one of them can take from the others.
//
// Trusted: the kernel's word for where a TCP connection comes from, which a peer
// that completes the three-way handshake cannot forge.
package peeraddr

import (
	"net"
	"net/netip"
)

// Of is what a limit per address counts by: the address, of IPv6 its /64, since
// one host has all of those. It is the zero Addr for what is not TCP.
func Of(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	return addr
}
