package vspheretest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

var (
	errNotTrusted = errors.New("the key server's certificate is not trusted by vCenter")
	errExpired    = errors.New("the key server's certificate is not valid now")
)

// config is the TLS configuration towards the server. Its certificate must be
// one that was uploaded, or issued by one; its name does not matter, since
// servers without any name in theirs are known to work.
func (t *target) config(now func() time.Time) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, // what a 7.0.3 speaks
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection:   func(s tls.ConnectionState) error { return verify(t.trusted, s.PeerCertificates, now()) },
	}
	if t.identity != nil {
		identity := t.identity
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return identity, nil }
	}
	return c
}

func verify(trusted, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errNotTrusted
	}
	leaf := chain[0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return errExpired
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range trusted {
		if c.Equal(leaf) {
			return nil
		}
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		middle.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return errNotTrusted
	}
	return nil
}

// fetchCertificate makes a bare handshake, as vCenter does before every probe
// and when it is asked for a server's certificate: it shows ours, and says no
// word of KMIP. That the server then refuses us is no matter here.
func (v *VCenter) fetchCertificate(ctx context.Context, t target) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	plain, err := v.Network.Dial(ctx, "tcp", t.endpoint.Address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = plain.Close() }()
	var leaf *x509.Certificate
	c := t.endpoint.TLS.Clone()
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) > 0 {
			leaf = s.PeerCertificates[0]
		}
		return nil
	}
	conn := tls.Client(plain, c)
	err = conn.HandshakeContext(ctx)
	if leaf != nil {
		_ = conn.Close()
		return leaf, nil
	}
	return nil, err
}

// certificateInfo is what the API tells of a certificate.
func certificateInfo(c *x509.Certificate, now time.Time) *types.CryptoManagerKmipCertificateInfo {
	return &types.CryptoManagerKmipCertificateInfo{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), SerialNumber: c.SerialNumber.String(),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Fingerprint: fingerprint(c), CheckTime: now,
		SecondsSinceValid:   seconds(now.Sub(c.NotBefore)),
		SecondsBeforeExpire: seconds(c.NotAfter.Sub(now)),
	}
}

// seconds fits a duration into the API's 32 bits.
func seconds(d time.Duration) int32 {
	const most = 1<<31 - 1
	return int32(max(-most, min(most, int64(d/time.Second))))
}

func fingerprint(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

func encodeCertificate(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// newSelfSigned makes a certificate as vCenter makes its own: RSA, the subject
// kmipClient with the time, and no extended key usage at all.
func newSelfSigned(subject pkix.Name, now time.Time) (*tls.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: subject,
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// subject is what a certificate or a request of ours is for.
func subject(r *types.CryptoManagerKmipCertSignRequest, now time.Time) pkix.Name {
	name := pkix.Name{CommonName: "kmipClient" + now.UTC().Format("20060102150405")}
	if r == nil {
		return name
	}
	set := func(field *[]string, value string) {
		if value != "" {
			*field = []string{value}
		}
	}
	if r.CommonName != "" {
		name.CommonName = r.CommonName
	}
	set(&name.Organization, r.Organization)
	set(&name.OrganizationalUnit, r.OrganizationUnit)
	set(&name.Locality, r.Locality)
	set(&name.Province, r.State)
	set(&name.Country, r.Country)
	return name
}

func newRequest(name pkix.Name) (crypto.Signer, []byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: name}, key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), err
}

// pair joins a certificate with the key that it is for.
func pair(text string, key crypto.Signer) (*tls.Certificate, error) {
	leaf, err := parseCertificate(text)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, errors.New("there is no private key that it could belong to")
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the certificate is not for the private key that vCenter has")
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// describe puts an error of the way to a server into few words.
func describe(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "the key server did not answer in time"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	for _, known := range []error{errNotTrusted, errExpired} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

func holds(list []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(list, c.Equal)
}
