package policy

import (
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// A situation is one change to a world in which a machine can be encrypted at
// once, and what is then to be done, or not, and why. A letter before the
// number says where it was found: V is the reference on vSphere, S that on the
// simulator and the agent.
type situation struct {
	from, name string
	change     func(w *world)
	want       string
}

var situations = []situation{
	// What is wanted.
	{"S4.1", "a plain machine", func(*world) {}, "do encrypt"},
	{"S4.5", "an encrypted one", func(w *world) { w.encrypted(day) }, ""},
	{"V2.2", "home encrypted, disk plain", func(w *world) { w.encrypted(day); w.vm.Disks[0].Key = inventory.Key{} }, "do encrypt"},
	{"V3.11", "a disk was added without policy", func(w *world) {
		w.encrypted(day)
		w.vm.Disks = append(w.vm.Disks, inventory.Disk{Device: 2001, Label: "Hard disk 2", Datastore: "ds"})
	}, "do encrypt"},
	{"V2.2", "disk encrypted, home plain", func(w *world) { w.encrypted(day); w.vm.Key = inventory.Key{} }, "do encrypt"},
	{"V3.11", "a machine outside of all rules", func(w *world) { w.vm.Path = "/DC0/vm/else/a" }, ""},
	{"S4.6.2", "encrypted, and no rule any more: not decrypted", func(w *world) { w.encrypted(day); w.vm.Path = "/DC0/vm/else/a" }, ""},
	{"S4.1", "an earlier rule leaves it", func(w *world) {
		w.replace("    - name: finance", "    - name: never\n      match: {name: a}\n      encrypt: leave\n    - name: finance")
	}, ""},
	{"S4.1", "only the home, as a vTPM has it", func(w *world) {
		w.replace("provider: keyreeve", "provider: keyreeve, disks: none")
		w.encrypted(day)
		w.vm.Disks[0].Key = inventory.Key{}
	}, ""},
	{"S4.1", "only one disk of two", func(w *world) {
		w.replace("provider: keyreeve", "provider: keyreeve, disks: [Hard disk 1]")
		w.encrypted(day)
		w.vm.Disks = append(w.vm.Disks, inventory.Disk{Device: 2001, Label: "Hard disk 2"})
	}, ""},
	{"S4.1", "a disk that the rule names is not there", func(w *world) { w.replace("provider: keyreeve", "provider: keyreeve, disks: [Hard disk 7]") }, "blocked encrypt: no-such-disk"},
	{"V3.15", "a vTPM, and a rule for its disks", func(w *world) { w.encrypted(day); w.vm.VTPM = true; w.vm.Disks[0].Key = inventory.Key{} }, "do encrypt"},
	{"V3.15", "a vTPM, and no rule for its disks", func(w *world) {
		w.encrypted(day)
		w.vm.VTPM, w.vm.Path, w.vm.Disks[0].Key = true, "/DC0/vm/else/a", inventory.Key{}
	}, "alarm home-only"},
	{"V3.14", "restored in clear", func(w *world) { w.vm.StoragePolicy = encryptionID }, "do encrypt"},
	{"V2.3", "encrypted without the storage policy", func(w *world) { w.encrypted(day); w.vm.StoragePolicy = "" }, "alarm storage-policy-differs"},
	{"V2.3", "encrypted under a policy that does not", func(w *world) { w.encrypted(day); w.vm.StoragePolicy = "plain" }, "alarm storage-policy-differs"},

	// What of the machine is in the way of a first encryption.
	{"S4.4", "protected by folder", func(w *world) { w.add("  protect: [{folder: /DC0/vm/finance}]\n") }, "blocked encrypt: protected"},
	{"S4.4", "protected by tag", func(w *world) { w.add("  protect: [{tag: 'k:no'}]\n"); w.vm.Tags = []string{"k:no"} }, "blocked encrypt: protected"},
	{"S4.1", "protected by UUID", func(w *world) { w.add("  protect: [{uuid: 42-VM-1}]\n") }, "blocked encrypt: protected"},
	{"S4.1", "protected by address", func(w *world) {
		w.add("  protect: [{address: 10.1.0.0/16}]\n")
		w.vm.Addresses = []string{"fe80::1%eth0", "10.1.2.3"}
	}, "blocked encrypt: protected"},
	{"S4.4", "a template", func(w *world) { w.vm.Template = true }, "blocked encrypt: template"},
	{"S4.4", "disconnected", func(w *world) { w.vm.Connection = "disconnected" }, "waiting encrypt: disconnected"},
	{"S4.4", "inaccessible", func(w *world) { w.vm.Connection, w.vm.Readable = "inaccessible", false }, "blocked encrypt: inaccessible"},
	{"S4.4", "orphaned", func(w *world) { w.vm.Connection = "orphaned" }, "blocked encrypt: inaccessible"},
	{"S4.3", "no configuration", func(w *world) { w.vm.Readable = false }, "blocked encrypt: unreadable"},
	{"V2.7", "locked", func(w *world) { w.vm.Readable, w.vm.Locked = false, true }, "alarm machine-locked; blocked encrypt: locked"},
	{"S4.4", "a task runs", func(w *world) { w.vm.Busy = "VirtualMachine.clone" }, "waiting encrypt: busy"},
	{"S4.4", "powered on", func(w *world) { w.vm.Power = "poweredOn" }, "waiting encrypt: powered-on"},
	{"V2.4", "powered on, on a host that can", func(w *world) { w.vm.Power = "poweredOn"; w.s.Hosts[0].HotEncryption = true }, "do encrypt"},
	{"S4.4", "suspended", func(w *world) { w.vm.Power = "suspended" }, "waiting encrypt: suspended"},
	{"V2.4", "a snapshot", func(w *world) { w.vm.Snapshots = 1; w.vm.Disks[0].Layers = 1 }, "waiting encrypt: snapshots"},
	{"V2.4", "a snapshot, on a host that can", func(w *world) { w.vm.Snapshots = 1; w.s.Hosts[0].WithSnapshots = true }, "do encrypt"},
	{"V2.4", "old hardware", func(w *world) { w.vm.Hardware = 12 }, "blocked encrypt: hardware"},
	{"V2.4", "the oldest hardware that is enough", func(w *world) { w.vm.Hardware = 13 }, "do encrypt"},
	{"S1.2", "old hardware, and the file says that it is enough", func(w *world) { w.vm.Hardware = 10; w.add("  minimumHardware: 10\n") }, "do encrypt"},
	{"S4.4", "a linked clone", func(w *world) { w.vm.Disks[0].Layers = 1 }, "blocked encrypt: linked-clone"},
	{"S4.4", "a raw disk", func(w *world) { w.vm.Disks[0].RDM = true }, "blocked encrypt: rdm"},
	{"S4.4", "a raw disk that is left out", func(w *world) {
		w.replace("provider: keyreeve", "provider: keyreeve, disks: [Hard disk 1]")
		w.vm.Disks = append(w.vm.Disks, inventory.Disk{Device: 2001, Label: "Hard disk 2", RDM: true})
	}, "do encrypt"},
	{"S4.4", "a disk that machines share", func(w *world) { w.vm.Disks[0].MultiWriter = true }, "blocked encrypt: multi-writer"},
	{"S4.4", "Fault Tolerance", func(w *world) { w.vm.FT = true }, "blocked encrypt: ft"},
	{"S4.4", "the host cannot", func(w *world) { w.s.Hosts[0].Incapable = true }, "blocked encrypt: host-incapable"},
	{"V2.2", "the host's mode is being turned off", func(w *world) { w.s.Hosts[0].Crypto = "pendingIncapable" }, "waiting encrypt: host-pending"},
	{"S4.4", "the host is away", func(w *world) { w.s.Hosts[0].Connection = "notResponding" }, "waiting encrypt: host-away"},
	{"S4.3", "the host may not be seen", func(w *world) { w.s.Hosts = nil }, "waiting encrypt: host-away"},
	{"V2.4", "no space for a second copy", func(w *world) { w.s.Datastores[0].Free = 10<<30 - 1 }, "blocked encrypt: space"},
	{"V2.4", "space just enough", func(w *world) { w.s.Datastores[0].Free = 10 << 30 }, "do encrypt"},
	{"S4.4", "a thin disk needs what is written", func(w *world) { w.s.Datastores[0].Free = 2 << 30; w.vm.Size = 1 << 30 }, "do encrypt"},
	{"S4.4", "the datastore is away", func(w *world) { w.s.Datastores[0].Accessible = false }, "blocked encrypt: space-unknown"},
	{"S4.4", "all that is in the way is told at once", func(w *world) { w.vm.Power, w.vm.Snapshots, w.vm.Hardware = "poweredOn", 2, 8 }, "blocked encrypt: powered-on, snapshots, hardware"},

	// Shutting down for it.
	{"S4.4", "shut down, inside a window", func(w *world) {
		w.add("  onPoweredOn: shutdown\n  windows: [thu 11:00-13:00]\n")
		w.vm.Power = "poweredOn"
	}, "do encrypt, shut down for it"},
	{"S4.4", "shut down, outside", func(w *world) {
		w.add("  onPoweredOn: shutdown\n  windows: [fri 11:00-13:00]\n")
		w.vm.Power = "poweredOn"
	}, "waiting encrypt: window"},
	{"S4.4", "not shut down for nothing", func(w *world) {
		w.add("  onPoweredOn: shutdown\n  windows: [daily 11:00-13:00]\n")
		w.vm.Power, w.vm.Snapshots = "poweredOn", 1
	}, "waiting encrypt: powered-on, snapshots"},

	// Rekey.
	{"V3.10", "a key that is too old", func(w *world) { w.encrypted(366 * day) }, "do rekey"},
	{"V2.4", "too old, and it runs", func(w *world) { w.encrypted(366 * day); w.vm.Power = "poweredOn" }, "do rekey"},
	{"V2.4", "too old, a chain of snapshots", func(w *world) { w.encrypted(366 * day); w.vm.Snapshots = 3; w.vm.Disks[0].Layers = 3 }, "do rekey"},
	{"V2.4", "too old, a tree of snapshots", func(w *world) { w.encrypted(366 * day); w.vm.Snapshots, w.vm.SnapshotTree = 3, true }, "waiting rekey: snapshot-tree"},
	{"V2.4", "too old, a linked clone", func(w *world) { w.encrypted(366 * day); w.vm.Disks[0].Layers = 1 }, "blocked rekey: linked-clone"},
	{"V2.4", "too old, on IDE, and it runs", func(w *world) { w.encrypted(366 * day); w.vm.Power, w.vm.Disks[0].IDE = "poweredOn", true }, "waiting rekey: ide"},
	{"V2.4", "too old, on IDE, and it is off", func(w *world) { w.encrypted(366 * day); w.vm.Disks[0].IDE = true }, "do rekey"},
	{"V2.4", "old hardware is no reason", func(w *world) { w.encrypted(366 * day); w.vm.Hardware = 8 }, "do rekey"},
	{"S4.1", "deep, and it runs", func(w *world) {
		w.replace("365d", "365d, mode: deep")
		w.encrypted(366 * day)
		w.vm.Power = "poweredOn"
	}, "waiting rekey-deep: powered-on"},
	{"S4.1", "deep, without space", func(w *world) {
		w.replace("365d", "365d, mode: deep")
		w.encrypted(366 * day)
		w.s.Datastores[0].Free = 0
	}, "blocked rekey-deep: space"},
	{"S4.3", "only a disk's key is too old", func(w *world) { w.encrypted(day); w.vm.Disks[0].Key = w.key("k2", "Active", 366*day) }, "do rekey"},
	{"V2.8", "the key was deactivated", func(w *world) { w.encrypted(day); w.key("k1", "Deactivated", day) }, "do rekey"},
	{"V2.8", "the key is compromised", func(w *world) { w.encrypted(day); w.key("k1", "Compromised", day) }, "do rekey"},
	{"V2.8", "compromised, and no rule exchanges it", func(w *world) {
		w.encrypted(day)
		w.key("k1", "Compromised", day)
		w.vm.Path = "/DC0/vm/else/a"
	}, "alarm key-compromised"},
	{"V3.5", "the key server does not have the key", func(w *world) { w.encrypted(day); delete(w.f.Keys, "k1") }, "alarm key-missing"},
	{"V2.7", "missing, and asked to exchange it", func(w *world) { w.encrypted(day); delete(w.f.Keys, "k1"); w.f.Demand = []string{"vm-1"} }, "alarm key-missing; blocked rekey: key-missing"},
	{"V3.5", "a disk was added, and the home's key is missing", func(w *world) {
		w.encrypted(day)
		w.vm.Disks = append(w.vm.Disks, inventory.Disk{Device: 2001, Label: "Hard disk 2", Datastore: "ds"})
		delete(w.f.Keys, "k1")
	}, "alarm key-missing; blocked encrypt: key-missing"},
	{"V2.4", "what a disk is built on has an old key, which no recrypt exchanges", func(w *world) {
		w.encrypted(day)
		w.vm.Snapshots, w.vm.Disks[0].Layers, w.vm.Disks[0].Chain = 1, 1, []inventory.Key{w.key("k0", "Active", 400*day)}
	}, ""},
	{"V2.7", "what a disk is built on has a key that is missing", func(w *world) {
		w.encrypted(366 * day)
		w.vm.Snapshots, w.vm.Disks[0].Layers, w.vm.Disks[0].Chain = 1, 1, []inventory.Key{{ID: "k0", Provider: "keyreeve"}}
	}, "alarm key-missing; blocked rekey: key-missing"},
	{"V2.8", "what a disk is built on has a compromised key", func(w *world) {
		w.encrypted(day)
		w.vm.Snapshots, w.vm.Disks[0].Layers, w.vm.Disks[0].Chain = 1, 1, []inventory.Key{w.key("k0", "Compromised", day)}
	}, "alarm key-compromised"},
	{"V3.6", "the key is destroyed", func(w *world) { w.encrypted(day); w.key("k1", "Destroyed", day) }, "alarm key-destroyed"},
	{"V3.6", "a snapshot needs a destroyed key", func(w *world) {
		w.encrypted(day)
		w.vm.SnapshotKeys = []inventory.Key{w.key("k0", "Destroyed", 400*day)}
	}, "alarm key-destroyed"},
	{"V3.5", "the host's key is missing", func(w *world) { w.s.Hosts[0].Key = inventory.Key{ID: "kh", Provider: "keyreeve"} }, "alarm host-key-missing; do encrypt"},
	{"S4.3", "the key server was not asked", func(w *world) { w.encrypted(366 * day); w.f.Keys = nil }, "waiting rekey: age-unknown"},
	{"V3.10", "a key of another provider", func(w *world) {
		w.encrypted(day)
		w.vm.Key.Provider, w.vm.Disks[0].Key.Provider = "old-kms", "old-kms"
	}, "do rekey"},
	{"V3.10", "of another provider, and no rule moves it", func(w *world) {
		w.replace("      rekey: {maxAge: 365d}\n", "")
		w.encrypted(day)
		w.vm.Key.Provider, w.vm.Disks[0].Key.Provider = "old-kms", "old-kms"
	}, "blocked rekey: other-provider"},
	{"V2.8", "a native provider's key is not missing", func(w *world) {
		w.vm.Path = "/DC0/vm/else/a"
		w.encrypted(day)
		w.vm.Key = inventory.Key{ID: "n", Provider: "nkp"}
	}, ""},
	{"S4.2", "on demand", func(w *world) { w.encrypted(day); w.f.Demand = []string{"vm-1"} }, "do rekey"},
	{"S4.2", "deep, on demand", func(w *world) { w.encrypted(day); w.f.Demand, w.f.DemandDeep = []string{"vm-1"}, true }, "do rekey-deep"},
	{"S4.6.1", "protected by its address, and off", func(w *world) { w.add("  protect: [{address: 10.0.0.7}]\n") }, "blocked encrypt: match-unknown"},
	{"S4.6.1", "protected by its address, or its name", func(w *world) { w.add("  protect: [{name: a}, {address: 10.0.0.7}]\n") }, "blocked encrypt: protected, match-unknown"},
	{"S4.6.1", "another is protected by address and name", func(w *world) { w.add("  protect: [{address: 10.0.0.7, name: b}]\n") }, "do encrypt"},
	{"S4.6.1", "protected by an address that it has not", func(w *world) {
		w.vm.Addresses = []string{"10.0.0.8"}
		w.add("  protect: [{address: 10.0.0.7}]\n")
	}, "do encrypt"},
	{"S4.6.1", "left out by its address, and off", func(w *world) {
		w.replace("{folder: /DC0/vm/finance/**}", "{folder: /DC0/vm/finance/**, not: {address: 10.0.0.0/24}}")
	}, "blocked encrypt: match-unknown"},
	{"S4.6.1", "its pool may not be seen", func(w *world) { w.add("  protect: [{pool: /DC0/host/C0/Resources/gold}]\n") }, "blocked encrypt: match-unknown"},
	{"S4.6.1", "a rule about vMotion goes by addresses", func(w *world) { w.replace("{folder: /DC0/vm/plain/**}", "{address: 10.0.0.7}") }, "do encrypt"},
	{"S4.4", "on demand, and protected", func(w *world) {
		w.encrypted(day)
		w.f.Demand = []string{"vm-1"}
		w.add("  protect: [{name: a}]\n")
	}, "blocked rekey: protected"},
	{"S4.2", "on demand, and it is plain", func(w *world) { w.vm.Path = "/DC0/vm/else/a"; w.f.Demand = []string{"vm-1"} }, ""},

	// Encrypted vMotion.
	{"V2.2", "not set, on a plain machine", func(w *world) { w.plain() }, "do vmotion required"},
	{"V2.2", "already so", func(w *world) { w.plain(); w.vm.MigrateEncrypted = Required }, ""},
	{"V2.2", "nothing is as good as opportunistic", func(w *world) { w.plain(); w.replace("vMotion: required", "vMotion: opportunistic") }, ""},
	{"V2.2", "decrypted, and still required", func(w *world) {
		w.plain()
		w.vm.MigrateEncrypted = Required
		w.replace("vMotion: required", "vMotion: disabled")
	}, "do vmotion disabled"},
	{"V2.2", "of an encrypted machine", func(w *world) { w.encrypted(day); w.plain(); w.replace("vMotion: required", "vMotion: disabled") }, "blocked vmotion: vmotion-fixed"},
	{"V2.2", "of an encrypted machine, required", func(w *world) { w.encrypted(day); w.plain() }, ""},
	{"S4.1", "one rule encrypts, another forbids it", func(w *world) {
		w.replace("/DC0/vm/plain/**", "/DC0/vm/finance/**")
		w.replace("vMotion: required", "vMotion: disabled")
	}, "blocked encrypt: vmotion-fixed"},
	{"V2.2", "while it runs", func(w *world) { w.plain(); w.vm.Power = "poweredOn" }, "do vmotion required"},
	{"S4.4", "while a task runs", func(w *world) { w.plain(); w.vm.Busy = "x" }, "waiting vmotion: busy"},
	{"V2.2", "needs no key server, nor a backup", func(w *world) {
		w.plain()
		w.s.Providers, w.f.Backup, w.f.Probe, w.f.Server = nil, Backup{}, "no", nil
	}, "do vmotion required"},
	{"S4.4", "of a template", func(w *world) { w.plain(); w.vm.Template = true }, "blocked vmotion: template"},

	// Machines that keys depend on.
	{"S4.6.1", "the key server's own, by address", func(w *world) { w.vm.Addresses = []string{"192.168.0.9", "10.0.0.5"} }, "blocked encrypt: key-path"},
	{"S4.6.1", "by an IPv4 address inside IPv6", func(w *world) { w.vm.Addresses = []string{"::ffff:10.0.0.5"} }, "blocked encrypt: key-path"},
	{"S4.6.1", "by BIOS UUID, in capitals", func(w *world) { w.f.Server[0].BIOS = "42-VM-1" }, "blocked encrypt: key-path"},
	{"V2.4", "vCenter's own, by address", func(w *world) { w.vm.Addresses = []string{"10.0.0.6"} }, "blocked encrypt: key-path"},
	{"S4.6.1", "a vCenter appliance", func(w *world) { w.vm.Product = "VMware vCenter Server Appliance" }, "blocked encrypt: key-path"},
	{"S4.6.1", "another server of the provider", func(w *world) {
		w.vm.Addresses = []string{"10.0.0.7"}
		w.s.Providers[0].Servers = []string{"kms.example.com:5696", "10.0.0.5:5696", "10.0.0.7:5696", "10.9.9.9:5696"}
	}, "blocked encrypt: key-path"},
	{"S4.6.1", "another server of the provider, by IPv6", func(w *world) {
		w.vm.Addresses = []string{"2001:db8::7"}
		w.s.Providers[0].Servers = []string{"[2001:db8::7]:5696"}
	}, "blocked encrypt: key-path"},
	{"S4.6.1", "named in the file", func(w *world) { w.add("  keyPath: {server: [/DC0/vm/finance/a]}\n") }, "blocked encrypt: key-path"},
	{"S4.6.1", "said to be outside, and found all the same", func(w *world) { w.add("  keyPath: {server: outside}\n"); w.vm.Addresses = []string{"10.0.0.5"} }, "blocked encrypt: key-path"},
	{"S4.6.1", "a key server that is not found", func(w *world) { w.f.Server[0].Addresses = []string{"10.9.9.9"} }, "blocked encrypt: key-path-unknown"},
	{"S4.6.1", "one of two is not found", func(w *world) {
		w.f.Server = append(w.f.Server, Machine{Name: "kms-2", Addresses: []string{"10.9.9.9"}})
	}, "blocked encrypt: key-path-unknown"},
	{"S4.6.1", "not found, and said to be outside", func(w *world) {
		w.f.Server[0].Addresses = []string{"10.9.9.9"}
		w.add("  keyPath: {server: outside}\n")
	}, "do encrypt"},
	{"S4.6.1", "nothing is known of vCenter's machine", func(w *world) { w.f.VCenter = nil }, "blocked encrypt: key-path-unknown"},
	{"S4.6.1", "the file names a machine that is not there", func(w *world) { w.add("  keyPath: {vcenter: [10.8.8.8]}\n") }, "blocked encrypt: key-path-unknown"},
	{"S4.6.1", "loopback finds nothing", func(w *world) {
		w.f.Server[0].Addresses, w.vm.Addresses = []string{"127.0.0.1"}, []string{"127.0.0.1"}
	}, "blocked encrypt: key-path-unknown"},
	{"V3.4", "the key server is encrypted already", func(w *world) {
		k := w.key("k8", "Active", day)
		w.s.VMs[1].Key, w.s.VMs[1].StoragePolicy = k, encryptionID
		w.encrypted(day)
	}, "alarm key-path-encrypted"},
	{"S4.6.1", "its key is not exchanged either", func(w *world) { w.encrypted(366 * day); w.vm.Addresses = []string{"10.0.0.5"} }, "alarm key-path-encrypted; blocked rekey: key-path"},

	// What else is in the way.
	{"V3.3", "no backup was verified", func(w *world) { w.f.Backup = Backup{} }, "blocked encrypt: no-backup"},
	{"V3.3", "its file is gone", func(w *world) { w.f.Backup.Problem = "no backup file is there" }, "blocked encrypt: no-backup"},
	{"V3.3", "no backup, and the file waives it", func(w *world) { w.f.Backup = Backup{}; w.add("  backup: waived\n") }, "do encrypt"},
	{"V3.3", "no backup, for a new key of an old machine", func(w *world) { w.encrypted(366 * day); w.f.Backup = Backup{} }, "blocked rekey: no-backup"},
	{"S4.4", "the provider is red", func(w *world) { w.s.Providers[0].Status = "red" }, "waiting encrypt: provider-not-green"},
	{"S4.4", "the provider is yellow", func(w *world) { w.s.Providers[0].Status = "yellow" }, "waiting encrypt: provider-not-green"},
	{"V3.9", "the provider is not there", func(w *world) { w.s.Providers[0].Name = "renamed" }, "blocked encrypt: no-provider"},
	{"V2.1", "a native provider", func(w *world) { w.s.Providers[0].Kind = "nativeProvider" }, "blocked encrypt: provider-foreign"},
	{"V2.1", "a Trusted Key Provider", func(w *world) { w.s.Providers[0].Kind = "trustAuthority" }, "blocked encrypt: provider-foreign"},
	{"V2.1", "a provider of another key server", func(w *world) { w.f.Providers = nil }, "blocked encrypt: provider-foreign"},
	{"V3.8", "green, and no key can be read", func(w *world) { w.f.Probe = "Get: General Failure" }, "blocked encrypt: probe-failed"},
	{"V3.8", "the key server is not ready", func(w *world) { w.f.Ready = "the store is damaged" }, "blocked encrypt: server-not-ready"},
	{"V2.1", "the providers could not be read", func(w *world) { w.s.Unread[inventory.Providers] = "NoPermission" }, "blocked encrypt: unread"},
	{"V2.3", "the storage policy is not there", func(w *world) { w.replace("provider: keyreeve", "provider: keyreeve, storagePolicy: Gold") }, "blocked encrypt: no-storage-policy"},
	{"V2.3", "the storage policy does not encrypt", func(w *world) {
		w.replace("provider: keyreeve", "provider: keyreeve, storagePolicy: Datastore Default")
	}, "blocked encrypt: storage-policy-plain"},
	{"V2.3", "a clone of the bundled one", func(w *world) {
		w.replace("provider: keyreeve", "provider: keyreeve, storagePolicy: Gold")
		w.s.Policies = append(w.s.Policies, inventory.Policy{ID: "g", Name: "Gold", Encrypts: true})
	}, "do encrypt"},
	{"V2.5", "a privilege is missing", func(w *world) { w.f.Missing = map[Op][]string{EncryptOp: {"Cryptographer.Encrypt"}} }, "blocked encrypt: no-privilege"},
	{"V2.5", "one that this needs not", func(w *world) { w.f.Missing = map[Op][]string{DeepOp: {"Cryptographer.Recrypt"}} }, "do encrypt"},
	{"S4.3", "tags unread, and a rule judges by them", func(w *world) {
		w.s.Unread[inventory.Tags] = "no session"
		w.add("  protect: [{tag: 'k:no'}]\n")
	}, "blocked encrypt: unread"},
	{"S4.3", "tags unread, and none does", func(w *world) { w.s.Unread[inventory.Tags] = "no session" }, "do encrypt"},
	{"S4.3", "a folder that may not be seen", func(w *world) { w.s.Unread[inventory.Folders] = "x" }, "blocked encrypt: unread"},
	{"S4.3", "storage policies unread", func(w *world) { w.s.Unread[inventory.Policies] = "x" }, "blocked encrypt: unread"},
	{"S4.3", "storage policies unread, and none is set", func(w *world) { w.encrypted(400 * day); w.s.Unread[inventory.Policies] = "x" }, "do rekey"},
	{"S4.3", "tasks unread", func(w *world) { w.s.Unread[inventory.Tasks] = "x" }, "blocked encrypt: unread"},
	{"S4.5", "another agent acts", func(w *world) { w.f.Another = "agent-2" }, "blocked encrypt: another-agent"},
	{"S4.6", "paused", func(w *world) { w.f.Paused = "audit" }, "blocked encrypt: paused"},
	{"S4.6", "paused, vMotion too", func(w *world) { w.plain(); w.f.Paused = "audit" }, "blocked vmotion: paused"},
	{"S4.4", "outside of the window", func(w *world) { w.add("  windows: ['thu 22:00-04:00']\n") }, "waiting encrypt: window"},
	{"S4.4", "in a window that began yesterday", func(w *world) { w.add("  windows: ['wed 22:00-13:00']\n") }, "do encrypt"},
	{"S4.4", "in the window, by the zone's clock", func(w *world) { w.add("  windows: ['thu 21:00-22:00']\n  timezone: Asia/Tokyo\n") }, "do encrypt"},
	{"S4.6.4", "more than a run may", func(w *world) { w.more(3); w.f.Proven = 1; w.add("  limits: {changes: 2}\n") }, "do encrypt; waiting encrypt: limit"},
	{"S4.6.4", "more, and a person allows it", func(w *world) { w.more(3); w.f.Proven, w.f.Changes = 1, 100; w.add("  limits: {changes: 2}\n") }, "do encrypt"},
	{"S4.6.1", "the key server's machine, by the BIOS UUID that its guest reads", func(w *world) {
		w.vm.BIOS = "4226f566-3ed5-1c8f-cda3-b0b037b6dc97"
		w.f.Server = []Machine{{Name: "kms-1", BIOS: "66f52642-d53e-8f1c-cda3-b0b037b6dc97"}}
	}, "blocked encrypt: key-path"},
	{"S4.6.4", "as many as a run may were changed already", func(w *world) { w.f.Changed = 2; w.add("  limits: {changes: 2}\n") }, "waiting encrypt: limit"},
	{"S4.5", "it failed in this run", func(w *world) { w.f.Failed = map[string]string{"vm-1": "the host went away"} }, "waiting encrypt: failed"},
	{"S4.6.4", "the canary comes first", func(w *world) { w.more(3) }, "do encrypt; waiting encrypt: canary"},
	{"S4.6.4", "the canary is verified", func(w *world) { w.more(3); w.f.Proven = 1 }, "do encrypt"},
	{"S4.6.4", "no canary is wanted", func(w *world) { w.more(3); w.add("  limits: {canary: 0}\n") }, "do encrypt"},
	{"S4.6.5", "the selection grew", func(w *world) { w.more(3); w.f.Proven = 1; w.f.Last = &Selection{Refs: []string{"vm-1"}} }, "blocked encrypt: selection-jumped"},
	{"S4.6.5", "it shrank", func(w *world) { w.f.Last = &Selection{Refs: []string{"vm-1", "vm-2", "vm-3", "vm-4"}} }, "blocked encrypt: selection-jumped"},
	{"S4.6.5", "as many came as went", func(w *world) { w.f.Last = &Selection{Refs: []string{"vm-5", "vm-6", "vm-7"}} }, "blocked encrypt: selection-jumped"},
	{"S4.6.5", "it grew by one", func(w *world) { w.f.Last = &Selection{} }, "do encrypt"},
	{"S4.6.5", "it grew, and a person confirmed that", func(w *world) {
		w.more(3)
		w.f.Proven, w.f.Last = 1, &Selection{Refs: []string{"vm-1"}}
		s := Selection{Refs: []string{"vm-1", "vm-20", "vm-21", "vm-22"}}
		s.close()
		w.f.Confirmed = s.Digest
	}, "do encrypt"},
	{"S4.6.5", "it grew, and a person confirmed another", func(w *world) {
		w.more(3)
		w.f.Last, w.f.Confirmed = &Selection{Refs: []string{"vm-1"}}, "deadbeef"
	}, "blocked encrypt: selection-jumped"},
	{"S4.3", "nothing is known", func(w *world) { w.f = Facts{Now: now} }, "blocked encrypt: key-path-unknown, key-path-unknown, no-backup, provider-foreign"},
	{"S4.3", "an old plan's moment", func(w *world) { w.encrypted(365*day - time.Second) }, ""},
}

// more adds plain machines.
func (w *world) more(n int) {
	for i := range n {
		w.s.VMs = append(w.s.VMs, machine("vm-2"+string(rune('0'+i)), "/DC0/vm/finance/b"+string(rune('0'+i))))
	}
	w.vm = &w.s.VMs[0]
}

func TestSituations(t *testing.T) {
	for _, tc := range situations {
		w := newWorld()
		tc.change(w)
		if p := w.plan(t); outcome(&p) != tc.want {
			t.Errorf("%s %s:\n got %q\nwant %q", tc.from, tc.name, outcome(&p), tc.want)
		}
	}
	if len(situations) < 80 {
		t.Errorf("only %d situations", len(situations))
	}
}

// Every reason that there is must be given in some situation.
func TestEveryReasonIsGiven(t *testing.T) {
	given := map[Reason]bool{}
	for _, tc := range situations {
		w := newWorld()
		tc.change(w)
		p := w.plan(t)
		for _, h := range p.Held {
			for _, b := range h.Because {
				given[b.Reason] = true
			}
		}
		for _, a := range p.Alarms {
			given[a.Reason] = true
		}
	}
	for r, about := range reasons {
		if !given[r] {
			t.Errorf("no situation gives %s", r)
		}
		if about.todo == "" {
			t.Errorf("nobody is told what to do about %s", r)
		}
	}
	for r := range given {
		if _, ok := reasons[r]; !ok {
			t.Errorf("%s is given and has no row", r)
		}
	}
}
