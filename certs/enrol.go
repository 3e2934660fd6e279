package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// ClientRequest is what an operator says when enrolling a client.
type ClientRequest struct {
	Name     string
	Group    string
	KeyType  KeyType       // for IssueClient only
	Validity time.Duration // of a certificate made here; zero means DefaultValidity, and never beyond the CA's end
}

// Issued is a client's certificate made here, with its record, and its key when that was made here too.
type Issued struct {
	Client      Client
	Certificate *x509.Certificate
	CA          *x509.Certificate
	// Key is the private key as PKCS#8, nil after SignCSR; whoever holds the Issued calls Clear.
	Key *secret.Bytes
}

// Clear wipes the private key.
func (i *Issued) Clear() { i.Key.Clear() }

// CertificatePEM is the content of cert.pem.
func (i *Issued) CertificatePEM() []byte { return certificatePEM(i.Certificate) }

// KeyPEM is the content of key.pem, nil after SignCSR; the caller clears it.
func (i *Issued) KeyPEM() *secret.Bytes {
	if i.Key == nil {
		return nil
	}
	return privateKeyPEM(i.Key)
}

// IssueClient makes a key pair and a certificate for a client ("KMS certificate and private key" in vCenter).
func (ca *CA) IssueClient(req ClientRequest) (*Issued, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	key, err := req.KeyType.generate(ca.rand)
	if err != nil {
		return nil, fmt.Errorf("making the key of client %s: %w", req.Name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of client %s: %w", req.Name, err)
	}
	issued, err := ca.issueClient(req, KindIssued, key.Public())
	if err != nil {
		secret.Clear(der)
		return nil, err
	}
	issued.Key = secret.Own(der)
	return issued, nil
}

// SignCSR makes a certificate for the public key of a PKCS#10 signing request in PEM or DER ("New Certificate Signing
// Request" in vCenter). Only the key is taken from it: the subject, the usages, CA:false and the dates are ours, for
// else whoever writes a request could write itself another client's name or a CA.
func (ca *CA) SignCSR(req ClientRequest, csr []byte) (*Issued, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	request, err := parseCSR(csr)
	if err != nil {
		return nil, fmt.Errorf("signing request of client %s: %w", req.Name, err)
	}
	return ca.issueClient(req, KindCSR, request.PublicKey)
}

// parseCSR reads a request and checks that its sender holds the private key, and that the key is worth signing.
func parseCSR(data []byte) (*x509.CertificateRequest, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("%d bytes are too many", len(data))
	}
	der := data
	if block, _ := pem.Decode(data); block != nil {
		if err := checkBlock(block.Type, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"); err != nil {
			return nil, err
		}
		der = block.Bytes
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("it cannot be read: want PEM that starts with -----BEGIN CERTIFICATE REQUEST-----")
	}
	if err := checkPublicKey(request.PublicKey); err != nil {
		return nil, err
	}
	if err := request.CheckSignature(); err != nil {
		return nil, errors.New("its signature is wrong: it was damaged, or its sender does not hold the private key")
	}
	return request, nil
}

func (ca *CA) issueClient(req ClientRequest, kind Kind, pub any) (*Issued, error) {
	template := x509.Certificate{
		Subject:     pkix.Name{CommonName: req.Name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	cert, err := ca.issue(template, pub, req.Validity)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate of client %s: %w", req.Name, err)
	}
	client := req.record(kind, ca.now())
	client.Certificates = []Accepted{accept(cert)}
	return &Issued{Client: client, Certificate: cert, CA: ca.cert}, nil
}

// ErrOutsideDates is wrapped when a certificate that is to be pinned or loaded has expired or is not yet valid.
var ErrOutsideDates = errors.New("outside its dates")

// Pin enrols a foreign certificate (PEM or DER) by its fingerprint ("vCenter Certificate" in vCenter). Neither chain
// nor usages matter: vCenter's own certificate is self-signed and has no extended key usage. Its dates do matter,
// unless ignoreDates is set.
func Pin(req ClientRequest, certificate []byte, ignoreDates bool, now time.Time) (Client, error) {
	if err := req.validate(); err != nil {
		return Client{}, err
	}
	cert, err := ParseCertificate(certificate)
	if err != nil {
		return Client{}, fmt.Errorf("certificate of client %s: %w", req.Name, err)
	}
	if err := acceptable(cert, ignoreDates, now); err != nil {
		return Client{}, fmt.Errorf("certificate of client %s: %w", req.Name, err)
	}
	client := req.record(KindPinned, now)
	client.Certificates = []Accepted{accept(cert)}
	client.IgnoreDates = ignoreDates
	return client, nil
}

// TrustForeignCA enrols the one client that a foreign CA calls subject, an RFC 4514 name ("vCenter Root CA
// Certificate" in vCenter). The subject is not optional: a bare CA would let in everybody whom it ever certified.
func TrustForeignCA(req ClientRequest, caPEM []byte, subject string, now time.Time) (Client, error) {
	if err := req.validate(); err != nil {
		return Client{}, err
	}
	ca, err := ParseCertificate(caPEM)
	if err != nil {
		return Client{}, fmt.Errorf("foreign CA of client %s: %w", req.Name, err)
	}
	if err := checkDates(ca, now); err != nil {
		return Client{}, fmt.Errorf("foreign CA of client %s: %w", req.Name, err)
	}
	dn, err := ParseDN(subject)
	if err != nil {
		return Client{}, err
	}
	client := req.record(KindForeignCA, now)
	client.CAPEM, client.Subject = string(certificatePEM(ca)), dn.String()
	return client, client.Validate()
}

func checkDates(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%w: %s is valid only from %s on; now it is %s", ErrOutsideDates, describe(cert), stamp(cert.NotBefore), stamp(now))
	case now.After(cert.NotAfter):
		return fmt.Errorf("%w: %s expired on %s; now it is %s", ErrOutsideDates, describe(cert), stamp(cert.NotAfter), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (req ClientRequest) validate() error {
	if err := ValidateName("client name", req.Name); err != nil {
		return err
	}
	return ValidateName("group name", req.Group)
}

func (req ClientRequest) record(kind Kind, now time.Time) Client {
	return Client{Name: req.Name, Group: req.Group, Kind: kind, Created: now.UTC(), Generation: 1}
}
