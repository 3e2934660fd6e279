package vspheretest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// folders answers for Folder.
type folders struct{ overlay }

// creator is what the simulator's folders have in common here.
type creator interface {
	CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault
}

// CreateVMTask makes a machine, encrypted from the start if the ConfigSpec or
// its policies say so. Without its keys there is no machine.
func (o *folders) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	ref := o.vcenter.run(ctx, req.This, "createVmTask", func(own *simulator.Context, progress func(int32)) (types.AnyType, *failure) {
		return o.vcenter.createMachine(own, req, progress)
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: ref}}
}

func (v *VCenter) createMachine(ctx *simulator.Context, req *types.CreateVM_Task, progress func(int32)) (types.AnyType, *failure) {
	folder, ok := ctx.Map.Get(req.This).(creator)
	if !ok {
		return nil, notFound(req.This)
	}
	m := machine{name: req.Config.Name, uuid: req.Config.Uuid, poweredOff: true, version: req.Config.Version}
	p, f := planFor(&m, &req.Config, v.policies.encrypts)
	if f != nil {
		return nil, f
	}
	p.inheritAdded()
	migrate, f := p.migration(&m, req.Config.MigrateEncryption)
	if f == nil {
		f = p.checkResult(&m)
	}
	if f != nil {
		return nil, f
	}
	made := map[string]keyRef{}
	if f := v.keysBefore(ctx, &m, &p, made); f != nil {
		return nil, f
	}
	bareReq := *req
	bareReq.Config = bare(req.Config)
	body := folder.CreateVMTask(ctx, &bareReq).(*methods.CreateVM_TaskBody)
	result, f := await(ctx, body.Res.Returnval)
	if f != nil {
		return nil, f
	}
	ref := result.(types.ManagedObjectReference)
	return ref, v.finishCreate(ctx, ref, &p, migrate, &req.Config, progress)
}

// inheritAdded gives the home's step to the disks that say nothing.
func (p *plan) inheritAdded() {
	for i := range p.added {
		if p.added[i].verb == nothing && p.home.verb == encrypt {
			p.added[i] = p.home
		}
	}
}

// keysBefore makes the keys that are to be made and looks for those that are
// named, before anything else is done.
func (v *VCenter) keysBefore(ctx *simulator.Context, m *machine, p *plan, made map[string]keyRef) (f *failure) {
	p.each(func(s step) step {
		if f != nil || s.verb != encrypt {
			return s
		}
		var r keyRef
		if r, f = v.settle(ctx, m, s.want, made); f != nil {
			return s
		}
		if state, err := v.keyState(v.ctx, r.provider, r.id); err != nil {
			f = unusable(r, err)
		} else if state != Active && state != PreActive {
			f = unusable(r, errNotActive)
		}
		s.want = *r.key()
		return s
	})
	return f
}

// finishCreate puts the keys on a machine that was made, or takes it away again.
func (v *VCenter) finishCreate(ctx *simulator.Context, ref types.ManagedObjectReference, p *plan, migrate string, spec *types.VirtualMachineConfigSpec, progress func(int32)) *failure {
	vm := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	m := look(ctx, vm)
	if !p.empty() {
		f := v.settleKeys(ctx, &m, p)
		if f == nil {
			f = v.prepareHost(ctx, m.host, p.firstProvider())
		}
		if f != nil {
			body := vm.DestroyTask(ctx, &types.Destroy_Task{This: ref}).(*methods.Destroy_TaskBody)
			_, _ = await(ctx, body.Res.Returnval)
			return f
		}
		v.work(p, progress)
	}
	before := m
	before.disks = nil // all of them are new
	v.write(ctx, vm, &before, p, migrate)
	v.policies.apply(ref, m.disks, spec)
	return nil
}

// CloneVMTask clones a machine; an encrypted one gives the clone its keys, as a
// full clone has them.
func (m *machines) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	ref := m.vcenter.run(ctx, req.This, "cloneVmTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		return m.vcenter.clone(own, req)
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: ref}}
}

func (v *VCenter) clone(ctx *simulator.Context, req *types.CloneVM_Task) (types.AnyType, *failure) {
	vm, ok := ctx.Map.Get(req.This).(*simulator.VirtualMachine)
	if !ok {
		return nil, notFound(req.This)
	}
	from := look(ctx, vm)
	if f := from.visible(); f != nil {
		return nil, f
	}
	for _, r := range from.keys() {
		if err := v.ensureKey(ctx, from.host, r, from.user()); err != nil {
			return nil, unusable(r, err)
		}
	}
	start := req.Spec.PowerOn
	base := *req
	base.Spec.PowerOn = false
	body := vm.CloneVMTask(ctx, &base).(*methods.CloneVM_TaskBody)
	if body.Fault_ != nil {
		return nil, fail(&types.InvalidArgument{InvalidProperty: "folder"}, "%s", body.Fault_.String)
	}
	result, f := await(ctx, body.Res.Returnval)
	if f != nil {
		return nil, f
	}
	ref := result.(types.ManagedObjectReference)
	v.inheritKeys(ctx, ref, &from)
	if start {
		f = v.powerOn(ctx, &types.PowerOnVM_Task{This: ref})
	}
	return ref, f
}

// inheritKeys gives a clone the keys of what it was cloned from.
func (v *VCenter) inheritKeys(ctx *simulator.Context, ref types.ManagedObjectReference, from *machine) {
	vm := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	m := look(ctx, vm)
	p := plan{disks: map[int32]step{}}
	if from.home != nil {
		p.home = step{encrypt, *from.home}
	}
	for i, d := range m.disks {
		if i < len(from.disks) && from.disks[i].key != nil {
			p.disks[d.device] = step{encrypt, *from.disks[i].key}
		}
	}
	m.home = nil
	migrate, _ := p.migration(&m, from.migrate)
	v.write(ctx, vm, &m, &p, migrate)
}
