package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newCA(t *testing.T, c *clock) *certs.CA {
	t.Helper()
	return must(certs.NewCA(c.now, rand.Reader))
}

var request = certs.ClientRequest{Name: "vcenter", Group: "lab", KeyType: certs.P256}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// pair is a certificate with its key.
type pair struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain []*x509.Certificate
}

func (p pair) tls() tls.Certificate {
	c := tls.Certificate{PrivateKey: p.key, Certificate: [][]byte{p.cert.Raw}}
	for _, up := range p.chain {
		c.Certificate = append(c.Certificate, up.Raw)
	}
	return c
}

func (p pair) certs() []*x509.Certificate { return append([]*x509.Certificate{p.cert}, p.chain...) }

func issuedPair(i *certs.Issued) pair {
	return pair{cert: i.Certificate, key: must(x509.ParsePKCS8PrivateKey(i.Key.Expose())).(crypto.Signer)}
}

// foreign makes certificates outside the package's rules. change edits the template before it is signed by parent, or
// by itself when parent is nil.
func foreign(name string, parent *pair, change func(*x509.Certificate)) pair {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    start.Add(-time.Hour),
		NotAfter:     start.Add(365 * 24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		return pair{cert: must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)))), key: key}
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key))
	return pair{cert: must(x509.ParseCertificate(der)), key: key}
}

func asCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
}

// rig is a server folder with its registry.
type rig struct {
	clock    *clock
	ca       *certs.CA
	dir      string
	reloader *certs.Reloader
	registry *certs.Registry
}

func newRig(t *testing.T, keyType certs.KeyType) *rig {
	t.Helper()
	c := newClock()
	ca := newCA(t, c)
	dir := t.TempDir()
	server := must(ca.IssueServer(certs.ServerRequest{Hosts: []string{"localhost", "127.0.0.1"}, KeyType: keyType}))
	defer server.Clear()
	if err := certs.WriteServer(dir, server); err != nil {
		t.Fatal(err)
	}
	return &rig{
		clock: c, ca: ca, dir: dir,
		reloader: must(certs.NewReloader(dir, c.now)),
		registry: must(certs.NewRegistry(ca.Certificate(), nil, c.now)),
	}
}

func (r *rig) config(o certs.Options) *tls.Config {
	o.Now = r.clock.now
	return certs.ServerConfig(r.reloader, r.registry, o)
}

func (r *rig) put(t *testing.T, c certs.Client) {
	t.Helper()
	if err := r.registry.Put(c); err != nil {
		t.Fatal(err)
	}
}

// client is a TLS client that trusts the rig's CA.
func (r *rig) client(version uint16, chain ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(r.ca.Certificate())
	return &tls.Config{
		RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version, Certificates: chain, Time: r.clock.now,
	}
}

// outcome is how both sides saw a connection.
type outcome struct {
	server, client error
	state          tls.ConnectionState // the server's
}

// connect runs one connection: the server ends its handshake and sends a byte, which the client waits for, since in
// TLS 1.3 it only learns of a refusal when it reads.
func connect(t *testing.T, server *tls.Config, dial func(addr string) error) outcome {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	result := make(chan outcome, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			result <- outcome{server: err}
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		conn := tls.Server(raw, server)
		err = conn.Handshake()
		if err == nil {
			_, _ = conn.Write([]byte{'!'})
		}
		result <- outcome{server: err, state: conn.ConnectionState()}
		_, _ = conn.Read(make([]byte, 1)) // until the client is gone
	}()
	clientErr := dial(l.Addr().String())
	o := <-result
	o.client = clientErr
	return o
}

func dialTLS(config *tls.Config) func(string) error {
	return func(addr string) error {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, config)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		return err
	}
}

func dialRaw(data string) func(string) error {
	return func(addr string) error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = bytes.NewReader([]byte(data)).WriteTo(conn)
		return err
	}
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
