package vspheretest_test

import (
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A rig is a vCenter, a key server, and a client of the vCenter.
type rig struct {
	*testing.T
	kms   *kmiptest.Server
	store *kmiptest.Store
	vc    *vspheretest.VCenter
	vim   *govmomi.Client
	keys  *crypto.ManagerKmip
	ctx   context.Context
}

const providerID = "keyreeve"

func newRig(t *testing.T, o vspheretest.Options) *rig {
	t.Helper()
	return newRigWith(t, o, kmiptest.Options{})
}

func newRigWith(t *testing.T, o vspheretest.Options, server kmiptest.Options) *rig {
	t.Helper()
	r := &rig{T: t, ctx: t.Context()}
	r.kms, r.store = kmiptest.NewServer(t, server)
	if o.VMs == 0 {
		o.VMs = 3
	}
	vc, err := vspheretest.New(o)
	r.must(err)
	r.vc = vc
	t.Cleanup(func() { r.must(vc.Close()) })
	r.vim, err = vc.Client(r.ctx)
	r.must(err)
	r.keys, err = crypto.GetManagerKmip(r.vim.Client)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) manager() types.ManagedObjectReference { return r.keys.Reference() }

func hostPort(t testing.TB, addr string) (string, int32) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return host, int32(n)
}

// server describes a key server of the provider.
func server(t testing.TB, name, addr string) types.KmipServerSpec {
	t.Helper()
	host, port := hostPort(t, addr)
	return types.KmipServerSpec{
		ClusterId: types.KeyProviderId{Id: providerID},
		Info:      types.KmipServerInfo{Name: name, Address: host, Port: port},
	}
}

// register adds the key server, and makes the provider the default.
func (r *rig) register() {
	r.Helper()
	r.must(r.keys.RegisterKmipServer(r.ctx, server(r, "kms-1", r.kms.Addr())))
	r.must(r.keys.SetDefaultKmsClusterId(r.ctx, providerID, nil))
}

// trustServer has vCenter trust the key server.
func (r *rig) trustServer() {
	r.Helper()
	got, err := methods.RetrieveKmipServerCert(r.ctx, r.vim, &types.RetrieveKmipServerCert{
		This: r.manager(), KeyProvider: types.KeyProviderId{Id: providerID}, Server: types.KmipServerInfo{Name: "kms-1"},
	})
	r.must(err)
	_, err = methods.UploadKmipServerCert(r.ctx, r.vim, &types.UploadKmipServerCert{
		This: r.manager(), Cluster: types.KeyProviderId{Id: providerID}, Certificate: got.Returnval.Certificate,
	})
	r.must(err)
}

// trustClient has the key server trust vCenter, by a signing request.
func (r *rig) trustClient() {
	r.Helper()
	cluster := types.KeyProviderId{Id: providerID}
	csr, err := methods.GenerateClientCsr(r.ctx, r.vim, &types.GenerateClientCsr{This: r.manager(), Cluster: cluster})
	r.must(err)
	cert, err := r.kms.SignCSR("vcenter", []byte(csr.Returnval))
	r.must(err)
	_, err = methods.UpdateKmsSignedCsrClientCert(r.ctx, r.vim, &types.UpdateKmsSignedCsrClientCert{This: r.manager(), Cluster: cluster, Certificate: string(cert)})
	r.must(err)
}

// ready makes all trust.
func (r *rig) ready() *rig {
	r.Helper()
	r.register()
	r.trustServer()
	r.trustClient()
	return r
}

func (r *rig) status() types.CryptoManagerKmipClusterStatus {
	r.Helper()
	list, err := r.keys.GetStatus(r.ctx)
	r.must(err)
	if len(list) != 1 {
		r.Fatalf("%d providers", len(list))
	}
	return list[0]
}

// vm returns the machine with that number.
func (r *rig) vm(n int) *object.VirtualMachine {
	r.Helper()
	list, err := find.NewFinder(r.vim.Client).VirtualMachineList(r.ctx, "*")
	r.must(err)
	if n >= len(list) {
		r.Fatalf("there are only %d machines", len(list))
	}
	return list[n]
}

// look reads a machine.
func (r *rig) look(vm *object.VirtualMachine) (m mo.VirtualMachine) {
	r.Helper()
	r.must(property.DefaultCollector(r.vim.Client).RetrieveOne(r.ctx, vm.Reference(), nil, &m))
	return m
}

// disks returns the disks of a machine, and their keys.
func disks(m mo.VirtualMachine) (list []*types.VirtualDisk, keys []string) {
	for _, d := range m.Config.Hardware.Device {
		if v, ok := d.(*types.VirtualDisk); ok {
			list = append(list, v)
			key := ""
			if b, ok := v.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && b.KeyId != nil {
				key = b.KeyId.KeyId
			}
			keys = append(keys, key)
		}
	}
	return list, keys
}

func (r *rig) reconfigure(vm *object.VirtualMachine, spec types.VirtualMachineConfigSpec) error {
	r.Helper()
	task, err := vm.Reconfigure(r.ctx, spec)
	r.must(err)
	return task.Wait(r.ctx)
}

// spec encrypts, decrypts or recrypts a home and every disk, as an agent would
// spell it out.
func (r *rig) spec(vm *object.VirtualMachine, crypto types.BaseCryptoSpec) types.VirtualMachineConfigSpec {
	r.Helper()
	spec := types.VirtualMachineConfigSpec{Crypto: crypto}
	list, _ := disks(r.look(vm))
	for _, d := range list {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: d,
			Backing: &types.VirtualDeviceConfigSpecBackingSpec{Crypto: crypto},
		})
	}
	return spec
}

func (r *rig) generate() types.CryptoKeyId {
	r.Helper()
	res, err := methods.GenerateKey(r.ctx, r.vim, &types.GenerateKey{This: r.manager(), KeyProvider: &types.KeyProviderId{Id: providerID}})
	r.must(err)
	if !res.Returnval.Success {
		r.Fatalf("no key: %s", res.Returnval.Reason)
	}
	return res.Returnval.KeyId
}

// encrypt encrypts a machine under a new key, which it returns.
func (r *rig) encrypt(vm *object.VirtualMachine) types.CryptoKeyId {
	r.Helper()
	key := r.generate()
	r.must(r.reconfigure(vm, r.spec(vm, &types.CryptoSpecEncrypt{CryptoKeyId: key})))
	return key
}

// wait waits for a task by its reference.
func (r *rig) wait(ref types.ManagedObjectReference) error {
	r.Helper()
	return object.NewTask(r.vim.Client, ref).Wait(r.ctx)
}
