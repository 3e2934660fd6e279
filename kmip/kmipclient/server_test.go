package kmipclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// pki is one CA with a server's and a client's certificate, as PEM files.
type pki struct {
	dir    string
	server *tls.Config
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir()}
	ca, caKey := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	server, serverKey := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca, caKey)
	client, clientKey := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}}, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "ca.pem", "CERTIFICATE", ca.Raw)
	p.write(t, "cert.pem", "CERTIFICATE", client.Raw)
	p.write(t, "key.pem", "PRIVATE KEY", der)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	p.server = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}
	return p
}

func certificate(t *testing.T, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (p *pki) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *pki) config() kmipclient.Config {
	return kmipclient.Config{
		CertFile: filepath.Join(p.dir, "cert.pem"), KeyFile: filepath.Join(p.dir, "key.pem"), CAFile: filepath.Join(p.dir, "ca.pem"),
		Version: kmip.V1_4,
	}
}

// A script answers requests: what it returns is sent as it is. Nil closes the
// connection, and so does an answer that is shorter than it claims.
type script func(raw []byte) []byte

// serve runs a server that follows the script until the test ends.
func serve(t *testing.T, p *pki, s script) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", p.server)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { follow(conn, s) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func follow(conn net.Conn, s script) {
	defer conn.Close()
	for {
		head := make([]byte, ttlv.HeaderSize)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		_, _, n := ttlv.Header(head)
		raw := append(head, make([]byte, n)...)
		if _, err := io.ReadFull(conn, raw[ttlv.HeaderSize:]); err != nil {
			return
		}
		answer := s(raw)
		if answer == nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
		if _, _, n := ttlv.Header(answer); int64(len(answer)) < ttlv.HeaderSize+int64(n) {
			return
		}
	}
}

// operations is a script from what each item is answered with. It fails the
// test on a request that the server side of package kmip would refuse.
func operations(t *testing.T, one func(m *kmip.RequestMessage, it *kmip.RequestItem, w *kmip.ResponseWriter)) script {
	return func(raw []byte) []byte {
		var m kmip.RequestMessage
		if err := ttlv.Check(raw, ttlv.Limits{}); err != nil {
			t.Errorf("the client sent: %v", err)
			return nil
		}
		if err := kmip.ParseRequest(raw, &m); err != nil {
			t.Errorf("the client sent: %v", err)
			return nil
		}
		var w kmip.ResponseWriter
		w.Begin(nil, &kmip.ResponseHeader{Version: m.Header.Version, TimeStamp: 1})
		for i := range m.Items {
			one(&m, &m.Items[i], &w)
		}
		return w.End()
	}
}

// succeed writes an item that succeeds with the payload.
func succeed(w *kmip.ResponseWriter, m *kmip.RequestMessage, it *kmip.RequestItem, p kmip.Payload) {
	p.Encode(w.BeginItem(it.Operation, it.ID), m.Header.Version)
	w.EndItem()
}

// dial connects to a server that follows the script.
func dial(t *testing.T, s script, change ...func(*kmipclient.Config)) *kmipclient.Client {
	t.Helper()
	p := newPKI(t)
	cfg := p.config()
	for _, c := range change {
		c(&cfg)
	}
	c, err := kmipclient.Dial(t.Context(), serve(t, p, s), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// object is a Symmetric Key of those bytes.
func object(t testing.TB, key string) ttlv.Item {
	t.Helper()
	var w ttlv.Writer
	kmip.WriteSymmetricKey(&w, []byte(key), kmip14.CryptographicAlgorithmAES, int32(8*len(key)))
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return it
}
