package inventory

import (
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// props are the properties of one object that could be read.
type props map[string]any

func propsOf(o types.ObjectContent) props {
	p := make(props, len(o.PropSet))
	for _, c := range o.PropSet {
		if c.Val != nil {
			p[c.Name] = c.Val
		}
	}
	return p
}

// hidden tells whether one of some properties is there and may not be read. What
// is not set is absent, too, and is in no such list: a key that is hidden is not
// none.
func hidden(o types.ObjectContent, names ...string) bool {
	return slices.ContainsFunc(o.MissingSet, func(m types.MissingProperty) bool { return slices.Contains(names, m.Path) })
}

// get returns a property; the zero value if there is none.
func get[T any](p props, name string) T {
	v, _ := p[name].(T)
	return v
}

func (p props) has(name string) bool {
	_, ok := p[name]
	return ok
}

// ref returns the id of a reference.
func (p props) ref(name string) string { return get[types.ManagedObjectReference](p, name).Value }

// vmProperties are what is read of a machine.
var vmProperties = []string{
	"name", "parent", "parentVApp", "resourcePool", "customValue", "snapshot",
	"config.uuid", "config.instanceUuid", "config.template", "config.version", "config.changeVersion",
	"config.keyId", "config.migrateEncryption", "config.hardware.device", "config.files.vmPathName",
	"guest.ipAddress", "guest.net", "runtime.powerState", "runtime.connectionState", "runtime.cryptoState",
	"runtime.host", "runtime.faultToleranceState", "summary.storage", "summary.config.product",
	"summary.config.uuid", "summary.config.instanceUuid", "summary.config.vmPathName",
}

// vmOf makes a machine of what was read. A machine without a configuration is
// one too: vCenter has none for what is locked or on storage that is away, and
// to follow it there blindly is how inventories crash.
func vmOf(o types.ObjectContent, t *tree) VM {
	p := propsOf(o)
	v := VM{
		Ref: o.Obj.Value, Name: get[string](p, "name"), Path: t.vmPath(p), File: get[string](p, "summary.config.vmPathName"),
		BIOS: get[string](p, "summary.config.uuid"), Instance: get[string](p, "summary.config.instanceUuid"),
		Readable:   p.has("config.uuid") && p.has("config.hardware.device") && !hidden(o, "config.keyId", "snapshot"),
		Locked:     get[string](p, "runtime.cryptoState") == string(types.VirtualMachineCryptoStateLocked),
		Connection: string(get[types.VirtualMachineConnectionState](p, "runtime.connectionState")),
		Power:      string(get[types.VirtualMachinePowerState](p, "runtime.powerState")),
		Host:       p.ref("runtime.host"), Pool: t.path(p.ref("resourcePool")),
		Product: get[types.VAppProductInfo](p, "summary.config.product").Name,
	}
	v.Cluster = t.clusterOf(v.Host, p.ref("resourcePool"))
	v.Addresses = addresses(p)
	v.Attributes = t.attributes(get[types.ArrayOfCustomFieldValue](p, "customValue").CustomFieldValue)
	switch get[types.VirtualMachineFaultToleranceState](p, "runtime.faultToleranceState") {
	case "", types.VirtualMachineFaultToleranceStateNotConfigured:
	default:
		v.FT = true
	}
	v.snapshots(get[types.VirtualMachineSnapshotInfo](p, "snapshot"))
	if v.Readable {
		v.configure(p)
	}
	return v
}

func (v *VM) configure(p props) {
	v.BIOS, v.Instance = get[string](p, "config.uuid"), get[string](p, "config.instanceUuid")
	v.Template, v.ChangeVersion = get[bool](p, "config.template"), get[string](p, "config.changeVersion")
	v.Hardware, _ = strconv.Atoi(strings.TrimPrefix(get[string](p, "config.version"), "vmx-"))
	v.MigrateEncrypted = get[string](p, "config.migrateEncryption")
	key := get[types.CryptoKeyId](p, "config.keyId")
	v.Key = keyOf(&key)
	v.Datastore = datastoreOf(get[string](p, "config.files.vmPathName"))
	storage := get[types.VirtualMachineStorageSummary](p, "summary.storage")
	v.Size = storage.Committed
	devices := get[types.ArrayOfVirtualDevice](p, "config.hardware.device").VirtualDevice
	v.Disks = disksOf(devices)
	v.VTPM = slices.ContainsFunc(devices, func(d types.BaseVirtualDevice) bool {
		_, ok := d.(*types.VirtualTPM)
		return ok
	})
}

func keyOf(k *types.CryptoKeyId) Key {
	if k == nil || k.KeyId == "" {
		return Key{}
	}
	key := Key{ID: k.KeyId}
	if k.ProviderId != nil {
		key.Provider = k.ProviderId.Id
	}
	return key
}

// datastoreOf takes the name out of "[name] path".
func datastoreOf(file string) string {
	if rest, ok := strings.CutPrefix(file, "["); ok {
		if name, _, ok := strings.Cut(rest, "]"); ok {
			return name
		}
	}
	return ""
}

// addresses are all that the guest tells: the first one alone would miss the
// interface on which a key server listens.
func addresses(p props) (list []string) {
	add := func(text string) {
		if text != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	add(get[string](p, "guest.ipAddress"))
	for _, nic := range get[types.ArrayOfGuestNicInfo](p, "guest.net").GuestNicInfo {
		for _, a := range nic.IpAddress {
			add(a)
		}
	}
	return list
}

func (v *VM) snapshots(info types.VirtualMachineSnapshotInfo) {
	level := info.RootSnapshotList
	v.SnapshotTree = len(level) > 1
	for len(level) > 0 {
		var next []types.VirtualMachineSnapshotTree
		for _, s := range level {
			v.Snapshots++
			v.snapshotRefs = append(v.snapshotRefs, s.Snapshot.Value)
			v.SnapshotTree = v.SnapshotTree || len(s.ChildSnapshotList) > 1
			next = append(next, s.ChildSnapshotList...)
		}
		level = next
	}
}

// disksOf returns the disks among devices.
func disksOf(devices []types.BaseVirtualDevice) (list []Disk) {
	ide := map[int32]bool{}
	for _, d := range devices {
		if c, ok := d.(*types.VirtualIDEController); ok {
			ide[c.Key] = true
		}
	}
	for _, d := range devices {
		v, ok := d.(*types.VirtualDisk)
		if !ok {
			continue
		}
		disk := Disk{Device: v.Key, Size: v.CapacityInBytes, IDE: ide[v.ControllerKey]}
		if disk.Size == 0 {
			disk.Size = v.CapacityInKB << 10
		}
		if v.DeviceInfo != nil {
			disk.Label = v.DeviceInfo.GetDescription().Label
		}
		if disk.Label == "" {
			disk.Label = "disk " + strconv.Itoa(int(v.Key))
		}
		disk.backing(v.Backing)
		list = append(list, disk)
	}
	return list
}

// backing reads what a disk lies on, and all below it. Each layer of a chain
// may have a key of its own, and needs it.
func (d *Disk) backing(b types.BaseVirtualDeviceBackingInfo) {
	for depth := 0; b != nil; depth++ {
		l := layerOf(b)
		if depth == 0 {
			d.Key, d.Datastore, d.RDM = l.key, datastoreOf(l.file), l.rdm
			d.MultiWriter = l.sharing == string(types.VirtualDiskSharingSharingMultiWriter)
		} else {
			d.Layers++
			if l.key != (Key{}) {
				d.Chain = append(d.Chain, l.key)
			}
		}
		b = l.parent
	}
}

// A layer is a file of a disk, and the one that it is built on.
type layer struct {
	key           Key
	file, sharing string
	rdm           bool
	parent        types.BaseVirtualDeviceBackingInfo
}

func layerOf(backing types.BaseVirtualDeviceBackingInfo) (l layer) {
	switch b := backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		l = layer{key: keyOf(b.KeyId), file: b.FileName, sharing: b.Sharing}
		if b.Parent != nil {
			l.parent = b.Parent
		}
	case *types.VirtualDiskSeSparseBackingInfo:
		l = layer{key: keyOf(b.KeyId), file: b.FileName}
		if b.Parent != nil {
			l.parent = b.Parent
		}
	case *types.VirtualDiskSparseVer2BackingInfo:
		l = layer{key: keyOf(b.KeyId), file: b.FileName}
		if b.Parent != nil {
			l.parent = b.Parent
		}
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		l = layer{file: b.FileName, sharing: b.Sharing, rdm: true}
		if b.Parent != nil {
			l.parent = b.Parent
		}
	case *types.VirtualDiskRawDiskVer2BackingInfo:
		l = layer{file: b.DescriptorFileName, sharing: b.Sharing, rdm: true}
	case types.BaseVirtualDeviceFileBackingInfo:
		l = layer{file: b.GetVirtualDeviceFileBackingInfo().FileName}
	}
	return l
}

// Configured is what of a machine is in its configuration alone.
func Configured(config *types.VirtualMachineConfigInfo) VM {
	return VM{
		Readable: true, BIOS: config.Uuid, Instance: config.InstanceUuid, Template: config.Template, ChangeVersion: config.ChangeVersion,
		Key: keyOf(config.KeyId), MigrateEncrypted: config.MigrateEncryption, Disks: disksOf(config.Hardware.Device),
	}
}
