package adminserver

import (
	"net"
	"net/netip"
	"sync"

	"github.com/keyreeve/keyreeve/internal/peeraddr"
)

// maxPerAddress connections over HTTPS may one IPv4 address or one IPv6 /64 have
// at once. A command line has one, an agent a few; without the bound one stranger
// who is silent on maxConnections keeps every administrator out.
const maxPerAddress = 16

// places counts the connections of each address.
type places struct {
	mu    sync.Mutex
	taken map[netip.Addr]*place
}

type place struct {
	connections int
	told        bool
}

// take gives a connection from address a place, if there is one. news is that
// there was none for the first time since the address had no connection: a flood
// is one line in the log, not one for each.
func (p *places) take(a net.Addr) (ok, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	address := peeraddr.Of(a)
	at := p.taken[address]
	if at == nil {
		if p.taken == nil {
			p.taken = map[netip.Addr]*place{}
		}
		at = &place{}
		p.taken[address] = at
	}
	if at.connections == maxPerAddress {
		news, at.told = !at.told, true
		return false, news
	}
	at.connections++
	return true, false
}

// give takes a place back that take gave.
func (p *places) give(a net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	address := peeraddr.Of(a)
	at := p.taken[address]
	if at.connections--; at.connections == 0 {
		delete(p.taken, address)
	}
}
