package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/secret"
)

func TestNewCA(t *testing.T) {
	c := newCA(t, newClock()).Certificate()
	if !c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != 0 || !c.MaxPathLenZero {
		t.Errorf("CA:%v pathlen:%d (zero %v), want a CA with path length 0", c.IsCA, c.MaxPathLen, c.MaxPathLenZero)
	}
	if want := x509.KeyUsageCertSign | x509.KeyUsageCRLSign; c.KeyUsage != want {
		t.Errorf("key usage %b, want %b", c.KeyUsage, want)
	}
	if pub, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		t.Errorf("key is %T, want P-256", c.PublicKey)
	}
	if !regexp.MustCompile(`^Keyreeve CA [0-9a-f]{8}$`).MatchString(c.Subject.CommonName) {
		t.Errorf("name %q", c.Subject.CommonName)
	}
	if got := c.NotAfter.Sub(start); got != certs.CAValidity {
		t.Errorf("valid for %s, want %s", got, certs.CAValidity)
	}
	if err := c.CheckSignatureFrom(c); err != nil {
		t.Errorf("not self-signed: %v", err)
	}
}

func TestSerialsAreRandomAndPositive(t *testing.T) {
	ca := newCA(t, newClock())
	seen := map[string]bool{}
	for range 64 {
		serial := must(ca.IssueClient(request)).Certificate.SerialNumber
		if serial.Sign() <= 0 || serial.BitLen() > 128 {
			t.Fatalf("serial %x is not a positive number of at most 128 bits", serial)
		}
		if seen[serial.String()] {
			t.Fatalf("serial %x came twice", serial)
		}
		seen[serial.String()] = true
	}
	if _, err := certs.NewCA(newClock().now, bytes.NewReader(make([]byte, 4096))); err == nil {
		t.Error("a source of zeros gave a CA")
	}
}

func TestCAKeyRoundTrip(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	key := must(ca.MarshalKey())
	defer key.Clear()
	again := must(certs.LoadCA(ca.CertificatePEM(), key, c.now, rand.Reader))
	if err := must(again.IssueClient(request)).Certificate.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Errorf("the restored CA signs something else: %v", err)
	}
}

func TestLoadCARefuses(t *testing.T) {
	c := newClock()
	ca, other := newCA(t, c), newCA(t, c)
	key, otherKey := must(ca.MarshalKey()), must(other.MarshalKey())
	leaf := must(ca.IssueClient(request))
	rsaKey := must(ca.IssueClient(certs.ClientRequest{Name: "a", Group: "b"})).Key
	for name, tc := range map[string]struct {
		cert []byte
		key  *secret.Bytes
		want string
	}{
		"other CA's key": {ca.CertificatePEM(), otherKey, "does not belong"},
		"leaf":           {leaf.CertificatePEM(), leaf.Key, "not a CA certificate"},
		"no key":         {ca.CertificatePEM(), nil, "not a PKCS#8 private key"},
		"cut key":        {ca.CertificatePEM(), secret.Own(bytes.Clone(key.Expose()[:40])), "not a PKCS#8 private key"},
		"RSA key":        {ca.CertificatePEM(), rsaKey, "want an ECDSA key"},
		"no certificate": {nil, key, "no certificate found"},
		"two":            {append(ca.CertificatePEM(), ca.CertificatePEM()...), key, "want one certificate, got 2"},
	} {
		if _, err := certs.LoadCA(tc.cert, tc.key, c.now, rand.Reader); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
}

func TestLeavesNeverOutliveTheCA(t *testing.T) {
	c := newClock()
	ca := newCA(t, c)
	long := request
	long.Validity = 100 * 365 * 24 * time.Hour
	if got := must(ca.IssueClient(long)).Certificate.NotAfter; !got.Equal(ca.Certificate().NotAfter) {
		t.Errorf("a 100-year leaf ends %s, want the CA's %s", got, ca.Certificate().NotAfter)
	}
	if got := must(ca.IssueClient(request)).Certificate; got.NotAfter.Sub(got.NotBefore) != certs.DefaultValidity || !got.NotBefore.Before(start) {
		t.Errorf("a default leaf is valid %s to %s, want 825 days from %s", got.NotBefore, got.NotAfter, start)
	}
	c.advance(certs.CAValidity)
	if _, err := ca.IssueClient(request); !errors.Is(err, certs.ErrCAExpired) {
		t.Errorf("an expired CA answered %v, want ErrCAExpired", err)
	}
	long.Validity = -1
	if _, err := ca.IssueClient(long); err == nil {
		t.Error("a negative validity was accepted")
	}
}
