package vspheretest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// machines answers for VirtualMachine.
type machines struct{ overlay }

func notFound(ref types.ManagedObjectReference) *failure {
	return fail(&types.ManagedObjectNotFound{Obj: ref}, "The object %s has already been deleted or has not been completely created", ref)
}

// ReconfigVMTask carries out a ConfigSpec, all of it or nothing: first what
// could refuse it is asked, then the keys, then the simulator does the rest,
// and only then are the keys written.
func (m *machines) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	ref := m.vcenter.run(ctx, req.This, "reconfigVmTask", func(own *simulator.Context, progress func(int32)) (types.AnyType, *failure) {
		return nil, m.reconfigure(own, req, progress)
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: ref}}
}

func (m *machines) reconfigure(ctx *simulator.Context, req *types.ReconfigVM_Task, progress func(int32)) *failure {
	v := m.vcenter
	vm, ok := ctx.Map.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		return notFound(req.This)
	}
	before := look(ctx, vm)
	if f := before.visible(); f != nil {
		return f
	}
	if cv := req.Spec.ChangeVersion; cv != "" && cv != before.changeVersion {
		return fail(&types.ConcurrentAccess{}, "The machine was changed since it was read")
	}
	p, f := planFor(&before, &req.Spec, v.policies.encrypts)
	if f != nil {
		return f
	}
	migrate, f := p.migration(&before, req.Spec.MigrateEncryption)
	if f == nil {
		f = v.prepare(ctx, &before, &p)
	}
	if f != nil {
		return f
	}
	v.work(&p, progress)
	if f := v.baseReconfigure(ctx, vm, req); f != nil {
		return f
	}
	v.write(ctx, vm, &before, &p, migrate)
	v.policies.apply(req.This, look(ctx, vm).disks, &req.Spec)
	if !p.empty() {
		v.event(ctx, eventOperation, "Encryption of "+before.name+" was changed", req.This)
	}
	return nil
}

// baseReconfigure has the simulator do the rest of a ConfigSpec. One at a time:
// its machines write to the datastore that they share, and read it without a
// lock. No key server is asked meanwhile.
func (v *VCenter) baseReconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.ReconfigVM_Task) *failure {
	v.base.Lock()
	defer v.base.Unlock()
	body := vm.ReconfigVMTask(ctx, &types.ReconfigVM_Task{This: req.This, Spec: bare(req.Spec)}).(*methods.ReconfigVM_TaskBody)
	_, f := await(ctx, body.Res.Returnval)
	return f
}

// prepare is everything that can refuse a plan: prerequisites, the host's
// readiness, and the keys.
func (v *VCenter) prepare(ctx *simulator.Context, m *machine, p *plan) *failure {
	if p.empty() {
		return p.checkResult(m)
	}
	if f := p.check(m, v.options.MinimumHardware); f != nil {
		return f
	}
	f := v.oldKeys(ctx, m, p)
	if f == nil {
		f = v.settleKeys(ctx, m, p)
	}
	if f != nil {
		if p.has(shallow, deep) {
			v.event(ctx, eventRekeyFail, "Recrypting "+m.name+" failed: "+f.text, m.ref)
		}
		return f
	}
	if p.has(encrypt) {
		return v.prepareHost(ctx, m.host, p.firstProvider())
	}
	return nil
}

// oldKeys sees to it that the host can read what is recrypted or decrypted.
func (v *VCenter) oldKeys(ctx *simulator.Context, m *machine, p *plan) *failure {
	if !p.has(shallow, deep, decrypt) {
		return nil
	}
	for _, r := range m.keys() {
		if err := v.ensureKey(ctx, m.host, r, m.user()); err != nil {
			return unusable(r, err)
		}
	}
	return nil
}

// PowerOnVMTask starts a machine whose keys its host has or can get. One whose
// keys cannot be had becomes locked.
func (m *machines) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	ref := m.vcenter.run(ctx, req.This, "powerOnTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		return nil, m.vcenter.powerOn(own, req)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: ref}}
}

func (v *VCenter) powerOn(ctx *simulator.Context, req *types.PowerOnVM_Task) *failure {
	vm, ok := ctx.Map.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		return notFound(req.This)
	}
	if req.Host != nil {
		ctx.Map.AtomicUpdate(ctx, vm, []types.PropertyChange{{Name: "runtime.host", Val: *req.Host}})
	}
	if f := v.unlockWhole(ctx, vm); f != nil {
		return f
	}
	if m := look(ctx, vm); m.hidden {
		return m.visible()
	}
	body := vm.PowerOnVMTask(ctx, req).(*methods.PowerOnVM_TaskBody)
	if body.Fault_ != nil {
		return fail(&types.InvalidState{}, "%s", body.Fault_.String)
	}
	_, f := await(ctx, body.Res.Returnval)
	return f
}

// unlockWhole is unlock for a machine whose configuration may be hidden; it is
// seen again once the machine is unlocked.
func (v *VCenter) unlockWhole(ctx *simulator.Context, vm *simulator.VirtualMachine) *failure {
	hidden := v.sealed.show(ctx, vm)
	m := look(ctx, vm)
	f := v.unlock(ctx, vm, &m)
	if f != nil && hidden {
		v.sealed.hide(ctx, vm)
	}
	return f
}

// unlock gets the machine's keys to its host, and notes whether it is locked.
func (v *VCenter) unlock(ctx *simulator.Context, vm *simulator.VirtualMachine, m *machine) *failure {
	for _, r := range m.keys() {
		if err := v.ensureKey(ctx, m.host, r, m.user()); err != nil {
			f := unusable(r, err)
			v.lock(ctx, vm, m, err, f)
			return f
		}
	}
	if m.locked {
		v.setCryptoState(ctx, vm, types.VirtualMachineCryptoStateUnlocked)
		v.event(ctx, eventUnlocked, "The machine "+m.name+" is unlocked", m.ref)
	}
	return nil
}

func (v *VCenter) lock(ctx *simulator.Context, vm *simulator.VirtualMachine, m *machine, err error, f *failure) {
	v.setCryptoState(ctx, vm, types.VirtualMachineCryptoStateLocked)
	id := eventLockedError
	if unavailable(Active, err) == types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateMissingInKMS {
		id = eventLockedMissing
	}
	v.event(ctx, id, "The machine "+m.name+" is locked: "+f.text, m.ref)
}

func (v *VCenter) setCryptoState(ctx *simulator.Context, vm *simulator.VirtualMachine, s types.VirtualMachineCryptoState) {
	ctx.Map.AtomicUpdate(ctx, vm, []types.PropertyChange{{Name: "runtime.cryptoState", Val: string(s)}})
}

// CryptoUnlockTask unlocks a locked machine once its keys can be had again.
func (m *machines) CryptoUnlockTask(ctx *simulator.Context, req *types.CryptoUnlock_Task) soap.HasFault {
	v := m.vcenter
	ref := v.run(ctx, req.This, "cryptoUnlockTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		vm, ok := own.Map.Get(req.This).(*simulator.VirtualMachine)
		if !ok {
			return nil, notFound(req.This)
		}
		return nil, v.unlockWhole(own, vm)
	})
	return &methods.CryptoUnlock_TaskBody{Res: &types.CryptoUnlock_TaskResponse{Returnval: ref}}
}

// datacenters answers for Datacenter.
type datacenters struct{ overlay }

// PowerOnMultiVMTask starts each machine by itself.
func (d *datacenters) PowerOnMultiVMTask(ctx *simulator.Context, req *types.PowerOnMultiVM_Task) soap.HasFault {
	v := d.vcenter
	ref := v.run(ctx, req.This, "powerOnMultiVmTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		var result types.ClusterPowerOnVmResult
		for _, vm := range req.Vm {
			if f := v.powerOn(own, &types.PowerOnVM_Task{This: vm}); f != nil {
				result.NotAttempted = append(result.NotAttempted, types.ClusterNotAttemptedVmInfo{Vm: vm, Fault: *f.localized()})
				continue
			}
			result.Attempted = append(result.Attempted, types.ClusterAttemptedVmInfo{Vm: vm})
		}
		return result, nil
	})
	return &methods.PowerOnMultiVM_TaskBody{Res: &types.PowerOnMultiVM_TaskResponse{Returnval: ref}}
}
