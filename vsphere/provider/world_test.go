//go:build lab

package provider_test

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/programtest"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

var programs = programtest.New("keyreeve")

func TestMain(m *testing.M) { programs.Main(m, nil) }

// The whole of it with the real program: OVHcloud, which lets nothing through
// and compares the thumbprint with the live server, then vCenter, by each
// method, and a key that the server really gives.
func TestWorld(t *testing.T) {
	program := programs.Path(t, "keyreeve")
	for _, method := range []provider.Method{provider.CSR, provider.SelfSigned, provider.Pair} {
		t.Run(string(method), func(t *testing.T) {
			vspheretest.Run(t, vspheretest.WorldOptions{Keyreeve: program}, func(ctx context.Context, w *vspheretest.World) { inWorld(t, ctx, w, method) })
		})
	}
}

func inWorld(t *testing.T, ctx context.Context, w *vspheretest.World, method provider.Method) {
	host, _, err := net.SplitHostPort(w.KMS.Addr())
	if err != nil {
		t.Fatal(err)
	}
	vim, err := w.VCenters[0].Client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m, err := provider.New(provider.Config{VIM: vim.Client, KMS: map[string]provider.KMS{"": w.KMS.Admin}, StatusTimeout: 10 * time.Second, StatusEvery: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(w.KMS.Data, "tls", certs.ServerCAFile))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := certs.ParseCertificate(pem)
	if err != nil {
		t.Fatal(err)
	}
	d := provider.Desired{Default: name, Providers: []provider.Provider{{
		Name: name, Servers: []provider.Server{{Name: "kms-1", Address: host}}, Server: provider.ServerTrust{CA: []*x509.Certificate{ca}},
		Client: provider.ClientTrust{Method: method, Client: "vcenter"},
	}}}
	if _, err := m.Reconcile(ctx, d); err == nil || !strings.Contains(err.Error(), "firewall") {
		t.Errorf("before OVHcloud was told: %v", err)
	}
	tellOVHcloud(t, ctx, w, host)
	if _, err := m.Reconcile(ctx, d); err != nil {
		t.Fatal(err)
	}
	if changed, err := m.Reconcile(ctx, d); err != nil || len(changed) > 0 {
		t.Errorf("the second run changes %v, %v", changed, err)
	}
	if _, err := m.WaitNormal(ctx, name); err != nil {
		t.Error(err)
	}
	bundle := filepath.Join(t.TempDir(), "canary")
	if _, err := w.KMS.Run(ctx, "client", "add", "canary", "--out", bundle); err != nil {
		t.Fatal(err)
	}
	config, err := certs.ClientConfig(bundle)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := provider.Canary{Servers: []string{w.KMS.Addr()}, KMIP: kmipclient.Config{TLS: config}, ID: "world"}.Prove(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := w.KMS.Admin.Key(ctx, proof.Key); err != nil || key.State != "Destroyed" || key.Group != "canary" {
		t.Errorf("the proof's key is %+v, %v", key, err)
	}
}

func tellOVHcloud(t *testing.T, ctx context.Context, w *vspheretest.World, host string) {
	t.Helper()
	status, err := w.KMS.Admin.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	own := func(s string) *secret.Bytes { return secret.Own([]byte(s)) }
	client, err := ovhcloud.New(ovhcloud.Config{Endpoint: w.OVHURL, Credentials: ovhcloud.Credentials{
		ApplicationKey: w.OVHcloud.ApplicationKey, ApplicationSecret: own(w.OVHcloud.ApplicationSecret), ConsumerKey: own(w.OVHcloud.ConsumerKey)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	service, err := client.Service(ctx, "")
	if err == nil {
		_, err = service.Reconcile(ctx, ovhcloud.Desired{Address: host, Thumbprint: status.Certificate.SHA1, Description: "keyreeve"}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}
