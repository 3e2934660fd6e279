package kmipserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
)

// bubble runs a test in a synctest bubble: the times below are the real
// defaults, and pass at once.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// TestSilentConnectionsEnd: who says nothing loses the connection, without a
// warning, at the moment that the limits name.
func TestSilentConnectionsEnd(t *testing.T) {
	tests := []struct {
		name  string
		talk  func(r *rig) net.Conn
		after time.Duration
		limit string // in the metrics
	}{
		{"after the TCP connection", func(r *rig) net.Conn { return r.raw(home) }, 10 * time.Second, ""},
		{"after the handshake", func(r *rig) net.Conn { return r.dial("a", home) }, 10 * time.Second, "first-byte"},
		{"after a request", func(r *rig) net.Conn {
			c := r.dial("a", home)
			wantSuccess(r.t, exchange(r.t, c, discover()))
			return c
		}, 10 * time.Minute, ""},
		{"after half a header", func(r *rig) net.Conn {
			c := r.dial("a", home)
			mustWrite(r.t, c, discover()[:4])
			return c
		}, 30 * time.Second, "request-time"},
		{"after half a message", func(r *rig) net.Conn {
			c := r.dial("a", home)
			mustWrite(r.t, c, discover()[:40])
			return c
		}, 30 * time.Second, "request-time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, kmipserver.Limits{})
				c := tt.talk(r)
				began := time.Now()
				wantClosed(t, c)
				if took := time.Since(began); took != tt.after {
					t.Errorf("the connection ended after %v, expected %v", took, tt.after)
				}
				if tt.limit != "" {
					r.wantMetric("limits_total", tt.limit, 1)
				}
			})
		})
	}
}

func mustWrite(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("sending: %v", err)
	}
}

// TestSlowBytes: a client cannot hold a request open by sending a byte now and
// then.
func TestSlowBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		began := time.Now()
		for _, b := range discover() {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(2 * time.Second)
		}
		if took := time.Since(began); took < 30*time.Second || took > 33*time.Second {
			t.Errorf("the slow request was cut after %v, expected 30s", took)
		}
		r.wantMetric("limits_total", "request-time", 1)
	})
}

// TestSlowReader: a client that does not read its answers is let go.
func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		mustWrite(t, c, discover())
		time.Sleep(29 * time.Second)
		synctest.Wait()
		r.wantMetric("connections", "", 1)
		time.Sleep(10 * time.Second) // tls.Conn.Close tries for some seconds to say goodbye
		synctest.Wait()
		r.wantMetric("connections", "", 0)
		r.wantMetric("limits_total", "write-time", 1)
	})
}

// TestBusyConnectionLivesOn: the idle limit counts from the last request.
func TestBusyConnectionLivesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		for range 5 {
			wantSuccess(t, exchange(t, c, discover()))
			time.Sleep(10*time.Minute - time.Second)
		}
		wantSuccess(t, exchange(t, c, discover()))
	})
}

// TestBytesInAnyPieces: where records and reads are cut does not matter.
func TestBytesInAnyPieces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		for _, b := range discover() {
			mustWrite(t, c, []byte{b})
		}
		wantSuccess(t, receive(t, c))
		go func() { _, _ = c.Write(bytes.Repeat(discover(), 3)) }()
		for range 3 {
			wantSuccess(t, receive(t, c))
		}
	})
}

// TestNotKMIP: what cannot be a request ends the connection at once, with a
// line in the log that says why.
func TestNotKMIP(t *testing.T) {
	claim := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0x42, 0, 0x78, 1}, n) }
	tests := []struct {
		name, log, limit string
		send             []byte
	}{
		{"1 GiB claimed", "1048576 allowed", "message-size", claim(1 << 30)},
		{"4 GiB claimed", "1048576 allowed", "message-size", claim(0xFFFFFFF8)},
		{"a little over the limit", "1048576 allowed", "message-size", claim(1 << 20)},
		{"a length that is no multiple of eight", "no KMIP request", "", claim(9)},
		{"HTTP", "no KMIP request", "", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"a response", "no KMIP request", "", []byte{0x42, 0, 0x7b, 1, 0, 0, 0, 0}},
		{"another type", "no KMIP request", "", []byte{0x42, 0, 0x78, 8, 0, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, kmipserver.Limits{})
				c := r.dial("acme", home)
				began := time.Now()
				mustWrite(t, c, tt.send)
				wantClosed(t, c)
				if time.Since(began) != 0 {
					t.Errorf("it took %v to close", time.Since(began))
				}
				lines := r.Log.Lines(slog.LevelWarn)
				if len(lines) != 1 || !strings.Contains(lines[0].Text, tt.log) || !strings.Contains(lines[0].Text, "client=acme") {
					t.Errorf("logged %v, expected one warning that says %q and the client", lines, tt.log)
				}
				if tt.limit != "" {
					r.wantMetric("limits_total", tt.limit, 1)
				}
			})
		})
	}
}

// TestMalformedMessages: the frame is whole, so the client gets an answer in
// its version and the connection goes on, unless the version cannot be read.
func TestMalformedMessages(t *testing.T) {
	v := []byte{ // Request Header with Protocol Version 1.2
		0x42, 0, 0x77, 1, 0, 0, 0, 0x38, 0x42, 0, 0x69, 1, 0, 0, 0, 0x20,
		0x42, 0, 0x6a, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0x42, 0, 0x6b, 2, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0,
		0x42, 0, 0x0d, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0,
	}
	frame := func(parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append(binary.BigEndian.AppendUint32([]byte{0x42, 0, 0x78, 1}, uint32(len(body))), body...)
	}
	bomb := func(depth int) []byte {
		var b []byte
		for n := depth; n > 0; n-- {
			b = append(binary.BigEndian.AppendUint32([]byte{0x42, 0, 0x0f, 1}, uint32(len(b))), b...)
		}
		return b
	}
	tests := []struct {
		name     string
		send     []byte
		answered bool
		limit    string
	}{
		{"no items", frame(v), true, ""},
		{"garbage behind the header", frame(v, []byte("garbage!garbage!")), true, ""},
		{"an item longer than the message", frame(v, []byte{0x42, 0, 0x0f, 1, 0, 0, 1, 0}), true, ""},
		{"depth bomb", frame(v, bomb(20000)), true, "complexity"},
		{"breadth bomb", frame(v, bytes.Repeat([]byte{0x42, 0, 0x0f, 1, 0, 0, 0, 0}, 70000)), true, "complexity"},
		{"nothing", frame(), false, ""},
		{"no version", frame([]byte{0x42, 0, 0x77, 1, 0, 0, 0, 0}), false, ""},
		{"a header that is cut", frame(v[:40]), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, kmipserver.Limits{})
				c := r.dial("a", home)
				go func() { _, _ = c.Write(tt.send) }()
				if !tt.answered {
					wantClosed(t, c)
					return
				}
				m := receive(t, c)
				if m.Header.Version != kmip.V1_2 || len(m.Items) != 1 || m.Items[0].Operation != 0 ||
					m.Items[0].Reason != kmip14.ResultReasonInvalidMessage {
					t.Errorf("answer %+v, expected Invalid Message without Operation in 1.2", m)
				}
				if tt.limit != "" {
					r.wantMetric("limits_total", tt.limit, 1)
				}
				r.wantMetric("malformed_total", "", 1)
				wantSuccess(t, exchange(t, c, discover()))
			})
		})
	}
}

// TestHalfAFrame: a client that goes away in the middle of a message is let go
// without a word.
func TestHalfAFrame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		c := r.dial("a", home)
		mustWrite(t, c, discover()[:50])
		_ = c.Close()
		synctest.Wait()
		r.wantMetric("connections", "", 0)
		r.noWarnings()
	})
}

// TestSilentFloodLeavesRoom: connections that say nothing give way, the oldest
// first, to one that means it, from the same address or another.
func TestSilentFloodLeavesRoom(t *testing.T) {
	limits := kmipserver.Limits{Connections: 20, PerAddress: 10, Pending: 8}
	tests := []struct {
		name  string
		flood func(i int) netip.Addr
		from  netip.Addr
		limit string
	}{
		{"from the same address", func(int) netip.Addr { return home }, home, "pending"},
		{"from many addresses", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}) }, home, "pending"},
		{"from another address", func(int) netip.Addr { return netip.MustParseAddr("2001:db8::1") }, home, "pending"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, limits)
				for i := range 100 {
					r.raw(tt.flood(i))
				}
				c := r.dial("vcenter", tt.from)
				wantSuccess(t, exchange(t, c, discover()))
				synctest.Wait()
				if n := r.metric("connections", ""); n > 9 {
					t.Errorf("%v connections are open", n)
				}
				if r.metric("limits_total", tt.limit) == 0 {
					t.Error("the limit was not counted")
				}
				if n := len(r.Log.Lines(slog.LevelWarn)); n == 0 || n > 20*10 {
					t.Errorf("%d lines in the log", n)
				}
				time.Sleep(11 * time.Second)
				synctest.Wait()
				r.wantMetric("connections", "", 1)
			})
		})
	}
}

// TestTheOldestGivesWay, and not the newest, which a flood would keep out.
func TestTheOldestGivesWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{Pending: 2})
		config, err := r.Client("a")
		if err != nil {
			t.Fatal(err)
		}
		oldest, middle := r.raw(home), r.raw(home)
		newest := r.raw(home)
		wantClosed(t, oldest)
		for _, raw := range []net.Conn{middle, newest} {
			wantSuccess(t, exchange(t, tls.Client(raw, config), discover()))
		}
	})
}

// TestLimitOfEstablishedConnections: one address, an IPv6 /64 counting as one,
// cannot take every place; nobody who is served is put out for it.
func TestLimitOfEstablishedConnections(t *testing.T) {
	v6 := func(last byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 15: last})
	}
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{Connections: 5, PerAddress: 3})
		var open []net.Conn
		for i := range 3 {
			open = append(open, r.dial("a", v6(byte(i))))
		}
		synctest.Wait()
		wantClosed(t, r.raw(v6(9)))
		r.wantMetric("limits_total", "per-address", 1)
		for range 2 {
			open = append(open, r.dial("b", home))
		}
		synctest.Wait()
		wantClosed(t, r.raw(home))
		r.wantMetric("limits_total", "connections", 1)
		for _, c := range open {
			wantSuccess(t, exchange(t, c, discover()))
		}
		_ = open[0].Close()
		synctest.Wait()
		wantSuccess(t, exchange(t, r.dial("c", home), discover()))
	})
}

// TestContextEndCuts: the end of Serve's context does not wait for anybody.
func TestContextEndCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, kmipserver.Limits{})
		second := newPipe()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.KMIP.Serve(ctx, second) }()
		c := r.dial("a", home)
		mustWrite(t, c, discover()[:20])
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		wantClosed(t, c)
	})
}
