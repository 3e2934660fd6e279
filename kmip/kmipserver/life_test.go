package kmipserver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
)

func newPipe() *kmiptest.PipeListener { return kmiptest.NewPipeListener() }

// TestShutdownDrains: a request that has begun is answered, idle connections
// and handshakes end at once, and newcomers find the door closed.
func TestShutdownDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		busy, idle, silent := r.dial("a", home), r.dial("b", home), r.raw(home)
		mustWrite(t, busy, discover()[:10])
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- r.KMIP.Shutdown(context.Background()) }()
		synctest.Wait()
		wantClosed(t, idle)
		wantClosed(t, silent)
		if _, err := r.listener.Dial(home); err == nil {
			t.Error("a newcomer was let in")
		}
		select {
		case err := <-done:
			t.Fatalf("Shutdown returned %v with a request under way", err)
		default:
		}
		mustWrite(t, busy, discover()[10:])
		wantSuccess(t, receive(t, busy))
		wantClosed(t, busy)
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		r.noWarnings()
	})
}

// TestShutdownGivesUp: a client cannot hold the server up beyond the context.
func TestShutdownGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		mustWrite(t, c, discover()[:10])
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := r.KMIP.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
		wantClosed(t, c)
	})
}

// TestRevokedClient: CloseClient ends open connections, and without it the next
// request does; handshakes are refused, resumed ones too. Other clients do not
// notice.
func TestRevokedClient(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, kmipserver.Limits{})
				cache := tls.NewLRUClientSessionCache(4)
				resume := func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = version, cache }
				wantSuccess(t, exchange(t, r.dial("eve", home, resume), discover()))
				closedAtOnce, atNext, other := r.dial("eve", home, resume), r.dial("eve", home, resume), r.dial("bob", home)
				if !closedAtOnce.ConnectionState().DidResume {
					t.Fatal("the session was not resumed, so this test shows nothing")
				}
				wantSuccess(t, exchange(t, atNext, discover()))
				synctest.Wait() // a client is done with a resumed handshake before the server is
				if err := r.Revoke("eve"); err != nil {
					t.Fatal(err)
				}
				mustWrite(t, atNext, discover())
				wantClosed(t, atNext)
				synctest.Wait()
				if n := r.KMIP.CloseClient("eve"); n != 2 {
					t.Errorf("CloseClient ended %d connections, expected 2", n)
				}
				wantClosed(t, closedAtOnce)
				if c, err := r.try("eve", home, resume); err == nil {
					// In TLS 1.3 the client's side is done before the server has judged it.
					wantClosed(t, c)
				}
				synctest.Wait()
				wantSuccess(t, exchange(t, other, discover()))
				lines := r.Log.Lines(slog.LevelWarn)
				if len(lines) != 1 || !strings.Contains(lines[0].Text, "was revoked") {
					t.Errorf("logged %v, expected the refused handshake", lines)
				}
			})
		})
	}
}

// TestProbesAreNoErrors: what vCenter and load balancers do to see whether
// somebody is there leaves no warning, and is counted.
func TestProbesAreNoErrors(t *testing.T) {
	tests := []struct {
		name, outcome string
		probe         func(r *rig)
	}{
		{"TCP only", "closed", func(r *rig) { _ = r.raw(home).Close() }},
		{"bare handshake", "complete", func(r *rig) { _ = r.dial("vcenter", home).Close() }},
		{"bare handshake, cut", "complete", func(r *rig) { _ = r.dial("vcenter", home).NetConn().Close() }},
		{"no certificate in TLS 1.2", "no-certificate", func(r *rig) {
			if _, err := r.try("none", home, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err == nil {
				r.t.Error("a client without certificate was let in")
			}
		}},
		{"no certificate in TLS 1.3", "no-certificate", func(r *rig) {
			c, err := r.try("none", home)
			if err == nil {
				wantClosed(r.t, c)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, kmipserver.Limits{})
				tt.probe(r)
				synctest.Wait()
				r.noWarnings()
				r.wantMetric("handshakes_total", tt.outcome, 1)
				time.Sleep(11 * time.Second)
				synctest.Wait()
				r.wantMetric("connections", "", 0)
			})
		})
	}
}

// TestRefusedHandshakeIsLogged: one line with the address, the certificate, and
// what to do.
func TestRefusedHandshakeIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		if _, err := r.try("stranger", home, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err == nil {
			t.Fatal("a stranger was let in")
		}
		synctest.Wait()
		lines := r.Log.Lines(slog.LevelWarn)
		if len(lines) != 1 {
			t.Fatalf("logged %v, expected one line", lines)
		}
		for _, want := range []string{"remote=192.0.2.10:40000", "kmipClient", "SHA-256 ", "keyreeve client add"} {
			if !strings.Contains(lines[0].Text, want) {
				t.Errorf("the line does not have %q: %s", want, lines[0].Text)
			}
		}
		if n := strings.Count(lines[0].Text, "kmipClient"); n != 1 {
			t.Errorf("the line says %d times whose certificate it is: %s", n, lines[0].Text)
		}
	})
}

// TestScannerCannotFillTheLog: after ten lines a minute of one kind and address
// there is a sum, and others' lines are still written.
func TestScannerCannotFillTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		scan := func(from netip.Addr) {
			_, _ = r.try("stranger", from, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
			synctest.Wait()
		}
		for range 50 {
			scan(home)
		}
		scan(netip.MustParseAddr("192.0.2.77"))
		if n := len(r.Log.Lines(slog.LevelWarn)); n != 11 {
			t.Errorf("%d lines, expected 10 and another's one", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		lines := r.Log.Lines(slog.LevelWarn)
		last := lines[len(lines)-1].Text
		if len(lines) != 12 || !strings.Contains(last, "suppressed=40") || !strings.Contains(last, "192.0.2.10") {
			t.Errorf("%d lines, the last %q, expected a sum of 40", len(lines), last)
		}
		scan(home)
		if n := len(r.Log.Lines(slog.LevelWarn)); n != 13 {
			t.Errorf("%d lines, expected to see the next minute's first", n)
		}
		r.wantMetric("handshakes_total", "refused", 52)
	})
}

// TestPanicIsContained: a defect ends one connection; the log has where, and
// nothing of what was worked on.
func TestPanicIsContained(t *testing.T) {
	tests := []struct {
		name     string
		identify func(tls.ConnectionState) (kmipserver.Peer, error)
		where    string
	}{
		{"in the handshake", func(tls.ConnectionState) (kmipserver.Peer, error) { panic("the key is 00112233") }, "where=handshake"},
		{"in a request", func(tls.ConnectionState) (kmipserver.Peer, error) {
			return kmipserver.Peer{Current: func() bool { panic("the key is 00112233") }}, nil
		}, "where=request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) { panicTwice(t, tt.identify, tt.where) })
		})
	}
}

func panicTwice(t *testing.T, identify func(tls.ConnectionState) (kmipserver.Peer, error), where string) {
	log, l := new(kmiptest.Log), newPipe()
	authority, err := kmiptest.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := kmipserver.New(kmipserver.Config{
		Operations: kmiptest.NewStore(t).Operations, TLS: authority.Server, Logger: slog.New(log), Identify: identify,
	})
	go func() { _ = s.Serve(context.Background(), l) }()
	config, err := authority.Client("a")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		raw, err := l.Dial(home)
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, config)
		if _, err := c.Write(discover()); err == nil {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the connection goes on after a panic")
			}
		}
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	lines := log.Lines(slog.LevelError)
	if len(lines) != 2 || !strings.Contains(lines[0].Text, where) || !strings.Contains(lines[0].Text, "kmipserver") ||
		strings.Contains(lines[0].Text, "0011") {
		t.Errorf("logged %v, expected where it was and not what", lines)
	}
}

// failing is a listener that fails a few times before it works.
type failing struct {
	*kmiptest.PipeListener
	errs []error
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.PipeListener.Accept()
}

// TestAcceptFailures: running out of files is waited out; a listener that is
// broken ends Serve, and does not make it spin.
func TestAcceptFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		full := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		l := &failing{PipeListener: newPipe(), errs: []error{full, full, full}}
		done := make(chan error, 1)
		go func() { done <- r.KMIP.Serve(context.Background(), l) }()
		r.listener = l.PipeListener
		wantSuccess(t, exchange(t, r.dial("a", home), discover()))
		if n := len(r.Log.Lines(slog.LevelWarn)); n != 3 {
			t.Errorf("%d warnings, expected 3", n)
		}
		if err := r.Shutdown(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v after Shutdown", err)
		}
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		broken := &failing{PipeListener: newPipe(), errs: []error{syscall.EBADF}}
		if err := r.KMIP.Serve(context.Background(), broken); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Serve returned %v for a broken listener", err)
		}
	})
}
