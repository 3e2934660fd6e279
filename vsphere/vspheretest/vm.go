package vspheretest

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// A machine is what matters here of a virtual machine, read under its lock.
type machine struct {
	ref           types.ManagedObjectReference
	name          string
	uuid          string
	host          types.ManagedObjectReference
	poweredOff    bool
	template      bool
	version       string
	changeVersion string
	migrate       string
	home          *types.CryptoKeyId
	disks         []disk
	snapshots     []types.VirtualMachineSnapshotTree
	locked        bool
	hidden        bool // nothing but its name is known; see Change and Adoption
}

// A disk is one of a machine's, by its device key.
type disk struct {
	device int32
	key    *types.CryptoKeyId
}

// visible refuses what cannot be done to a machine whose configuration nobody
// sees. The simulator itself would end the process.
func (m *machine) visible() *failure {
	if m.hidden {
		return fail(&types.InvalidState{}, "The operation is not allowed in the current state: the configuration of %s cannot be read", m.name)
	}
	return nil
}

func (m *machine) user() user { return user{m.uuid, componentVM, m.name} }

// keys are all keys of the home and the disks, each once.
func (m *machine) keys() (list []keyRef) {
	add := func(k *types.CryptoKeyId) {
		if k != nil && !slices.Contains(list, refOf(*k)) {
			list = append(list, refOf(*k))
		}
	}
	add(m.home)
	for _, d := range m.disks {
		add(d.key)
	}
	return list
}

func (v *VCenter) machine(ctx *simulator.Context, ref types.ManagedObjectReference) (machine, bool) {
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return machine{}, false
	}
	return look(ctx, vm), true
}

func look(ctx *simulator.Context, vm *simulator.VirtualMachine) (m machine) {
	ctx.WithLock(vm, func() {
		if vm.Config == nil {
			m = machine{ref: vm.Self, name: vm.Name, hidden: true}
			return
		}
		m = machine{
			ref: vm.Self, name: vm.Name, uuid: vm.Config.Uuid, template: vm.Config.Template,
			poweredOff: vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff,
			version:    vm.Config.Version, changeVersion: vm.Config.ChangeVersion, migrate: vm.Config.MigrateEncryption,
			home: vm.Config.KeyId, locked: vm.Runtime.CryptoState == string(types.VirtualMachineCryptoStateLocked),
		}
		if vm.Runtime.Host != nil {
			m.host = *vm.Runtime.Host
		}
		if vm.Snapshot != nil {
			m.snapshots = vm.Snapshot.RootSnapshotList
		}
		for _, d := range vm.Config.Hardware.Device {
			if v, ok := d.(*types.VirtualDisk); ok {
				m.disks = append(m.disks, disk{v.Key, diskKey(v)})
			}
		}
	})
	return m
}

// diskKey returns the key of a disk; nil if it is not encrypted.
func diskKey(d *types.VirtualDisk) *types.CryptoKeyId {
	switch b := d.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		return b.KeyId
	case *types.VirtualDiskSeSparseBackingInfo:
		return b.KeyId
	case *types.VirtualDiskSparseVer2BackingInfo:
		return b.KeyId
	}
	return nil
}

// withKey returns a copy of a disk with that key. Readers hold what the
// property collector gave them without a lock, so nothing is changed in place.
func withKey(d *types.VirtualDisk, key *types.CryptoKeyId) *types.VirtualDisk {
	out := *d
	switch b := d.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		c := *b
		c.KeyId, out.Backing = key, &c
	case *types.VirtualDiskSeSparseBackingInfo:
		c := *b
		c.KeyId, out.Backing = key, &c
	case *types.VirtualDiskSparseVer2BackingInfo:
		c := *b
		c.KeyId, out.Backing = key, &c
	}
	return &out
}

// allMachines returns every machine, templates too.
func (v *VCenter) allMachines(ctx *simulator.Context) (list []*simulator.VirtualMachine) {
	for _, e := range ctx.Map.All("VirtualMachine") {
		if vm, ok := e.(*simulator.VirtualMachine); ok {
			list = append(list, vm)
		}
	}
	return list
}

func (v *VCenter) machinesOn(ctx *simulator.Context, host types.ManagedObjectReference) (list []*simulator.VirtualMachine) {
	for _, vm := range v.allMachines(ctx) {
		if look(ctx, vm).host == host {
			list = append(list, vm)
		}
	}
	return list
}

// keyUsers are the machines that use a key for their home or a disk, and the hosts
// whose host key it is.
type keyUsers struct {
	vms, hosts []types.ManagedObjectReference
}

// usersOfKeys finds the users of all keys: who asks about one asks about many.
func (v *VCenter) usersOfKeys(ctx *simulator.Context) map[keyRef]keyUsers {
	out := map[keyRef]keyUsers{}
	for _, vm := range v.allMachines(ctx) {
		m := look(ctx, vm)
		for _, r := range m.keys() {
			u := out[r]
			u.vms = append(u.vms, m.ref)
			out[r] = u
		}
	}
	for host, r := range v.hostKeysInUse(ctx) {
		u := out[r]
		u.hosts = append(u.hosts, host)
		out[r] = u
	}
	return out
}

func (v *VCenter) hostKeysInUse(ctx *simulator.Context) map[types.ManagedObjectReference]keyRef {
	out := map[types.ManagedObjectReference]keyRef{}
	for _, e := range ctx.Map.All("HostSystem") {
		host, ok := e.(*simulator.HostSystem)
		if !ok {
			continue
		}
		ctx.WithLock(host, func() {
			if k := host.Runtime.CryptoKeyId; k != nil {
				out[host.Self] = refOf(*k)
			}
		})
	}
	return out
}

// usersOfProvider counts machines and hosts that use any key of the provider.
func (v *VCenter) usersOfProvider(ctx *simulator.Context, id string) (n int) {
	for _, vm := range v.allMachines(ctx) {
		m := look(ctx, vm)
		if slices.ContainsFunc(m.keys(), func(r keyRef) bool { return r.provider == id }) {
			n++
		}
	}
	for _, key := range v.hostKeysInUse(ctx) {
		if key.provider == id {
			n++
		}
	}
	return n
}
