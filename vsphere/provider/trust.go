package provider

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// ErrUntrusted is wrapped when a key server's certificate is not what it has to be.
var ErrUntrusted = errors.New("the key server's certificate is not trusted")

// ServerTrust is what a key server's certificate is compared with before
// vCenter is told to trust it. At least one must be given; where both are,
// both must hold.
type ServerTrust struct {
	CA     []*x509.Certificate // roots, and intermediates
	SHA256 []string            // fingerprints, with colons or without; one for each server
}

// Empty tells that there is nothing to compare with.
func (t ServerTrust) Empty() bool { return len(t.CA) == 0 && len(t.SHA256) == 0 }

// Verify compares. Without it whoever stands between vCenter and the key server
// at the time of the set-up would be trusted from then on, and be asked for
// every key. The certificate's name does not matter: vCenter compares none.
func (t ServerTrust) Verify(leaf *x509.Certificate, now time.Time) error {
	if t.Empty() {
		return fmt.Errorf("%w: neither a CA nor a fingerprint was given to compare it with; nothing is trusted on first use", ErrUntrusted)
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("%w: it is valid from %s to %s, and it is %s", ErrUntrusted, date(leaf.NotBefore), date(leaf.NotAfter), date(now))
	}
	if len(t.SHA256) > 0 && !t.pinned(leaf) {
		return fmt.Errorf("%w: its fingerprint is %s, and not one that was given", ErrUntrusted, certs.SHA256(leaf))
	}
	if len(t.CA) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, c := range t.CA {
		pool.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("%w: %s, issued by %s, does not lead to the CA that was given", ErrUntrusted, certs.SHA256(leaf), clean(leaf.Issuer.String()))
	}
	return nil
}

func (t ServerTrust) pinned(leaf *x509.Certificate) bool {
	for _, f := range t.SHA256 {
		if bareHex(f) == bareHex(certs.SHA256(leaf)) {
			return true
		}
	}
	return false
}

func bareHex(s string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
