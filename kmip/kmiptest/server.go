package kmiptest

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

// A Server is a KMIP server on the loopback, for one test. It is a Target.
type Server struct {
	*Authority
	KMIP *kmipserver.Server
	Log  *Log // what it logs

	addr   string
	served chan error
}

// Options changes what a test server is. The zero value has the defaults of
// the real one.
type Options struct {
	Limits   kmipserver.Limits
	Recorder kmipserver.Recorder
	Metrics  *kmipserver.Metrics
	TLS      func(*tls.Config) // changes the server's side before it starts
	// Authenticate is the server's; see kmipserver.Config.
	Authenticate func(context.Context, *operations.Principal, []kmip.Credential) (user string, err error)
	// Listener is served instead of one on the loopback, such as a PipeListener
	// in a synctest bubble.
	Listener net.Listener
	// Authority is one that was made before, so that a server that is started
	// again is the same to its clients; nil makes one.
	Authority *Authority
}

// Start serves the operations until the test ends. The test fails if the
// server does not shut down within ten seconds then.
func Start(t testing.TB, ops *operations.Operations, o Options) *Server {
	t.Helper()
	authority, err := o.Authority, error(nil)
	if authority == nil {
		authority, err = NewAuthority(t.TempDir())
	}
	if err != nil {
		t.Fatalf("making certificates: %v", err)
	}
	if o.TLS != nil {
		o.TLS(authority.Server)
	}
	s := &Server{Authority: authority, Log: new(Log), served: make(chan error, 1)}
	s.KMIP = kmipserver.New(kmipserver.Config{
		Operations:             ops,
		TLS:                    authority.Server,
		Identify:               authority.identify,
		Authenticate:           o.Authenticate,
		ClassifyHandshakeError: classify,
		Limits:                 o.Limits,
		Logger:                 slog.New(s.Log),
		Metrics:                o.Metrics,
		Recorder:               o.Recorder,
	})
	l := o.Listener
	if l == nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatalf("listening: %v", err)
		}
	}
	s.addr = l.Addr().String()
	go func() { s.served <- s.KMIP.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Errorf("shutting the server down: %v", err)
		}
	})
	return s
}

// Shutdown drains the server; afterwards its log is complete. It may be called
// again.
func (s *Server) Shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.KMIP.Shutdown(ctx); err != nil {
		return err
	}
	err := <-s.served
	s.served <- nil
	return err
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return s.addr }

// ClientTLS is Authority.Client.
func (s *Server) ClientTLS(client string) (*tls.Config, error) { return s.Client(client) }

// Dial connects as the client and completes the handshake.
func (s *Server) Dial(ctx context.Context, client string) (*tls.Conn, error) {
	config, err := s.Client(client)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: config}
	c, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, fmt.Errorf("connecting as %s: %w", client, err)
	}
	return c.(*tls.Conn), nil
}

// identify is what the real server's wiring does: the registry says who a
// certificate stands for, and before each request whether that still holds.
func (a *Authority) identify(state tls.ConnectionState) (kmipserver.Peer, error) {
	id, err := a.Registry.Identify(state.PeerCertificates)
	if err != nil {
		return kmipserver.Peer{}, err
	}
	return kmipserver.Peer{
		Principal: operations.Principal{Client: id.Name, Group: id.Group},
		Current:   func() bool { return a.Registry.Current(id.Name, id.Generation) },
	}, nil
}

func classify(err error) (string, slog.Level, string) {
	kind, message := certs.ClassifyHandshakeError(err)
	return string(kind), kind.Level(), message
}
