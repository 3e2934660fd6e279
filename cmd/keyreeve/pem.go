package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// leafOf returns the first certificate in PEM.
func leafOf(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("want a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// newKeyAndRequest makes a client's key where its bundle will lie, and the
// signing request that goes to the server. The key itself goes nowhere.
func newKeyAndRequest(kind certs.KeyType, name string) (key *secret.Bytes, csr []byte, err error) {
	var private crypto.Signer
	if kind == certs.P256 {
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
