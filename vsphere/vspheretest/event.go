package vspheretest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Ids of the events that vCenter has for encryption.
const (
	eventOperation      = "com.vmware.vc.crypto.Operation"
	eventHostKeyUpdated = "com.vmware.vc.crypto.HostKeyUpdatedEvent"
	eventHostEnabled    = "com.vmware.vc.host.Crypto.Enabled"
	eventHostNoKey      = "com.vmware.vc.host.Crypto.HostKey.NewKey.KMSClusterError"
	eventGenerateFail   = "com.vmware.vc.kms.crypto.KeyGenerateFail"
	eventUnreachable    = "com.vmware.vc.kms.crypto.Unreachable"
	eventLockedMissing  = "com.vmware.vc.vm.Crypto.VMLocked.KeyMissingOnKMS"
	eventLockedError    = "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"
	eventUnlocked       = "com.vmware.vc.vm.Crypto.VMUnlocked"
	eventRekeyFail      = "com.vmware.vc.vm.crypto.RekeyFail"
)

// event posts an EventEx about the object; about the whole vCenter, which the
// root folder stands for, if none is given.
func (v *VCenter) event(ctx *simulator.Context, id, text string, about ...types.ManagedObjectReference) {
	object := v.model.ServiceContent.RootFolder
	if len(about) > 0 {
		object = about[0]
	}
	e := &types.EventEx{EventTypeId: id, Message: text, ObjectId: object.Value, ObjectType: object.Type}
	e.FullFormattedMessage = text
	if object.Type == "VirtualMachine" {
		e.Vm = &types.VmEventArgument{Vm: object}
	}
	m := ctx.Map.EventManager()
	ctx.WithLock(m, func() { m.PostEvent(ctx, &types.PostEvent{EventToPost: e}) })
}
