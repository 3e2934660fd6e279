package vspheretest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// An Adoption says how much a vCenter may see of a machine that it took over
// and that is locked.
type Adoption struct {
	// HideConfig leaves out the configuration of locked machines, keys and all,
	// until they are unlocked. Whether a real vCenter shows it differs.
	HideConfig bool
}

// Adopt registers the machines of another vCenter here, as is done after that
// one was lost: with their names, UUIDs, paths and hardware, and the keys that
// their files name. No host here has those keys, so that an encrypted machine
// is locked, also when there is a key provider already. The other vCenter
// keeps its own: a lost one does not know that it is. It returns how many are
// locked.
func (v *VCenter) Adopt(ctx context.Context, from *VCenter, how Adoption) (locked int, err error) {
	theirs, ours := from.own(), v.own()
	theirs.Context, ours.Context = ctx, ctx
	for _, vm := range from.allMachines(theirs) {
		m, config := look(theirs, vm), (*types.VirtualMachineConfigInfo)(nil)
		theirs.WithLock(vm, func() { config = vm.Config })
		if config == nil {
			continue
		}
		encrypted, err := v.adopt(ours, &m, config, how)
		if err != nil {
			return locked, fmt.Errorf("adopting machine %s: %w", m.name, err)
		}
		if encrypted {
			locked++
		}
	}
	return locked, nil
}

func (v *VCenter) adopt(ctx *simulator.Context, m *machine, config *types.VirtualMachineConfigInfo, how Adoption) (encrypted bool, err error) {
	dc, ok := ctx.Map.Any("Datacenter").(*simulator.Datacenter)
	clusters := v.clusters()
	if !ok || len(clusters) == 0 {
		return false, errors.New("there is no cluster")
	}
	req := &types.CreateVM_Task{This: dc.VmFolder, Config: adoptedSpec(m, config), Pool: *clusters[0].ResourcePool, Host: hostFor(clusters[0], len(v.allMachines(ctx)))}
	body := ctx.Map.Get(dc.VmFolder).(creator).CreateVMTask(ctx, req).(*methods.CreateVM_TaskBody)
	result, f := await(ctx, body.Res.Returnval)
	if f != nil {
		return false, f
	}
	ref := result.(types.ManagedObjectReference)
	v.inheritKeys(ctx, ref, m)
	if len(m.keys()) == 0 {
		return false, nil
	}
	vm := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	v.setCryptoState(ctx, vm, types.VirtualMachineCryptoStateLocked)
	if how.HideConfig {
		v.sealed.hide(ctx, vm)
	}
	return true, nil
}

// adoptedSpec is a machine as its files describe it.
func adoptedSpec(m *machine, config *types.VirtualMachineConfigInfo) types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{
		Name: m.name, GuestId: config.GuestId, Version: m.version, Uuid: config.Uuid, InstanceUuid: config.InstanceUuid,
		Files: &types.VirtualMachineFileInfo{VmPathName: config.Files.VmPathName},
	}
	var devices object.VirtualDeviceList
	scsi, _ := devices.CreateSCSIController("pvscsi") // the name is right, so there is no error
	devices = append(devices, scsi)
	for i := range m.disks {
		disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{},
			path.Join(path.Dir(config.Files.VmPathName), fmt.Sprintf("adopted%d.vmdk", i)))
		disk.CapacityInKB = 10 << 20
		devices = append(devices, disk)
	}
	spec.DeviceChange, _ = devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	return spec
}

// sealed are the configurations of machines that are not seen while they are
// locked.
type sealed struct {
	mu      sync.Mutex
	configs map[types.ManagedObjectReference]*types.VirtualMachineConfigInfo
}

func (s *sealed) hide(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx.WithLock(vm, func() {
		if s.configs == nil {
			s.configs = map[types.ManagedObjectReference]*types.VirtualMachineConfigInfo{}
		}
		s.configs[vm.Self], vm.Config = vm.Config, nil
	})
}

// show gives the machine its configuration back for an attempt to unlock it,
// and tells whether it was hidden.
func (s *sealed) show(ctx *simulator.Context, vm *simulator.VirtualMachine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	config := s.configs[vm.Self]
	if config == nil {
		return false
	}
	ctx.WithLock(vm, func() { vm.Config = config })
	delete(s.configs, vm.Self)
	return true
}

// EncryptAll encrypts every machine over the API, home and disks, each under a
// key of its own.
func (v *VCenter) EncryptAll(ctx context.Context, provider string) error {
	vim, err := v.Client(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = vim.Logout(context.WithoutCancel(ctx)) }()
	keys, err := crypto.GetManagerKmip(vim.Client)
	if err != nil {
		return err
	}
	list, err := find.NewFinder(vim.Client).VirtualMachineList(ctx, "/...")
	if err != nil {
		return err
	}
	for _, vm := range list {
		made, err := methods.GenerateKey(ctx, vim, &types.GenerateKey{This: keys.Reference(), KeyProvider: &types.KeyProviderId{Id: provider}})
		if err != nil {
			return err
		}
		if !made.Returnval.Success {
			return fmt.Errorf("making a key for %s: %s", vm.InventoryPath, made.Returnval.Reason)
		}
		var m mo.VirtualMachine
		if err := property.DefaultCollector(vim.Client).RetrieveOne(ctx, vm.Reference(), []string{"config"}, &m); err != nil {
			return err
		}
		task, err := vm.Reconfigure(ctx, EncryptSpec(m.Config, EncryptionPolicyID, made.Returnval.KeyId))
		if err == nil {
			err = task.Wait(ctx)
		}
		if err != nil {
			return fmt.Errorf("encrypting %s: %w", vm.InventoryPath, err)
		}
	}
	return nil
}

// Rebuild adds a vCenter that takes over the machines of another one of this
// world, after which that one is as good as lost: it has the same hosts and
// files, and neither key provider nor trust. It returns it with the number of
// machines that are locked.
func (w *World) Rebuild(ctx context.Context, from *VCenter, how Adoption) (*VCenter, int, error) {
	o := from.options
	o.VMs, o.Listen, o.Now = 0, "", nil
	vc, err := New(o)
	if err != nil {
		return nil, 0, err
	}
	w.VCenters = append(w.VCenters, vc)
	locked, err := vc.Adopt(ctx, from, how)
	return vc, locked, err
}
