package provider_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// From a bare vCenter to a provider that is Normal and the default, by each
// method that needs nothing from elsewhere; a second run changes nothing; and
// a certificate that ends soon is renewed.
func TestReconcile(t *testing.T) {
	for _, method := range []provider.Method{"", provider.CSR, provider.SelfSigned, provider.Pair} {
		r := newRig(t)
		d := r.desired(method)
		if got := r.reconcile(d); got != "add-server trust-server trust-client set-default" {
			t.Errorf("%s: %q", method, got)
		}
		before, err := r.m.WaitNormal(r.Context(), name)
		if err != nil || before == nil || !before.Default {
			t.Fatalf("%s: %+v %v", method, before, err)
		}
		if got := r.reconcile(d); got != "" {
			t.Errorf("%s: the second run changes %q", method, got)
		}
		d.RenewBefore = time.Until(before.Client.NotAfter) + time.Hour
		if _, err := r.m.Reconcile(r.Context(), d); err == nil { // what is made new ends too soon for that as well
			t.Errorf("%s: a certificate that always ends too soon is no error", method)
		}
		after, err := r.m.WaitNormal(r.Context(), name)
		if err != nil || after.Client.SHA1 == before.Client.SHA1 {
			t.Errorf("%s: not renewed: %v", method, err)
		}
		if c, _ := r.kms.Registry.Get("vcenter"); len(c.Certificates) < 2 {
			t.Errorf("%s: the old certificate does not go on beside the new one", method)
		}
	}
}

// vCenter's certificate is of a foreign CA: the key server trusts that CA with
// the one subject, and nobody else whom it certified.
func TestForeignCA(t *testing.T) {
	r := newRig(t)
	other, err := certs.NewCA(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := other.IssueClient(certs.ClientRequest{Name: "vcsa", Group: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer issued.Clear()
	d := r.desired(provider.ForeignCA)
	d.Providers[0].Client.CA, d.Providers[0].Client.Subject = other.CertificatePEM(), certs.SubjectOf(issued.Certificate)
	_, err = r.m.Reconcile(r.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "upload one with the subject") {
		t.Fatalf("vCenter has no certificate: %v", err)
	}
	key := issued.KeyPEM()
	defer key.Clear()
	_, err = methods.UploadClientCert(r.Context(), r.vim, &types.UploadClientCert{This: *r.vim.ServiceContent.CryptoManager, Cluster: types.KeyProviderId{Id: name},
		Certificate: string(issued.CertificatePEM()), PrivateKey: string(key.Expose())})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.reconcile(d); got != "set-default" {
		t.Errorf("%q", got)
	}
	if err := r.kms.Registry.Put(revoked(t, r.kms, "vcenter")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.Reconcile(r.Context(), d); err == nil || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("a revoked client: %v", err)
	}
}

func revoked(t *testing.T, k *keyServer, name string) certs.Client {
	t.Helper()
	c, ok := k.Registry.Get(name)
	if !ok {
		t.Fatalf("no client %s", name)
	}
	return c.Revoke(time.Now(), "a mistake")
}

// A certificate is uploaded only when it is the one that was given and that the
// server has: somebody who stands between vCenter and the key server when trust
// is made must not be asked for every key from then on.
func TestNoTrustOnFirstUse(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, d *provider.Desired){
		"somebody else answers": func(r *rig, _ *provider.Desired) {
			r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.WrongCertificate})
		},
		"another CA is given": func(r *rig, d *provider.Desired) {
			other, err := certs.NewCA(time.Now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			d.Providers[0].Server.CA = []*x509.Certificate{other.Certificate()}
		},
		"another fingerprint is given": func(_ *rig, d *provider.Desired) {
			d.Providers[0].Server = provider.ServerTrust{SHA256: []string{strings.Repeat("AA:", 31) + "AA"}}
		},
		"the CA is right and the fingerprint is not": func(_ *rig, d *provider.Desired) {
			d.Providers[0].Server.SHA256 = []string{strings.Repeat("aa", 32)}
		},
		"the server says that it has another": func(r *rig, _ *provider.Desired) {
			s, err := r.kms.issue()
			if err != nil {
				t.Fatal(err)
			}
			if err := certs.WriteServer(r.kms.dir, s); err != nil {
				t.Fatal(err)
			}
			other, err := certs.NewReloader(r.kms.dir, time.Now) // what it says; what it shows stays
			if err != nil {
				t.Fatal(err)
			}
			r.kms.reloader = other
		},
		"it is another server, and its fingerprint is not the given one": func(_ *rig, d *provider.Desired) {
			d.Providers[0].OtherServers, d.Providers[0].Server = true, provider.ServerTrust{SHA256: []string{strings.Repeat("aa", 32)}}
		},
		"it is another server, and nothing is given": func(_ *rig, d *provider.Desired) {
			d.Providers[0].OtherServers, d.Providers[0].Server = true, provider.ServerTrust{}
		},
		"the admin API is down": func(r *rig, _ *provider.Desired) { r.kms.refuse["status"] = admin.ErrNotRunning },
	} {
		r := newRig(t)
		d := r.desired(provider.CSR)
		spoil(r, &d)
		if _, err := r.m.Reconcile(r.Context(), d); err == nil {
			t.Errorf("%s: no error", name)
		}
		r.vc.Network.ClearFault(r.kms.Addr())
		_, trusted, err := r.m.Sees(r.Context(), "keyreeve", "kms-1")
		if err != nil || trusted {
			t.Errorf("%s: trusted %v, %v", name, trusted, err)
		}
		if slices.Contains(r.kms.calls, "enrol") {
			t.Errorf("%s: vCenter was enrolled", name)
		}
	}
	r := newRig(t)
	d := r.desired(provider.CSR)
	d.Providers[0].Server = provider.ServerTrust{SHA256: []string{strings.ToLower(strings.ReplaceAll(certs.SHA256(r.kms.reloader.Leaf()), ":", ""))}}
	if got := r.reconcile(d); !strings.Contains(got, "trust-server") {
		t.Errorf("the right fingerprint: %q", got)
	}
}

// Another server than the one whose admin API is at hand has a certificate of its
// own, and the CA that was given vouches for it.
func TestOtherServers(t *testing.T) {
	r := newRig(t)
	says, err := r.kms.issue() // what the API speaks of is not what that server shows
	if err != nil {
		t.Fatal(err)
	}
	d := r.desired(provider.CSR)
	d.Providers[0].OtherServers = true
	r.kms.says = says.Certificate
	if got := r.reconcile(d); !strings.Contains(got, "trust-server trust-client") {
		t.Errorf("%q", got)
	}
}

// A server that refuses vCenter although it has its certificate, as for a wrong
// password, gets no further certificates.
func TestNotForTheCertificate(t *testing.T) {
	for _, method := range []provider.Method{provider.CSR, provider.SelfSigned, provider.Pair} {
		r := newRig(t)
		d := r.desired(method)
		r.reconcile(d)
		is, _ := r.kms.Registry.Get("vcenter")
		other, err := r.kms.ca.IssueClient(certs.ClientRequest{Name: "vcenter", Group: "vcenter", KeyType: certs.P256})
		if err != nil {
			t.Fatal(err)
		}
		r.kms.Registry.Remove("vcenter")
		other.Client.Generation = r.kms.Registry.NextGeneration("vcenter")
		if err := r.kms.Registry.Put(other.Client); err != nil { // it takes this one alone
			t.Fatal(err)
		}
		r.kms.record, r.kms.calls = &is, nil
		_, err = r.m.Reconcile(r.Context(), d)
		if err == nil || !strings.Contains(err.Error(), "user and password are right") || slices.Contains(r.kms.calls, "renew") {
			t.Errorf("%s: %v, %s", method, err, r.kms.calls)
		}
		r.kms.record = nil
		if got := r.reconcile(d); got != "trust-client" {
			t.Errorf("%s: then %q", method, got)
		}
	}
}

// A subject is vCenter's to put into what it makes.
func TestSubject(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.SelfSigned)
	request, err := provider.Subject(`CN=vc\, one,OU=KMIP,O=Example,C=FR`)
	if err != nil {
		t.Fatal(err)
	}
	d.Providers[0].Client.Request = request
	r.reconcile(d)
	o, err := r.m.Look(r.Context(), name)
	if err != nil || o.Client.Subject != `CN=vc\, one,OU=KMIP,O=Example,C=FR` {
		t.Errorf("%+v %v", o.Client, err)
	}
	for text, says := range map[string]string{"CN=a,DC=b": "no DC", "CN=a,CN=b": "one CN", "O=x": "want a CN", "x": "bad"} {
		if _, err := provider.Subject(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if none, err := provider.Subject(""); none != nil || err != nil {
		t.Errorf("%v %v", none, err)
	}
}

// A provider is the default of a cluster and of a host folder, and of nothing
// that can have none; its end needs successors at both.
func TestEntityDefaults(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	for path, want := range map[string]string{
		"/DC0/host/DC0_C0": "ClusterComputeResource", "/DC0/host": "Folder", "/DC0/host/none": "", "/DC0/vm": "", "/DC0": "", "/": "", "/DC0/host/DC0_C0/DC0_C0_H0": "",
	} {
		ref, err := r.m.Entity(r.Context(), path)
		if (err == nil) != (want != "") || err != nil && !errors.Is(err, provider.ErrNoEntity) || want != "" && ref.Type != want {
			t.Errorf("%s: %v %v", path, ref, err)
		}
		if want != "" {
			d.EntityDefaults = append(d.EntityDefaults, provider.EntityDefault{Entity: ref, Path: path, Provider: name})
		}
	}
	if got := r.reconcile(d); got != "add-server trust-server trust-client set-default set-entity-default set-entity-default" {
		t.Errorf("%q", got)
	}
	if got := r.reconcile(d); got != "" {
		t.Errorf("then %q", got)
	}
	state, err := r.m.Observe(r.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range d.EntityDefaults {
		if state.EntityDefaults[e.Entity] != name || state.Paths[e.Entity] != e.Path {
			t.Errorf("%s: %q at %s", e.Path, state.EntityDefaults[e.Entity], state.Paths[e.Entity])
		}
	}
	next := r.desired(provider.CSR)
	next.Providers[0].Name, next.Default, next.Absent = "new", "new", []string{name}
	next.Providers[0].Servers[0].Address = "localhost"
	next.EntityDefaults = slices.Clone(d.EntityDefaults[:1])
	next.EntityDefaults[0].Provider = "new"
	if _, err := r.m.Reconcile(r.Context(), next); !errors.Is(err, provider.ErrBlocked) || !strings.Contains(err.Error(), "it is the default of "+d.EntityDefaults[1].Path) {
		t.Errorf("one of two has a successor: %v", err)
	}
	if o, err := r.m.Look(r.Context(), name); err != nil || o == nil {
		t.Fatalf("the provider is gone: %v", err)
	}
	next.EntityDefaults = append(next.EntityDefaults, d.EntityDefaults[1])
	next.EntityDefaults[1].Provider = "new"
	if got := r.reconcile(next); got != "set-entity-default remove-provider" {
		t.Errorf("with both: %q", got)
	}
}

// Expired certificates are not trusted, by the clock that was given.
func TestTrustDates(t *testing.T) {
	r := newRig(t)
	leaf := r.kms.reloader.Leaf()
	trust := provider.ServerTrust{CA: []*x509.Certificate{r.kms.ca.Certificate()}}
	for at, want := range map[time.Time]bool{time.Now(): true, leaf.NotAfter.Add(time.Second): false, leaf.NotBefore.Add(-time.Second): false} {
		if err := trust.Verify(leaf, at); (err == nil) != want || err != nil && !errors.Is(err, provider.ErrUntrusted) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// Whatever call of the key server's fails, and whenever it is killed, the next
// run completes.
func TestInterrupted(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	for _, call := range []string{"status", "client", "enrol"} {
		r.kms.refuse[call] = &admin.Error{Code: admin.CodeFailed, Message: "not now", Hint: "later"}
		if _, err := r.m.Reconcile(r.Context(), d); err == nil || !strings.Contains(err.Error(), "not now") {
			t.Errorf("%s fails: %v", call, err)
		}
		delete(r.kms.refuse, call)
	}
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
	if _, err := r.m.Reconcile(r.Context(), d); !errors.Is(err, provider.ErrBlocked) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the key server is down: %v", err)
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	r.reconcile(d)
	if got := r.reconcile(d); got != "" {
		t.Errorf("then: %q", got)
	}
}

// A hanging vCenter, or key server behind it, ends with the context, and
// nothing is left running.
func TestCancel(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	r.reconcile(d)
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Hang})
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.m.WaitNormal(ctx, name); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	if _, err := r.m.WaitNormal(r.Context(), "ghost"); !errors.Is(err, provider.ErrNotNormal) {
		t.Errorf("a provider that is not there: %v", err)
	}
	limit := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before+2 { // the simulator's own probe ends by its time-out
		if time.Now().After(limit) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

// Reasons name what is wrong, for the faults that the network can make.
func TestNotNormal(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	for kind, says := range map[vspheretest.FaultKind]string{
		vspheretest.Refuse: "does not reach", vspheretest.WrongCertificate: "somebody else answers",
	} {
		r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: kind})
		_, err := r.m.WaitNormal(r.Context(), name)
		if !errors.Is(err, provider.ErrNotNormal) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	if err := r.kms.Registry.Put(revoked(t, r.kms, "vcenter")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.WaitNormal(r.Context(), name); err == nil || !strings.Contains(err.Error(), "does not take vCenter's certificate") {
		t.Errorf("revoked: %v", err)
	}
}

// Servers are updated and not added twice; one goes while another serves.
func TestServers(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	r.reconcile(d)
	d.Providers[0].Servers[0].User = "vsphere"
	if got := r.reconcile(d); got != "update-server" {
		t.Errorf("a user: %q", got)
	}
	renamed := d
	renamed.Providers = slices.Clone(d.Providers)
	renamed.Providers[0].Servers = slices.Clone(d.Providers[0].Servers)
	renamed.Providers[0].Servers[0].Name = "another"
	if got := r.reconcile(renamed); got != "" {
		t.Errorf("another alias: %q", got)
	}
	twin := r.server("kms-2")
	twin.Address = "localhost" // the same server by another way
	d.Providers[0].Servers = append(d.Providers[0].Servers, twin)
	if got := r.reconcile(d); got != "add-server trust-server" {
		t.Errorf("a second server: %q", got)
	}
	d.Providers[0].Servers = d.Providers[0].Servers[:1]
	if got := r.reconcile(d); got != "remove-server" {
		t.Errorf("a server too many: %q", got)
	}
}

// An address at which nobody answers, as a typing error, takes no key from
// anybody: the server is put back to where it was connected.
func TestServerAtAWrongAddress(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	r.reconcile(d)
	right := d.Providers[0].Servers[0]
	wrong := r.desired(provider.CSR)
	wrong.Providers[0].Servers[0].Address, wrong.Providers[0].Servers[0].Port = "127.0.0.1", 1
	if _, err := r.m.Reconcile(r.Context(), wrong); err == nil || !strings.Contains(err.Error(), "it was connected where it was before, and is there again") {
		t.Errorf("it says %v", err)
	}
	o, err := r.m.WaitNormal(r.Context(), name)
	if err != nil || o.Servers[0].Address != right.Address {
		t.Errorf("%+v, %v", o, err)
	}
	if got := r.reconcile(d); got != "" {
		t.Errorf("then %q", got)
	}
	twin := r.desired(provider.CSR)
	twin.Providers[0].Servers[0].Address = "localhost" // the same server by another way
	if got := r.reconcile(twin); got != "update-server trust-server" {
		t.Errorf("an address that answers: %q", got)
	}
}

// A provider under an encrypted machine is neither renamed nor removed; without
// one it goes, and its successor is the default.
func TestKeysInUse(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	r.reconcile(d)
	r.encrypt(name, name)
	uses, err := r.m.Uses(r.Context(), name)
	if err != nil || uses.Keys == 0 || len(uses.Names) == 0 {
		t.Fatalf("uses %+v %v", uses, err)
	}
	renamed := r.desired(provider.CSR)
	renamed.Providers[0].Name, renamed.Default = "new", ""
	if _, err := r.m.Reconcile(r.Context(), renamed); !errors.Is(err, provider.ErrBlocked) || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("a rename: %v", err)
	}
	moved := r.desired(provider.CSR)
	moved.Providers[0].Name, moved.Default, moved.Absent = "new", "new", []string{name}
	moved.Providers[0].Servers[0].Address = "localhost" // so that it is no rename
	if _, err := r.m.Reconcile(r.Context(), moved); !errors.Is(err, provider.ErrBlocked) || !strings.Contains(err.Error(), "are in use") {
		t.Errorf("a removal: %v", err)
	}
	plan := provider.Plan{Steps: []provider.Step{{Kind: provider.RemoveProvider, Provider: name}}} // as if a machine were encrypted after the plan
	if _, err := r.m.Apply(r.Context(), moved, plan); !errors.Is(err, provider.ErrInUse) {
		t.Errorf("a removal by an old plan: %v", err)
	}
	if o, err := r.m.Look(r.Context(), name); err != nil || o == nil {
		t.Fatalf("the provider is gone: %v", err)
	}
}

// A default that nobody uses goes with its successor: which is the default
// before the old one is gone.
func TestSuccessor(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	d := r.desired(provider.CSR)
	d.Providers[0].Name, d.Default, d.Absent = "new", "new", []string{name}
	d.Providers[0].Servers[0].Address = "localhost"
	if got := r.reconcile(d); got != "add-server trust-server trust-client set-default remove-provider" {
		t.Errorf("%q", got)
	}
	if o, err := r.m.Look(r.Context(), name); err != nil || o != nil {
		t.Errorf("the old one is there: %v", err)
	}
	if o, err := r.m.WaitNormal(r.Context(), "new"); err != nil || !o.Default {
		t.Errorf("the new one: %+v %v", o, err)
	}
}

// encrypt encrypts the first machine, its home and its disk by keys of those
// providers.
func (r *rig) encrypt(home, disk string) {
	r.Helper()
	ctx := r.Context()
	list, err := find.NewFinder(r.vim.Client).VirtualMachineList(ctx, "/...")
	if err != nil {
		r.Fatal(err)
	}
	keys, err := crypto.GetManagerKmip(r.vim.Client)
	if err != nil {
		r.Fatal(err)
	}
	key := func(provider string) types.CryptoKeyId {
		id, err := keys.GenerateKey(ctx, provider)
		if err != nil {
			r.Fatal(err)
		}
		return types.CryptoKeyId{KeyId: id, ProviderId: &types.KeyProviderId{Id: provider}}
	}
	var vm mo.VirtualMachine
	if err := property.DefaultCollector(r.vim.Client).RetrieveOne(ctx, list[0].Reference(), []string{"config"}, &vm); err != nil {
		r.Fatal(err)
	}
	spec := vspheretest.EncryptSpec(vm.Config, vspheretest.EncryptionPolicyID, key(home))
	if disk != home {
		for _, d := range spec.DeviceChange {
			d.GetVirtualDeviceConfigSpec().Backing.Crypto = &types.CryptoSpecEncrypt{CryptoKeyId: key(disk)}
		}
	}
	task, err := list[0].Reconfigure(ctx, spec)
	if err == nil {
		err = task.Wait(ctx)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// One provider's failure does not keep the others from what they need, and a
// default that is not connected is not set.
func TestOthersGoOn(t *testing.T) {
	r := newRig(t)
	d := r.desired(provider.CSR)
	broken := d.Providers[0]
	broken.Name, broken.Server = "broken", provider.ServerTrust{SHA256: []string{strings.Repeat("aa", 32)}}
	broken.Client.Client = "vcenter-broken"
	d.Providers = append([]provider.Provider{broken}, d.Providers...)
	d.Default = "broken"
	changed, err := r.m.Reconcile(r.Context(), d)
	if !errors.Is(err, provider.ErrUntrusted) || !strings.Contains(words(provider.Plan{Steps: changed}), "trust-client") {
		t.Errorf("%q %v", words(provider.Plan{Steps: changed}), err)
	}
	o, err := r.m.Look(r.Context(), "broken")
	if err != nil || o == nil || o.Default {
		t.Errorf("%+v %v", o, err)
	}
}
