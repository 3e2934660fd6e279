package certs

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// SHA1 is the certificate's thumbprint as vCenter and OVHcloud show it: upper-case hexadecimal with colons. It names a
// certificate to a person or an API that knows nothing better; nothing here trusts it.
func SHA1(cert *x509.Certificate) string {
	sum := sha1.Sum(cert.Raw)
	return colons(sum[:])
}

// SHA256 is the certificate's fingerprint in upper-case hexadecimal with colons, as openssl x509 -fingerprint -sha256
// prints it.
func SHA256(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return colons(sum[:])
}

func colons(sum []byte) string {
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, 3*len(sum))
	for i, b := range sum {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}

func isSHA256(s string) bool {
	return len(s) == 3*sha256.Size-1 && strings.Count(s, ":") == sha256.Size-1 && s == colons(fromColons(s))
}

// fromColons reads every third character pair; what is no digit gives a sum that prints differently.
func fromColons(s string) []byte {
	sum := make([]byte, 0, sha256.Size)
	for i := 0; i+1 < len(s); i += 3 {
		sum = append(sum, nibble(s[i])<<4|nibble(s[i+1]))
	}
	return sum
}

func nibble(c byte) byte {
	if c >= 'A' {
		return (c - 'A' + 10) & 15
	}
	return (c - '0') & 15
}

// errNoServerCertificate is returned when a TLS peer showed nothing, which TLS 1.2 and 1.3 rule out for our suites.
var errNoServerCertificate = errors.New("the server showed no certificate")

// errNotTLS is returned for a peer that answers in another protocol.
var errNotTLS = errors.New("what answers there does not speak TLS; is this the right port?")

// FetchServerCertificate reads the leaf that the server at addr (host:port) shows, without presenting a client
// certificate. Nothing vouches for it: it is for showing a thumbprint, to be compared with one that was got another
// way. A server that then ends the handshake because it wants a client certificate has answered well.
func FetchServerCertificate(ctx context.Context, addr string) (*x509.Certificate, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("server address %s: want host:port", quote(addr))
	}
	var leaf *x509.Certificate
	config := &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // read, not trusted: see above
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 {
				leaf = state.PeerCertificates[0]
			}
			return nil
		},
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", addr, err)
	}
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	_ = conn.Close()
	if leaf != nil {
		return leaf, nil
	}
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		err = errNoServerCertificate
	case errors.As(err, &record):
		err = errNotTLS
	}
	return nil, fmt.Errorf("reading the certificate of %s: %w", addr, err)
}
