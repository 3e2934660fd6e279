package vspheretest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

var cluster = types.KeyProviderId{Id: providerID}

// expectGreen says that the provider is connected.
func (r *rig) expectGreen() {
	r.Helper()
	if s := r.status(); s.OverallStatus != types.ManagedEntityStatusGreen {
		r.Errorf("status %s: %s", s.OverallStatus, s.Servers[0].ConnectionStatus)
	}
}

// vCenter's own certificate is pinned: it has no usages and nobody signed it.
func TestTrustBySelfSignedCertificate(t *testing.T) {
	r := newRig(t, vspheretest.Options{})
	r.register()
	r.trustServer()
	made, err := methods.GenerateSelfSignedClientCert(r.ctx, r.vim, &types.GenerateSelfSignedClientCert{This: r.manager(), Cluster: cluster})
	r.must(err)
	again, err := methods.RetrieveSelfSignedClientCert(r.ctx, r.vim, &types.RetrieveSelfSignedClientCert{This: r.manager(), Cluster: cluster})
	r.must(err)
	if again.Returnval != made.Returnval || !strings.Contains(made.Returnval, "BEGIN CERTIFICATE") {
		t.Error("the certificate that was made is not the one that is retrieved")
	}
	r.must(r.kms.Pin("vcenter", []byte(made.Returnval)))
	if s := r.status(); s.OverallStatus == types.ManagedEntityStatusGreen {
		t.Error("a certificate that is not in use yet makes the status green")
	}
	_, err = methods.UpdateSelfSignedClientCert(r.ctx, r.vim, &types.UpdateSelfSignedClientCert{This: r.manager(), Cluster: cluster, Certificate: made.Returnval})
	r.must(err)
	r.expectGreen()
}

// A pair that the key server made is uploaded.
func TestTrustByUploadedPair(t *testing.T) {
	r := newRig(t, vspheretest.Options{})
	r.register()
	r.trustServer()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	r.must(err)
	cert, err := r.kms.SignCSR("vcenter", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	r.must(err)
	raw, err := x509.MarshalECPrivateKey(key)
	r.must(err)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	upload := func(certificate, privateKey string) error {
		_, err := methods.UploadClientCert(r.ctx, r.vim, &types.UploadClientCert{This: r.manager(), Cluster: cluster, Certificate: certificate, PrivateKey: privateKey})
		return err
	}
	if upload(string(cert), "nonsense") == nil {
		t.Error("a private key that is none was taken")
	}
	r.must(upload(string(cert), private))
	r.expectGreen()
	used, err := methods.RetrieveClientCert(r.ctx, r.vim, &types.RetrieveClientCert{This: r.manager(), Cluster: cluster})
	r.must(err)
	if block, _ := pem.Decode([]byte(used.Returnval)); block == nil || !strings.Contains(string(cert), used.Returnval) {
		t.Error("another certificate is in use")
	}
}

// A certificate that is not for the key of the last request is refused: a
// second request has overwritten the first one's key.
func TestCSRIsOverwritten(t *testing.T) {
	r := newRig(t, vspheretest.Options{})
	r.register()
	generate := func() string {
		csr, err := methods.GenerateClientCsr(r.ctx, r.vim, &types.GenerateClientCsr{This: r.manager(), Cluster: cluster,
			Request: &types.CryptoManagerKmipCertSignRequest{CommonName: "vcsa", Organization: "Example"}})
		r.must(err)
		return csr.Returnval
	}
	first := generate()
	block, _ := pem.Decode([]byte(first))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	r.must(err)
	if csr.Subject.CommonName != "vcsa" || csr.Subject.Organization[0] != "Example" {
		t.Errorf("subject %v", csr.Subject)
	}
	cert, err := r.kms.SignCSR("vcenter", []byte(first))
	r.must(err)
	second := generate()
	last, err := methods.RetrieveClientCsr(r.ctx, r.vim, &types.RetrieveClientCsr{This: r.manager(), Cluster: cluster})
	r.must(err)
	if last.Returnval != second || first == second {
		t.Error("the last request is not the one that is retrieved")
	}
	_, err = methods.UpdateKmsSignedCsrClientCert(r.ctx, r.vim, &types.UpdateKmsSignedCsrClientCert{This: r.manager(), Cluster: cluster, Certificate: string(cert)})
	var invalid *types.InvalidArgument
	if _, ok := fault.As(err, &invalid); !ok {
		t.Errorf("a certificate for the overwritten key: %v", err)
	}
}

// One of two servers is down: yellow, and keys are made all the same, by the
// other one.
func TestSecondServer(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	twin := kmiptest.Start(t, r.store.Operations, kmiptest.Options{Authority: r.kms.Authority})
	r.must(r.keys.RegisterKmipServer(r.ctx, server(t, "kms-2", twin.Addr())))
	r.expectGreen()
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
	if s := r.status(); s.OverallStatus != types.ManagedEntityStatusYellow {
		t.Errorf("status %s", s.OverallStatus)
	}
	r.encrypt(r.vm(0))
	r.vc.Network.SetFault(twin.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
	if s := r.status(); s.OverallStatus != types.ManagedEntityStatusRed {
		t.Errorf("status %s with both down", s.OverallStatus)
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	r.must(r.keys.RemoveKmipServer(r.ctx, providerID, "kms-2"))
	r.expectGreen()
}

// A server's address and password can be changed; what does not exist cannot.
func TestUpdateServer(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	spec := server(t, "kms-1", "127.0.0.1:1")
	spec.Info.UserName, spec.Password = "vsphere", "secret"
	r.must(r.keys.UpdateKmipServer(r.ctx, spec))
	if s := r.status(); s.OverallStatus != types.ManagedEntityStatusRed {
		t.Errorf("status %s at a wrong address", s.OverallStatus)
	}
	spec = server(t, "kms-1", r.kms.Addr())
	spec.Info.UserName = "vsphere" // a client without users ignores the credential
	r.must(r.keys.UpdateKmipServer(r.ctx, spec))
	r.expectGreen()
	if r.keys.UpdateKmipServer(r.ctx, server(t, "ghost", r.kms.Addr())) == nil {
		t.Error("an unknown server was updated")
	}
	if r.keys.RegisterKmipServer(r.ctx, server(t, "kms-1", r.kms.Addr())) == nil {
		t.Error("the same name was registered twice")
	}
}

// Defaults are inherited from cluster to host, and the global one comes last.
func TestDefaults(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	spec := server(t, "kms-1", r.kms.Addr())
	spec.ClusterId.Id = "second"
	r.must(r.keys.RegisterKmipServer(r.ctx, spec))
	m := r.look(r.vm(0))
	host := *m.Runtime.Host
	var ref types.ManagedObjectReference
	r.must(r.property(host, "parent", &ref))
	r.must(r.keys.SetDefaultKmsClusterId(r.ctx, "second", &ref))
	for _, row := range []struct {
		entity  *types.ManagedObjectReference
		parents bool
		want    string
	}{{nil, false, providerID}, {&ref, false, "second"}, {&host, true, "second"}, {&host, false, ""}} {
		got, err := methods.GetDefaultKmsCluster(r.ctx, r.vim, &types.GetDefaultKmsCluster{This: r.manager(), Entity: row.entity, DefaultsToParent: &row.parents})
		r.must(err)
		id := ""
		if got.Returnval != nil {
			id = got.Returnval.Id
		}
		if id != row.want {
			t.Errorf("default of %v with parents %v: %q, want %q", row.entity, row.parents, id, row.want)
		}
	}
	err := r.keys.RemoveKmipServer(r.ctx, providerID, "kms-1")
	var state *types.InvalidState
	if _, ok := fault.As(err, &state); !ok {
		t.Errorf("the default provider was removed before another was named: %v", err)
	}
	r.must(r.keys.SetDefaultKmsClusterId(r.ctx, "second", nil))
	r.must(r.keys.RemoveKmipServer(r.ctx, providerID, "kms-1"))
}
