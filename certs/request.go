package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// NewRequest makes a client's key where its bundle will lie, and the signing
// request (PEM) that goes to the server. The key itself goes nowhere; it is the
// caller's to clear.
func NewRequest(kind KeyType, name string) (key *secret.Bytes, csr []byte, err error) {
	var private crypto.Signer
	if kind == P256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making the client's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the client's key: %w", err)
	}
	key = secret.Own(der)
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	request, err := x509.CreateCertificateRequest(rand.Reader, template, private)
	if err != nil {
		key.Clear()
		return nil, nil, fmt.Errorf("making the signing request: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}), nil
}

// WriteSigned writes the bundle of a client whose certificate was signed
// elsewhere: certificate and CA in PEM. See WriteBundle.
func WriteSigned(dir, name string, certificate, ca []byte, key *secret.Bytes) error {
	leaf, err := ParseCertificate(certificate)
	if err != nil {
		return err
	}
	root, err := ParseCertificate(ca)
	if err != nil {
		return err
	}
	return WriteBundle(dir, &Issued{Client: Client{Name: name}, Certificate: leaf, CA: root, Key: key})
}
