package vspheretest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// The status is green only when both sides trust each other in a real
// handshake; on the way there it says which does not yet.
func TestTrustStepByStep(t *testing.T) {
	r := newRig(t, vspheretest.Options{})
	r.register()
	expect := func(color types.ManagedEntityStatus, client, server bool, text string) {
		t.Helper()
		s := r.status()
		one := s.Servers[0]
		if s.OverallStatus != color || one.Status != color || *one.ClientTrustServer != client || *one.ServerTrustClient != server || !strings.Contains(one.ConnectionStatus, text) {
			t.Errorf("status %s, %+v %v %v; want %s %v %v %q", s.OverallStatus, one, *one.ClientTrustServer, *one.ServerTrustClient, color, client, server, text)
		}
	}
	expect(types.ManagedEntityStatusRed, false, false, "not trusted by vCenter")
	r.trustServer()
	expect(types.ManagedEntityStatusRed, true, false, "Not connected")
	r.trustClient()
	expect(types.ManagedEntityStatusGreen, true, true, "Connected")

	s := r.status()
	leaf, err := certs.FetchServerCertificate(t.Context(), r.kms.Addr())
	r.must(err)
	if s.Servers[0].CertInfo.Fingerprint != certs.SHA1(leaf) || s.ClientCertInfo == nil || s.ClientCertInfo.SecondsBeforeExpire <= 0 {
		t.Errorf("certificates %+v %+v", s.Servers[0].CertInfo, s.ClientCertInfo)
	}

	r.must(r.kms.Revoke("vcenter"))
	expect(types.ManagedEntityStatusRed, true, false, "Not connected")
}

// A key that vCenter made exists in the key server, inactive until it is used.
func TestGenerateKeyOnlyCreates(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	key := r.generate()
	kms := r.kmip()
	if state, err := kms.State(t.Context(), key.KeyId); err != nil || state != 1 {
		t.Errorf("state %v, %v; want Pre-Active", state, err)
	}
	if got := r.attribute(key.KeyId, "x-Vendor"); got != "VMware, Inc." {
		t.Errorf("x-Vendor %q", got)
	}
	status, err := r.keys.QueryCryptoKeyStatus(t.Context(), []types.CryptoKeyId{key, {KeyId: "gone", ProviderId: key.ProviderId}}, crypto.CheckKeyAvailable)
	r.must(err)
	if status[0].Reason != "KeyStateNotActiveOrEnabled" || status[1].Reason != "KeyStateMissingInKMS" {
		t.Errorf("reasons %q and %q", status[0].Reason, status[1].Reason)
	}
}

// kmip is a client of the key server with vCenter's rights.
func (r *rig) kmip() *kmipclient.Client {
	r.Helper()
	tlsConfig, err := r.kms.ClientIn("reader", "vcenter")
	r.must(err)
	c, err := kmipclient.Dial(r.ctx, r.kms.Addr(), kmipclient.Config{TLS: tlsConfig})
	r.must(err)
	r.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) attribute(uid, name string) string {
	r.Helper()
	list, err := r.kmip().GetAttributes(r.ctx, uid, name)
	r.must(err)
	if len(list) == 0 {
		return ""
	}
	text, err := list[0].Value.Text()
	r.must(err)
	return string(text)
}

// Encrypting uses the key that was named: it is active then, marked with the
// machine, and the hosts have the very bytes that the key server holds.
func TestEncrypt(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	key := r.encrypt(vm)
	m := r.look(vm)
	_, diskKeys := disks(m)
	if m.Config.KeyId == nil || m.Config.KeyId.KeyId != key.KeyId || !slices.Equal(diskKeys, []string{key.KeyId}) {
		t.Errorf("home %+v, disks %v; want %s", m.Config.KeyId, diskKeys, key.KeyId)
	}
	if m.Config.MigrateEncryption != "required" || m.Runtime.CryptoState != "unlocked" {
		t.Errorf("vMotion %q, state %q", m.Config.MigrateEncryption, m.Runtime.CryptoState)
	}
	for name, want := range map[string]string{"x-Identifier": m.Config.Uuid, "x-Component": "Virtual Machine", "x-Name": m.Name} {
		if got := r.attribute(key.KeyId, name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	held, err := r.kmip().Get(t.Context(), key.KeyId)
	r.must(err)
	if !r.vc.HostKey(*m.Runtime.Host, providerID, key.KeyId).Equal(held) {
		t.Error("the host's key is not the key server's")
	}
	status, err := r.keys.QueryCryptoKeyStatus(t.Context(), []types.CryptoKeyId{key}, crypto.CheckKeyAvailable|crypto.CheckKeyUsedByVms)
	r.must(err)
	if !*status[0].KeyAvailable || !slices.Equal(status[0].EncryptedVMs, []types.ManagedObjectReference{vm.Reference()}) {
		t.Errorf("key status %+v", status[0])
	}
}

// Whatever refuses an encryption leaves the machine as it was.
func TestEncryptAllOrNothing(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	for name, key := range map[string]types.CryptoKeyId{
		"unknown key":      {KeyId: "00000000-0000-7000-8000-000000000000", ProviderId: &types.KeyProviderId{Id: providerID}},
		"unknown provider": {KeyId: "x", ProviderId: &types.KeyProviderId{Id: "ghost"}},
	} {
		spec := r.spec(vm, &types.CryptoSpecEncrypt{CryptoKeyId: key})
		spec.Annotation = "half"
		err := r.reconfigure(vm, spec)
		var required *types.EncryptionKeyRequired
		if _, ok := fault.As(err, &required); !ok {
			t.Errorf("%s: %v", name, err)
		}
		m := r.look(vm)
		if m.Config.KeyId != nil || m.Config.Annotation == "half" || m.Config.MigrateEncryption == "required" {
			t.Errorf("%s: the machine was changed: %+v %q", name, m.Config.KeyId, m.Config.Annotation)
		}
	}
}

// The key server is down: keys cannot be made, running machines and those whose
// host has the key go on, and after a reboot a machine is locked until the key
// server is back.
func TestOutageRebootUnlock(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	r.encrypt(vm)
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
	res, err := methods.GenerateKey(t.Context(), r.vim, &types.GenerateKey{This: r.manager()})
	r.must(err)
	if res.Returnval.Success || !strings.Contains(res.Returnval.Reason, "Cannot generate key") {
		t.Errorf("a key without a key server: %+v", res.Returnval)
	}
	power := func() error {
		task, err := vm.PowerOn(t.Context())
		r.must(err)
		return task.Wait(t.Context())
	}
	r.must(power()) // its host has the key

	m := r.look(vm)
	r.reboot(*m.Runtime.Host)
	if err := power(); err == nil {
		t.Fatal("a machine started on a host that has no key")
	}
	if s := r.look(vm).Runtime.CryptoState; s != "locked" {
		t.Errorf("crypto state %q", s)
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	task, err := methods.CryptoUnlock_Task(t.Context(), r.vim, &types.CryptoUnlock_Task{This: vm.Reference()})
	r.must(err)
	r.must(r.wait(task.Returnval))
	if s := r.look(vm).Runtime.CryptoState; s != "unlocked" {
		t.Errorf("crypto state %q after the unlock", s)
	}
	r.must(power())
}

// A server that distrusts, hangs or is another gives red and an error, and not
// a hang of what has nothing to do with it.
func TestFaultsShowInTheStatus(t *testing.T) {
	// The time is what a server that hangs takes, and has to be enough for one
	// that answers on a machine that has other things to do.
	r := newRig(t, vspheretest.Options{Timeout: 3 * time.Second}).ready()
	for kind, want := range map[vspheretest.FaultKind]string{
		vspheretest.Refuse:           "connection refused",
		vspheretest.Hang:             "in time",
		vspheretest.WrongCertificate: "not trusted",
		vspheretest.Drop:             "reset",
	} {
		r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: kind})
		s := r.status()
		if s.OverallStatus != types.ManagedEntityStatusRed || !strings.Contains(s.Servers[0].ConnectionStatus, want) {
			t.Errorf("%s: %s %q", kind, s.OverallStatus, s.Servers[0].ConnectionStatus)
		}
		r.vc.Network.ClearFault(r.kms.Addr())
		if s := r.status(); s.OverallStatus != types.ManagedEntityStatusGreen {
			t.Errorf("after %s: %s", kind, s.OverallStatus)
		}
	}
}

// Providers with keys in use stay, and so does the default one.
func TestRemoveProvider(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	r.encrypt(vm)
	err := r.keys.RemoveKmipServer(t.Context(), providerID, "kms-1")
	var inUse *types.ResourceInUse
	if _, ok := fault.As(err, &inUse); !ok {
		t.Errorf("removed while in use: %v", err)
	}
}
