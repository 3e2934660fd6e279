package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
)

// enrolled makes one client of each kind, ready to connect.
func enrolled(t *testing.T, r *rig) (clients map[string]pair, vmca pair) {
	t.Helper()
	named := func(name string) certs.ClientRequest {
		return certs.ClientRequest{Name: name, Group: "lab", KeyType: certs.P256}
	}
	issued := must(r.ca.IssueClient(named("issued")))
	csrKey := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	signed := must(r.ca.SignCSR(named("csr"), csr(&x509.CertificateRequest{}, csrKey)))
	pinned := foreign("kmipClient20261124", nil, nil) // self-signed, no usages at all
	vmca = foreign("VMCA", nil, asCA)
	leaf := foreign("leaf", &vmca, nil)
	r.put(t, issued.Client)
	r.put(t, signed.Client)
	r.put(t, must(certs.Pin(named("pinned"), pemOf(pinned.cert), false, start)))
	r.put(t, must(certs.TrustForeignCA(named("foreign-ca"), pemOf(vmca.cert), "CN=leaf", start)))
	return map[string]pair{"issued": issuedPair(issued), "csr": {cert: signed.Certificate, key: csrKey}, "pinned": pinned, "foreign-ca": leaf}, vmca
}

func TestHandshakes(t *testing.T) {
	for _, keyType := range []certs.KeyType{certs.RSA2048, certs.P256} {
		r := newRig(t, keyType)
		clients, _ := enrolled(t, r)
		server := r.config(certs.Options{})
		for v, version := range versions {
			for kind, p := range clients {
				o := connect(t, server, dialTLS(r.client(version, p.tls())))
				if o.server != nil || o.client != nil || o.state.Version != version {
					t.Errorf("%s, TLS %s, %s: server %v, client %v", kind, v, keyType, o.server, o.client)
					continue
				}
				if id, err := r.registry.Identify(o.state.PeerCertificates); err != nil || id.Name != kind {
					t.Errorf("%s, TLS %s: identified as %+v, %v", kind, v, id, err)
				}
			}
		}
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	r := newRig(t, certs.P256)
	clients, vmca := enrolled(t, r)
	server := r.config(certs.Options{})
	stray := issuedPair(must(r.ca.IssueClient(request)))
	stolen := clients["pinned"]
	stolen.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	revoke, _ := r.registry.Get("csr")
	r.put(t, revoke.Revoke(start, "test"))
	short := must(r.ca.IssueClient(certs.ClientRequest{Name: "short", Group: "lab", KeyType: certs.P256, Validity: time.Minute}))
	r.put(t, short.Client)
	r.clock.advance(time.Hour)
	for v, version := range versions {
		for name, tc := range map[string]struct {
			chain []tls.Certificate
			kind  certs.HandshakeKind
			want  string
		}{
			"none":              {nil, certs.HandshakeNoCertificate, "presented no certificate"},
			"unknown":           {[]tls.Certificate{foreign("x", nil, nil).tls()}, certs.HandshakeRefused, "keyreeve client add NAME --cert FILE"},
			"no record":         {[]tls.Certificate{stray.tls()}, certs.HandshakeRefused, "no client record"},
			"revoked":           {[]tls.Certificate{clients["csr"].tls()}, certs.HandshakeRefused, "was revoked"},
			"expired":           {[]tls.Certificate{issuedPair(short).tls()}, certs.HandshakeRefused, "expired on"},
			"key not held":      {[]tls.Certificate{stolen.tls()}, certs.HandshakeRefused, "private key it does not hold"},
			"wrong subject":     {[]tls.Certificate{foreign("x", &vmca, nil).tls()}, certs.HandshakeRefused, "its subject is not CN=leaf"},
			"still let in":      {[]tls.Certificate{clients["issued"].tls()}, "", ""},
			"pinned let in":     {[]tls.Certificate{clients["pinned"].tls()}, "", ""},
			"foreign-ca let in": {[]tls.Certificate{clients["foreign-ca"].tls()}, "", ""},
		} {
			o := connect(t, server, dialTLS(r.client(version, tc.chain...)))
			if tc.kind == "" {
				if o.server != nil || o.client != nil {
					t.Errorf("TLS %s, %s: server %v, client %v", v, name, o.server, o.client)
				}
				continue
			}
			if o.client == nil {
				t.Errorf("TLS %s, %s: the client was served", v, name)
			}
			wantEnd(t, "TLS "+v+", "+name, o.server, tc.kind, tc.want)
			// A client that shows nothing is told what is missing, where its TLS version has a word for it.
			if asked := strings.Contains(fmt.Sprint(o.client), "certificate required"); asked != (name == "none" && version == tls.VersionTLS13) {
				t.Errorf("TLS %s, %s: the client heard %v", v, name, o.client)
			}
		}
	}
}

func wantEnd(t *testing.T, name string, err error, kind certs.HandshakeKind, words string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: the handshake succeeded", name)
		return
	}
	got, message := certs.ClassifyHandshakeError(err)
	if got != kind || !strings.Contains(message, words) {
		t.Errorf("%s: %v is classified as %s: %s\nwant %s with %q", name, err, got, message, kind, words)
	}
	if level := got.Level(); (level == slog.LevelInfo) != (kind == certs.HandshakeNoCertificate || kind == certs.HandshakeClosed) {
		t.Errorf("%s: level %s", name, level)
	}
}

// A resumed session skips the client's certificate; what was true when the ticket was made must be asked again.
func TestResumedSessionsAreCheckedAgain(t *testing.T) {
	for v, version := range versions {
		for name, tc := range map[string]struct {
			between func(r *rig)
			kind    certs.HandshakeKind
			want    string
		}{
			"nothing": {func(*rig) {}, "", ""},
			"revoked": {func(r *rig) {
				c, _ := r.registry.Get("client")
				r.put(t, c.Revoke(r.clock.now(), "test"))
			}, certs.HandshakeRefused, "was revoked"},
			"removed": {func(r *rig) { r.registry.Remove("client") }, certs.HandshakeRefused, "no client record"},
			"expired": {func(r *rig) { r.clock.advance(2 * time.Hour) }, certs.HandshakeRefused, "expired on"},
			"replaced": {func(r *rig) {
				c, _ := r.registry.Get("client")
				next := must(r.ca.IssueClient(certs.ClientRequest{Name: "client", Group: "lab", KeyType: certs.P256}))
				r.put(t, must(c.WithCertificate(next.Certificate, r.clock.now(), r.clock.now().Add(time.Minute))))
				r.clock.advance(2 * time.Minute)
			}, certs.HandshakeRefused, "was replaced"},
		} {
			r := newRig(t, certs.P256)
			issued := must(r.ca.IssueClient(certs.ClientRequest{Name: "client", Group: "lab", KeyType: certs.P256, Validity: time.Hour}))
			r.put(t, issued.Client)
			server := r.config(certs.Options{})
			client := r.client(version, issuedPair(issued).tls())
			client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			if o := connect(t, server, dialTLS(client)); o.server != nil || o.client != nil || o.state.DidResume {
				t.Fatalf("TLS %s: first handshake: server %v, client %v, resumed %v", v, o.server, o.client, o.state.DidResume)
			}
			tc.between(r)
			o := connect(t, server, dialTLS(client))
			if tc.kind != "" {
				wantEnd(t, "TLS "+v+", "+name, o.server, tc.kind, tc.want)
			}
			if tc.kind == "" && o.server != nil {
				t.Errorf("TLS %s, %s: %v", v, name, o.server)
			}
			// crypto/tls itself does not resume for an expired certificate; all others must have been resumed, or the
			// refusals above prove nothing.
			if want := name != "expired"; o.state.DidResume != want {
				t.Errorf("TLS %s, %s: resumed %v, want %v", v, name, o.state.DidResume, want)
			}
		}
	}
}

func TestSuites(t *testing.T) {
	r := newRig(t, certs.RSA2048)
	clients, _ := enrolled(t, r)
	p := clients["issued"]
	for suite, legacy := range map[uint16]bool{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:       false,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:       false,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: false,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:          true,
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:          true,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA256:             true, // what vCenter 7.0.3 was seen to take
		tls.TLS_RSA_WITH_AES_128_CBC_SHA:                true,
		tls.TLS_RSA_WITH_AES_256_CBC_SHA:                true,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256:             true,
	} {
		client := r.client(tls.VersionTLS12, p.tls())
		client.CipherSuites = []uint16{suite}
		name := tls.CipherSuiteName(suite)
		o := connect(t, r.config(certs.Options{LegacySuites: true}), dialTLS(client))
		if o.server != nil || o.state.CipherSuite != suite {
			t.Errorf("%s with the legacy switch: %v", name, o.server)
		}
		o = connect(t, r.config(certs.Options{}), dialTLS(client))
		if legacy {
			wantEnd(t, name, o.server, certs.HandshakeCipher, "the client offers "+name+"; to serve it all the same set legacy_suites: true")
		} else if o.server != nil {
			t.Errorf("%s: %v", name, o.server)
		}
	}
	client := r.client(tls.VersionTLS12, p.tls())
	client.CipherSuites = []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
	o := connect(t, r.config(certs.Options{LegacySuites: true}), dialTLS(client))
	wantEnd(t, "3DES", o.server, certs.HandshakeCipher, "TLS_RSA_WITH_3DES_EDE_CBC_SHA")
	if _, message := certs.ClassifyHandshakeError(o.server); strings.Contains(message, certs.LegacySetting) {
		t.Errorf("3DES: the message names a switch that does not help: %s", message)
	}
}
