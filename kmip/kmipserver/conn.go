package kmipserver

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A conn is one connection. Its fields belong to its goroutine, the handshake's
// first and then the serving one, unless they say otherwise.
type conn struct {
	server  *Server
	net     net.Conn // for cut, from any goroutine
	tls     *tls.Conn
	address netip.Addr
	remote  string

	peer    atomic.Pointer[Peer] // set once, when the handshake is complete
	busy    atomic.Int32         // one of idle, busy, gone
	evicted atomic.Bool          // ended to make room

	header [ttlv.HeaderSize]byte // all that an idle connection holds of a message

	recorded uint64 // its name in the recording

	abrupt bool // the peer broke a limit and gets no goodbye, which it could hold up

	older, newer *conn // under connections.mu
	pending      bool
}

// Whether a request is under way. A connection goes from idle to busy and back
// by its own goroutine, and from idle to gone by Shutdown: so a request that
// has begun is answered, and one that begins later is not taken.
const (
	stateIdle int32 = iota
	stateBusy
	stateGone
)

// closeIdle closes the connection unless a request is under way.
func (c *conn) closeIdle() {
	if c.busy.CompareAndSwap(stateIdle, stateGone) {
		c.cut()
	}
}

// cut closes the connection under whatever happens on it.
func (c *conn) cut() { _ = c.net.Close() }

// end gives the connection's place back.
func (c *conn) end() {
	if c.abrupt {
		c.cut()
	} else {
		_ = c.tls.Close()
	}
	c.server.metrics.connections.Dec()
	c.server.conns.remove(c)
}

// handshake runs on a goroutine of its own, because crypto/tls and x509 need a
// deep stack for it, and the goroutine that serves may live for days on a small
// one.
func (c *conn) handshake() {
	served := false
	defer func() {
		if v := recover(); v != nil {
			c.server.panicked("handshake", v)
		}
		if !served {
			c.end()
		}
	}()
	s := c.server
	_ = c.net.SetDeadline(time.Now().Add(s.limits.Handshake))
	if err := c.tls.Handshake(); err != nil {
		c.handshakeFailed(err)
		return
	}
	peer, err := s.identify(c.tls.ConnectionState())
	if err != nil {
		c.handshakeFailed(err)
		return
	}
	peer.Principal.Remote = c.remote
	c.peer.Store(&peer)
	_ = c.net.SetDeadline(time.Time{})
	if !s.conns.settle(c) {
		return
	}
	s.metrics.handshake("complete")
	served = true
	go c.serve()
}

// handshakeFailed counts it and writes the one line. What a bare port check or
// a first contact without certificate deserves is no warning; the classifier
// says so.
func (c *conn) handshakeFailed(err error) {
	s := c.server
	c.abrupt = true // crypto/tls has sent its alert
	if c.evicted.Load() {
		s.metrics.handshake("evicted")
		return
	}
	kind, level, message := s.classify(err)
	s.metrics.handshake(kind)
	attrs := []slog.Attr{slog.String("remote", c.remote), slog.String("kind", kind), slog.String("reason", message)}
	if certs := c.tls.ConnectionState().PeerCertificates; len(certs) > 0 {
		sum := sha256.Sum256(certs[0].Raw)
		fingerprint := strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":") // as everywhere, so that it can be searched for
		if !strings.Contains(message, fingerprint) {
			attrs = append(attrs, slog.String("subject", clip(certs[0].Subject.String(), 256)), slog.String("sha256", fingerprint))
		}
	}
	what := "TLS handshake failed"
	if level < slog.LevelWarn {
		what = "connection ended without a client" // nothing has failed
	}
	s.log.log(level, logKey{address: c.address, kind: kind}, what, attrs...)
}

// clip shortens what a peer could make long.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	defer c.end()
	defer func() {
		if v := recover(); v != nil {
			c.server.panicked("request", v)
		}
	}()
	c.recorded = c.server.record.connected(&c.peer.Load().Principal, c.tls.ConnectionState().Version)
	defer c.server.record.closed(c.recorded)
	wait, limit := c.server.limits.FirstByte, limitFirstByte
	for c.next(wait, limit) {
		wait, limit = c.server.limits.Idle, ""
	}
}

// next serves one request, and tells whether to go on.
func (c *conn) next(wait time.Duration, limit string) bool {
	s := c.server
	_ = c.tls.SetReadDeadline(time.Now().Add(wait))
	n, err := c.tls.Read(c.header[:])
	if n == 0 {
		c.ended(err, limit)
		return false
	}
	if !c.busy.CompareAndSwap(stateIdle, stateBusy) {
		return false
	}
	_ = c.tls.SetReadDeadline(time.Now().Add(s.limits.Request))
	request, err := c.read(n)
	if err != nil {
		s.record.unreadable(c.recorded, n, err)
		c.unreadable(err)
		return false
	}
	return c.answer(request) && c.busy.CompareAndSwap(stateBusy, stateIdle) && !s.closed.Load()
}

// read reads the rest of a message of which n bytes are in the header array.
func (c *conn) read(n int) (*buffer, error) {
	if _, err := io.ReadFull(c.tls, c.header[n:]); err != nil {
		return nil, err
	}
	return readFrame(c.tls, c.header[:], c.server.limits.MessageSize)
}

// answer does what the request asks and sends the answer.
func (c *conn) answer(request *buffer) bool {
	s, peer := c.server, c.peer.Load()
	defer request.release(nil)
	if peer.Current != nil && !peer.Current() {
		s.log.info(logKey{address: c.address, kind: "not-current"}, "connection ended: the client's right has changed since the handshake",
			slog.String("remote", c.remote), slog.String("client", peer.Principal.Client))
		return false
	}
	s.record.received(c.recorded, request.data)
	response := takeBuffer(responseRoom(len(request.data)))
	out, open := s.handle(s.ctx, &peer.Principal, request.data, response.data)
	defer func() { response.release(out) }()
	s.record.sent(c.recorded, out)
	if len(out) == 0 {
		return false
	}
	_ = c.tls.SetWriteDeadline(time.Now().Add(s.limits.Write))
	if _, err := c.tls.Write(out); err != nil {
		c.abrupt = true
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.metrics.limit(limitWriteTime)
		}
		return false
	}
	return open
}

// responseRoom is the room that an answer gets at first: enough for a batch of
// Gets, so that the answer seldom has to move to a larger buffer, which leaves
// a copy behind that only the garbage collector clears.
func responseRoom(request int) int { return max(1<<10, min(2*request, 1<<16)) }

// ended counts a connection that said nothing for too long. One that closes
// between requests, or sends none at all, is a client that is done: vCenter
// checks a server by a bare handshake every five minutes.
func (c *conn) ended(err error, limit string) {
	if errors.Is(err, os.ErrDeadlineExceeded) && limit != "" {
		c.server.metrics.limit(limit)
	}
}

// unreadable says what was wrong with a message that did not arrive whole.
func (c *conn) unreadable(err error) {
	s := c.server
	c.abrupt = true
	report := func(kind, message string) {
		s.log.warn(logKey{address: c.address, kind: kind}, message, slog.String("remote", c.remote),
			slog.String("client", c.peer.Load().Principal.Client))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.limit(limitRequestTime)
		report(limitRequestTime, fmt.Sprintf("connection ended: a request did not arrive within %v", s.limits.Request))
	case errors.Is(err, errTooLong):
		s.metrics.limit(limitMessageSize)
		report(limitMessageSize, "connection ended: "+err.Error())
	case errors.Is(err, errNotKMIP):
		s.metrics.malformed.Inc()
		report("not-kmip", "connection ended: the client sends what is no KMIP request in TTLV")
	}
}

// panicked contains a defect to one connection. The value of a panic may quote
// what was being worked on, so only the runtime's own are printed.
func (s *Server) panicked(where string, v any) {
	s.metrics.panics.Inc()
	what := fmt.Sprintf("%T", v)
	if r, ok := v.(runtime.Error); ok {
		what = r.Error()
	}
	s.log.error(logKey{kind: "panic"}, "a defect in the server ended a connection; please report it",
		slog.String("where", where), slog.String("panic", what), slog.Any("stack", stack()))
}

// stack lists the functions that led here, without their arguments.
func stack() []string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])])
	var lines []string
	for {
		f, more := frames.Next()
		lines = append(lines, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return lines
		}
	}
}
