package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// state is what of a machine's state is in the way of an operation. All of it
// is told, so that a person need not come back for each.
func (d *differ) state(v *inventory.VM, op Op) (list []Because) {
	add := func(is bool, r Reason, detail string) {
		if is {
			list = append(list, Because{r, detail})
		}
	}
	add(d.protected(v), Protected, "")
	add(d.unsure(v, op), MatchUnknown, "")
	if op.usesKeys() {
		why, on := d.path.machines[v.Ref]
		add(on, OnKeyPath, why)
	}
	add(v.Template, Template, "")
	add(v.Locked, Locked, "")
	away := v.Connection == "inaccessible" || v.Connection == "invalid" || v.Connection == "orphaned"
	add(away, Inaccessible, v.Connection)
	add(!away && v.Connection != "connected", Disconnected, v.Connection)
	add(!v.Readable && !v.Locked && !away, Unreadable, "")
	add(v.Busy != "", Busy, v.Busy)
	if !op.usesKeys() || !v.Readable {
		return list
	}
	host := d.hosts[v.Host]
	hot, cold := host != nil && host.HotEncryption, host != nil && host.WithSnapshots
	add(op.rewrites() && v.Power == "poweredOn" && !hot, PoweredOn, "")
	add(op.rewrites() && v.Power == "suspended", Suspended, "")
	add(op.rewrites() && v.Snapshots > 0 && !cold, HasSnapshots, fmt.Sprint(v.Snapshots))
	add(op == ShallowOp && v.SnapshotTree, SnapshotTree, "")
	add(op == EncryptOp && v.Hardware < d.p.MinimumHardware, OldHardware, fmt.Sprintf("vmx-%d, want vmx-%d", v.Hardware, d.p.MinimumHardware))
	add(v.LinkedClone(), LinkedClone, "")
	add(v.FT, FaultTolerance, "")
	return append(list, d.hostState(host, op)...)
}

func (d *differ) hostState(h *inventory.Host, op Op) []Because {
	switch {
	case h == nil:
		return []Because{{HostAway, "it is not known"}}
	case h.Connection != "connected":
		return []Because{{HostAway, h.Name + " is " + h.Connection}}
	case op == EncryptOp && h.Incapable:
		return []Because{{HostIncapable, h.Name}}
	case h.Crypto == "pendingIncapable":
		return []Because{{HostPending, h.Name}}
	}
	return nil
}

func (d *differ) protected(v *inventory.VM) bool {
	return slices.ContainsFunc(d.p.Protect, func(m Match) bool { return m.Fits(v) })
}

// unsure: it is not known whether the machine is protected, or another rule's. It
// is when it is off that it would be encrypted, and that it has no address.
func (d *differ) unsure(v *inventory.VM, op Op) bool {
	return slices.ContainsFunc(d.p.Protect, func(m Match) bool { return m.unsure(v) }) ||
		slices.ContainsFunc(d.p.Rules, func(r Rule) bool { return r.has(op) && r.Match.unsure(v) })
}

// has tells whether a rule has the facet that asks for an operation.
func (r *Rule) has(op Op) bool {
	switch op {
	case EncryptOp:
		return r.Encrypt != nil
	case VMotionOp:
		return r.VMotion != nil
	}
	return r.Rekey != nil
}

// parts is what of the disks that an operation is about is in its way. It notes
// their datastores.
func (d *differ) parts(v *inventory.VM, a *Action) (list []Because) {
	need := map[string]int64{}
	for _, disk := range v.Disks {
		if !slices.Contains(a.Disks, disk.Device) {
			continue
		}
		need[disk.Datastore] += disk.Size
		if a.Op == EncryptOp && disk.RDM {
			list = append(list, Because{RawDisk, disk.Label})
		}
		if a.Op == EncryptOp && disk.MultiWriter {
			list = append(list, Because{SharedDisk, disk.Label})
		}
		if a.Op == ShallowOp && disk.IDE && v.Power == "poweredOn" {
			list = append(list, Because{IDEDisk, disk.Label})
		}
	}
	if a.Home {
		need[v.Datastore] += 0
	}
	for name := range need {
		a.Datastores = append(a.Datastores, name)
	}
	slices.Sort(a.Datastores)
	if !a.Op.rewrites() {
		return list
	}
	for _, name := range a.Datastores {
		list = append(list, d.space(name, need[name], v.Size)...)
	}
	return list
}

// space: a disk is written a second time before the first is given up. What the
// machine has written bounds what is needed of thin disks.
func (d *differ) space(name string, need, written int64) []Because {
	store := d.stores[name]
	if store == nil || !store.Accessible {
		return []Because{{SpaceUnknown, name}}
	}
	if written > 0 {
		need = min(need, written)
	}
	if store.Free < need {
		return []Because{{NoSpace, fmt.Sprintf("%s has %d MiB left, it takes %d", name, store.Free>>20, need>>20)}}
	}
	return nil
}

// alarms says what is wrong with a machine, whatever rules want of it.
func (d *differ) alarms(v *inventory.VM) {
	path := action(v, "", "").Path
	if v.Locked {
		d.plan.alarm(path, MachineLocked, "")
	}
	if !v.Readable {
		return
	}
	keys := v.Keys()
	if why, on := d.path.machines[v.Ref]; on && len(keys) > 0 {
		d.plan.alarm(path, KeyPathEncrypted, why)
	}
	own, w := OwnKeys(v), d.p.wishes(v)
	for _, k := range keys {
		if r := d.missing(k); r != "" {
			d.plan.alarm(path, r, k.String())
		}
		if strings.HasSuffix(d.f.Keys[k.ID].State, "Compromised") && (w.rekey == nil || !slices.Contains(own, k)) {
			d.plan.alarm(path, KeyCompromised, k.String())
		}
	}
	d.shape(v, path)
}

// shape: what is encrypted, and looks otherwise in vCenter.
func (d *differ) shape(v *inventory.VM, path string) {
	if v.Key == (inventory.Key{}) {
		return
	}
	if p := d.s.Policy(v.StoragePolicy); d.s.Unread[inventory.Policies] == "" && !v.VTPM && (p == nil || !p.Encrypts) {
		d.plan.alarm(path, PolicyDiffers, "")
	}
	plain := !slices.ContainsFunc(v.Disks, func(disk inventory.Disk) bool { return disk.Key != (inventory.Key{}) })
	if v.VTPM && plain && len(v.Disks) > 0 && d.p.wishes(v).encrypt == nil {
		d.plan.alarm(path, HomeOnly, "")
	}
}

func (d *differ) host(h *inventory.Host) {
	if h.Key != (inventory.Key{}) && d.missing(h.Key) != "" {
		d.plan.alarm(h.Name, HostKeyMissing, h.Key.String())
	}
}
