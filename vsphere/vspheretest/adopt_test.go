package vspheretest_test

import (
	"testing"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A vCenter that took over another one's machines has the encrypted ones
// locked, and unlocks them only under the provider's old name.
func TestAdopt(t *testing.T) {
	for name, how := range map[string]vspheretest.Adoption{"seen": {}, "hidden": {HideConfig: true}} {
		t.Run(name, func(t *testing.T) { adopt(t, how) })
	}
}

func adopt(t *testing.T, how vspheretest.Adoption) {
	r := newRig(t, vspheretest.Options{VMs: 2}).ready()
	key, was := r.encrypt(r.vm(0)), r.look(r.vm(0))
	vc, err := vspheretest.New(vspheretest.Options{})
	r.must(err)
	defer func() { r.must(vc.Close()) }()
	locked, err := vc.Adopt(r.ctx, r.vc, how)
	r.must(err)
	if locked != 1 {
		t.Fatalf("%d machines are locked, want 1", locked)
	}
	vim, err := vc.Client(r.ctx)
	r.must(err)
	vm, err := find.NewFinder(vim.Client).VirtualMachine(r.ctx, "/DC0/vm/"+was.Name)
	r.must(err)
	look := func() (m mo.VirtualMachine) {
		r.must(property.DefaultCollector(vim.Client).RetrieveOne(r.ctx, vm.Reference(), nil, &m))
		return m
	}
	if m := look(); m.Runtime.CryptoState != "locked" || (m.Config == nil) != how.HideConfig || m.Summary.Config.VmPathName != was.Config.Files.VmPathName {
		t.Fatalf("adopted as %q, configuration %v, at %s", m.Runtime.CryptoState, m.Config != nil, m.Summary.Config.VmPathName)
	}
	unlock := func() error {
		res, err := methods.CryptoUnlock_Task(r.ctx, vim, &types.CryptoUnlock_Task{This: vm.Reference()})
		r.must(err)
		return object.NewTask(vim.Client, res.Returnval).Wait(r.ctx)
	}
	host, port := hostPort(t, r.kms.Addr())
	connect := func(provider string) {
		r.must(vspheretest.Connect(r.ctx, vim.Client, provider, types.KmipServerInfo{Name: "kms-1", Address: host, Port: port},
			func(csr []byte) ([]byte, error) { return r.kms.SignCSR("vcenter", csr) }))
	}
	connect("another-name")
	if err := unlock(); err == nil || look().Runtime.CryptoState != "locked" || (look().Config == nil) != how.HideConfig {
		t.Fatalf("under another provider: %v", err)
	}
	connect(providerID)
	r.must(unlock())
	m := look()
	if _, keys := disks(m); m.Runtime.CryptoState != "unlocked" || m.Config.KeyId.KeyId != key.KeyId || m.Config.Uuid != was.Config.Uuid || len(keys) != 1 || keys[0] != key.KeyId {
		t.Errorf("then it is %q, %+v, disks %v", m.Runtime.CryptoState, m.Config.KeyId, keys)
	}
	task, err := vm.PowerOn(r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
}
