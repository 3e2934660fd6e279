package certs_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/certs"
)

// known was made by "openssl req -x509"; the thumbprints are what "openssl x509 -fingerprint" printed of it.
const (
	known = `-----BEGIN CERTIFICATE-----
MIIBhDCCASugAwIBAgIUMkV9Ftq3dWzu9BpWbc2CI1za3X8wCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNdGh1bWIuZXhhbXBsZTAeFw0yNjExMjQwMjU3MjhaFw0zNjEx
MjEwMjU3MjhaMBgxFjAUBgNVBAMMDXRodW1iLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAQ1mFtrYvFfiQ/JVEEtebTd89sJm8bTE4nYtqKfw8iVAxMT
JZVJbh1UnXdkK1UVkqoGKVs35wL5XzXZSewZtXyLo1MwUTAdBgNVHQ4EFgQUmKbl
fHHnVMJk6UNxj7aKP5mPyuQwHwYDVR0jBBgwFoAUmKblfHHnVMJk6UNxj7aKP5mP
yuQwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiAzkG9cDQ7FCfOW
lHU+0o4uxBR/7hbkapAjhHsSahroKgIgNOJl5/086waJNkBMhO7UQxvCQXBN7YVi
ukejz1wDNi8=
-----END CERTIFICATE-----
`
	knownSHA1   = "FB:89:E3:EF:E3:26:2C:C1:F0:1B:AE:FB:E4:94:4C:BF:7B:CC:D6:B5"
	knownSHA256 = "25:26:CD:9B:D1:12:03:67:45:FA:F9:BF:83:D5:33:3A:F2:04:44:00:8A:1E:8A:04:92:B9:63:4F:E3:60:C2:78"
)

func TestThumbprints(t *testing.T) {
	block, _ := pem.Decode([]byte(known))
	cert := must(x509.ParseCertificate(block.Bytes))
	byHand := func(sum []byte) string { return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":") }
	s1, s256 := sha1.Sum(block.Bytes), sha256.Sum256(block.Bytes)
	if got := certs.SHA1(cert); got != knownSHA1 || got != byHand(s1[:]) {
		t.Errorf("SHA-1 %s, want %s", got, knownSHA1)
	}
	if got := certs.SHA256(cert); got != knownSHA256 || got != byHand(s256[:]) {
		t.Errorf("SHA-256 %s, want %s", got, knownSHA256)
	}
}

// The server wants a client certificate, gets none and ends the handshake; the certificate must have been read, and
// the server must take it for a probe.
func TestFetchServerCertificate(t *testing.T) {
	for v, version := range versions {
		r := newRig(t, certs.P256)
		config := r.config(certs.Options{})
		config.MaxVersion = version
		var got *x509.Certificate
		o := connect(t, config, func(addr string) (err error) {
			got, err = certs.FetchServerCertificate(t.Context(), addr)
			return err
		})
		if o.client != nil || got == nil || certs.SHA1(got) != certs.SHA1(r.reloader.Leaf()) {
			t.Errorf("TLS %s: %v", v, o.client)
		}
		wantEnd(t, "TLS "+v, o.server, certs.HandshakeNoCertificate, "only read the server's")
	}
}

func TestFetchServerCertificateFails(t *testing.T) {
	if _, err := certs.FetchServerCertificate(t.Context(), "no-port"); err == nil || !strings.Contains(err.Error(), "want host:port") {
		t.Errorf("address without port: %v", err)
	}
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	closed := l.Addr().String()
	_ = l.Close()
	if _, err := certs.FetchServerCertificate(t.Context(), closed); err == nil || !strings.Contains(err.Error(), closed) {
		t.Errorf("closed port: %v", err)
	}
	silent := must(net.Listen("tcp", "127.0.0.1:0"))
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := silent.Accept()
		if err == nil {
			defer conn.Close()
		}
		cancel()
		<-t.Context().Done()
	}()
	if _, err := certs.FetchServerCertificate(ctx, silent.Addr().String()); err == nil {
		t.Error("a server that says nothing gave a certificate")
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	addr := plain.Listener.Addr().String()
	if _, err := certs.FetchServerCertificate(t.Context(), addr); err == nil || !strings.Contains(err.Error(), addr+": what answers there does not speak TLS") {
		t.Errorf("plain HTTP: %v", err)
	}
	var config tls.Config
	o := connect(t, &config, func(addr string) error {
		_, err := certs.FetchServerCertificate(t.Context(), addr)
		return err
	})
	if o.client == nil {
		t.Error("a server without certificate gave one")
	}
}
