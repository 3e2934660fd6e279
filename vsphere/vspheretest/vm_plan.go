package vspheretest

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// A verb is what happens to the key of a home or a disk.
type verb string

const (
	nothing  verb = ""
	encrypt  verb = "encrypt"
	decrypt  verb = "decrypt"
	shallow  verb = "shallow recrypt"
	deep     verb = "deep recrypt"
	register verb = "register" // send the key to the host, change nothing
)

// A step is a verb with the key that it is to end with. A want without an id
// stands for a new key.
type step struct {
	verb verb
	want types.CryptoKeyId
}

// stepOf reads a CryptoSpec.
func stepOf(spec types.BaseCryptoSpec) (s step, f *failure) {
	switch c := spec.(type) {
	case nil, *types.CryptoSpecNoOp:
	case *types.CryptoSpecEncrypt:
		s = step{encrypt, c.CryptoKeyId}
	case *types.CryptoSpecDecrypt:
		s = step{verb: decrypt}
	case *types.CryptoSpecShallowRecrypt:
		s = step{shallow, c.NewKeyId}
	case *types.CryptoSpecDeepRecrypt:
		s = step{deep, c.NewKeyId}
	case *types.CryptoSpecRegister:
		s = step{register, c.CryptoKeyId}
	default:
		return s, invalid("spec.crypto")
	}
	return s, nil
}

// A plan is everything that a ConfigSpec does to a machine's keys.
type plan struct {
	home  step
	disks map[int32]step // of disks that are there, by device key
	added []step         // of disks that the spec adds, in its order
	gone  []int32        // disks that the spec removes
}

// planFor reads a ConfigSpec against a machine. policy is asked whether a
// storage policy encrypts; where a spec names a policy and no crypto, the
// policy decides, as the API's documentation of DiskCryptoSpec has it.
func planFor(m *machine, spec *types.VirtualMachineConfigSpec, policy policyFunc) (p plan, f *failure) {
	p.disks = map[int32]step{}
	if p.home, f = stepOf(spec.Crypto); f != nil {
		return p, f
	}
	policed, f := byPolicy(spec.VmProfile, m.home != nil, policy)
	if f != nil {
		return p, f
	}
	if spec.Crypto == nil {
		p.home = policed
	}
	for _, change := range spec.DeviceChange {
		c := change.GetVirtualDeviceConfigSpec()
		d, ok := c.Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		s, f := diskStep(m, c, d, policy)
		if f != nil {
			return p, f
		}
		switch c.Operation {
		case types.VirtualDeviceConfigSpecOperationRemove:
			p.gone = append(p.gone, d.Key)
		case types.VirtualDeviceConfigSpecOperationAdd:
			p.added = append(p.added, s)
		default:
			p.disks[d.Key] = s
		}
	}
	p.inherit(m)
	return p, nil
}

func diskStep(m *machine, c *types.VirtualDeviceConfigSpec, d *types.VirtualDisk, policy policyFunc) (step, *failure) {
	s, f := byPolicy(c.Profile, m.diskKey(d.Key) != nil, policy)
	if f == nil && c.Backing != nil && c.Backing.Crypto != nil {
		return stepOf(c.Backing.Crypto)
	}
	return s, f
}

func (m *machine) diskKey(device int32) *types.CryptoKeyId {
	for _, d := range m.disks {
		if d.device == device {
			return d.key
		}
	}
	return nil
}

// A policyFunc tells whether profiles name a policy, and whether that encrypts.
type policyFunc func([]types.BaseVirtualMachineProfileSpec) (encrypts, named bool, f *failure)

func byPolicy(profiles []types.BaseVirtualMachineProfileSpec, encrypted bool, policy policyFunc) (s step, f *failure) {
	encrypts, named, f := policy(profiles)
	switch {
	case named && encrypts && !encrypted:
		s.verb = encrypt
	case named && !encrypts && encrypted:
		s.verb = decrypt
	}
	return s, f
}

// inherit gives the home's step to the disks that the spec does not mention.
func (p *plan) inherit(m *machine) {
	if p.home.verb == nothing || p.home.verb == register {
		return
	}
	for _, d := range m.disks {
		_, said := p.disks[d.device]
		if said || slices.Contains(p.gone, d.device) {
			continue
		}
		if (p.home.verb == encrypt) == (d.key == nil) {
			p.disks[d.device] = p.home
		}
	}
}

// each replaces every step that does something by what fn makes of it.
func (p *plan) each(fn func(step) step) {
	if p.home.verb != nothing {
		p.home = fn(p.home)
	}
	for _, device := range slices.Sorted(maps.Keys(p.disks)) {
		if s := p.disks[device]; s.verb != nothing {
			p.disks[device] = fn(s)
		}
	}
	for i, s := range p.added {
		if s.verb != nothing {
			p.added[i] = fn(s)
		}
	}
}

func (p *plan) has(verbs ...verb) (found bool) {
	p.each(func(s step) step {
		found = found || slices.Contains(verbs, s.verb)
		return s
	})
	return found
}

func (p *plan) empty() bool { return !p.has(encrypt, decrypt, shallow, deep, register) }

// check holds the plan against vCenter's prerequisites.
func (p *plan) check(m *machine, minimum int) *failure {
	if f := p.checkState(m); f != nil {
		return f
	}
	if p.has(encrypt, decrypt, deep) {
		switch {
		case !m.poweredOff:
			return fail(&types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: types.VirtualMachinePowerStatePoweredOn},
				"The attempted operation cannot be performed in the current state (Powered on)")
		case len(m.snapshots) > 0:
			return fail(&types.InvalidState{}, "The machine has snapshots; delete them first")
		}
	}
	if p.has(shallow) && isTree(m.snapshots) {
		return fail(&types.InvalidState{}, "The machine has a tree of snapshots; only a single chain can be recrypted")
	}
	if p.has(encrypt) && hardware(m.version) < minimum {
		return fail(&types.InvalidState{}, "Hardware version %s is too old to be encrypted; %d is needed", m.version, minimum)
	}
	return p.checkResult(m)
}

// checkState: only what is plain can be encrypted, only what is encrypted
// decrypted or recrypted.
func (p *plan) checkState(m *machine) *failure {
	fits := func(s step, key *types.CryptoKeyId) bool {
		switch s.verb {
		case encrypt:
			return key == nil
		case decrypt, shallow, deep:
			return key != nil
		}
		return true
	}
	if !fits(p.home, m.home) {
		return fail(&types.InvalidState{}, "The operation is not allowed in the current state: %s of the home of %s", p.home.verb, m.name)
	}
	for device, s := range p.disks {
		if !fits(s, m.diskKey(device)) {
			return fail(&types.InvalidState{}, "The operation is not allowed in the current state: %s of disk %d of %s", s.verb, device, m.name)
		}
	}
	return nil
}

// checkResult: an encrypted disk needs an encrypted home.
func (p *plan) checkResult(m *machine) *failure {
	home := after(p.home, m.home != nil)
	for _, d := range m.disks {
		if slices.Contains(p.gone, d.device) {
			continue
		}
		if after(p.disks[d.device], d.key != nil) && !home {
			return fail(&types.InvalidState{}, "Disk %d would be encrypted and the home of %s not", d.device, m.name)
		}
	}
	for _, s := range p.added {
		if s.verb == encrypt && !home {
			return fail(&types.InvalidState{}, "An encrypted disk cannot be added to %s, whose home is not encrypted", m.name)
		}
	}
	return nil
}

func after(s step, encrypted bool) bool {
	switch s.verb {
	case encrypt:
		return true
	case decrypt:
		return false
	}
	return encrypted
}

func isTree(list []types.VirtualMachineSnapshotTree) bool {
	for len(list) > 0 {
		if len(list) > 1 {
			return true
		}
		list = list[0].ChildSnapshotList
	}
	return false
}

// hardware is the number of a version such as vmx-19; 0 if it is none.
func hardware(version string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(version, "vmx-"))
	return n
}

// Values of migrateEncryption.
const (
	migrateOpportunistic = string(types.VirtualMachineConfigSpecEncryptedVMotionModesOpportunistic)
	migrateRequired      = string(types.VirtualMachineConfigSpecEncryptedVMotionModesRequired)
	migrateDisabled      = string(types.VirtualMachineConfigSpecEncryptedVMotionModesDisabled)
)

// migration is the machine's migrateEncryption afterwards: fixed to required
// for what is encrypted, and kept when it no longer is.
func (p *plan) migration(m *machine, asked string) (string, *failure) {
	encrypted := after(p.home, m.home != nil)
	switch asked {
	case "":
		asked = m.migrate
		if asked == "" {
			asked = migrateOpportunistic
		}
	case migrateDisabled, migrateOpportunistic, migrateRequired:
		if encrypted && asked != migrateRequired {
			return "", fail(&types.InvalidArgument{InvalidProperty: "configSpec.migrateEncryption"}, "The encrypted vMotion of an encrypted machine is required, and cannot be %s", asked)
		}
	default:
		return "", invalid("configSpec.migrateEncryption")
	}
	if encrypted {
		asked = migrateRequired
	}
	return asked, nil
}
