package inventory

import (
	"slices"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func keyID(id string) *types.CryptoKeyId {
	return &types.CryptoKeyId{KeyId: id, ProviderId: &types.KeyProviderId{Id: "p"}}
}

func flat(file, key string) *types.VirtualDiskFlatVer2BackingInfo {
	b := &types.VirtualDiskFlatVer2BackingInfo{}
	if b.FileName = file; key != "" {
		b.KeyId = keyID(key)
	}
	return b
}

func diskOn(b types.BaseVirtualDeviceBackingInfo) types.BaseVirtualDevice {
	return &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: 2000, ControllerKey: 200, Backing: b}, CapacityInKB: 1024}
}

func TestDisks(t *testing.T) {
	child, shared := flat("[ds 1] vm/b.vmdk", "new"), flat("[ds] a.vmdk", "")
	child.Parent = flat("[ds 1] vm/a.vmdk", "old")
	child.Parent.Parent = flat("[ds 1] vm/base.vmdk", "")
	shared.Sharing = "sharingMultiWriter"
	sparse := &types.VirtualDiskSeSparseBackingInfo{KeyId: keyID("s"), Parent: &types.VirtualDiskSeSparseBackingInfo{KeyId: keyID("t")}}
	for _, tc := range []struct {
		name    string
		devices []types.BaseVirtualDevice
		fits    func(Disk) bool
	}{
		{"plain", []types.BaseVirtualDevice{diskOn(flat("[ds] a.vmdk", ""))}, func(d Disk) bool {
			return d.Key == Key{} && d.Datastore == "ds" && d.Size == 1<<20 && d.Label == "disk 2000" && d.Layers == 0
		}},
		{"each layer has a key", []types.BaseVirtualDevice{diskOn(child)}, func(d Disk) bool {
			return d.Key.ID == "new" && d.Layers == 2 && slices.Equal(d.Chain, []Key{{"old", "p"}}) && d.Datastore == "ds 1"
		}},
		{"sparse", []types.BaseVirtualDevice{diskOn(sparse)}, func(d Disk) bool {
			return d.Key.ID == "s" && slices.Equal(d.Chain, []Key{{"t", "p"}})
		}},
		{"shared", []types.BaseVirtualDevice{diskOn(shared)}, func(d Disk) bool { return d.MultiWriter }},
		{"raw", []types.BaseVirtualDevice{diskOn(&types.VirtualDiskRawDiskMappingVer1BackingInfo{})}, func(d Disk) bool { return d.RDM }},
		{"on IDE, whose controller comes after it", []types.BaseVirtualDevice{
			diskOn(flat("", "")), &types.VirtualIDEController{VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: 200}}},
		}, func(d Disk) bool { return d.IDE }},
		{"no backing", []types.BaseVirtualDevice{diskOn(nil)}, func(d Disk) bool { return d.Key == Key{} && d.Layers == 0 }},
	} {
		if list := disksOf(tc.devices); len(list) != 1 || !tc.fits(list[0]) {
			t.Errorf("%s: %+v", tc.name, list)
		}
	}
}

func snap(ref string, children ...types.VirtualMachineSnapshotTree) types.VirtualMachineSnapshotTree {
	return types.VirtualMachineSnapshotTree{Snapshot: types.ManagedObjectReference{Value: ref}, ChildSnapshotList: children}
}

func TestSnapshotTrees(t *testing.T) {
	for _, tc := range []struct {
		name  string
		roots []types.VirtualMachineSnapshotTree
		count int
		tree  bool
	}{
		{"none", nil, 0, false},
		{"one", []types.VirtualMachineSnapshotTree{snap("a")}, 1, false},
		{"a chain", []types.VirtualMachineSnapshotTree{snap("a", snap("b", snap("c")))}, 3, false},
		{"two roots", []types.VirtualMachineSnapshotTree{snap("a"), snap("b")}, 2, true},
		{"a fork low down", []types.VirtualMachineSnapshotTree{snap("a", snap("b", snap("c"), snap("d")))}, 4, true},
	} {
		var v VM
		v.snapshots(types.VirtualMachineSnapshotInfo{RootSnapshotList: tc.roots})
		if v.Snapshots != tc.count || v.SnapshotTree != tc.tree || len(v.snapshotRefs) != tc.count {
			t.Errorf("%s: %d, tree %v, %q", tc.name, v.Snapshots, v.SnapshotTree, v.snapshotRefs)
		}
	}
}

func TestPaths(t *testing.T) {
	tr := newTree("root")
	for ref, n := range map[string]node{"dc": {"Datacenter", "DC0", "root"}, "f": {"Folder", "vm", "dc"}, "lost": {"Folder", "x", "hidden"},
		"ring": {"Folder", "a", "gnir"}, "gnir": {"Folder", "b", "ring"}, "pool": {"VirtualApp", "app", "f"}} {
		tr.nodes[ref] = n
	}
	for _, tc := range []struct{ property, ref, want string }{
		{"parent", "f", "/DC0/vm/m"},
		{"parentVApp", "pool", "/DC0/vm/app/m"},
		{"parent", "lost", ""}, // something above is not to be seen
		{"parent", "ring", ""}, // vCenter never says so; a loop must end all the same
		{"parent", "absent", ""},
	} {
		p := props{"name": "m", tc.property: types.ManagedObjectReference{Value: tc.ref}}
		if got := tr.vmPath(p); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.property, tc.ref, got, tc.want)
		}
	}
}

// What a machine without a configuration leaves out must not be read as "plain".
func TestMachineWithoutConfiguration(t *testing.T) {
	v := vmOf(types.ObjectContent{Obj: types.ManagedObjectReference{Value: "vm-1"}, PropSet: []types.DynamicProperty{{Name: "name", Val: "m"}, {Name: "config.uuid", Val: nil}}}, newTree("root"))
	if v.Readable || v.unseen() == "" || v.Name != "m" {
		t.Errorf("%+v", v)
	}
}

// Nor what the account may not see: a report would release the key.
func TestHiddenKeyIsNotNone(t *testing.T) {
	set := func(kind string, hidden string, values ...types.DynamicProperty) types.ObjectContent {
		o := types.ObjectContent{Obj: types.ManagedObjectReference{Type: kind, Value: "1"}, PropSet: values}
		if hidden != "" {
			o.MissingSet = []types.MissingProperty{{Path: hidden, Fault: types.LocalizedMethodFault{Fault: &types.NoPermission{}}}}
		}
		return o
	}
	for property, whole := range map[string]bool{"": true, "guest.net": true, "config.keyId": false, "snapshot": false} {
		v := vmOf(set("VirtualMachine", property, types.DynamicProperty{Name: "runtime.connectionState", Val: types.VirtualMachineConnectionStateConnected},
			types.DynamicProperty{Name: "config.uuid", Val: "u"}, types.DynamicProperty{Name: "config.hardware.device", Val: types.ArrayOfVirtualDevice{}}), newTree("root"))
		if (v.unseen() == "") != whole {
			t.Errorf("the machine's %q is hidden: %q", property, v.unseen())
		}
	}
	for property, whole := range map[string]bool{"": true, "hardware.systemInfo.uuid": true, "runtime.cryptoKeyId": false} {
		o := set("HostSystem", property, types.DynamicProperty{Name: "runtime.connectionState", Val: types.HostSystemConnectionStateConnected})
		s := Snapshot{Hosts: []Host{hostOf(o, propsOf(o), newTree("root"))}}
		if s.judge(); (len(s.Partial) == 0) != whole {
			t.Errorf("the host's %q is hidden: %q", property, s.Partial)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	s := Snapshot{VMs: make([]VM, 1000)}
	if s.judge(); len(s.Partial) != maxReasons+1 || s.Partial[maxReasons] != "and 940 more" {
		t.Errorf("%d reasons, the last %q", len(s.Partial), s.Partial[len(s.Partial)-1])
	}
}
