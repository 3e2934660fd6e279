package recovery_test

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
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/recovery"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

const name = "keyreeve"

// A rig is a lost vCenter of which all machines are encrypted, and a new one
// that has them, locked.
type rig struct {
	*testing.T
	kms      *kmiptest.Server
	old, vc  *vspheretest.VCenter
	was, vim *govmomi.Client
}

func newRig(t *testing.T, machines int) *rig {
	t.Helper()
	r := &rig{T: t}
	r.kms, _ = kmiptest.NewServer(t, kmiptest.Options{})
	r.old, r.was = r.start(vspheretest.Options{VMs: machines})
	r.connect(r.was)
	r.must(r.old.EncryptAll(t.Context(), name))
	r.vc, r.vim = r.start(vspheretest.Options{Timeout: 2 * time.Second})
	locked, err := r.vc.Adopt(t.Context(), r.old, vspheretest.Adoption{HideConfig: true})
	r.must(err)
	if locked != machines {
		t.Fatalf("%d machines are locked, want %d", locked, machines)
	}
	return r
}

func (r *rig) start(o vspheretest.Options) (*vspheretest.VCenter, *govmomi.Client) {
	r.Helper()
	vc, err := vspheretest.New(o)
	r.must(err)
	r.Cleanup(func() { r.must(vc.Close()) })
	vim, err := vc.Client(r.Context())
	r.must(err)
	return vc, vim
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) server() types.KmipServerInfo {
	r.Helper()
	host, text, err := net.SplitHostPort(r.kms.Addr())
	r.must(err)
	port, err := strconv.Atoi(text)
	r.must(err)
	return types.KmipServerInfo{Name: "kms-1", Address: host, Port: int32(port)}
}

func (r *rig) connect(vim *govmomi.Client) {
	r.Helper()
	r.must(vspheretest.Connect(r.Context(), vim.Client, name, r.server(), func(csr []byte) ([]byte, error) { return r.kms.SignCSR("vcenter", csr) }))
}

func (r *rig) read(vim *govmomi.Client) *inventory.Snapshot {
	r.Helper()
	s, err := inventory.NewReader(inventory.Options{Client: vim.Client}).Read(r.Context())
	r.must(err)
	return s
}

// locked are the machines that are locked, by what vCenter and the backup say.
func (r *rig) locked(b *recovery.Backup) []recovery.Machine {
	r.Helper()
	return recovery.Diagnose(recovery.Facts{Snapshot: r.read(r.vim), Backup: b, Ours: nil, Now: time.Now()})
}

func (r *rig) backup() *recovery.Backup {
	r.Helper()
	b, err := recovery.Make(r.Context(), r.was.Client, r.read(r.was), nil)
	r.must(err)
	text, err := b.Marshal()
	r.must(err)
	again, err := recovery.Parse(text)
	r.must(err)
	return again
}

// Ended in the middle, the next run does the rest, and no machine twice; then
// all start.
func TestUnlockEndedInTheMiddle(t *testing.T) {
	r := newRig(t, 9)
	b := r.backup()
	if list := r.locked(b); len(list) != 9 || len(recovery.Ready(list)) != 0 || list[0].Source != recovery.FromBackup {
		t.Fatalf("without a key provider: %+v", list)
	}
	r.connect(r.vim)
	ctx, cancel := context.WithCancel(t.Context())
	first := 0
	u := recovery.Unlocker{Client: r.vim.Client, Workers: 2, Report: func(x recovery.Result) {
		if x.Err == nil {
			first++
		}
		if first == 3 {
			cancel()
		}
	}}
	if _, err := u.Unlock(ctx, recovery.Ready(r.locked(b))); !errors.Is(err, context.Canceled) {
		t.Fatalf("it ended with %v", err)
	}
	left := r.locked(b)
	if len(left) == 0 || len(left) > 6 {
		t.Fatalf("%d machines are locked then", len(left))
	}
	second := 0
	u.Report = func(recovery.Result) { second++ }
	failed, err := u.Unlock(t.Context(), recovery.Ready(left))
	if err != nil || len(failed) > 0 || second != len(left) || len(r.locked(b)) > 0 {
		t.Fatalf("the second run: %v, %v, %d of %d", failed, err, second, len(left))
	}
	vms, err := find.NewFinder(r.vim.Client).VirtualMachineList(t.Context(), "/...")
	r.must(err)
	for _, vm := range vms {
		task, err := vm.PowerOn(t.Context())
		r.must(err)
		r.must(task.Wait(t.Context()))
	}
}

// A key provider that is lost on the way ends the run: the machines that are
// left are not tried, and stay as they are.
func TestUnlockEndsWithTheProvider(t *testing.T) {
	r := newRig(t, 8)
	b := r.backup()
	r.connect(r.vim)
	m, err := provider.New(provider.Config{VIM: r.vim.Client})
	r.must(err)
	list := recovery.Ready(r.locked(b))
	tried := 0
	u := recovery.Unlocker{Client: r.vim.Client, Workers: 1, Report: func(recovery.Result) {
		if tried++; tried == 2 {
			r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
		}
	}, Healthy: func(ctx context.Context) error {
		o, err := m.Look(ctx, name)
		if err == nil && len(o.Reasons(time.Now())) > 0 {
			err = errors.New(strings.Join(o.Reasons(time.Now()), "; "))
		}
		return err
	}}
	failed, err := u.Unlock(t.Context(), list)
	if err == nil || !strings.Contains(err.Error(), "no further machine is tried") || len(failed) == 0 || tried > 4 {
		t.Errorf("it ended with %v after %d of 8, failed: %d", err, tried, len(failed))
	}
	r.vc.Network.ClearFault(r.kms.Addr())
	if left := r.locked(b); len(left) != 6 {
		t.Fatalf("%d machines are locked then, want 6", len(left))
	}
	if failed, err = u.Unlock(t.Context(), recovery.Ready(r.locked(b))); err != nil || len(failed) > 0 || len(r.locked(b)) > 0 {
		t.Errorf("afterwards: %v, %v", failed, err)
	}
}

// A backup has the providers with their servers and defaults, and each machine's
// keys; and no password.
func TestBackup(t *testing.T) {
	r := newRig(t, 2)
	m, err := crypto.GetManagerKmip(r.was.Client)
	r.must(err)
	spec := types.KmipServerSpec{ClusterId: types.KeyProviderId{Id: name}, Info: r.server(), Password: "hunter2"}
	spec.Info.Name, spec.Info.UserName, spec.Info.ProxyAddress, spec.Info.ProxyPort = "kms-2", "vc", "proxy", 3128
	r.must(m.RegisterKmipServer(t.Context(), spec))
	cluster, err := find.NewFinder(r.was.Client).ClusterComputeResource(t.Context(), "/DC0/host/DC0_C0")
	r.must(err)
	ref := cluster.Reference()
	r.must(m.SetDefaultKmsClusterId(t.Context(), name, &ref))

	b := r.backup()
	if len(b.Providers) != 1 || len(b.Providers[0].Servers) != 2 || b.Default() != name {
		t.Fatalf("providers %+v", b.Providers)
	}
	want := recovery.Server{Name: "kms-2", Address: spec.Info.Address, Port: spec.Info.Port, ProxyAddress: "proxy", ProxyPort: 3128, User: "vc"}
	if b.Providers[0].Servers[1] != want {
		t.Errorf("server %+v, want %+v", b.Providers[0].Servers[1], want)
	}
	if !slices.Equal(b.EntityDefaults, []recovery.EntityDefault{{Path: "/DC0/host/DC0_C0", Provider: name}}) {
		t.Errorf("defaults %+v", b.EntityDefaults)
	}
	text, err := b.Marshal()
	r.must(err)
	if strings.Contains(string(text), "hunter2") {
		t.Error("a password is in it")
	}
	if len(b.Machines) != 2 || b.VCenter == r.vim.ServiceContent.About.InstanceUuid {
		t.Errorf("machines %+v of %s", b.Machines, b.VCenter)
	}

	b.EntityDefaults = append(b.EntityDefaults, recovery.EntityDefault{Path: "/DC0/host/gone", Provider: name})
	list, missing, err := b.Entities(t.Context(), r.vim.Client, []provider.Provider{{Name: name}})
	r.must(err)
	if len(list) != 1 || list[0].Entity.Type != "ClusterComputeResource" || !slices.Equal(missing, []string{"/DC0/host/gone"}) {
		t.Errorf("in the new vCenter %+v, missing %v", list, missing)
	}
	folder, err := find.NewFinder(r.vim.Client).Folder(t.Context(), "/DC0/host")
	r.must(err)
	_, err = folder.CreateCluster(t.Context(), "Prod [1]", types.ClusterConfigSpecEx{})
	r.must(err)
	b.EntityDefaults = []recovery.EntityDefault{{Path: "/DC0/host/Prod [1]", Provider: name}, {Path: "/DC0/host/Pr*", Provider: name}}
	list, missing, err = b.Entities(t.Context(), r.vim.Client, []provider.Provider{{Name: name}})
	r.must(err)
	if len(list) != 1 || list[0].Path != "/DC0/host/Prod [1]" || !slices.Equal(missing, []string{"/DC0/host/Pr*"}) {
		t.Errorf("a name is no pattern: %+v, missing %v", list, missing)
	}
	if list, _, err := b.Entities(t.Context(), r.vim.Client, nil); len(list) != 0 || err != nil {
		t.Errorf("of providers that are not made: %+v, %v", list, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, missing, err := b.Entities(ended, r.vim.Client, []provider.Provider{{Name: name}}); err == nil {
		t.Errorf("a vCenter that does not answer is taken for one that has no %v", missing)
	}
}
