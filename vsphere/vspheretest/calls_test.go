package vspheretest_test

import (
	"encoding/base64"
	"testing"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// hosts reads all hosts.
func (r *rig) hosts() (list []mo.HostSystem) {
	r.Helper()
	found, err := find.NewFinder(r.vim.Client).HostSystemList(r.ctx, "*")
	r.must(err)
	var refs []types.ManagedObjectReference
	for _, h := range found {
		refs = append(refs, h.Reference())
	}
	r.must(property.DefaultCollector(r.vim.Client).Retrieve(r.ctx, refs, []string{"name", "parent", "runtime"}, &list))
	return list
}

func (r *rig) down() {
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
}
func (r *rig) up() { r.vc.Network.ClearFault(r.kms.Addr()) }

func (r *rig) reboot(host types.ManagedObjectReference) {
	r.Helper()
	res, err := methods.RebootHost_Task(r.ctx, r.vim, &types.RebootHost_Task{This: host, Force: true})
	r.must(err)
	r.must(r.wait(res.Returnval))
}

// Encryption mode for a whole cluster: one key for all hosts.
func TestClusterCryptoMode(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	cluster := *r.hosts()[0].Parent
	_, err := methods.SetCryptoMode(r.ctx, r.vim, &types.SetCryptoMode{This: cluster, CryptoMode: "forceEnable"})
	r.must(err)
	list := r.hosts()
	for _, h := range list {
		if h.Runtime.CryptoState != "safe" || h.Runtime.CryptoKeyId == nil || h.Runtime.CryptoKeyId.KeyId != list[0].Runtime.CryptoKeyId.KeyId {
			t.Errorf("%s is %q with the key %v", h.Name, h.Runtime.CryptoState, h.Runtime.CryptoKeyId)
		}
	}
	var c mo.ClusterComputeResource
	r.must(property.DefaultCollector(r.vim.Client).RetrieveOne(r.ctx, cluster, []string{"configurationEx"}, &c))
	if got := c.ConfigurationEx.(*types.ClusterConfigInfoEx).CryptoConfig; got == nil || got.CryptoMode != "forceEnable" {
		t.Errorf("the cluster says %+v", got)
	}
	if _, err := methods.SetCryptoMode(r.ctx, r.vim, &types.SetCryptoMode{This: cluster, CryptoMode: "banana"}); err == nil {
		t.Error("a mode that does not exist was taken")
	}
}

// A call about something that there is not has vCenter's answer, and leaves
// nothing locked.
func TestCallsAboutNothing(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	ghost := types.ManagedObjectReference{Type: "HostSystem", Value: "host-ghost"}
	cluster := types.ManagedObjectReference{Type: "ClusterComputeResource", Value: "domain-ghost"}
	machine := types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-ghost"}
	for name, call := range map[string]func() error{
		"SetCryptoMode": func() error {
			_, err := methods.SetCryptoMode(r.ctx, r.vim, &types.SetCryptoMode{This: cluster})
			return err
		},
		"PrepareCrypto": func() error {
			_, err := methods.PrepareCrypto(r.ctx, r.vim, &types.PrepareCrypto{This: ghost})
			return err
		},
		"EnableCrypto": func() error {
			_, err := methods.EnableCrypto(r.ctx, r.vim, &types.EnableCrypto{This: ghost})
			return err
		},
		"ConfigureCryptoKey": func() error {
			_, err := methods.ConfigureCryptoKey(r.ctx, r.vim, &types.ConfigureCryptoKey{This: ghost})
			return err
		},
		"ReconfigVM_Task": func() error {
			_, err := methods.ReconfigVM_Task(r.ctx, r.vim, &types.ReconfigVM_Task{This: machine})
			return err
		},
	} {
		var gone *types.ManagedObjectNotFound
		if err := call(); !isFault(err, &gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func isFault[F types.BaseMethodFault](err error, f *F) bool {
	_, ok := fault.As(err, f)
	return ok
}

// A host that comes back has its host key again; one that comes back while the
// key server is away gets it at the next use.
func TestHostKeyAfterReboot(t *testing.T) {
	r := newRig(t, vspheretest.Options{Hosts: 1}).ready()
	r.encrypt(r.vm(0))
	before := r.hosts()[0]
	key := *before.Runtime.CryptoKeyId
	r.reboot(before.Self)
	if r.vc.HostKey(before.Self, providerID, key.KeyId) == nil {
		t.Error("the host has no host key after a reboot")
	}
	r.down()
	r.reboot(before.Self)
	if h := r.hosts()[0]; h.Runtime.CryptoState != "prepared" || r.vc.HostKey(h.Self, providerID, key.KeyId) != nil {
		t.Errorf("without the key server the host is %q", h.Runtime.CryptoState)
	}
	r.up()
	r.encrypt(r.vm(1))
	if h := r.hosts()[0]; h.Runtime.CryptoState != "safe" || h.Runtime.CryptoKeyId.KeyId != key.KeyId {
		t.Errorf("afterwards the host is %q with the key %v, not %s", h.Runtime.CryptoState, h.Runtime.CryptoKeyId, key.KeyId)
	}
}

// Keys in clear: for a host that is prepared, and for all hosts.
func TestPlainKeys(t *testing.T) {
	r := newRig(t, vspheretest.Options{})
	host := r.hosts()[0].Self
	key := types.CryptoKeyPlain{KeyId: types.CryptoKeyId{KeyId: "own"}, Algorithm: "AES-256", KeyData: base64.StdEncoding.EncodeToString(make([]byte, 32))}
	enable := func() error {
		_, err := methods.EnableCrypto(r.ctx, r.vim, &types.EnableCrypto{This: host, KeyPlain: key})
		return err
	}
	if enable() == nil {
		t.Error("a host that is not prepared took a key")
	}
	_, err := methods.PrepareCrypto(r.ctx, r.vim, &types.PrepareCrypto{This: host})
	r.must(err)
	r.must(enable())
	if h := r.hosts()[0]; h.Runtime.CryptoState != "safe" || h.Runtime.CryptoKeyId.KeyId != "own" {
		t.Errorf("the host is %q with %v", h.Runtime.CryptoState, h.Runtime.CryptoKeyId)
	}
	short := key
	short.KeyData = base64.StdEncoding.EncodeToString(make([]byte, 16))
	key.KeyId.KeyId = "other"
	res, err := methods.AddKeys(r.ctx, r.vim, &types.AddKeys{This: r.manager(), Keys: []types.CryptoKeyPlain{key, short}})
	r.must(err)
	if !res.Returnval[0].Success || res.Returnval[1].Success || r.vc.HostKey(r.hosts()[1].Self, "", "other").Len() != 32 {
		t.Errorf("keys in clear: %+v", res.Returnval)
	}
	_, err = methods.AddKey(r.ctx, r.vim, &types.AddKey{This: r.manager(), Key: short})
	if err == nil {
		t.Error("a short key was taken")
	}
}

// A machine that moves to another cluster takes its keys along, and does not
// move if they cannot be had.
func TestRelocate(t *testing.T) {
	r := newRig(t, vspheretest.Options{Clusters: 2, VMs: 1}).ready()
	vm := r.vm(0)
	key := r.encrypt(vm)
	from := *r.look(vm).Runtime.Host
	var to mo.HostSystem
	for _, h := range r.hosts() {
		if r.vc.HostKey(h.Self, providerID, key.KeyId) == nil {
			to = h
		}
	}
	relocate := func() error {
		task, err := vm.Relocate(r.ctx, types.VirtualMachineRelocateSpec{Host: &to.Self}, types.VirtualMachineMovePriorityDefaultPriority)
		r.must(err)
		return task.Wait(r.ctx)
	}
	r.down()
	err := relocate()
	var required *types.EncryptionKeyRequired
	if _, ok := fault.As(err, &required); !ok || *r.look(vm).Runtime.Host != from {
		t.Errorf("moved without its key: %v", err)
	}
	r.up()
	r.must(relocate())
	if *r.look(vm).Runtime.Host != to.Self || r.vc.HostKey(to.Self, providerID, key.KeyId) == nil {
		t.Error("the machine moved, and its key did not")
	}
}

// A machine that is registered again has its key; without the key server it is
// locked until that is back.
func TestRegisterAgain(t *testing.T) {
	r := newRig(t, vspheretest.Options{Hosts: 1}).ready()
	vm := r.vm(0)
	key := r.encrypt(vm)
	m := r.look(vm)
	r.must(vm.Unregister(r.ctx))
	r.down()
	r.reboot(*m.Runtime.Host)
	finder := find.NewFinder(r.vim.Client)
	dc, err := finder.DefaultDatacenter(r.ctx)
	r.must(err)
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(r.ctx)
	r.must(err)
	pool, err := finder.DefaultResourcePool(r.ctx)
	r.must(err)
	task, err := folders.VmFolder.RegisterVM(r.ctx, m.Config.Files.VmPathName, m.Name, false, pool, nil)
	r.must(err)
	info, err := task.WaitForResult(r.ctx, nil)
	r.must(err)
	again := object.NewVirtualMachine(r.vim.Client, info.Result.(types.ManagedObjectReference))
	if got := r.look(again); got.Config.KeyId == nil || got.Config.KeyId.KeyId != key.KeyId || got.Runtime.CryptoState != "locked" {
		t.Fatalf("registered with %v, %q", got.Config.KeyId, got.Runtime.CryptoState)
	}
	r.up()
	res, err := methods.CryptoUnlock_Task(r.ctx, r.vim, &types.CryptoUnlock_Task{This: again.Reference()})
	r.must(err)
	r.must(r.wait(res.Returnval))
	if got := r.look(again); got.Runtime.CryptoState != "unlocked" {
		t.Errorf("then it is %q", got.Runtime.CryptoState)
	}
}

// CryptoSpecRegister sends a key to the hosts, and changes nothing.
func TestSpecRegister(t *testing.T) {
	r := newRig(t, vspheretest.Options{Hosts: 1}).ready()
	vm := r.vm(0)
	key := r.encrypt(vm)
	host := *r.look(vm).Runtime.Host
	r.reboot(host)
	if r.vc.HostKey(host, providerID, key.KeyId) != nil {
		t.Fatal("the host remembers the machine's key")
	}
	r.must(r.reconfigure(vm, types.VirtualMachineConfigSpec{Crypto: &types.CryptoSpecRegister{CryptoKeyId: key}}))
	if m := r.look(vm); r.vc.HostKey(host, providerID, key.KeyId) == nil || m.Config.KeyId.KeyId != key.KeyId {
		t.Errorf("the machine has %v", m.Config.KeyId)
	}
}

// A deep recrypt of a machine that is off gives home and disks the new key.
func TestDeepRecrypt(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	old := r.encrypt(vm)
	next := r.generate()
	r.must(r.reconfigure(vm, r.spec(vm, &types.CryptoSpecDeepRecrypt{NewKeyId: next})))
	m := r.look(vm)
	if _, keys := disks(m); m.Config.KeyId.KeyId != next.KeyId || keys[0] != next.KeyId || next.KeyId == old.KeyId {
		t.Errorf("home %v, disks %v, want %s", m.Config.KeyId, keys, next.KeyId)
	}
}

// A machine made in a vApp is encrypted like any other.
func TestVApp(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	finder := find.NewFinder(r.vim.Client)
	dc, err := finder.DefaultDatacenter(r.ctx)
	r.must(err)
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(r.ctx)
	r.must(err)
	pool, err := finder.DefaultResourcePool(r.ctx)
	r.must(err)
	app, err := pool.CreateVApp(r.ctx, "app", types.DefaultResourceConfigSpec(), types.VAppConfigSpec{}, folders.VmFolder)
	r.must(err)
	key := r.generate()
	task, err := app.CreateChildVM(r.ctx, types.VirtualMachineConfigSpec{
		Name: "child", GuestId: "otherGuest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"}, Crypto: &types.CryptoSpecEncrypt{CryptoKeyId: key},
	}, nil)
	r.must(err)
	info, err := task.WaitForResult(r.ctx, nil)
	r.must(err)
	if m := r.look(object.NewVirtualMachine(r.vim.Client, info.Result.(types.ManagedObjectReference))); m.Config.KeyId == nil || m.Config.KeyId.KeyId != key.KeyId {
		t.Errorf("the machine has %v", m.Config.KeyId)
	}
}

// A policy can be changed, into one that encrypts too, and others do not see it.
func TestPolicyUpdate(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	client, err := pbm.NewClient(r.ctx, r.vim.Client)
	r.must(err)
	meta, err := pbmmethods.PbmFetchCapabilityMetadata(r.ctx, client, &pbmtypes.PbmFetchCapabilityMetadata{This: client.ServiceContent.ProfileManager})
	r.must(err)
	capability := meta.Returnval[0].CapabilityMetadata[0].Id
	create, err := pbm.CreateCapabilityProfileSpec(pbm.CapabilityProfileCreateSpec{Name: "plain", Category: "REQUIREMENT", CapabilityList: []pbm.Capability{{
		ID: "x", Namespace: "VSAN", PropertyList: []pbm.Property{{ID: "x", Value: "1", DataType: "int"}},
	}}})
	r.must(err)
	id, err := client.CreateProfile(r.ctx, *create)
	r.must(err)
	if encrypts, err := client.SupportsEncryption(r.ctx, id.UniqueId); err != nil || encrypts {
		t.Fatalf("a plain policy encrypts: %v %v", encrypts, err)
	}
	change, err := pbm.CreateCapabilityProfileSpec(pbm.CapabilityProfileCreateSpec{Name: "secret", Category: "REQUIREMENT", CapabilityList: []pbm.Capability{{
		ID: capability.Id, Namespace: capability.Namespace, PropertyList: []pbm.Property{{ID: capability.Id, Value: capability.Id, DataType: "string"}},
	}}})
	r.must(err)
	_, err = pbmmethods.PbmUpdate(r.ctx, client, &pbmtypes.PbmUpdate{This: client.ServiceContent.ProfileManager, ProfileId: *id,
		UpdateSpec: pbmtypes.PbmCapabilityProfileUpdateSpec{Name: "secret", Constraints: change.Constraints}})
	r.must(err)
	if encrypts, err := client.SupportsEncryption(r.ctx, id.UniqueId); err != nil || !encrypts {
		t.Errorf("the changed policy does not encrypt: %v %v", encrypts, err)
	}
	if found, err := client.ProfileIDByName(r.ctx, "secret"); err != nil || found != id.UniqueId {
		t.Errorf("by its new name: %q %v", found, err)
	}
	_, err = pbmmethods.PbmUpdate(r.ctx, client, &pbmtypes.PbmUpdate{This: client.ServiceContent.ProfileManager, ProfileId: pbmtypes.PbmProfileId{UniqueId: "ghost"}})
	if err == nil {
		t.Error("a policy that does not exist was changed")
	}
}

// Wrapped keys are refused in words, and servers of one provider agree on the
// type of key.
func TestWrappedKeys(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	res, err := methods.GenerateKey(r.ctx, r.vim, &types.GenerateKey{This: r.manager(), KeyProvider: &cluster, KeySpec: &types.CryptoManagerKmipGenerateKeySpec{KeyType: "wrappedKey"}})
	r.must(err)
	if res.Returnval.Success || res.Returnval.Reason == "" {
		t.Errorf("a wrapped key: %+v", res.Returnval)
	}
	other := server(t, "kms-2", r.kms.Addr())
	other.DefaultKeyType = "wrappedKey"
	if r.keys.RegisterKmipServer(r.ctx, other) == nil {
		t.Error("a server with another type of key was taken")
	}
}
