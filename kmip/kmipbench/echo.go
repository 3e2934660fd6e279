package kmipbench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// runEcho measures Get against a server that gives everybody the same answer.
func (r *run) runEcho(ctx context.Context, results *[]Result, rates map[int]float64) error {
	answer, err := r.getAnswer(ctx)
	if err != nil {
		return err
	}
	defer secret.Clear(answer)
	l, client, err := echoListener()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echo(c, answer)
		}
	}()
	other := &run{cfg: r.cfg, uids: r.uids}
	other.cfg.Addr, other.cfg.TLS = l.Addr().String(), client
	for _, n := range r.cfg.Connections {
		res, err := other.measure(ctx, Echo, n, works["get"], nil)
		if err != nil {
			return err
		}
		rates[n] = res.PerSecond
		res.OfEcho = 1
		r.report(results, res)
	}
	return nil
}

// getAnswer is what the real server answers to a Get, as it comes.
func (r *run) getAnswer(ctx context.Context) ([]byte, error) {
	c, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	var w kmip.RequestWriter
	w.Begin(nil, &kmip.RequestHeader{Version: version})
	(&kmip.GetRequest{UniqueIdentifier: []byte(r.uids[0])}).Encode(w.BeginItem(kmip14.OperationGet, nil, nil), version)
	w.EndItem()
	return c.RoundTrip(ctx, w.End())
}

func echo(c net.Conn, answer []byte) {
	defer func() { _ = c.Close() }()
	var header [ttlv.HeaderSize]byte
	for {
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return
		}
		_, _, n := ttlv.Header(header[:])
		if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// echoListener has a certificate of its own that lives as long as this process.
func echoListener() (net.Listener, *tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	return l, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "localhost"}, err
}
