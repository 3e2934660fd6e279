package inventory_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

const provider = "keyreeve"

// A rig is a vCenter with a key provider that works.
type rig struct {
	*testing.T
	vc     *vspheretest.VCenter
	vim    *govmomi.Client
	rest   *rest.Client
	ctx    context.Context
	reader *inventory.Reader
}

func newRig(t *testing.T, o vspheretest.Options) *rig {
	t.Helper()
	r := &rig{T: t, ctx: t.Context()}
	kms, _ := kmiptest.NewServer(t, kmiptest.Options{})
	vc, err := vspheretest.New(o)
	r.must(err)
	t.Cleanup(func() { r.must(vc.Close()) })
	r.vc = vc
	r.vim, err = vc.Client(r.ctx)
	r.must(err)
	r.rest = rest.NewClient(r.vim.Client)
	r.must(r.rest.Login(r.ctx, vc.URL.User))
	host, port, err := net.SplitHostPort(kms.Addr())
	r.must(err)
	n, err := strconv.Atoi(port)
	r.must(err)
	r.must(vspheretest.Connect(r.ctx, r.vim.Client, provider, types.KmipServerInfo{Name: "kms-1", Address: host, Port: int32(n)},
		func(csr []byte) ([]byte, error) { return kms.SignCSR("vcenter", csr) }))
	r.reader = inventory.NewReader(inventory.Options{Client: r.vim.Client, REST: r.rest, KeyStatus: true})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) read() *inventory.Snapshot {
	r.Helper()
	s, err := r.reader.Read(r.ctx)
	r.must(err)
	return s
}

func (r *rig) vm(n int) *object.VirtualMachine {
	r.Helper()
	list, err := find.NewFinder(r.vim.Client).VirtualMachineList(r.ctx, "/...")
	r.must(err)
	slices.SortFunc(list, func(a, b *object.VirtualMachine) int { return strings.Compare(a.InventoryPath, b.InventoryPath) })
	return list[n]
}

// encrypt encrypts a machine, and returns its key.
func (r *rig) encrypt(vm *object.VirtualMachine) inventory.Key {
	r.Helper()
	made, err := methods.GenerateKey(r.ctx, r.vim, &types.GenerateKey{This: *r.vim.ServiceContent.CryptoManager, KeyProvider: &types.KeyProviderId{Id: provider}})
	r.must(err)
	var m mo.VirtualMachine
	r.must(property.DefaultCollector(r.vim.Client).RetrieveOne(r.ctx, vm.Reference(), []string{"config"}, &m))
	r.reconfigure(vm, vspheretest.EncryptSpec(m.Config, vspheretest.EncryptionPolicyID, made.Returnval.KeyId))
	return inventory.Key{ID: made.Returnval.KeyId.KeyId, Provider: provider}
}

func (r *rig) reconfigure(vm *object.VirtualMachine, spec types.VirtualMachineConfigSpec) {
	r.Helper()
	task, err := vm.Reconfigure(r.ctx, spec)
	r.must(err)
	r.must(task.Wait(r.ctx))
}

func (r *rig) change(ref types.ManagedObjectReference, fn func(any)) {
	r.Helper()
	r.must(r.vc.Change(ref, fn))
}

func find1(s *inventory.Snapshot, ref types.ManagedObjectReference) *inventory.VM {
	for i := range s.VMs {
		if s.VMs[i].Ref == ref.Value {
			return &s.VMs[i]
		}
	}
	return nil
}

func (r *rig) tag(vm *object.VirtualMachine, category, name string) {
	r.Helper()
	m := tags.NewManager(r.rest)
	id, err := m.CreateCategory(r.ctx, &tags.Category{Name: category, Cardinality: "MULTIPLE"})
	r.must(err)
	tag, err := m.CreateTag(r.ctx, &tags.Tag{Name: name, CategoryID: id})
	r.must(err)
	r.must(m.AttachTag(r.ctx, tag, vm.Reference()))
}

// One machine with everything that there is, and a plain one beside it.
func TestRead(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 3})
	vm := r.vm(1)
	r.tag(vm, "data", "secret")
	fields, err := object.GetCustomFieldsManager(r.vim.Client)
	r.must(err)
	def, err := fields.Add(r.ctx, "owner", "VirtualMachine", nil, nil)
	r.must(err)
	r.must(fields.Set(r.ctx, vm.Reference(), def.Key, "finance"))
	key := r.encrypt(vm)
	r.change(vm.Reference(), func(o any) {
		m := o.(*mo.VirtualMachine)
		m.Guest = &types.GuestInfo{IpAddress: "10.0.0.7", Net: []types.GuestNicInfo{{IpAddress: []string{"10.0.0.7", "fe80::7"}}}}
	})
	s := r.read()
	if len(s.VMs) != 3 || len(s.Hosts) != 2 || len(s.Partial) != 0 || len(s.Unread) != 0 {
		t.Fatalf("%d machines, %d hosts, partial %q, unread %v", len(s.VMs), len(s.Hosts), s.Partial, s.Unread)
	}
	v := find1(s, vm.Reference())
	if v.Path != "/DC0/vm/DC0_C0_RP0_VM1" || v.Cluster != "DC0_C0" || v.Pool != "/DC0/host/DC0_C0/Resources" || v.Datastore != "LocalDS_0" {
		t.Errorf("it is at %s, in %s, %s, on %s", v.Path, v.Cluster, v.Pool, v.Datastore)
	}
	if !v.Readable || v.Key != key || len(v.Disks) != 1 || v.Disks[0].Key != key || v.Hardware != 19 || v.Power != "poweredOff" || v.ChangeVersion == "" {
		t.Errorf("it is %+v", *v)
	}
	if !slices.Equal(v.Tags, []string{"data:secret"}) || v.Attributes["owner"] != "finance" || !slices.Equal(v.Addresses, []string{"10.0.0.7", "fe80::7"}) {
		t.Errorf("tags %q, attributes %v, addresses %q", v.Tags, v.Attributes, v.Addresses)
	}
	if v.StoragePolicy != vspheretest.EncryptionPolicyID || v.Disks[0].StoragePolicy != v.StoragePolicy || v.MigrateEncrypted != "required" {
		t.Errorf("policies %q, %q, vMotion %q", v.StoragePolicy, v.Disks[0].StoragePolicy, v.MigrateEncrypted)
	}
	if p := s.Policy("VM Encryption Policy"); p == nil || !p.Encrypts {
		t.Errorf("the encryption policy is %+v", p)
	}
	if p := s.Provider(provider); p == nil || p.Status != "green" || !p.Default || len(p.Servers) != 1 {
		t.Errorf("the provider is %+v", p)
	}
	if why, ok := s.KeyStatus[key]; !ok || why != "" {
		t.Errorf("the key's status: %q, %v", why, ok)
	}
	if h := s.Host(v.Host); h == nil || h.Key.ID == "" || h.Crypto != "safe" || h.UUID == "" || h.Incapable {
		t.Errorf("its host is %+v", h)
	}
}

func TestUses(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 2})
	key := r.encrypt(r.vm(0))
	s := r.read()
	head, entries := s.Report("7f2c4c52-1111-4222-8333-123456789abc", 4, []string{provider})
	if len(entries) != 3 || head.Number != 4 || len(head.Partial) != 0 { // home, disk, host
		t.Fatalf("%+v: %+v", head, entries)
	}
	if e := entries[0]; e.Key != key.ID || e.User.Kind != admin.UserVM || e.User.UUID == "" || e.User.BIOS == "" || e.User.Provider != provider {
		t.Errorf("the first entry is %+v", e)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	host := s.Host(s.VMs[0].Host).Key.ID
	u := s.Join([]admin.Key{
		{UniqueIdentifier: key.ID, State: "Active", InitialDate: now.Add(-time.Hour)},
		{UniqueIdentifier: "young", State: "Active", InitialDate: now.Add(-time.Minute)},
		{UniqueIdentifier: "old", State: "Deactivated", InitialDate: now.Add(-48 * time.Hour),
			Attributes: []admin.Attribute{{Name: "x-Component", Value: "Virtual Machine"}, {Name: "x-Name", Value: "gone"}}},
		{UniqueIdentifier: "dead", State: "Destroyed", InitialDate: now},
	}, []string{provider}, now)
	if len(u.Keys) != 2 || !u.Sure || len(u.Missing) != 1 || u.Missing[0].Key.ID != host {
		t.Errorf("used %d, sure %v, missing %+v", len(u.Keys), u.Sure, u.Missing)
	}
	if len(u.Orphans) != 2 || u.Orphans[0].ID != "old" || u.Orphans[0].Age != 48*time.Hour || u.Orphans[0].Was != "Virtual Machine gone" || u.Orphans[1].ID != "young" {
		t.Errorf("orphans %+v", u.Orphans)
	}
	if u := s.Join(nil, []string{"another"}, now); len(u.Missing) != 0 {
		t.Errorf("keys of another provider are missing: %+v", u.Missing)
	}
	if u := s.Join([]admin.Key{{UniqueIdentifier: key.ID, State: "Destroyed"}, {UniqueIdentifier: host, State: "Active"}}, []string{provider}, now); len(u.Missing) != 1 {
		t.Errorf("a destroyed key in use is no alarm: %+v", u.Missing)
	}
}

// Each of these hides a use of a key, or may.
func TestPartial(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		break_     func(*rig)
	}{
		{"no configuration", "cannot be read", func(r *rig) {
			r.change(r.vm(0).Reference(), func(o any) { o.(*mo.VirtualMachine).Config = nil })
		}},
		{"inaccessible", "is inaccessible", func(r *rig) {
			r.change(r.vm(0).Reference(), func(o any) { o.(*mo.VirtualMachine).Runtime.ConnectionState = "inaccessible" })
		}},
		{"locked", "is locked", func(r *rig) {
			r.change(r.vm(0).Reference(), func(o any) { o.(*mo.VirtualMachine).Runtime.CryptoState = "locked" })
		}},
		{"a host is away", "is notResponding", func(r *rig) {
			ref := r.read().Hosts[0].Ref
			r.change(types.ManagedObjectReference{Type: "HostSystem", Value: ref}, func(o any) { o.(*mo.HostSystem).Runtime.ConnectionState = "notResponding" })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, vspheretest.Options{VMs: 2})
			tc.break_(r)
			s := r.read()
			if len(s.Partial) != 1 || !strings.Contains(s.Partial[0], tc.want) {
				t.Errorf("partial %q, want %q", s.Partial, tc.want)
			}
			if head, _ := s.Report("i", 1, nil); len(head.Partial) != 1 {
				t.Error("the report does not say so")
			}
			if s.Join(nil, nil, time.Now()).Sure {
				t.Error("orphans are sure")
			}
		})
	}
}

func TestSnapshotsKeepTheirKeys(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 1})
	vm := r.vm(0)
	old := r.encrypt(vm)
	task, err := vm.CreateSnapshot(r.ctx, "before", "", false, false)
	r.must(err)
	r.must(task.Wait(r.ctx))
	r.change(vm.Reference(), func(o any) { // recrypted, and the snapshot was not
		o.(*mo.VirtualMachine).Config.KeyId = &types.CryptoKeyId{KeyId: "new", ProviderId: &types.KeyProviderId{Id: provider}}
	})
	v := r.read().VMs[0]
	if v.Snapshots != 1 || v.SnapshotTree || !slices.Contains(v.SnapshotKeys, old) || v.Key.ID != "new" {
		t.Errorf("%d snapshots, tree %v, their keys %v, its key %v", v.Snapshots, v.SnapshotTree, v.SnapshotKeys, v.Key)
	}
}

// Whatever policies judge by and the watch looks at is news when it happened between
// the snapshot and the watch.
func TestWatchSeesWhatHappenedBefore(t *testing.T) {
	for name, change := range map[string]func(r *rig, vm *object.VirtualMachine) error{
		"moved": func(r *rig, vm *object.VirtualMachine) error {
			folder, err := find.NewFinder(r.vim.Client).Folder(r.ctx, "/DC0/vm")
			r.must(err)
			sub, err := folder.CreateFolder(r.ctx, "secret")
			r.must(err)
			task, err := sub.MoveInto(r.ctx, []types.ManagedObjectReference{vm.Reference()})
			r.must(err)
			return task.Wait(r.ctx)
		},
		"an attribute": func(r *rig, vm *object.VirtualMachine) error {
			m, err := object.GetCustomFieldsManager(r.vim.Client)
			r.must(err)
			key, err := m.FindKey(r.ctx, "owner")
			r.must(err)
			return m.Set(r.ctx, vm.Reference(), key, "finance")
		},
		"a snapshot": func(r *rig, vm *object.VirtualMachine) error {
			task, err := vm.CreateSnapshot(r.ctx, "before", "", false, false)
			r.must(err)
			return task.Wait(r.ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, vspheretest.Options{VMs: 2})
			m, err := object.GetCustomFieldsManager(r.vim.Client)
			r.must(err)
			_, err = m.Add(r.ctx, "owner", "VirtualMachine", nil, nil)
			r.must(err)
			s, vm := r.read(), r.vm(0)
			r.must(change(r, vm))
			ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
			defer cancel()
			err = r.reader.Watch(ctx, s, func(c inventory.Change) error {
				if len(c.VMs) != 1 || c.VMs[0].Ref != vm.Reference().Value {
					t.Errorf("%+v", c)
				}
				return errEnough
			})
			if !errors.Is(err, errEnough) {
				t.Error(err)
			}
		})
	}
}

var errEnough = errors.New("enough")

func TestWatch(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 4})
	s := r.read()
	before := r.encrypt(r.vm(0)) // between the snapshot and the watch
	started := make(chan bool)
	changes := make(chan inventory.Change)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		close(started)
		done <- r.reader.Watch(ctx, s, func(c inventory.Change) error {
			select {
			case changes <- c:
				return nil
			case <-ctx.Done():
				return errEnough
			}
		})
	}()
	<-started
	wait := func(what string, fits func(*inventory.Snapshot) bool) {
		t.Helper()
		for !fits(s) {
			select {
			case c := <-changes:
				if len(c.VMs)+len(c.Gone) > 2 {
					t.Errorf("%s: %d machines were read again", what, len(c.VMs))
				}
				s = s.With(c)
			case err := <-done:
				t.Fatalf("%s: the watch ended: %v", what, err)
			case <-time.After(20 * time.Second):
				t.Fatalf("%s is not seen", what)
			}
		}
	}
	wait("what happened before the watch", func(s *inventory.Snapshot) bool { return s.VMs[0].Key == before })
	after := r.encrypt(r.vm(2))
	wait("an encryption", func(s *inventory.Snapshot) bool { return s.VMs[2].Key == after && s.VMs[2].Disks[0].Key == after })
	task, err := r.vm(3).Destroy(r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
	wait("a removal", func(s *inventory.Snapshot) bool { return len(s.VMs) == 3 })
	cancel()
	for err := error(nil); err == nil; {
		select {
		case <-changes:
		case err = <-done:
		}
	}
}

func TestNoSessionForTagsIsSaid(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 1})
	s, err := inventory.NewReader(inventory.Options{Client: r.vim.Client}).Read(r.ctx)
	r.must(err)
	if s.Unread[inventory.Tags] == "" || len(s.Partial) != 0 {
		t.Errorf("unread %v, partial %q", s.Unread, s.Partial)
	}
}
