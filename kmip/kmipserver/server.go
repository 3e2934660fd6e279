package kmipserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
	"github.com/keyreeve/keyreeve/internal/peeraddr"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

// A Peer is who a connection belongs to, as its certificate says.
type Peer struct {
	// Principal is handed to the store with each request. The server fills in
	// Remote.
	Principal operations.Principal
	// Current tells whether the right that the certificate gave still holds. It
	// is asked before each request, so it must be cheap; false ends the
	// connection. nil means always.
	Current func() bool
}

// Config is what a Server needs. Operations, TLS and Identify are required.
type Config struct {
	Operations *operations.Operations
	// TLS must demand a client certificate and judge it in VerifyConnection,
	// so that who may not enter ends in the handshake, resumed ones too.
	TLS *tls.Config
	// Identify says who the peer of a completed handshake is. Its error ends
	// the connection and is logged as a failed handshake.
	Identify func(tls.ConnectionState) (Peer, error)
	// Authenticate says which user a request is from by its credentials, "" for
	// the client itself. On an error nothing of the message is carried out, and
	// the client is told no more than that; its text goes to the journal and the
	// log, with the user if one is returned with it. It is asked for each message
	// that asks more than Query or Discover Versions, or has credentials. nil
	// ignores credentials.
	Authenticate func(context.Context, *operations.Principal, []kmip.Credential) (user string, err error)
	// ClassifyHandshakeError tells a failed handshake's kind (from a fixed
	// table, for metrics), the level it deserves in the log, and in words what
	// an administrator can do. nil logs the error as it is.
	ClassifyHandshakeError func(error) (kind string, level slog.Level, message string)
	Limits                 Limits
	Logger                 *slog.Logger // nil: slog.Default
	Metrics                *Metrics     // nil: counted for nobody
	Recorder               Recorder     // nil: nothing is recorded
	Now                    func() time.Time
}

// A Server answers KMIP requests. Its methods may be called from several
// goroutines.
type Server struct {
	operations   *operations.Operations
	tls          *tls.Config
	identify     func(tls.ConnectionState) (Peer, error)
	authenticate func(context.Context, *operations.Principal, []kmip.Credential) (string, error)
	classify     func(error) (string, slog.Level, string)
	limits       Limits
	log          *limitedLog
	metrics      *Metrics
	now          func() time.Time
	record       recording

	conns    *connections
	works    sync.Pool // of *work
	deferred deferrals

	ctx    context.Context // of requests under way; ends when they are given up
	cancel context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	closed    atomic.Bool // written under mu
}

// New returns a Server that serves nobody yet. It panics when a required field
// of the Config is missing.
func New(c Config) *Server {
	if c.Operations == nil || c.TLS == nil || c.Identify == nil {
		panic("kmipserver: Operations, TLS and Identify are required")
	}
	s := &Server{
		operations:   c.Operations,
		tls:          c.TLS,
		identify:     c.Identify,
		authenticate: c.Authenticate,
		classify:     c.ClassifyHandshakeError,
		limits:       c.Limits.withDefaults(),
		metrics:      c.Metrics,
		now:          c.Now,
		record:       recording{to: c.Recorder},
		conns:        newConnections(),
		listeners:    map[net.Listener]struct{}{},
	}
	if s.classify == nil {
		s.classify = func(err error) (string, slog.Level, string) {
			return "failed", slog.LevelWarn, err.Error()
		}
	}
	if s.metrics == nil {
		s.metrics = NewMetrics(nil)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s.log = newLimitedLog(c.Logger, s.now)
	s.works.New = func() any { return newWork(s) }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve accepts connections on l, TCP without TLS, until ctx ends or Shutdown
// is called, and returns nil then. It closes l. When ctx ends, connections are
// cut; Shutdown lets requests under way finish.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.addListener(l) {
		_ = l.Close()
		return nil
	}
	defer s.removeListener(l)
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	var pause time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.accept(c)
		case s.closed.Load():
			return nil
		case !temporary(err):
			return fmt.Errorf("accepting connections on %v: %w", l.Addr(), err)
		default:
			// Too many open files, most likely: connections that end make room.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.warn(logKey{kind: "accept"}, "cannot accept a connection now; if this lasts, raise the limit of open files",
				slog.String("error", err.Error()))
			_ = ctxtime.Sleep(s.ctx, pause) // when it ends, so does the loop
		}
	}
}

// temporary tells a failure that passes from a listener that is gone: no more
// files or memory for now, or a client that left before it was accepted.
func temporary(err error) bool {
	for _, passing := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM, syscall.EPROTO} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close()
}

// stopAccepting closes the listeners, for good.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
}

// Shutdown stops accepting, closes connections that have no request under way,
// lets the others answer it, and returns when all have gone. When ctx ends
// first the rest is cut, and ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.conns.close()
	for _, c := range s.conns.list(func(*conn) bool { return true }) {
		c.closeIdle()
	}
	defer s.log.flush()
	select {
	case <-s.conns.empty:
		s.finishDeferred()
		return nil
	case <-ctx.Done():
	}
	s.abort()
	<-s.conns.empty
	return ctx.Err()
}

// abort cuts everything.
func (s *Server) abort() {
	s.stopAccepting()
	s.conns.close()
	s.cancel()
	s.forget(func(*deferral) bool { return true })
	for _, c := range s.conns.list(func(*conn) bool { return true }) {
		c.cut()
	}
}

// CloseClient cuts the connections of a client that was revoked or removed,
// with whatever is under way on them, forgets the operations that it has not
// polled yet, and returns how many connections there were.
func (s *Server) CloseClient(name string) int {
	found := s.conns.list(func(c *conn) bool { p := c.peer.Load(); return p != nil && p.Principal.Client == name })
	for _, c := range found {
		c.cut()
	}
	s.forget(func(d *deferral) bool { return d.owner.client == name })
	return len(found)
}

// accept gives a connection its place and its first goroutine.
func (s *Server) accept(n net.Conn) {
	s.metrics.accepted.Inc()
	if t, ok := n.(*net.TCPConn); ok {
		// Dead peers are found by keep-alive within minutes; answers are one
		// write each, so there is nothing for Nagle's algorithm to gather.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
		_ = t.SetNoDelay(true)
	}
	c := &conn{server: s, net: n, tls: tls.Server(n, s.tls), address: peeraddr.Of(n.RemoteAddr()), remote: n.RemoteAddr().String()}
	victim, limit, ok := s.conns.admit(c, s.limits)
	if limit != "" {
		s.metrics.limit(limit)
		s.log.warn(logKey{address: c.address, kind: limit}, "connection limit reached; a waiting handshake or the new connection was ended",
			slog.String("limit", limit), slog.String("remote", c.remote))
	}
	if victim != nil {
		victim.cut()
	}
	if !ok {
		_ = n.Close()
		return
	}
	s.metrics.connections.Inc()
	go c.handshake()
}
