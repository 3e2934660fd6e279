package vspheretest

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// RelocateVMTask moves a machine, once the hosts where it goes have its keys.
func (m *machines) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	v := m.vcenter
	ref := v.run(ctx, req.This, "relocateVm", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		vm, ok := own.Map.Get(req.This).(*simulator.VirtualMachine)
		if !ok {
			return nil, notFound(req.This)
		}
		state := look(own, vm)
		if f := state.visible(); f != nil {
			return nil, f
		}
		to := v.destination(own, &state, req.Spec)
		for _, r := range state.keys() {
			if err := v.ensureKey(own, to, r, state.user()); err != nil {
				return nil, unusable(r, err)
			}
		}
		body := vm.RelocateVMTask(own, req).(*methods.RelocateVM_TaskBody)
		return await(own, body.Res.Returnval)
	})
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: ref}}
}

// destination is the host where a machine goes: the one named, or any of the
// pool's cluster.
func (v *VCenter) destination(ctx *simulator.Context, m *machine, spec types.VirtualMachineRelocateSpec) types.ManagedObjectReference {
	if spec.Host != nil {
		return *spec.Host
	}
	if spec.Pool != nil {
		if pool, ok := ctx.Map.Get(*spec.Pool).(*simulator.ResourcePool); ok {
			if c, ok := ctx.Map.Get(pool.Owner).(*simulator.ClusterComputeResource); ok && len(c.Host) > 0 {
				return c.Host[0]
			}
		}
	}
	return m.host
}

// files are the keys that stand in the files of machines that were
// unregistered, by the path of their configuration.
type files struct {
	mu   sync.Mutex
	keys map[string]machine
}

// UnregisterVM takes a machine out of the inventory; what its files say of
// keys stays.
func (m *machines) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	v := m.vcenter
	vm, ok := ctx.Map.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		return &methods.UnregisterVMBody{Fault_: soapFault(notFound(req.This))}
	}
	v.sealed.show(ctx, vm) // what its files say is no secret to the files
	state, path := look(ctx, vm), ""
	ctx.WithLock(vm, func() { path = vm.Summary.Config.VmPathName })
	var answer soap.HasFault
	ctx.WithLock(vm, func() { answer = vm.UnregisterVM(ctx, req) })
	if answer.Fault() == nil {
		v.files.mu.Lock()
		defer v.files.mu.Unlock()
		if v.files.keys == nil {
			v.files.keys = map[string]machine{}
		}
		v.files.keys[path] = state
	}
	return answer
}

// RegisterVMTask takes files into the inventory. A machine whose keys cannot be
// had is there all the same, and locked.
func (o *folders) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) soap.HasFault {
	v := o.vcenter
	ref := v.run(ctx, req.This, "registerVmTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		folder, ok := own.Map.Get(req.This).(*simulator.Folder)
		if !ok {
			return nil, notFound(req.This)
		}
		body := folder.RegisterVMTask(own, req).(*methods.RegisterVM_TaskBody)
		result, f := await(own, body.Res.Returnval)
		if f == nil {
			v.registered(own, req.Path, result.(types.ManagedObjectReference))
		}
		return result, f
	})
	return &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: ref}}
}

// registered gives a machine the keys that its files name.
func (v *VCenter) registered(ctx *simulator.Context, path string, ref types.ManagedObjectReference) {
	v.files.mu.Lock()
	was, known := v.files.keys[path]
	delete(v.files.keys, path)
	v.files.mu.Unlock()
	if !known {
		return
	}
	v.inheritKeys(ctx, ref, &was)
	vm := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	m := look(ctx, vm)
	_ = v.unlock(ctx, vm, &m) // it is locked then, which is no failure of the registering
}

// apps answers for VirtualApp.
type apps struct{ overlay }

// CreateChildVMTask makes a machine in a vApp, by the rules of any other.
func (a *apps) CreateChildVMTask(ctx *simulator.Context, req *types.CreateChildVM_Task) soap.HasFault {
	v := a.vcenter
	ref := v.run(ctx, req.This, "createChildVmTask", func(own *simulator.Context, progress func(int32)) (types.AnyType, *failure) {
		app, ok := own.Map.Get(req.This).(*simulator.VirtualApp)
		if !ok || app.ParentFolder == nil {
			return nil, notFound(req.This)
		}
		return v.createMachine(own, &types.CreateVM_Task{This: *app.ParentFolder, Config: req.Config, Pool: req.This, Host: req.Host}, progress)
	})
	return &methods.CreateChildVM_TaskBody{Res: &types.CreateChildVM_TaskResponse{Returnval: ref}}
}
