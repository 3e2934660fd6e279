package provider_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

func (r *rig) canary() provider.Canary {
	r.Helper()
	return provider.Canary{Servers: []string{r.kms.Addr()}, KMIP: r.kms.kmip(r.T, "canary"), ID: "vc-1"}
}

// peer is a connection of a canary's client.
func (r *rig) peer(cfg kmipclient.Config) *kmipclient.Client {
	r.Helper()
	c, err := kmipclient.Dial(context.WithoutCancel(r.Context()), r.kms.Addr(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

// left is how many keys of canaries there are that are not destroyed.
func (r *rig) left(cfg kmipclient.Config) (n int) {
	r.Helper()
	c := r.peer(cfg)
	ids, err := c.Locate(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, id := range ids {
		if state, err := c.State(r.Context(), id); err != nil || state < 5 {
			n++
		}
	}
	return n
}

// A proof makes a key, reads and compares it, and leaves none behind; again and
// again.
func TestProve(t *testing.T) {
	r := newRig(t)
	c := r.canary()
	for range 2 {
		p, err := c.Prove(t.Context())
		if err != nil || p.Key == "" || p.Took <= 0 || p.Leftover != 0 {
			t.Fatalf("%+v %v", p, err)
		}
	}
	if n := r.left(c.KMIP); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if _, err := (provider.Canary{}).Prove(t.Context()); err == nil {
		t.Error("a canary without a server proves something")
	}
}

// A proof that was killed leaves a key; the next one destroys it, and nobody
// else's key.
func TestProveAfterKill(t *testing.T) {
	r := newRig(t)
	c := r.canary()
	peer := r.peer(c.KMIP)
	for i, id := range []string{"vc-1", "vc-1", "vc-2"} {
		uid, err := peer.Create(t.Context(), kmipclient.CreateOptions{Attributes: []kmip.Attribute{kmip.TextAttribute("x-Keyreeve-Canary", id)}})
		if err == nil && i == 0 {
			err = peer.Activate(t.Context(), uid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if p, err := c.Prove(t.Context()); err != nil || p.Leftover != 2 {
		t.Errorf("%+v %v", p, err)
	}
	if n := r.left(c.KMIP); n != 1 {
		t.Errorf("%d keys are left, want the other canary's", n)
	}
}

// No key goes only because a server named it: it has to say itself whose it is.
func TestSweepTakesOnlyItsOwn(t *testing.T) {
	r := newRig(t)
	c := r.canary()
	peer := r.peer(c.KMIP)
	mark := kmip.TextAttribute
	for i, attrs := range [][]kmip.Attribute{nil, {mark("x-Keyreeve-Canary", "vc-2")}, {mark("x-Other", "vc-1")}, {mark("x-Keyreeve-Canary", "vc-1")}} {
		uid, err := peer.Create(t.Context(), kmipclient.CreateOptions{Attributes: attrs})
		if err == nil {
			err = peer.Activate(t.Context(), uid)
		}
		if err != nil {
			t.Fatal(err)
		}
		gone, err := provider.SweepOne(c, t.Context(), peer, uid)
		if own := i == 3; gone != own || (err == nil) != own {
			t.Errorf("%d: gone %v, %v", i, gone, err)
		}
		if state, err := peer.State(t.Context(), uid); err != nil || (state < 3) != (i < 3) {
			t.Errorf("%d: state %d, %v", i, state, err)
		}
	}
}

// Where it fails, the stage says so; what was made is destroyed all the same.
func TestProveFails(t *testing.T) {
	r := newRig(t)
	good := r.canary()
	dials := 0
	for _, row := range []struct {
		name  string
		spoil func(c *provider.Canary)
		stage provider.Stage
	}{
		{"down", func(c *provider.Canary) { c.Servers = []string{"127.0.0.1:1"} }, provider.StageDial},
		{"not enrolled", func(c *provider.Canary) { c.KMIP.TLS = c.KMIP.TLS.Clone(); c.KMIP.TLS.Certificates = nil }, provider.StageHandshake},
		{"another server", func(c *provider.Canary) { c.KMIP.TLS = c.KMIP.TLS.Clone(); c.KMIP.TLS.RootCAs = nil }, provider.StageHandshake},
		{"the second server is down", func(c *provider.Canary) { c.Servers = append(c.Servers, "127.0.0.1:1") }, provider.StageDial},
		{"another store", func(c *provider.Canary) {
			other := newKeyServer(t)
			both := c.KMIP.TLS.Clone()
			both.RootCAs.AddCert(other.ca.Certificate())
			theirs, ours := other.kmip(t, "canary").TLS.Certificates[0], both.Certificates[0]
			shown := &ours
			both.Certificates = nil
			both.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }
			c.KMIP.TLS, c.Servers = both, append(c.Servers, other.Addr())
			c.KMIP.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if shown = &ours; addr == other.Addr() {
					shown = &theirs
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		}, provider.StageGet},
		{"cancelled in the middle", func(c *provider.Canary) {
			c.KMIP.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials++; dials == 2 {
					return nil, context.Canceled
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
		}, provider.StageDial},
	} {
		c := good
		row.spoil(&c)
		_, err := c.Prove(t.Context())
		e, ok := errors.AsType[*provider.ProofError](err)
		if !ok || e.Stage != row.stage {
			t.Errorf("%s: %v", row.name, err)
		}
		if n := r.left(good.KMIP); n != 0 {
			t.Errorf("%s: %d keys are left", row.name, n)
		}
	}
	r.kms.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := good.Prove(ctx); err == nil {
		t.Error("a server that is down proves something")
	}
}
