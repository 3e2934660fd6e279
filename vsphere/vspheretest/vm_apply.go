package vspheretest

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// settleKeys turns every step's wish into a key that the key server has, is
// active, and is with the hosts. New keys: one for each provider that the plan
// wants one of.
func (v *VCenter) settleKeys(ctx *simulator.Context, m *machine, p *plan) (f *failure) {
	made := map[string]keyRef{}
	fetched := map[keyRef]bool{}
	p.each(func(s step) step {
		if f != nil || s.verb == decrypt {
			return s
		}
		var r keyRef
		if r, f = v.settle(ctx, m, s.want, made); f != nil {
			return s
		}
		if !fetched[r] {
			fetched[r] = true
			if err := v.pushKey(ctx, m.host, r, m.user()); err != nil {
				f = unusable(r, err)
				return s
			}
		}
		s.want = *r.key()
		return s
	})
	return f
}

// settle decides on the key, and makes it when none was named.
func (v *VCenter) settle(ctx *simulator.Context, m *machine, want types.CryptoKeyId, made map[string]keyRef) (keyRef, *failure) {
	r := refOf(want)
	if r.provider == "" {
		r.provider = v.defaultOf(ctx, &m.host, true)
	}
	if r.id != "" {
		return r, nil
	}
	if known, ok := made[r.provider]; ok {
		return known, nil
	}
	r, f := v.generate(ctx, r.provider)
	if f == nil {
		made[r.provider] = r
	}
	return r, f
}

// firstProvider is the provider of some key of the plan.
func (p *plan) firstProvider() (id string) {
	p.each(func(s step) step {
		if id == "" {
			id = refOf(s.want).provider
		}
		return s
	})
	return id
}

// work lets time pass for each disk and home that is rewritten.
func (v *VCenter) work(p *plan, progress func(int32)) {
	n := int32(0)
	p.each(func(s step) step {
		if s.verb == encrypt || s.verb == decrypt || s.verb == deep {
			n++
		}
		return s
	})
	for i := range n {
		progress((i*100 + 50) / n)
		if v.options.EncryptTime > 0 {
			_ = ctxtime.Sleep(v.ctx, v.options.EncryptTime)
		}
	}
}

// write puts the plan's keys on the machine, and its encrypted vMotion. before
// are the disks from before the rest of the ConfigSpec was carried out.
func (v *VCenter) write(ctx *simulator.Context, vm *simulator.VirtualMachine, before *machine, p *plan, migrate string) {
	ctx.WithLock(vm, func() {
		changes := []types.PropertyChange{{Name: "config.migrateEncryption", Val: migrate}}
		if home := p.keyAfter(p.home, before.home); home != before.home {
			changes = append(changes, keyChange("config.keyId", home))
		}
		if devices, changed := p.devices(vm.Config.Hardware.Device, before); changed {
			changes = append(changes, types.PropertyChange{Name: "config.hardware.device", Val: devices})
		}
		state := ""
		if p.keyAfter(p.home, before.home) != nil {
			state = string(types.VirtualMachineCryptoStateUnlocked)
		}
		changes = append(changes, types.PropertyChange{Name: "runtime.cryptoState", Val: state})
		ctx.Update(vm, changes)
	})
}

func keyChange(name string, key *types.CryptoKeyId) types.PropertyChange {
	if key == nil {
		return types.PropertyChange{Name: name, Op: types.PropertyChangeOpRemove}
	}
	return types.PropertyChange{Name: name, Val: key}
}

// keyAfter is the key with which a home or disk ends.
func (p *plan) keyAfter(s step, before *types.CryptoKeyId) *types.CryptoKeyId {
	switch s.verb {
	case decrypt:
		return nil
	case encrypt, shallow, deep:
		return refOf(s.want).key()
	}
	return before
}

// devices returns the devices with their keys as they are to be. Disks that
// were not there before are the added ones, in their order.
func (p *plan) devices(list deviceList, before *machine) (out deviceList, changed bool) {
	out = slices.Clone(list)
	added := p.added
	for i, d := range out {
		v, ok := d.(*types.VirtualDisk)
		if !ok {
			continue
		}
		s, old := p.disks[v.Key], before.diskKey(v.Key)
		if !before.hasDisk(v.Key) && len(added) > 0 {
			s, added = added[0], added[1:]
		}
		if key := p.keyAfter(s, old); key != diskKey(v) {
			out[i], changed = withKey(v, key), true
		}
	}
	return out, changed
}

type deviceList = []types.BaseVirtualDevice

func (m *machine) hasDisk(device int32) bool {
	return slices.ContainsFunc(m.disks, func(d disk) bool { return d.device == device })
}

// bare is a ConfigSpec without what the overlay does itself.
func bare(spec types.VirtualMachineConfigSpec) types.VirtualMachineConfigSpec {
	spec.Crypto, spec.MigrateEncryption, spec.VmProfile, spec.ChangeVersion = nil, "", nil, ""
	changes := make([]types.BaseVirtualDeviceConfigSpec, 0, len(spec.DeviceChange))
	for _, change := range spec.DeviceChange {
		c := *change.GetVirtualDeviceConfigSpec()
		if c.Backing != nil {
			b := *c.Backing
			b.Crypto, c.Backing = nil, &b
		}
		c.Profile = nil
		changes = append(changes, &c)
	}
	spec.DeviceChange = changes
	return spec
}
