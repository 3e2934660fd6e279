package peeraddr

import (
	"net"
	"net/netip"
	"testing"
)

func TestOf(t *testing.T) {
	tests := []struct{ in, want string }{
		{"192.0.2.1:5", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:5", "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::"},
		{"[fe80::1%eth0]:5", "fe80::"},
	}
	for _, tt := range tests {
		got := Of(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tt.in)))
		if got.String() != tt.want {
			t.Errorf("%s counts as %v, expected %s", tt.in, got, tt.want)
		}
	}
	if got := Of(&net.UnixAddr{}); got.IsValid() {
		t.Errorf("a unix socket counts as %v", got)
	}
}
