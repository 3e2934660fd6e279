package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"time"
)

// maxChain bounds the certificates that a client may send beside its own; verification grows with them.
const maxChain = 8

// Identify says who the holder of certs[0] is, the others being the intermediates that the client sent. Any refusal is
// a [*RefusedError]. It does not prove that the client holds the private key: crypto/tls does, and may do so after
// this was asked, so nothing must be written down on the strength of it before the handshake is complete.
func (r *Registry) Identify(certs []*x509.Certificate) (Identity, error) {
	if len(certs) == 0 {
		return Identity{}, refuseNoCertificate()
	}
	t, now := r.table.Load(), r.now()
	if found, ok := t.byPrint[sha256.Sum256(certs[0].Raw)]; ok {
		return found.identify(certs[0], now)
	}
	return t.identifyForeign(certs, now)
}

// identify judges a certificate that a record names by fingerprint. Chain and usages do not matter any more: the
// fingerprint says that it is the very certificate which an operator admitted.
func (a acceptedBy) identify(cert *x509.Certificate, now time.Time) (Identity, error) {
	c := a.client
	switch {
	case c.Revoked != nil:
		return Identity{}, refuseRevoked(cert, c)
	case !a.cert.Ends.IsZero() && !now.Before(a.cert.Ends):
		return Identity{}, refuseReplaced(cert, c, a.cert.Ends)
	case !c.IgnoreDates && checkDates(cert, now) != nil:
		return Identity{}, refuseDates(cert, c, now)
	}
	id := Identity{Name: c.Name, Group: c.Group, Generation: c.Generation, SHA256: a.cert.SHA256, ValidUntil: a.cert.Ends}
	if !c.IgnoreDates {
		id.ValidUntil = Accepted{NotAfter: cert.NotAfter, Ends: a.cert.Ends}.end()
	}
	return id, nil
}

// identifyForeign looks for a record with the leaf's subject and with a CA that leads to it.
func (t *table) identifyForeign(certs []*x509.Certificate, now time.Time) (Identity, error) {
	leaf := certs[0]
	if len(certs) > maxChain {
		return Identity{}, refuseUnknown(leaf)
	}
	subject, err := decodeDN(leaf.RawSubject)
	if err != nil {
		return Identity{}, refuseUnknown(leaf)
	}
	var refusal *RefusedError
	for _, f := range t.bySubject[subject.key()] {
		end, err := f.verify(certs, now)
		if err == nil {
			return f.admit(leaf, end)
		}
		refusal = f.explain(leaf, err, now)
	}
	if refusal != nil {
		return Identity{}, refusal
	}
	return Identity{}, t.explainStranger(certs, subject, now)
}

// verify checks the chain to the record's CA at that time, and returns when the first certificate of it ends. No
// extended key usage is required of the leaf, because vCenter's have none. There is one root, so a certificate of
// another CA with the same subject cannot pass.
func (f *foreignClient) verify(certs []*x509.Certificate, now time.Time) (time.Time, error) {
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         f.roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return time.Time{}, err
	}
	end := certs[0].NotAfter
	for _, cert := range chains[0] {
		end = earlier(end, cert.NotAfter)
	}
	return end, nil
}

func (f *foreignClient) admit(leaf *x509.Certificate, end time.Time) (Identity, error) {
	c := f.client
	if c.Revoked != nil {
		return Identity{}, refuseRevoked(leaf, c)
	}
	if err := checkPublicKey(leaf.PublicKey); err != nil {
		return Identity{}, refuseBadChain(leaf, c, err)
	}
	return Identity{Name: c.Name, Group: c.Group, Generation: c.Generation, SHA256: SHA256(leaf), ValidUntil: end}, nil
}

// explain tells a leaf's own dates, which its holder can renew, from everything else that is wrong with a chain.
func (f *foreignClient) explain(leaf *x509.Certificate, err error, now time.Time) *RefusedError {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert.Equal(leaf) {
		return refuseDates(leaf, f.client, now)
	}
	return refuseBadChain(leaf, f.client, err)
}

// explainStranger finds the most helpful reason for a certificate that no record names. Signatures are checked only
// where the issuer's name fits, so that a stranger cannot make the server compute for nothing.
func (t *table) explainStranger(certs []*x509.Certificate, subject DN, now time.Time) *RefusedError {
	leaf := certs[0]
	if t.ca != nil && issuedUnder(certs[:1], t.ca) && leaf.CheckSignatureFrom(t.ca) == nil {
		return refuseNoRecord(leaf)
	}
	var near *foreignClient
	for _, f := range t.foreign {
		if !issuedUnder(certs, f.ca) {
			continue
		}
		if _, err := f.verify(certs, now); err != nil {
			continue
		}
		if near == nil || subject.Equal(f.subject.reversed()) {
			near = f
		}
	}
	if near != nil {
		return refuseWrongSubject(leaf, near, subject)
	}
	return refuseUnknown(leaf)
}

// issuedUnder reports whether one of the certificates names ca as its issuer.
func issuedUnder(certs []*x509.Certificate, ca *x509.Certificate) bool {
	for _, cert := range certs {
		if string(cert.RawIssuer) == string(ca.RawSubject) {
			return true
		}
	}
	return false
}
