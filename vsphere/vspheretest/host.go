package vspheretest

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// hostKeys are the keys that the hosts remember, in memory, as ESXi does: a
// host that reboots has forgotten them, and asks vCenter, which asks the key
// server.
type hostKeys struct {
	mu   sync.Mutex
	held map[types.ManagedObjectReference]map[keyRef]*secret.Bytes
}

// put gives a host a copy of a key.
func (h *hostKeys) put(host types.ManagedObjectReference, r keyRef, key *secret.Bytes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = map[types.ManagedObjectReference]map[keyRef]*secret.Bytes{}
	}
	if h.held[host] == nil {
		h.held[host] = map[keyRef]*secret.Bytes{}
	}
	h.held[host][r].Clear()
	h.held[host][r] = key.Clone()
}

func (h *hostKeys) has(host types.ManagedObjectReference, r keyRef) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[host][r] != nil
}

// forget clears all keys of a host.
func (h *hostKeys) forget(host types.ManagedObjectReference) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range h.held[host] {
		key.Clear()
	}
	delete(h.held, host)
}

// forgetKey clears a key on all hosts.
func (h *hostKeys) forgetKey(r keyRef) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		held[r].Clear()
		delete(held, r)
	}
}

func (h *hostKeys) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, held := range h.held {
		for _, key := range held {
			key.Clear()
		}
	}
	h.held = nil
}

// HostKey returns a copy of a key as a host remembers it; nil if it does not.
// Tests compare it with what the key server holds.
func (v *VCenter) HostKey(host types.ManagedObjectReference, provider, keyID string) *secret.Bytes {
	v.hosts.mu.Lock()
	defer v.hosts.mu.Unlock()
	return v.hosts.held[host][keyRef{provider, keyID}].Clone()
}

// peers are the hosts of the host's cluster, itself among them: vCenter gives
// each of them the keys of the cluster's machines.
func peers(ctx *simulator.Context, host types.ManagedObjectReference) []types.ManagedObjectReference {
	parent := parentOf(ctx, host)
	if parent != nil {
		switch c := ctx.Map.Get(*parent).(type) {
		case *simulator.ClusterComputeResource:
			return c.Host
		}
	}
	return []types.ManagedObjectReference{host}
}

// ensureKey sees to it that the host has the key, and fetches it from the key
// server for the whole cluster if it does not.
func (v *VCenter) ensureKey(ctx *simulator.Context, host types.ManagedObjectReference, r keyRef, who user) error {
	if v.hosts.has(host, r) {
		return nil
	}
	return v.pushKey(ctx, host, r, who)
}

// pushKey fetches a key, marks who uses it, and gives it to the cluster.
func (v *VCenter) pushKey(ctx *simulator.Context, host types.ManagedObjectReference, r keyRef, who user) error {
	key, err := v.fetchKey(v.ctx, r.provider, r.id, who)
	if err != nil {
		return err
	}
	defer key.Clear()
	v.keys.add(r)
	for _, peer := range peers(ctx, host) {
		v.hosts.put(peer, r, key)
	}
	return nil
}

// prepareHost gives a host that has none a host key, which turns its
// encryption mode on. vCenter does so at the first encrypted machine.
func (v *VCenter) prepareHost(ctx *simulator.Context, ref types.ManagedObjectReference, provider string) *failure {
	host, who := (&hosts{}).get(ctx, ref)
	if host == nil {
		return fail(&types.ManagedObjectNotFound{Obj: ref}, "There is no host %s", ref.Value)
	}
	if isSafe(ctx, host) {
		return nil
	}
	v.hosting.Lock() // of machines that are encrypted at once, only one makes a host key
	defer v.hosting.Unlock()
	if isSafe(ctx, host) {
		return nil
	}
	r, f := v.hostKeysInUse(ctx)[ref], (*failure)(nil)
	if r.id == "" {
		r, f = v.generate(ctx, provider)
	}
	if f != nil {
		v.event(ctx, eventHostNoKey, "No host key for "+who.name+": "+f.text, ref)
		return f
	}
	return v.useHostKey(ctx, host, r, who)
}

func isSafe(ctx *simulator.Context, host *simulator.HostSystem) (safe bool) {
	ctx.WithLock(host, func() { safe = host.Runtime.CryptoState == string(types.HostCryptoStateSafe) })
	return safe
}

// useHostKey makes the key the host's own.
func (v *VCenter) useHostKey(ctx *simulator.Context, host *simulator.HostSystem, r keyRef, who user) *failure {
	if err := v.pushKey(ctx, host.Self, r, who); err != nil {
		return unusable(r, err)
	}
	ctx.Map.AtomicUpdate(ctx, host, []types.PropertyChange{
		{Name: "runtime.cryptoState", Val: string(types.HostCryptoStateSafe)},
		{Name: "runtime.cryptoKeyId", Val: *r.key()},
	})
	v.event(ctx, eventHostEnabled, "Host encryption mode is enabled on "+who.name, host.Self)
	return nil
}

// hosts answers for HostSystem.
type hosts struct{ overlay }

func (h *hosts) get(ctx *simulator.Context, ref types.ManagedObjectReference) (*simulator.HostSystem, user) {
	host, ok := ctx.Map.Get(ref).(*simulator.HostSystem)
	if !ok {
		return nil, user{}
	}
	who := user{component: componentHost}
	ctx.WithLock(host, func() {
		who.name = host.Name
		if host.Hardware != nil {
			who.id = host.Hardware.SystemInfo.Uuid
		}
	})
	return host, who
}

// ConfigureCryptoKey gives a host a host key: the one named, or a new one.
func (h *hosts) ConfigureCryptoKey(ctx *simulator.Context, req *types.ConfigureCryptoKey) soap.HasFault {
	body, v, own := new(methods.ConfigureCryptoKeyBody), h.vcenter, h.vcenter.background(ctx)
	host, who := h.get(own, req.This)
	var r keyRef
	var f *failure
	if req.KeyId != nil {
		r = refOf(*req.KeyId)
	} else {
		r, f = v.generate(own, v.defaultOf(own, &req.This, true))
	}
	if f == nil {
		f = v.useHostKey(own, host, r, who)
	}
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	v.event(own, eventHostKeyUpdated, "The host key of "+who.name+" was changed", req.This)
	body.Res = new(types.ConfigureCryptoKeyResponse)
	return body
}

// PrepareCrypto makes a host ready for a host key.
func (h *hosts) PrepareCrypto(ctx *simulator.Context, req *types.PrepareCrypto) soap.HasFault {
	host, _ := h.get(ctx, req.This)
	ctx.Map.AtomicUpdate(ctx, host, []types.PropertyChange{{Name: "runtime.cryptoState", Val: string(types.HostCryptoStatePrepared)}})
	return &methods.PrepareCryptoBody{Res: new(types.PrepareCryptoResponse)}
}

// RebootHostTask makes the host forget its keys. Machines that run on it are
// stopped; those that are encrypted need the key server to start again.
func (h *hosts) RebootHostTask(ctx *simulator.Context, req *types.RebootHost_Task) soap.HasFault {
	v := h.vcenter
	ref := v.run(ctx, req.This, "rebootHostTask", func(own *simulator.Context, _ func(int32)) (types.AnyType, *failure) {
		v.hosts.forget(req.This)
		if f := v.stopMachines(own, req.This); f != nil {
			return nil, f
		}
		v.restoreHostKey(own, req.This)
		return nil, nil
	})
	return &methods.RebootHost_TaskBody{Res: &types.RebootHost_TaskResponse{Returnval: ref}}
}

// restoreHostKey gives a host that has come back its host key again. Without
// the key server it is only prepared, until the next use of a key there.
func (v *VCenter) restoreHostKey(ctx *simulator.Context, ref types.ManagedObjectReference) {
	host, who := (&hosts{}).get(ctx, ref)
	r, ok := v.hostKeysInUse(ctx)[ref]
	if !ok {
		return
	}
	if err := v.ensureKey(ctx, ref, r, who); err != nil {
		ctx.Map.AtomicUpdate(ctx, host, []types.PropertyChange{{Name: "runtime.cryptoState", Val: string(types.HostCryptoStatePrepared)}})
		v.event(ctx, eventHostNoKey, "No host key for "+who.name+": "+unusable(r, err).text, ref)
	}
}

// stopMachines powers off what runs on the host.
func (v *VCenter) stopMachines(ctx *simulator.Context, host types.ManagedObjectReference) *failure {
	for _, vm := range v.machinesOn(ctx, host) {
		running := false
		ctx.WithLock(vm, func() { running = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn })
		if !running {
			continue
		}
		body := vm.PowerOffVMTask(ctx, &types.PowerOffVM_Task{This: vm.Self}).(*methods.PowerOffVM_TaskBody)
		if _, f := await(ctx, body.Res.Returnval); f != nil {
			return f
		}
	}
	return nil
}
