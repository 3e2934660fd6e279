package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// leafOf returns the first certificate in PEM.
func leafOf(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("want a certificate in PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
