package policy

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// specOf spells an action out as vCenter wants it: the home and every disk by
// name, with key and storage policy, in one reconfiguration that is done as a
// whole or not.
func specOf(a *Action, config *types.VirtualMachineConfigInfo, key types.CryptoKeyId) types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{ChangeVersion: config.ChangeVersion}
	if a.Op == VMotionOp {
		spec.MigrateEncryption = a.VMotion
		return spec
	}
	var profile []types.BaseVirtualMachineProfileSpec
	if a.Op == EncryptOp {
		profile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: a.StoragePolicy}}
	}
	if a.Home {
		spec.Crypto, spec.VmProfile = cryptoOf(a.Op, key), profile
	}
	for _, d := range config.Hardware.Device {
		disk, ok := d.(*types.VirtualDisk)
		if !ok {
			continue
		}
		change := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk}
		switch {
		case slices.Contains(a.Disks, disk.Key):
			change.Profile, change.Backing = profile, &types.VirtualDeviceConfigSpecBackingSpec{Crypto: cryptoOf(a.Op, key)}
		case a.Home: // or it would take what is done to the home
			change.Backing = &types.VirtualDeviceConfigSpecBackingSpec{Crypto: new(types.CryptoSpecNoOp)}
		default:
			continue
		}
		spec.DeviceChange = append(spec.DeviceChange, change)
	}
	return spec
}

func cryptoOf(op Op, key types.CryptoKeyId) types.BaseCryptoSpec {
	switch op {
	case EncryptOp:
		return &types.CryptoSpecEncrypt{CryptoKeyId: key}
	case DeepOp:
		return &types.CryptoSpecDeepRecrypt{NewKeyId: key}
	}
	return &types.CryptoSpecShallowRecrypt{NewKeyId: key}
}

// verify looks whether an action was done: at every disk, not at the word of
// the task.
func verify(a *Action, config *types.VirtualMachineConfigInfo, key string) error {
	v := inventory.Configured(config)
	if a.Op == VMotionOp {
		if v.MigrateEncrypted != a.VMotion {
			return fmt.Errorf("its encrypted vMotion is %q afterwards", v.MigrateEncrypted)
		}
		return nil
	}
	if a.Home && v.Key.ID != key {
		return fmt.Errorf("its home has the key %s afterwards, not %s", v.Key, key)
	}
	for _, d := range v.Disks {
		if slices.Contains(a.Disks, d.Device) && d.Key.ID != key {
			return fmt.Errorf("%s has the key %s afterwards, not %s", d.Label, d.Key, key)
		}
	}
	return nil
}
