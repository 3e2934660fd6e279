package certs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// TestHandshakeEnds holds the words of the diagnosis against what crypto/tls really returns.
func TestHandshakeEnds(t *testing.T) {
	r := newRig(t, certs.P256)
	clients, _ := enrolled(t, r)
	p := clients["issued"].tls()
	edit := func(version uint16, change func(*tls.Config)) func(string) error {
		c := r.client(version, p)
		change(c)
		return dialTLS(c)
	}
	distrust := func(c *tls.Config) { c.RootCAs = nil }
	for name, tc := range map[string]struct {
		dial func(string) error
		kind certs.HandshakeKind
		want string
	}{
		"distrusts us, 1.2":          {edit(tls.VersionTLS12, distrust), certs.HandshakeUntrusted, "give it ca.pem, or re-upload it in vCenter"},
		"distrusts us, 1.3":          {edit(tls.VersionTLS13, distrust), certs.HandshakeUntrusted, "give it ca.pem, or re-upload it in vCenter"},
		"distrusts us in clear, 1.3": {clearAlert(r.client(tls.VersionTLS13, p)), certs.HandshakeUntrusted, "give it ca.pem, or re-upload it in vCenter"},
		"our end, 1.2": {edit(tls.VersionTLS12, func(c *tls.Config) {
			c.Time = func() time.Time { return start.Add(9 * 365 * 24 * time.Hour) }
		}), certs.HandshakeUntrusted, "does not trust"},
		"other name": {edit(tls.VersionTLS12, func(c *tls.Config) { c.ServerName = "other" }), certs.HandshakeUntrusted, "does not trust"},
		"TLS 1.0 and 1.1": {edit(0, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}), certs.HandshakeVersion, "the client offers only TLS 1.1, TLS 1.0; this server speaks TLS 1.2 and 1.3"},
		"HTTP":          {dialRaw("GET / HTTP/1.1\r\nHost: kms\r\n\r\n"), certs.HandshakePlaintext, "plain HTTP"},
		"HTTP POST":     {dialRaw("POST /kmip HTTP/1.1\r\n\r\n"), certs.HandshakePlaintext, "plain HTTP"},
		"KMIP":          {dialRaw("\x42\x00\x78\x01\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00"), certs.HandshakePlaintext, "KMIP without TLS"},
		"PROXY":         {dialRaw("PROXY TCP4 10.0.0.9 10.0.0.10 1 5696\r\n"), certs.HandshakePlaintext, "PROXY protocol"},
		"SSH":           {dialRaw("SSH-2.0-OpenSSH_9.2\r\n"), certs.HandshakePlaintext, "(53 53 48 2D 32) are not TLS"},
		"nothing":       {dialRaw(""), certs.HandshakeClosed, "port check or health probe"},
		"half a record": {dialRaw("\x16\x03\x01\x00"), certs.HandshakeClosed, "port check or health probe"},
		"other curves": {edit(tls.VersionTLS13, func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519}
		}), "", ""},
	} {
		o := connect(t, r.config(certs.Options{}), tc.dial)
		if tc.kind == "" {
			if o.server != nil {
				t.Errorf("%s: %v", name, o.server)
			}
			continue
		}
		wantEnd(t, name, o.server, tc.kind, tc.want)
	}
}

// clearAlert dials as OpenSSL's clients do when they distrust a server in TLS 1.3: the alert is not encrypted.
func clearAlert(config *tls.Config) func(string) error {
	return func(addr string) error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		return tls.Client(&alertConn{Conn: conn}, config).Handshake()
	}
}

// alertConn lets the ClientHello pass, and sends a fatal unknown_ca in place of all that follows.
type alertConn struct {
	net.Conn
	hello bool
}

func (c *alertConn) Write(p []byte) (int, error) {
	if !c.hello {
		c.hello = true
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write([]byte{21, 3, 3, 0, 2, 2, 48}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestHandshakeTimesOut(t *testing.T) {
	r := newRig(t, certs.P256)
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	if err := server.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, "deadline", tls.Server(server, r.config(certs.Options{})).Handshake(), certs.HandshakeTimeout, "in time")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	wantEnd(t, "context", ctx.Err(), certs.HandshakeTimeout, "in time")
}

// alert is an error as crypto/tls makes it of a peer's alert.
func alert(n uint8) error { return &net.OpError{Op: "remote error", Err: tls.AlertError(n)} }

func TestClassifyHandshakeError(t *testing.T) {
	for _, tc := range []struct {
		err  error
		kind certs.HandshakeKind
		want string
	}{
		{alert(48), certs.HandshakeUntrusted, "(TLS alert: unknown certificate authority)"},
		{alert(42), certs.HandshakeUntrusted, "re-upload it in vCenter"},
		{alert(43), certs.HandshakeUntrusted, "RSA key"},
		{alert(45), certs.HandshakeUntrusted, "has expired"},
		{alert(46), certs.HandshakeUntrusted, "name or address"},
		{alert(40), certs.HandshakeCipher, "legacy_suites: true"},
		{alert(70), certs.HandshakeVersion, "does not speak TLS 1.2 or 1.3"},
		{alert(90), certs.HandshakeClosed, "canceled"},
		{alert(80), certs.HandshakeOther, "internal error"},
		{alert(200), certs.HandshakeOther, "alert(200)"},
		{fmt.Errorf("accepting: %w", alert(48)), certs.HandshakeUntrusted, "ca.pem"},
		{io.EOF, certs.HandshakeClosed, "closed"},
		{&net.OpError{Op: "read", Err: net.ErrClosed}, certs.HandshakeClosed, "closed"},
		{os.ErrDeadlineExceeded, certs.HandshakeTimeout, "in time"},
		{errors.New("tls: no cipher suite supported by both client and server; client offered: [2f 35]"), certs.HandshakeCipher,
			"the client offers TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA; to serve it all the same set legacy_suites: true"},
		{errors.New("tls: no cipher suite supported by both client and server; client offered: [3d]"), certs.HandshakeCipher, "the client offers 0x003D"},
		{errors.New("tls: no cipher suite supported by both client and server; client offered: []"), certs.HandshakeCipher, "nothing known"},
		{errors.New("something\nnew\x1b[31m"), certs.HandshakeOther, `something\0Anew\1B[31m`},
	} {
		wantEnd(t, tc.err.Error(), tc.err, tc.kind, tc.want)
	}
}

func TestLongListsAreCut(t *testing.T) {
	_, message := certs.ClassifyHandshakeError(errors.New("tls: no cipher suite supported by both client and server; client offered: [" +
		strings.Repeat("3d ", 30000) + "]"))
	if len(message) > 400 {
		t.Errorf("a hostile hello makes a message of %d bytes", len(message))
	}
}
