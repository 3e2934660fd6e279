package inventory

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Snapshot is what a vCenter was like when it was read. Its zero value is an
// empty vCenter. It is plain data: whoever has one may read it from many
// goroutines, and nobody changes it.
type Snapshot struct {
	VCenter string    `json:"vcenter"` // its instance UUID
	Version string    `json:"version"` // and build
	Time    time.Time `json:"time"`    // when the look began

	// Partial says why not every use of a key was seen; empty: the snapshot is
	// complete. Unread says what else could not be read, and why.
	Partial []string         `json:"partial,omitempty"`
	Unread  map[Facts]string `json:"unread,omitempty"`

	VMs        []VM        `json:"vms"`   // by path
	Hosts      []Host      `json:"hosts"` // by name
	Datastores []Datastore `json:"datastores"`
	Providers  []Provider  `json:"providers"`
	Policies   []Policy    `json:"policies"` // storage policies that encrypt, and others that something has
	// KeyStatus is why vCenter cannot use a key, for those that it was asked
	// about; an empty reason means that it can.
	KeyStatus map[Key]string `json:"-"`

	tree   *tree
	unseen []string // what could not be read beside machines and hosts
}

// Facts are some of the properties that policies judge by.
type Facts string

// What may be left unread.
const (
	Tags       Facts = "tags"
	Attributes Facts = "custom attributes"
	Folders    Facts = "folders"
	Policies   Facts = "storage policies"
	Tasks      Facts = "tasks"
	Providers  Facts = "key providers"
	KeyStates  Facts = "key status"
)

// A Key is one as vCenter names it. The zero value stands for none.
type Key struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
}

// String returns provider and id.
func (k Key) String() string {
	if k == (Key{}) {
		return "none"
	}
	return k.Provider + "/" + k.ID
}

// A VM is a virtual machine or a template. Ref is its managed object id. When
// it is not Readable, all that comes from its configuration is empty and means
// nothing, but for what vCenter remembers by itself: UUIDs and File.
type VM struct {
	Ref  string `json:"ref"`
	Name string `json:"name"`
	Path string `json:"path"` // as /datacenter/vm/folder/name; empty: not known
	File string `json:"file"` // of its configuration, as [datastore] folder/name.vmx

	Readable   bool     `json:"readable"`
	Locked     bool     `json:"locked,omitempty"`
	Connection string   `json:"connection"` // connected, disconnected, inaccessible, invalid, orphaned
	Power      string   `json:"power"`      // poweredOn, poweredOff, suspended
	BIOS       string   `json:"bios_uuid,omitempty"`
	Instance   string   `json:"instance_uuid,omitempty"`
	Addresses  []string `json:"addresses,omitempty"` // that the guest told, if its tools run
	Product    string   `json:"product,omitempty"`   // of an appliance

	Template         bool              `json:"template,omitempty"`
	Hardware         int               `json:"hardware"` // 19 for vmx-19; 0: not known
	ChangeVersion    string            `json:"change_version,omitempty"`
	Key              Key               `json:"key"` // of the home
	StoragePolicy    string            `json:"storage_policy,omitempty"`
	MigrateEncrypted string            `json:"migrate_encryption,omitempty"` // disabled, opportunistic, required
	VTPM             bool              `json:"vtpm,omitempty"`
	FT               bool              `json:"ft,omitempty"`
	Snapshots        int               `json:"snapshots,omitempty"`
	SnapshotTree     bool              `json:"snapshot_tree,omitempty"` // not one single chain
	SnapshotKeys     []Key             `json:"snapshot_keys,omitempty"`
	Busy             string            `json:"busy,omitempty"` // what a task that is not done does to it
	Size             int64             `json:"size"`           // bytes on its datastores
	Disks            []Disk            `json:"disks,omitempty"`
	Host             string            `json:"host,omitempty"`    // Ref of it
	Cluster          string            `json:"cluster,omitempty"` // name
	Pool             string            `json:"pool,omitempty"`    // path of the resource pool
	Datastore        string            `json:"datastore,omitempty"`
	Tags             []string          `json:"tags,omitempty"` // as category:name
	Attributes       map[string]string `json:"attributes,omitempty"`

	snapshotRefs []string
}

// A Disk is one of a machine's. Chain are the keys of what it is built on.
type Disk struct {
	Device        int32  `json:"device"` // its device key
	Label         string `json:"label"`
	Key           Key    `json:"key"`
	Chain         []Key  `json:"chain,omitempty"`
	Datastore     string `json:"datastore,omitempty"`
	StoragePolicy string `json:"storage_policy,omitempty"`
	Size          int64  `json:"size"`             // bytes
	Layers        int    `json:"layers,omitempty"` // that it is built on; a snapshot adds one
	RDM           bool   `json:"rdm,omitempty"`
	MultiWriter   bool   `json:"multi_writer,omitempty"`
	IDE           bool   `json:"ide,omitempty"`
}

// A Host is an ESXi host.
type Host struct {
	Ref        string `json:"ref"`
	Name       string `json:"name"`
	UUID       string `json:"uuid"` // of its hardware
	Cluster    string `json:"cluster,omitempty"`
	Connection string `json:"connection"`
	Crypto     string `json:"crypto,omitempty"` // incapable, prepared, safe, pendingIncapable
	Key        Key    `json:"key"`
	Incapable  bool   `json:"incapable,omitempty"` // it says that it cannot encrypt
	// HotEncryption and WithSnapshots are what newer hosts can do beyond the rules.
	HotEncryption bool `json:"hot_encryption,omitempty"`
	WithSnapshots bool `json:"with_snapshots,omitempty"`
}

// A Datastore has Free bytes left.
type Datastore struct {
	Ref        string `json:"ref"`
	Name       string `json:"name"`
	Free       int64  `json:"free"`
	Accessible bool   `json:"accessible"`
}

// A Provider is a key provider.
type Provider struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // vCenter, nativeProvider, trustAuthority; empty: not known
	Default bool      `json:"default,omitempty"`
	Status  string    `json:"status"`            // green, yellow, red, gray
	Problem string    `json:"problem,omitempty"` // of the first server that is not green
	Expires time.Time `json:"expires,omitzero"`  // of the certificate by which vCenter is known to the servers
	Servers []string  `json:"servers"`           // host:port
}

// A Policy is a storage policy.
type Policy struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Encrypts bool   `json:"encrypts"`
}

// maxReasons is how many reasons are spelled out; the server takes 64.
const maxReasons = 60

// judge says what of the snapshot is missing.
func (s *Snapshot) judge() {
	s.Partial = slices.Clone(s.unseen)
	for i := range s.VMs {
		if why := s.VMs[i].unseen(); why != "" {
			s.Partial = append(s.Partial, why)
		}
	}
	for _, h := range s.Hosts {
		if h.Connection != "connected" {
			s.Partial = append(s.Partial, fmt.Sprintf("the host %s is %s", h.Name, h.Connection))
		}
	}
	if more := len(s.Partial) - maxReasons; more > 0 {
		s.Partial = append(s.Partial[:maxReasons:maxReasons], fmt.Sprintf("and %d more", more))
	}
}

// unseen says why the keys of a machine are not known for sure.
func (v *VM) unseen() string {
	switch {
	case v.Locked:
		return fmt.Sprintf("the machine %s is locked", v.label())
	case v.Connection == "inaccessible" || v.Connection == "invalid" || v.Connection == "orphaned":
		return fmt.Sprintf("the machine %s is %s", v.label(), v.Connection)
	case !v.Readable:
		return fmt.Sprintf("the configuration of the machine %s cannot be read", v.label())
	}
	return ""
}

func (v *VM) label() string {
	if v.Path != "" {
		return v.Path
	}
	return v.Name + " (" + v.Ref + ")"
}

// Encrypted tells whether the home is, or any disk.
func (v *VM) Encrypted() bool { return len(v.Keys()) > 0 }

// LinkedClone tells whether a disk is built on more than its own snapshots.
func (v *VM) LinkedClone() bool {
	return slices.ContainsFunc(v.Disks, func(d Disk) bool { return d.Layers > v.Snapshots })
}

// Keys are those of the home and the disks, what they are built on and the
// snapshots, each once.
func (v *VM) Keys() (list []Key) {
	add := func(keys ...Key) {
		for _, k := range keys {
			if k != (Key{}) && !slices.Contains(list, k) {
				list = append(list, k)
			}
		}
	}
	add(v.Key)
	for _, d := range v.Disks {
		add(d.Key)
		add(d.Chain...)
	}
	add(v.SnapshotKeys...)
	return list
}

// Host returns a host by its Ref; nil if it is not there.
func (s *Snapshot) Host(ref string) *Host {
	for i := range s.Hosts {
		if s.Hosts[i].Ref == ref {
			return &s.Hosts[i]
		}
	}
	return nil
}

// Provider returns a key provider by its name; nil if it is not there.
func (s *Snapshot) Provider(name string) *Provider {
	for i := range s.Providers {
		if s.Providers[i].Name == name {
			return &s.Providers[i]
		}
	}
	return nil
}

// Policy returns a storage policy by its name or id; nil if it is not there.
func (s *Snapshot) Policy(name string) *Policy {
	for i := range s.Policies {
		if p := &s.Policies[i]; p.Name == name || p.ID == name {
			return p
		}
	}
	return nil
}

// Datastore returns a datastore by its name; nil if it is not there.
func (s *Snapshot) Datastore(name string) *Datastore {
	for i := range s.Datastores {
		if s.Datastores[i].Name == name {
			return &s.Datastores[i]
		}
	}
	return nil
}

func byPath(a, b VM) int {
	if c := strings.Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return strings.Compare(a.Ref, b.Ref)
}
