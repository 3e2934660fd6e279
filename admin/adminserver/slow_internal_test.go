package adminserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// A pipeListener hands out the other ends of pipes.
type pipeListener struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn { return l.dialFrom("192.0.2.1") }

func (l *pipeListener) dialFrom(address string) net.Conn {
	here, there := net.Pipe()
	l.conns <- &from{there, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(address), 1))}
	return here
}

// from is a connection that comes from an address.
type from struct {
	net.Conn
	remote net.Addr
}

func (f *from) RemoteAddr() net.Addr { return f.remote }

// A peer that is slow at any point is gone after that point's time, on a clock
// that the test turns.
func TestSlowPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, config := slowServer(t)
		for _, tc := range []struct {
			name  string
			hello bool   // with a handshake
			sent  string // after it
			gone  time.Duration
		}{
			{"silent before the handshake", false, "", handshakeTimeout},
			{"half a TLS record", false, "\x16\x03\x01", handshakeTimeout},
			{"half a header", true, "GET /v1/status HTTP/1.1\r\nHost:", headerTimeout},
			{"half a body", true, "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", readTimeout},
			{"idle", true, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
		} {
			began := time.Now()
			var conn net.Conn = l.dial()
			if tc.hello {
				conn = tls.Client(conn, config)
			}
			if tc.sent != "" {
				if _, err := io.WriteString(conn, tc.sent); err != nil {
					t.Fatalf("%s: %v", tc.name, err)
				}
			}
			_, _ = io.Copy(io.Discard, conn) // until the server hangs up
			if took := time.Since(began); took < tc.gone || took > tc.gone+time.Second {
				t.Errorf("%s: hung up after %v, want %v", tc.name, took, tc.gone)
			}
			_ = conn.Close()
		}
	})
}

// Peers that take all slots and say nothing keep others out for one handshake's time, not longer.
func TestManySilentPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, config := slowServer(t)
		for i := range maxConnections {
			conn := l.dialFrom(fmt.Sprintf("198.51.100.%d", 1+i/maxPerAddress))
			defer func() { _ = conn.Close() }()
		}
		began := time.Now()
		conn := tls.Client(l.dial(), config)
		defer func() { _ = conn.Close() }()
		if err := conn.Handshake(); err != nil || time.Since(began) > handshakeTimeout+time.Second {
			t.Errorf("an administrator waited %v: %v", time.Since(began), err)
		}
	})
}

// One address cannot take the places of the others, however many connections it
// opens; and it has its own again once it has closed some.
func TestManyConnectionsFromOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, config := slowServer(t)
		greets := func(conn net.Conn) error {
			defer func() { _ = conn.Close() }()
			return tls.Client(conn, config).Handshake()
		}
		var silent []net.Conn
		for i := range 2 * maxConnections {
			conn := l.dialFrom(fmt.Sprintf("2001:db8::%x", 1+i)) // one /64
			defer func() { _ = conn.Close() }()
			silent = append(silent, conn)
		}
		began := time.Now()
		if err := greets(l.dialFrom("2001:db8::ffff")); err == nil {
			t.Error("the address that has too many got one more")
		}
		if err := greets(l.dialFrom("2001:db8:0:1::1")); err != nil || time.Since(began) > time.Second {
			t.Errorf("another address waited %v: %v", time.Since(began), err)
		}
		for _, conn := range silent {
			_ = conn.Close()
		}
		synctest.Wait()
		if err := greets(l.dialFrom("2001:db8::1")); err != nil || time.Since(began) > time.Second {
			t.Errorf("the address waited %v for a place that it gave back: %v", time.Since(began), err)
		}
	})
}

// slowServer serves over pipes; config is an administrator's.
func slowServer(t *testing.T) (*pipeListener, *tls.Config) {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	ca, err := certs.NewCA(time.Now, rand.Reader)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	check(err)
	issued, err := ca.SignCSR(certs.ClientRequest{Name: "olga", Group: "operator"}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	check(err)
	admins, err := certs.NewRegistry(ca.Certificate(), []certs.Client{issued.Client}, time.Now)
	check(err)
	server, err := ca.IssueServer(certs.ServerRequest{Hosts: []string{"kms"}, KeyType: certs.P256})
	check(err)
	dir := t.TempDir()
	check(certs.WriteServer(dir, server))
	reloader, err := certs.NewReloader(dir, time.Now)
	check(err)
	s := New(Config{Admins: admins})
	l := &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, certs.ServerConfig(reloader, admins, certs.Options{})) }()
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(fmt.Errorf("serving: %w", err))
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	return l, &tls.Config{RootCAs: roots, ServerName: "kms", Certificates: []tls.Certificate{{Certificate: [][]byte{issued.Certificate.Raw}, PrivateKey: key}}}
}
