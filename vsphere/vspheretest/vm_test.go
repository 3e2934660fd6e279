package vspheretest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/event"
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

// property reads one property that is a reference.
func (r *rig) property(ref types.ManagedObjectReference, name string, out *types.ManagedObjectReference) error {
	var content []types.ObjectContent
	err := property.DefaultCollector(r.vim.Client).Retrieve(r.ctx, []types.ManagedObjectReference{ref}, []string{name}, &content)
	if err == nil {
		*out = content[0].PropSet[0].Val.(types.ManagedObjectReference)
	}
	return err
}

// Recrypting gives another key; deep needs the machine off, shallow does not.
func TestRecrypt(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	old := r.encrypt(vm)
	task, err := vm.PowerOn(r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
	deep := r.reconfigure(vm, r.spec(vm, &types.CryptoSpecDeepRecrypt{NewKeyId: r.generate()}))
	var power *types.InvalidPowerState
	if _, ok := fault.As(deep, &power); !ok {
		t.Errorf("deep recrypt of a running machine: %v", deep)
	}
	next := r.generate()
	r.must(r.reconfigure(vm, r.spec(vm, &types.CryptoSpecShallowRecrypt{NewKeyId: next})))
	m := r.look(vm)
	_, diskKeys := disks(m)
	if m.Config.KeyId.KeyId != next.KeyId || !slices.Equal(diskKeys, []string{next.KeyId}) || old.KeyId == next.KeyId {
		t.Errorf("keys %v %v, want %s", m.Config.KeyId, diskKeys, next.KeyId)
	}
	status, err := r.keys.QueryCryptoKeyStatus(r.ctx, []types.CryptoKeyId{old, next}, crypto.CheckKeyUsedByVms)
	r.must(err)
	if len(status[0].EncryptedVMs) != 0 || len(status[1].EncryptedVMs) != 1 {
		t.Errorf("users of the old key %v, of the new one %v", status[0].EncryptedVMs, status[1].EncryptedVMs)
	}
}

// What no host and no key server has the key of can be neither recrypted nor
// decrypted.
func TestRecryptWithoutTheOldKey(t *testing.T) {
	r := newRig(t, vspheretest.Options{Hosts: 1}).ready()
	vm := r.vm(0)
	lost, next := r.encrypt(vm), r.generate()
	r.reboot(*r.look(vm).Runtime.Host)
	r.must(r.kmip().Revoke(r.ctx, lost.KeyId, 6, "", 0)) // Cessation of Operation
	r.must(r.kmip().Destroy(r.ctx, lost.KeyId))
	for name, spec := range map[string]types.BaseCryptoSpec{
		"shallow": &types.CryptoSpecShallowRecrypt{NewKeyId: next}, "deep": &types.CryptoSpecDeepRecrypt{NewKeyId: next}, "decrypt": &types.CryptoSpecDecrypt{},
	} {
		var required *types.EncryptionKeyRequired
		if err := r.reconfigure(vm, r.spec(vm, spec)); !isFault(err, &required) || required.RequiredKey[0].KeyId != lost.KeyId {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m := r.look(vm); m.Config.KeyId == nil || m.Config.KeyId.KeyId != lost.KeyId {
		t.Errorf("the machine has %v", m.Config.KeyId)
	}
}

// What vCenter refuses is refused, each with its fault, and changes nothing.
func TestPrerequisites(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 6, MinimumHardware: 13}).ready()
	running, snapshots, encrypted, plain, old := r.vm(0), r.vm(1), r.vm(2), r.vm(3), r.vm(4)
	r.must(r.reconfigure(old, types.VirtualMachineConfigSpec{Version: "vmx-10"}))
	task, err := running.PowerOn(r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
	task, err = snapshots.CreateSnapshot(r.ctx, "one", "", false, false)
	r.must(err)
	r.must(task.Wait(r.ctx))
	r.encrypt(encrypted)
	key := r.generate()
	encrypt := &types.CryptoSpecEncrypt{CryptoKeyId: key}
	for name, row := range map[string]struct {
		vm   *object.VirtualMachine
		spec types.VirtualMachineConfigSpec
		want string
	}{
		"encrypt running":           {running, r.spec(running, encrypt), "powered on"},
		"encrypt with snapshots":    {snapshots, r.spec(snapshots, encrypt), "snapshots"},
		"encrypt again":             {encrypted, r.spec(encrypted, encrypt), "not allowed in the current state"},
		"encrypt old hardware":      {old, r.spec(old, encrypt), "too old"},
		"recrypt plain":             {plain, r.spec(plain, &types.CryptoSpecShallowRecrypt{NewKeyId: key}), "not allowed in the current state"},
		"decrypt plain":             {plain, r.spec(plain, &types.CryptoSpecDecrypt{}), "not allowed in the current state"},
		"vMotion of an encrypted":   {encrypted, types.VirtualMachineConfigSpec{MigrateEncryption: "disabled"}, "is required"},
		"vMotion nonsense":          {plain, types.VirtualMachineConfigSpec{MigrateEncryption: "banana"}, "migrateEncryption"},
		"decrypt the home only":     {encrypted, homeOnly(r.spec(encrypted, &types.CryptoSpecDecrypt{})), "would be encrypted"},
		"encrypt the disk only":     {plain, diskOnly(r.spec(plain, encrypt)), "would be encrypted"},
		"unknown policy":            {plain, types.VirtualMachineConfigSpec{VmProfile: profile("ghost")}, "no storage policy"},
		"changed since it was read": {plain, types.VirtualMachineConfigSpec{ChangeVersion: "1999", Annotation: "x"}, "changed since"},
	} {
		before := r.look(row.vm)
		err := r.reconfigure(row.vm, row.spec)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(row.want)) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
		after := r.look(row.vm)
		if after.Config.MigrateEncryption != before.Config.MigrateEncryption || (after.Config.KeyId == nil) != (before.Config.KeyId == nil) || after.Config.Annotation != before.Config.Annotation {
			t.Errorf("%s: the machine was changed", name)
		}
	}
}

func profile(id string) []types.BaseVirtualMachineProfileSpec {
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
}

// homeOnly says NoOp for every disk, diskOnly nothing for the home.
func homeOnly(spec types.VirtualMachineConfigSpec) types.VirtualMachineConfigSpec {
	for _, c := range spec.DeviceChange {
		c.GetVirtualDeviceConfigSpec().Backing.Crypto = &types.CryptoSpecNoOp{}
	}
	return spec
}

func diskOnly(spec types.VirtualMachineConfigSpec) types.VirtualMachineConfigSpec {
	spec.Crypto = nil
	return spec
}

// Decrypting leaves encrypted vMotion required, as vCenter does; only then it
// can be changed.
func TestDecryptKeepsVMotion(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	r.encrypt(vm)
	r.must(r.reconfigure(vm, r.spec(vm, &types.CryptoSpecDecrypt{})))
	m := r.look(vm)
	if _, keys := disks(m); m.Config.KeyId != nil || keys[0] != "" || m.Config.MigrateEncryption != "required" {
		t.Errorf("after decryption: %v %v %q", m.Config.KeyId, keys, m.Config.MigrateEncryption)
	}
	r.must(r.reconfigure(vm, types.VirtualMachineConfigSpec{MigrateEncryption: "opportunistic"}))
	if got := r.look(vm).Config.MigrateEncryption; got != "opportunistic" {
		t.Errorf("vMotion %q", got)
	}
}

// A policy alone encrypts and decrypts; compliance says whether what is wanted
// is so; a policy of one's own with the capability counts as well.
func TestPolicies(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	client, err := pbm.NewClient(r.ctx, r.vim.Client)
	r.must(err)
	create, err := pbm.CreateCapabilityProfileSpec(pbm.CapabilityProfileCreateSpec{Name: "ours", Category: "REQUIREMENT", CapabilityList: []pbm.Capability{{
		ID: "ad5a249d-cbc2-43af-9366-694d7664fa52", Namespace: "com.vmware.storageprofile.dataservice",
		PropertyList: []pbm.Property{{ID: "ad5a249d-cbc2-43af-9366-694d7664fa52", Value: "ad5a249d-cbc2-43af-9366-694d7664fa52", DataType: "string"}},
	}}})
	r.must(err)
	own, err := client.CreateProfile(r.ctx, *create)
	r.must(err)
	if encrypts, err := client.SupportsEncryption(r.ctx, own.UniqueId); err != nil || !encrypts {
		t.Errorf("a policy with the capability does not encrypt: %v %v", encrypts, err)
	}
	vm := r.vm(0)
	list, _ := disks(r.look(vm))
	spec := types.VirtualMachineConfigSpec{VmProfile: profile(own.UniqueId)}
	spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: list[0], Profile: profile(own.UniqueId)})
	r.must(r.reconfigure(vm, spec))
	m := r.look(vm)
	if _, keys := disks(m); m.Config.KeyId == nil || keys[0] != m.Config.KeyId.KeyId {
		t.Fatalf("the policy encrypted %v and %v", m.Config.KeyId, keys)
	}
	entity := pbmtypes.PbmServerObjectRef{ObjectType: string(pbmtypes.PbmObjectTypeVirtualMachine), Key: vm.Reference().Value}
	compliance := func() string {
		res, err := pbmmethods.PbmFetchComplianceResult(r.ctx, client, &pbmtypes.PbmFetchComplianceResult{This: client.ServiceContent.ComplianceManager, Entities: []pbmtypes.PbmServerObjectRef{entity}})
		r.must(err)
		return res.Returnval[0].ComplianceStatus
	}
	if got := compliance(); got != "compliant" {
		t.Errorf("compliance %q", got)
	}
	associated, err := client.QueryAssociatedProfiles(r.ctx, []pbmtypes.PbmServerObjectRef{entity})
	r.must(err)
	if len(associated) != 1 || associated[0].ProfileId[0] != *own {
		t.Errorf("associated %+v", associated)
	}
	if _, err := client.DeleteProfile(r.ctx, []pbmtypes.PbmProfileId{*own}); err == nil {
		t.Error("a policy in use was deleted")
	}
	bare := r.spec(vm, &types.CryptoSpecDecrypt{}) // the policy stays
	r.must(r.reconfigure(vm, bare))
	if got := compliance(); got != "nonCompliant" {
		t.Errorf("compliance of a decrypted machine %q", got)
	}
}

// A machine can be made encrypted, with the key that was named; without its key
// there is no machine. A clone has its source's keys.
func TestCreateAndClone(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	finder := find.NewFinder(r.vim.Client)
	dc, err := finder.DefaultDatacenter(r.ctx)
	r.must(err)
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(r.ctx)
	r.must(err)
	pool, err := finder.DefaultResourcePool(r.ctx)
	r.must(err)
	create := func(name string, key types.CryptoKeyId) (*types.TaskInfo, error) {
		spec := types.VirtualMachineConfigSpec{
			Name: name, GuestId: "otherGuest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
			Crypto: &types.CryptoSpecEncrypt{CryptoKeyId: key},
		}
		controller := &types.ParaVirtualSCSIController{}
		controller.Key, controller.SharedBus = -100, types.VirtualSCSISharingNoSharing
		disk := &types.VirtualDisk{CapacityInKB: 1024}
		disk.Key, disk.ControllerKey, disk.UnitNumber = -101, -100, types.NewInt32(0)
		disk.Backing = &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent"}
		for _, d := range []types.BaseVirtualDevice{controller, disk} {
			c := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d}
			if d == types.BaseVirtualDevice(disk) {
				c.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
			}
			spec.DeviceChange = append(spec.DeviceChange, c)
		}
		task, err := folders.VmFolder.CreateVM(r.ctx, spec, pool, nil)
		r.must(err)
		return task.WaitForResult(r.ctx, nil)
	}
	if _, err := create("ghost", types.CryptoKeyId{KeyId: "01a21846-0000-7000-8000-000000000000", ProviderId: &cluster}); err == nil {
		t.Error("a machine was made without its key")
	}
	if _, err := finder.VirtualMachine(r.ctx, "ghost"); err == nil {
		t.Error("something is left of the machine without its key")
	}
	key := r.generate()
	info, err := create("secret", key)
	r.must(err)
	vm := object.NewVirtualMachine(r.vim.Client, info.Result.(types.ManagedObjectReference))
	m := r.look(vm)
	if _, keys := disks(m); m.Config.KeyId == nil || m.Config.KeyId.KeyId != key.KeyId || !slices.Equal(keys, []string{key.KeyId}) || m.Config.MigrateEncryption != "required" {
		t.Errorf("made with %v %v %q, want %s", m.Config.KeyId, keys, m.Config.MigrateEncryption, key.KeyId)
	}
	task, err := vm.Clone(r.ctx, folders.VmFolder, "twin", types.VirtualMachineCloneSpec{})
	r.must(err)
	info, err = task.WaitForResult(r.ctx, nil)
	r.must(err)
	twin := r.look(object.NewVirtualMachine(r.vim.Client, info.Result.(types.ManagedObjectReference)))
	if _, keys := disks(twin); twin.Config.KeyId == nil || twin.Config.KeyId.KeyId != key.KeyId || !slices.Equal(keys, []string{key.KeyId}) {
		t.Errorf("the clone has %v %v", twin.Config.KeyId, keys)
	}
}

// Keys in use are forgotten only by force; the key server keeps every one.
func TestRemoveKeys(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	used, spare := r.encrypt(vm), r.generate()
	remove := func(force bool) []types.CryptoKeyResult {
		res, err := methods.RemoveKeys(r.ctx, r.vim, &types.RemoveKeys{This: r.manager(), Keys: []types.CryptoKeyId{used, spare}, Force: force})
		r.must(err)
		return res.Returnval
	}
	if got := remove(false); got[0].Success || !got[1].Success {
		t.Errorf("without force: %+v", got)
	}
	if got := remove(true); !got[0].Success {
		t.Errorf("by force: %+v", got)
	}
	if r.vc.HostKey(*r.look(vm).Runtime.Host, providerID, used.KeyId) != nil {
		t.Error("the host still has the key")
	}
	for _, k := range []types.CryptoKeyId{used, spare} {
		if _, err := r.kmip().State(r.ctx, k.KeyId); err != nil {
			t.Errorf("the key server lost %s: %v", k.KeyId, err)
		}
	}
}

// Host keys: the first encryption on a host makes one, which the key server
// knows by the host's name; a host can be given another.
func TestHostKeys(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	vm := r.vm(0)
	r.encrypt(vm)
	host := *r.look(vm).Runtime.Host
	look := func() (h mo.HostSystem) {
		r.must(property.DefaultCollector(r.vim.Client).RetrieveOne(r.ctx, host, []string{"name", "runtime"}, &h))
		return h
	}
	h := look()
	if h.Runtime.CryptoState != "safe" || h.Runtime.CryptoKeyId == nil {
		t.Fatalf("the host is %q with the key %v", h.Runtime.CryptoState, h.Runtime.CryptoKeyId)
	}
	if c, n := r.attribute(h.Runtime.CryptoKeyId.KeyId, "x-Component"), r.attribute(h.Runtime.CryptoKeyId.KeyId, "x-Name"); c != "ESXi Server" || n != h.Name {
		t.Errorf("the host key is marked %q %q", c, n)
	}
	status, err := r.keys.QueryCryptoKeyStatus(r.ctx, []types.CryptoKeyId{*h.Runtime.CryptoKeyId}, crypto.CheckKeyUsedByHosts)
	r.must(err)
	if !slices.Equal(status[0].AffectedHosts, []types.ManagedObjectReference{host}) {
		t.Errorf("hosts of the key %v", status[0].AffectedHosts)
	}
	_, err = methods.ConfigureCryptoKey(r.ctx, r.vim, &types.ConfigureCryptoKey{This: host})
	r.must(err)
	if again := look(); again.Runtime.CryptoKeyId.KeyId == h.Runtime.CryptoKeyId.KeyId {
		t.Error("the host key is the same")
	}
}

// Machines that are encrypted at once on a host without a host key make one for
// it, not one each: the others would be keys that nobody uses.
func TestOneHostKeyForMachinesAtOnce(t *testing.T) {
	r := newRig(t, vspheretest.Options{Hosts: 1}).ready()
	var keys []types.CryptoKeyId
	for range 3 {
		keys = append(keys, r.generate())
	}
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Delay, Delay: 20 * time.Millisecond})
	var tasks []*object.Task
	for i, key := range keys {
		vm := r.vm(i)
		task, err := vm.Reconfigure(r.ctx, r.spec(vm, &types.CryptoSpecEncrypt{CryptoKeyId: key}))
		r.must(err)
		tasks = append(tasks, task)
	}
	for _, task := range tasks {
		r.must(task.Wait(r.ctx))
	}
	known, err := r.keys.ListKeys(r.ctx, nil)
	r.must(err)
	if len(known) != len(keys)+1 {
		t.Errorf("there are %d keys for %d machines on one host", len(known), len(keys))
	}
}

// A machine that is locked, and of which nothing can be seen, is refused in
// words whatever is wanted of it; it can be taken out of the inventory.
func TestHiddenMachine(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 2}).ready()
	r.encrypt(r.vm(0))
	vc, err := vspheretest.New(vspheretest.Options{Clusters: 2})
	r.must(err)
	defer func() { r.must(vc.Close()) }()
	_, err = vc.Adopt(r.ctx, r.vc, vspheretest.Adoption{HideConfig: true})
	r.must(err)
	vim, err := vc.Client(r.ctx)
	r.must(err)
	finder := find.NewFinder(vim.Client)
	vm, err := finder.VirtualMachine(r.ctx, "/DC0/vm/"+r.look(r.vm(0)).Name)
	r.must(err)
	folder, err := finder.DefaultFolder(r.ctx)
	r.must(err)
	for name, do := range map[string]func() (*object.Task, error){
		"reconfigure": func() (*object.Task, error) {
			return vm.Reconfigure(r.ctx, types.VirtualMachineConfigSpec{MigrateEncryption: "disabled"})
		},
		"clone": func() (*object.Task, error) {
			return vm.Clone(r.ctx, folder, "twin", types.VirtualMachineCloneSpec{})
		},
		"relocate": func() (*object.Task, error) {
			return vm.Relocate(r.ctx, types.VirtualMachineRelocateSpec{}, types.VirtualMachineMovePriorityDefaultPriority)
		},
		"snapshot": func() (*object.Task, error) { return vm.CreateSnapshot(r.ctx, "one", "", false, false) },
		"start":    func() (*object.Task, error) { return vm.PowerOn(r.ctx) },
	} {
		task, err := do()
		if err == nil {
			err = task.Wait(r.ctx)
		}
		var state *types.InvalidState
		var required *types.EncryptionKeyRequired
		_, refused := fault.As(err, &state)
		if _, ok := fault.As(err, &required); !refused && !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.must(vm.Unregister(r.ctx))
}

// What one question about many keys costs does not grow with their number times
// that of the machines.
func BenchmarkQueryCryptoKeyStatus(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			vc, err := vspheretest.New(vspheretest.Options{VMs: n})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = vc.Close() })
			vim, err := vc.Client(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			m, err := crypto.GetManagerKmip(vim.Client)
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]types.CryptoKeyId, n)
			for i := range ids {
				ids[i] = types.CryptoKeyId{KeyId: fmt.Sprint(i), ProviderId: &types.KeyProviderId{Id: providerID}}
			}
			for b.Loop() {
				if _, err := m.QueryCryptoKeyStatus(b.Context(), ids, crypto.CheckKeyUsedByVms); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Attributes of the caller's own end up on the key.
func TestCustomAttributes(t *testing.T) {
	r := newRig(t, vspheretest.Options{}).ready()
	res, err := methods.GenerateKey(r.ctx, r.vim, &types.GenerateKey{This: r.manager(), KeyProvider: &cluster,
		Spec: &types.CryptoManagerKmipCustomAttributeSpec{Attributes: []types.KeyValue{{Key: "x-Owner", Value: "finance"}}}})
	r.must(err)
	key := res.Returnval.KeyId
	_, err = methods.SetKeyCustomAttributes(r.ctx, r.vim, &types.SetKeyCustomAttributes{This: r.manager(), KeyId: key,
		Spec: types.CryptoManagerKmipCustomAttributeSpec{Attributes: []types.KeyValue{{Key: "Ticket", Value: "42"}}}})
	r.must(err)
	if a, b := r.attribute(key.KeyId, "x-Owner"), r.attribute(key.KeyId, "x-Ticket"); a != "finance" || b != "42" {
		t.Errorf("attributes %q and %q", a, b)
	}
}

// Events have vCenter's ids.
func TestEvents(t *testing.T) {
	r := newRig(t, vspheretest.Options{PollEvery: 20 * time.Millisecond}).ready()
	r.encrypt(r.vm(0))
	r.expectGreen()
	r.polled()
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
	want := []string{"com.vmware.vc.crypto.Operation", "com.vmware.vc.host.Crypto.Enabled", "com.vmware.vc.kms.crypto.Unreachable"}
	m := event.NewManager(r.vim.Client)
	for end := time.Now().Add(20 * time.Second); len(want) > 0; {
		if time.Now().After(end) {
			t.Fatalf("events that did not come: %v", want)
		}
		events, err := m.QueryEvents(r.ctx, types.EventFilterSpec{})
		r.must(err)
		for _, e := range events {
			if x, ok := e.(*types.EventEx); ok {
				want = slices.DeleteFunc(want, func(id string) bool { return id == x.EventTypeId })
			}
		}
	}
}

// polled waits until the poller has begun and ended a round since. It makes two
// connections in each, one after the other, and one may have been under way.
func (r *rig) polled() {
	r.Helper()
	for begun, end := r.vc.Network.Dialled(r.kms.Addr()), time.Now().Add(20*time.Second); r.vc.Network.Dialled(r.kms.Addr()) < begun+5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.Fatal("nobody polls")
		}
	}
}
