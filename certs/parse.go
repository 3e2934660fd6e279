package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPEM bounds what is read from a file or an upload; a long chain has some 20 kB.
const maxPEM = 1 << 20

// maxShown bounds how much of a stranger's text goes into an error or a log line.
const maxShown = 256

// ParseCertificate reads exactly one certificate, in PEM or DER, and nothing beside it.
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("want one certificate, got %d: give only the first of the chain", len(certs))
	}
	return certs[0], nil
}

// ParseCertificates reads one or more certificates in PEM, or one in DER.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%d bytes are too many for certificates", len(data))
	}
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		cert, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, errors.New("no certificate found: want PEM that starts with -----BEGIN CERTIFICATE-----")
		}
		return []*x509.Certificate{cert}, nil
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if err := checkBlock(block.Type, "CERTIFICATE"); err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d: %s", len(certs)+1, clean(err.Error()))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate found: the PEM text is damaged")
	}
	return certs, nil
}

// checkBlock names the mistake when a person gives the wrong one of the three files.
func checkBlock(got string, want ...string) error {
	for _, w := range want {
		if got == w {
			return nil
		}
	}
	switch {
	case strings.HasSuffix(got, "PRIVATE KEY"):
		return errors.New("this is a private key; it must stay with its owner: give the certificate or the signing request")
	case strings.HasSuffix(got, "CERTIFICATE REQUEST"):
		return errors.New("this is a signing request, not a certificate: sign it instead")
	case got == "CERTIFICATE":
		return errors.New("this is a certificate, not a signing request: pin it instead")
	}
	return fmt.Errorf("want a PEM block %q, got %s", want[0], quote(got))
}

// describe names a certificate to a person: its subject, or its serial number where the subject is empty.
func describe(cert *x509.Certificate) string {
	if subject := SubjectOf(cert); subject != "" {
		return clean(subject)
	}
	return fmt.Sprintf("without subject, serial %x", cert.SerialNumber)
}

// clean makes a stranger's text fit for a log line and a terminal: control and formatting characters (line breaks,
// escape sequences, right-to-left marks) and broken UTF-8 are shown as \XX for each byte, and the length is bounded.
func clean(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if b.Len() > maxShown {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(s)
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			for _, c := range []byte(s[:size]) {
				fmt.Fprintf(&b, `\%02X`, c)
			}
		} else {
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

func quote(s string) string { return `"` + clean(s) + `"` }
