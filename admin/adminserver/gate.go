package adminserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

const (
	maxConnections   = 128 // over HTTPS, at once; a stranger who takes them all is out after handshakeTimeout
	handshakeTimeout = 10 * time.Second
	acceptPause      = 100 * time.Millisecond // when the system has no file descriptor left
)

// A gate is a listener that gives out connections whose handshake is done and
// whose certificate an administrator's record names. The others end here, with
// a line in the log that says who they were.
type gate struct {
	net.Listener
	config *tls.Config
	logger *slog.Logger

	slots  chan struct{}
	places places
	ready  chan net.Conn
	ended  chan struct{}
	err    error // of the listener; set before ended is closed
}

func newGate(l net.Listener, config *tls.Config, logger *slog.Logger) *gate {
	g := &gate{Listener: l, config: config, logger: logger,
		slots: make(chan struct{}, maxConnections), ready: make(chan net.Conn), ended: make(chan struct{})}
	go g.run()
	return g
}

// run accepts without waiting for handshakes, so that a peer that is slow, or
// silent, keeps nobody else out.
func (g *gate) run() {
	defer close(g.ended)
	for {
		g.slots <- struct{}{}
		conn, err := g.Listener.Accept()
		if err != nil {
			<-g.slots
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() && !errors.Is(err, net.ErrClosed) {
				g.logger.Warn("admin API: no connection can be taken for now", "err", err)
				time.Sleep(acceptPause)
				continue
			}
			g.err = err
			return
		}
		if g.placed(conn) {
			go g.handshake(&slotted{Conn: conn, leave: g.leave})
		}
	}
}

// placed ends a connection from an address that has enough of them.
func (g *gate) placed(conn net.Conn) bool {
	ok, news := g.places.take(conn.RemoteAddr())
	if news {
		g.logger.Warn("admin API: connections refused: their address has too many open", "remote", conn.RemoteAddr(), "limit", maxPerAddress)
	}
	if !ok {
		<-g.slots
		_ = conn.Close()
	}
	return ok
}

// leave gives back what a connection took.
func (g *gate) leave(conn net.Conn) {
	g.places.give(conn.RemoteAddr())
	<-g.slots
}

func (g *gate) handshake(raw net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, g.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		level, text := whyNot(err)
		g.logger.Log(ctx, level, "admin API: connection refused", "remote", raw.RemoteAddr(), "why", text)
		_ = raw.Close()
		return
	}
	select {
	case g.ready <- conn:
	case <-g.ended:
		_ = conn.Close()
	}
}

// Accept returns the next connection.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case conn := <-g.ready:
		return conn, nil
	case <-g.ended:
		return nil, g.err
	}
}

// whyNot says why a handshake ended, in terms of administrators.
func whyNot(err error) (slog.Level, string) {
	var refused *certs.RefusedError
	kind, text := certs.ClassifyHandshakeError(err)
	switch {
	case kind == certs.HandshakeNoCertificate:
		text = "no certificate was shown; an administrator's is made with: keyreeve admin add NAME"
	case errors.As(err, &refused):
		text = "the certificate " + refused.Subject + " (SHA-256 " + refused.SHA256 + ") is no administrator's: " + string(refused.Code) +
			"; keyreeve admin list shows who is"
	case kind == certs.HandshakeUntrusted:
		text = "the administrator's side does not trust this server's certificate: the bundle's ca.pem must be this server's, and the name in --server one that its certificate has"
	case kind == certs.HandshakePlaintext:
		text = "the peer does not speak TLS; the admin API is HTTPS"
	}
	return kind.Level(), text
}

// A slotted connection gives its slot back once, when it is closed.
type slotted struct {
	net.Conn
	leave func(net.Conn)
	once  sync.Once
}

func (c *slotted) Close() error {
	c.once.Do(func() { c.leave(c.Conn) })
	return c.Conn.Close()
}

// connections are those of administrators over HTTPS, by name.
type connections struct {
	mu     sync.Mutex
	byConn map[net.Conn]string
}

func (c *connections) add(conn net.Conn, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byConn == nil {
		c.byConn = map[net.Conn]string{}
	}
	c.byConn[conn] = name
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byConn, conn)
}

// cut ends an administrator's connections. Requests under way lose theirs too.
func (c *connections) cut(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, n := range c.byConn {
		if n == name {
			_ = conn.Close()
		}
	}
}
