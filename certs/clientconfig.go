package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// ClientConfig is the TLS configuration of the holder of a bundle: it shows cert.pem, and trusts what ca.pem signed and
// nothing else, not even the system's CAs. It refuses a key.pem that others can read, since it may be theirs by now.
func ClientConfig(dir string) (*tls.Config, error) {
	chain, err := readBundle(filepath.Join(dir, BundleCertificate))
	if err != nil {
		return nil, err
	}
	roots, err := readBundle(filepath.Join(dir, BundleCA))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, BundleKey)
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("reading the bundle: %s is open to others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	key, err := readKeyFor(chain[0], path)
	if err != nil {
		return nil, err
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: pool}, nil
}

func readBundle(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	list, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return list, nil
}
