package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Reloader holds the server's certificate and takes a new one from its folder when told to, without a restart. It is
// safe for concurrent use.
type Reloader struct {
	dir     string
	now     func() time.Time
	mu      sync.Mutex // one Reload at a time, so that an older read cannot overwrite a newer one
	current atomic.Pointer[tls.Certificate]
}

// NewReloader loads the folder's certificate. The error wraps [ErrOutsideDates] when only its dates are wrong, for a
// caller who can issue a new one.
func NewReloader(dir string, now func() time.Time) (*Reloader, error) {
	r := &Reloader{dir: dir, now: now}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload reads the files again. Whatever is wrong with them, the certificate so far stays in use and the error says
// what to correct. Running connections keep what they have.
func (r *Reloader) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	cert, err := LoadServer(r.dir, r.now())
	if err != nil {
		return err
	}
	r.current.Store(cert)
	return nil
}

// GetCertificate is for [tls.Config].
func (r *Reloader) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return r.current.Load(), nil
}

// Leaf returns the certificate in use, for its thumbprint and its end; it must not be changed.
func (r *Reloader) Leaf() *x509.Certificate { return r.current.Load().Leaf }

// LoadServer reads and checks a server's folder at a time: the key fits the certificate, the dates hold, the chain
// leads to ca.pem, and the certificate may be used by a server. The files may be an administrator's own, from another
// CA and with intermediates. No error shows anything of the key.
func LoadServer(dir string, now time.Time) (*tls.Certificate, error) {
	chain, err := readCertificates(filepath.Join(dir, ServerCertificateFile))
	if err != nil {
		return nil, err
	}
	roots, err := readCertificates(filepath.Join(dir, ServerCAFile))
	if err != nil {
		return nil, err
	}
	key, err := readKeyFor(chain[0], filepath.Join(dir, ServerKeyFile))
	if err != nil {
		return nil, err
	}
	if err := checkServer(chain, roots, now); err != nil {
		return nil, fmt.Errorf("server certificate in %s: %w", dir, err)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate: %w", err)
	}
	certs, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return certs, nil
}

// readKeyFor finds the key of cert in the file; see [WriteServer] for why there may be two.
func readKeyFor(cert *x509.Certificate, path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	defer secret.Clear(data)
	found := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // openssl ecparam writes it before the key
			continue
		}
		key, err := parsePrivateKey(block)
		secret.Clear(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		if samePublicKey(key.Public(), cert.PublicKey) {
			return key, nil
		}
		found++
	}
	if found == 0 {
		return nil, fmt.Errorf("reading %s: no private key found: want PEM that starts with -----BEGIN PRIVATE KEY-----", path)
	}
	return nil, fmt.Errorf("reading %s: the key does not belong to the certificate %s beside it", path, describe(cert))
}

func checkServer(chain, roots []*x509.Certificate, now time.Time) error {
	leaf := chain[0]
	if err := checkPublicKey(leaf.PublicKey); err != nil {
		return err
	}
	if err := checkDates(leaf, now); err != nil {
		return err
	}
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range roots {
		opts.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("the chain does not lead to %s (%s): put the intermediates after the leaf in %s", ServerCAFile, describe(roots[0]), ServerCertificateFile)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: a CA above it: %s", ErrOutsideDates, clean(err.Error()))
	}
	return errors.New(clean(err.Error()))
}
