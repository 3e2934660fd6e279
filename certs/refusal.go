package certs

import (
	"crypto/x509"
	"fmt"
	"time"
)

// RefusalCode says why a client was refused; it is stable, for metrics and tests.
type RefusalCode string

// The reasons for a refusal.
const (
	CodeNoCertificate RefusalCode = "no-certificate"
	CodeUnknown       RefusalCode = "unknown"       // no record, and nothing near it
	CodeNoRecord      RefusalCode = "no-record"     // our CA signed it, no record names it
	CodeNotYetValid   RefusalCode = "not-yet-valid" // or the two clocks differ
	CodeExpired       RefusalCode = "expired"
	CodeReplaced      RefusalCode = "replaced" // renewed, and the time of grace is over
	CodeRevoked       RefusalCode = "revoked"
	CodeWrongSubject  RefusalCode = "wrong-subject" // a trusted foreign CA, but another subject
	CodeBadChain      RefusalCode = "bad-chain"     // the right subject, but the trusted CA did not sign it
)

// RefusedError says that a certificate does not let its holder in. Its text tells an administrator what to do, and is
// for the server's log, not for the peer. What it quotes of the certificate is fit to print.
type RefusedError struct {
	Code     RefusalCode
	Client   string    // name of the record that the certificate belongs to, if any
	Subject  string    // RFC 4514
	Issuer   string    // RFC 4514
	SHA256   string    // fingerprint with colons
	NotAfter time.Time // end of the certificate
	text     string
}

// Error returns the whole sentence.
func (e *RefusedError) Error() string { return e.text }

// refuse builds the error; the sentence is "client certificate SUBJECT (SHA-256 …) " and then what format says.
func refuse(code RefusalCode, client string, cert *x509.Certificate, format string, args ...any) *RefusedError {
	e := &RefusedError{
		Code:     code,
		Client:   client,
		Subject:  describe(cert),
		Issuer:   issuerOf(cert),
		SHA256:   SHA256(cert),
		NotAfter: cert.NotAfter,
	}
	e.text = fmt.Sprintf("client certificate %s (SHA-256 %s) ", e.Subject, e.SHA256) + fmt.Sprintf(format, args...)
	return e
}

func issuerOf(cert *x509.Certificate) string {
	dn, err := decodeDN(cert.RawIssuer)
	if err != nil {
		return "unreadable"
	}
	return clean(dn.String())
}

func refuseNoCertificate() *RefusedError {
	return &RefusedError{Code: CodeNoCertificate, text: "the client presented no certificate; enrol it with: keyreeve client add NAME"}
}

func refuseUnknown(cert *x509.Certificate) *RefusedError {
	return refuse(CodeUnknown, "", cert, "is not enrolled; to trust it run: keyreeve client add NAME --cert FILE")
}

func refuseNoRecord(cert *x509.Certificate) *RefusedError {
	return refuse(CodeNoRecord, "", cert, "was issued by this server's CA, but no client record names it (it was removed or "+
		"renewed); to trust it again run: keyreeve client add NAME --cert FILE")
}

func refuseRevoked(cert *x509.Certificate, c *Client) *RefusedError {
	return refuse(CodeRevoked, c.Name, cert, "belongs to client %s, which was revoked on %s (%s); "+
		"to let it in again give it a new certificate: keyreeve client add NEWNAME", c.Name, stamp(c.Revoked.Time), clean(c.Revoked.Reason))
}

func refuseReplaced(cert *x509.Certificate, c *Client, ended time.Time) *RefusedError {
	return refuse(CodeReplaced, c.Name, cert, "of client %s was replaced by a newer one and ended on %s; "+
		"install the newer one on the client", c.Name, stamp(ended))
}

// refuseDates says which date fails and how to go on, which depends on who makes the client's certificates.
func refuseDates(cert *x509.Certificate, c *Client, now time.Time) *RefusedError {
	if now.Before(cert.NotBefore) {
		return refuse(CodeNotYetValid, c.Name, cert, "of client %s is valid only from %s on, and this server's clock says %s; "+
			"compare the two clocks", c.Name, stamp(cert.NotBefore), stamp(now))
	}
	return refuse(CodeExpired, c.Name, cert, "of client %s expired on %s; %s", c.Name, stamp(cert.NotAfter), c.renewal())
}

// renewal says how a client of this kind gets a new certificate.
func (c *Client) renewal() string {
	switch c.Kind {
	case KindIssued:
		return "renew it with: keyreeve client renew " + c.Name
	case KindCSR:
		return "make a new signing request on the client and run: keyreeve client renew " + c.Name + " --csr FILE"
	case KindPinned:
		return "make a new one on the client and run: keyreeve client renew " + c.Name + " --cert FILE"
	}
	return "renew it at its own CA"
}

func refuseWrongSubject(cert *x509.Certificate, wanted *foreignClient, subject DN) *RefusedError {
	hint := "to trust this one too run: keyreeve client add NAME --ca FILE --subject DN"
	if subject.Equal(wanted.subject.reversed()) {
		hint = "the record has the parts in reverse order; RFC 4514 writes the common name first"
	}
	return refuse(CodeWrongSubject, wanted.client.Name, cert, "was signed by the CA of client %s, but its subject is not %s; %s",
		wanted.client.Name, clean(wanted.client.Subject), hint)
}

func refuseBadChain(cert *x509.Certificate, c *Client, err error) *RefusedError {
	return refuse(CodeBadChain, c.Name, cert, "has the subject of client %s, but is not accepted under its CA: %s; "+
		"check the CA given at enrolment, and that the client sends its intermediate certificates", c.Name, clean(err.Error()))
}
