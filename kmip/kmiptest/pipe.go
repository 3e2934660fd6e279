package kmiptest

import (
	"net"
	"net/netip"
	"sync"
)

// A PipeListener is a network in memory, for tests whose time is synctest's:
// its connections are net.Pipes, which know deadlines but no buffers.
type PipeListener struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// NewPipeListener returns one that is listening.
func NewPipeListener() *PipeListener {
	return &PipeListener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects from the address; the server sees it as the remote one.
func (l *PipeListener) Dial(from netip.Addr) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.accept <- pipeConn{far, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))}:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Accept is part of net.Listener; everything below is.
func (l *PipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial.
func (l *PipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is an address that nobody can connect to.
func (l *PipeListener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:5696"))
}

type pipeConn struct {
	net.Conn
	remote net.Addr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.remote }
