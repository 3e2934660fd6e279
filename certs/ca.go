package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
)

const (
	// CAValidity is how long a new CA is valid.
	CAValidity = 10 * 365 * 24 * time.Hour
	// DefaultValidity is how long a leaf is valid unless asked otherwise: the longest that common TLS stacks accept.
	DefaultValidity = 825 * 24 * time.Hour
	// backdate makes a new certificate valid for peers whose clock is behind ours.
	backdate = time.Hour
	// serialBytes gives serials of 128 bits; RFC 5280 section 4.1.2.2 allows 20 octets.
	serialBytes = 16
)

// ErrCAExpired is returned when the CA is asked for a certificate after its own end.
var ErrCAExpired = errors.New("the CA has expired: make a new store CA and give clients the new ca.pem")

// CA is the certificate authority of one store. It signs the server's certificate and those of clients; it is used by
// one goroutine or many alike. Its private key stays in memory as long as the CA is referenced.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
	rand io.Reader
}

// NewCA makes a P-256 CA that may sign leaves only (path length 0), valid for [CAValidity] from now.
func NewCA(now func() time.Time, rand io.Reader) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, fmt.Errorf("making the CA's key: %w", err)
	}
	serial, err := newSerial(rand)
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(serial.FillBytes(make([]byte, serialBytes)))[:8]
	start := now().UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Keyreeve CA " + id},
		NotBefore:             start.Add(-backdate),
		NotAfter:              start.Add(CAValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := create(rand, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the CA's certificate: %w", err)
	}
	return &CA{cert: cert, key: key, now: now, rand: rand}, nil
}

// LoadCA restores a CA from its certificate and the key that [CA.MarshalKey] gave. It refuses a key that does not fit
// the certificate and a certificate that is no CA; it does not judge dates, so that an old store still opens.
// It does not keep keyDER, which stays the caller's to clear.
func LoadCA(certPEM []byte, keyDER *secret.Bytes, now func() time.Time, rand io.Reader) (*CA, error) {
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("loading the CA's certificate: %w", err)
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return nil, fmt.Errorf("loading the CA's certificate: %s is not a CA certificate", describe(cert))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER.Expose())
	if err != nil {
		return nil, errors.New("loading the CA's key: it is not a PKCS#8 private key")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("loading the CA's key: want an ECDSA key, got %T", parsed)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("loading the CA's key: it does not belong to the CA's certificate")
	}
	return &CA{cert: cert, key: key, now: now, rand: rand}, nil
}

// MarshalKey returns the private key as PKCS#8, for the caller to seal and then to clear.
func (ca *CA) MarshalKey() (*secret.Bytes, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the CA's key: %w", err)
	}
	return secret.Own(der), nil
}

// Certificate returns the CA's certificate; it must not be changed.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// CertificatePEM returns the content of ca.pem.
func (ca *CA) CertificatePEM() []byte { return certificatePEM(ca.cert) }

// issue signs a leaf over pub. Serial, dates and CA:false are set here whatever the template says; the end is cut to
// the CA's own, because a leaf that outlives its CA fails without a word on the day the CA ends.
func (ca *CA) issue(template x509.Certificate, pub crypto.PublicKey, validity time.Duration) (*x509.Certificate, error) {
	if validity < 0 {
		return nil, fmt.Errorf("validity %s is negative", validity)
	}
	start := ca.now().UTC().Truncate(time.Second)
	if !start.Before(ca.cert.NotAfter) {
		return nil, ErrCAExpired
	}
	serial, err := newSerial(ca.rand)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = later(start.Add(-backdate), ca.cert.NotBefore)
	end := start.Add(validity)
	if validity == 0 {
		end = template.NotBefore.Add(DefaultValidity) // some TLS stacks measure the whole span
	}
	template.NotAfter = earlier(end, ca.cert.NotAfter)
	template.BasicConstraintsValid, template.IsCA = true, false
	return create(ca.rand, &template, ca.cert, pub, ca.key)
}

func create(rand io.Reader, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a random positive number of at most 128 bits.
func newSerial(rand io.Reader) (*big.Int, error) {
	buf := make([]byte, serialBytes)
	if _, err := io.ReadFull(rand, buf); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	serial := new(big.Int).SetBytes(buf)
	if serial.Sign() == 0 {
		return nil, errors.New("making a serial number: the source of random numbers gives only zeros")
	}
	return serial, nil
}

func certificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
