package vspheretest

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// populators is how many machines are made at a time. The simulator's own model
// makes them one by one, and each waits for the tick of its task.
const populators = 32

// populate makes the machines of all clusters, with the names and devices that
// the simulator's model gives its own.
func (v *VCenter) populate() error {
	dc, ok := v.reg.Any("Datacenter").(*simulator.Datacenter)
	if !ok {
		return nil
	}
	folder := v.reg.Get(dc.VmFolder).(creator)
	requests := make(chan *types.CreateVM_Task)
	failures := make([]error, populators)
	var wg sync.WaitGroup
	for i := range populators {
		wg.Go(func() {
			ctx := v.own() // one each: the simulator tells who holds a lock by it
			for req := range requests {
				body := folder.CreateVMTask(ctx, req).(*methods.CreateVM_TaskBody)
				if _, f := await(ctx, body.Res.Returnval); f != nil && failures[i] == nil {
					failures[i] = fmt.Errorf("making machine %s: %w", req.Config.Name, f)
				}
			}
		})
	}
	for n, cluster := range v.clusters() {
		for i := range v.options.VMs {
			name := fmt.Sprintf("%s_C%d_RP0_VM%d", dc.Name, n, i)
			requests <- &types.CreateVM_Task{This: dc.VmFolder, Config: machineSpec(name), Pool: *cluster.ResourcePool, Host: hostFor(cluster, i)}
		}
	}
	close(requests)
	wg.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// clusters returns all clusters, by name.
func (v *VCenter) clusters() (list []*mo.ComputeResource) {
	for _, e := range v.reg.All("ClusterComputeResource") {
		if c, ok := e.(*simulator.ClusterComputeResource); ok {
			list = append(list, &c.ComputeResource)
		}
	}
	slices.SortFunc(list, func(a, b *mo.ComputeResource) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// hostFor spreads a cluster's machines over its hosts.
func hostFor(c *mo.ComputeResource, i int) *types.ManagedObjectReference {
	return &c.Host[i%len(c.Host)]
}

// machineSpec is a machine with one disk.
func machineSpec(name string) types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{
		Name: name, GuestId: string(types.VirtualMachineGuestOsIdentifierOtherGuest), Version: "vmx-19",
		Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
	}
	var devices object.VirtualDeviceList
	scsi, _ := devices.CreateSCSIController("pvscsi") // the name is right, so there is no error
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{}, spec.Files.VmPathName+" "+path.Join(name, "disk1.vmdk"))
	disk.CapacityInKB = 10 << 20
	spec.DeviceChange, _ = append(devices, scsi, disk).ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	return spec
}
