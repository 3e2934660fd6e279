package kmiptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// An Authority is a CA with a server's certificate and a registry of clients,
// made anew for a test. Its methods may be called from several goroutines.
type Authority struct {
	Registry *certs.Registry
	// Server is the TLS configuration of the server's side.
	Server *tls.Config

	ca    *certs.CA
	roots *x509.CertPool

	mu      sync.Mutex
	clients map[string]*tls.Config
}

// NewAuthority makes one; dir is an empty folder for the server's certificate.
func NewAuthority(dir string) (*Authority, error) {
	ca, err := certs.NewCA(time.Now, rand.Reader)
	if err != nil {
		return nil, err
	}
	server, err := ca.IssueServer(certs.ServerRequest{Hosts: []string{"localhost", "127.0.0.1"}, KeyType: certs.P256})
	if err != nil {
		return nil, err
	}
	defer server.Clear()
	if err := certs.WriteServer(dir, server); err != nil {
		return nil, err
	}
	reloader, err := certs.NewReloader(dir, time.Now)
	if err != nil {
		return nil, err
	}
	registry, err := certs.NewRegistry(ca.Certificate(), nil, time.Now)
	if err != nil {
		return nil, err
	}
	a := &Authority{
		Registry: registry,
		Server:   certs.ServerConfig(reloader, registry, certs.Options{}),
		ca:       ca,
		roots:    x509.NewCertPool(),
		clients:  map[string]*tls.Config{},
	}
	a.roots.AddCert(ca.Certificate())
	return a, nil
}

// Client returns the configuration with which the client of that name
// connects. The first time it enrols the client, in a group of its own name:
// "none" stands for no certificate at all, a name that begins with
// "self-signed" gets a certificate that it signed itself, without any usages,
// and which is pinned, as vCenter's own is; a name that begins with "stranger"
// gets one that nobody enrolled.
func (a *Authority) Client(name string) (*tls.Config, error) { return a.ClientIn(name, name) }

// ClientIn is Client for a client of that group, if it is enrolled here.
func (a *Authority) ClientIn(name, group string) (*tls.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[name]; c != nil {
		return c.Clone(), nil
	}
	c := &tls.Config{RootCAs: a.roots, ServerName: "localhost"}
	if name != "none" {
		cert, err := a.enrol(name, group)
		if err != nil {
			return nil, fmt.Errorf("enrolling client %s: %w", name, err)
		}
		// Given whatever the server asks for: a client whose certificate
		// comes from elsewhere does not look at its list of CAs.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	a.clients[name] = c
	return c.Clone(), nil
}

func (a *Authority) enrol(name, group string) (*tls.Certificate, error) {
	req := certs.ClientRequest{Name: name, Group: group, KeyType: certs.P256}
	switch {
	case hasPrefix(name, "stranger"):
		cert, _, err := selfSigned(name)
		return cert, err
	case hasPrefix(name, "self-signed"):
		cert, text, err := selfSigned(name)
		if err != nil {
			return nil, err
		}
		record, err := certs.Pin(req, text, false, time.Now())
		if err != nil {
			return nil, err
		}
		return cert, a.Registry.Put(record)
	}
	issued, err := a.ca.IssueClient(req)
	if err != nil {
		return nil, err
	}
	defer issued.Clear()
	key := issued.KeyPEM()
	defer key.Clear()
	cert, err := tls.X509KeyPair(issued.CertificatePEM(), key.Expose())
	if err != nil {
		return nil, err
	}
	return &cert, a.Registry.Put(issued.Client)
}

// SignCSR enrols a client by its signing request, in a group of its own name, or
// renews it, and returns its certificate in PEM.
func (a *Authority) SignCSR(name string, csr []byte) ([]byte, error) {
	issued, err := a.ca.SignCSR(certs.ClientRequest{Name: name, Group: name}, csr)
	if err != nil {
		return nil, err
	}
	record := issued.Client
	if have, ok := a.Registry.Get(name); ok { // renewed: its group and the certificates so far stay
		leaf, err := certs.ParseCertificate(issued.CertificatePEM())
		if err != nil {
			return nil, err
		}
		if record, err = have.WithCertificate(leaf, time.Now(), have.Expires()); err != nil {
			return nil, err
		}
	}
	return issued.CertificatePEM(), a.Registry.Put(record)
}

// Pin enrols a client by its own certificate, in a group of its own name.
func (a *Authority) Pin(name string, certificate []byte) error {
	record, err := certs.Pin(certs.ClientRequest{Name: name, Group: name}, certificate, false, time.Now())
	if err != nil {
		return err
	}
	return a.Registry.Put(record)
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// Revoke revokes the client in the registry. It does not end connections.
func (a *Authority) Revoke(name string) error {
	record, ok := a.Registry.Get(name)
	if !ok {
		return fmt.Errorf("no client is called %s", name)
	}
	return a.Registry.Put(record.Revoke(time.Now(), "test"))
}

// selfSigned makes a certificate such as vCenter makes for itself: signed with
// its own key, with neither key usage nor extended key usage.
func selfSigned(name string) (*tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "kmipClient" + time.Now().UTC().Format("20060102150405"), Organization: []string{name}},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text, nil
}
