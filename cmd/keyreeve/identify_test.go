package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// A connection's right ends with the client's record and with its certificate,
// also while the connection lives.
func TestIdentityEndsWhileConnected(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if code := testApp(&bytes.Buffer{}).run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"}); code != exitDone {
		t.Fatal("init failed")
	}
	now := time.Now()
	s, err := opened(t, data, now)
	if err != nil {
		t.Fatal(err)
	}
	s.app.now = func() time.Time { return now }
	leaf, err := leafOf(foreignPEM(t, "self", "vcenter"))
	if err != nil {
		t.Fatal(err)
	}
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	if _, err := s.identify(state); err == nil {
		t.Error("a stranger is identified")
	}
	client, err := certs.Pin(certs.ClientRequest{Name: "vcenter", Group: "infra"}, leaf.Raw, false, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.registry.Put(client); err != nil {
		t.Fatal(err)
	}
	peer, err := s.identify(state)
	if err != nil || peer.Principal.Client != "vcenter" || peer.Principal.Group != "infra" || peer.Principal.Admin {
		t.Fatalf("%+v, %v", peer.Principal, err)
	}
	if !peer.Current() {
		t.Error("a client that has just come is not current")
	}
	now = leaf.NotAfter.Add(time.Second)
	if peer.Current() {
		t.Error("a client whose certificate has ended is current")
	}
	now = leaf.NotAfter.Add(-time.Second)
	if err := s.registry.Put(client.Revoke(now, "")); err != nil {
		t.Fatal(err)
	}
	if peer.Current() {
		t.Error("a revoked client is current")
	}
}
