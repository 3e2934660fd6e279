package vspheretest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A watcher waits for what happens to all machines.
type watcher struct {
	testing.TB
	vim     *govmomi.Client
	pc      *property.Collector
	version string
}

func newWatcher(t testing.TB, vim *govmomi.Client, paths ...string) *watcher {
	t.Helper()
	v, err := view.NewManager(vim.Client).CreateContainerView(t.Context(), vim.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := property.DefaultCollector(vim.Client).Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = pc.CreateFilter(t.Context(), types.CreateFilter{Spec: types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: v.Reference(), Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{v.TraversalSpec()}}},
		PropSet:   []types.PropertySpec{{Type: "VirtualMachine", PathSet: paths}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{TB: t, vim: vim, pc: pc}
}

// wait is one call; nil means that nothing happened in the time.
func (w *watcher) wait(seconds, most int32) (*types.UpdateSet, error) {
	res, err := methods.WaitForUpdatesEx(w.Context(), w.vim, &types.WaitForUpdatesEx{
		This: w.pc.Reference(), Version: w.version, Options: &types.WaitOptions{MaxWaitSeconds: &seconds, MaxObjectUpdates: most},
	})
	if err != nil {
		return nil, err
	}
	if res.Returnval != nil {
		w.version = res.Returnval.Version
	}
	return res.Returnval, nil
}

// updates waits until there are some, and returns all of them.
func (w *watcher) updates() (list []types.ObjectUpdate) {
	w.Helper()
	for {
		set, err := w.wait(30, 0)
		if err != nil || set == nil {
			w.Fatalf("nothing happened: %v", err)
		}
		for _, f := range set.FilterSet {
			list = append(list, f.ObjectSet...)
		}
		if set.Truncated == nil || !*set.Truncated {
			return list
		}
	}
}

// until waits for an update of that kind of the object that has the change.
func (w *watcher) until(kind types.ObjectUpdateKind, vm types.ManagedObjectReference, name string) types.AnyType {
	w.Helper()
	for {
		for _, u := range w.updates() {
			if u.Obj != vm {
				w.Errorf("an update of %s, which nobody touched: %+v", u.Obj, u)
			}
			if u.Kind == kind && name == "" {
				return nil
			}
			for _, c := range u.ChangeSet {
				if u.Kind == kind && c.Name == name {
					return c.Val
				}
			}
		}
	}
}

// Waiting for updates tells of what comes, changes, loses a value and goes, and
// of nothing else.
func TestUpdates(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 5}).ready()
	w := newWatcher(t, r.vim, "name", "config.keyId", "config.migrateEncryption")
	if first := w.updates(); len(first) != 5 || first[0].Kind != types.ObjectUpdateKindEnter {
		t.Fatalf("first %+v", first)
	}
	vm := r.vm(0)
	key := r.encrypt(vm)
	if got := w.until("modify", vm.Reference(), "config.keyId"); got.(types.CryptoKeyId).KeyId != key.KeyId {
		t.Errorf("the key is %v", got)
	}
	r.must(r.reconfigure(vm, r.spec(vm, &types.CryptoSpecDecrypt{})))
	if got := w.until("modify", vm.Reference(), "config.keyId"); got != nil {
		t.Errorf("after the decryption the key is %v", got)
	}
	r.must(r.reconfigure(vm, types.VirtualMachineConfigSpec{MigrateEncryption: "disabled"}))
	if got := w.until("modify", vm.Reference(), "config.migrateEncryption"); got != "disabled" {
		t.Errorf("vMotion %v", got)
	}
	made := r.newMachine("new")
	if got := w.until("enter", made.Reference(), "name"); got != "new" {
		t.Errorf("the new machine is %v", got)
	}
	task, err := made.Destroy(r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
	w.until("leave", made.Reference(), "")
	if set, err := w.wait(0, 0); err != nil || set != nil {
		t.Errorf("more: %+v %v", set, err)
	}
}

// newMachine makes a plain machine.
func (r *rig) newMachine(name string) *object.VirtualMachine {
	r.Helper()
	finder := find.NewFinder(r.vim.Client)
	dc, err := finder.DefaultDatacenter(r.ctx)
	r.must(err)
	folders, err := dc.Folders(r.ctx)
	r.must(err)
	finder.SetDatacenter(dc)
	pool, err := finder.DefaultResourcePool(r.ctx)
	r.must(err)
	task, err := folders.VmFolder.CreateVM(r.ctx, types.VirtualMachineConfigSpec{Name: name, GuestId: "otherGuest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"}}, pool, nil)
	r.must(err)
	info, err := task.WaitForResult(r.ctx, nil)
	r.must(err)
	return object.NewVirtualMachine(r.vim.Client, info.Result.(types.ManagedObjectReference))
}

// Answers come in pages, and a wait can be canceled.
func TestUpdatesInPagesAndCanceled(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 5})
	w := newWatcher(t, r.vim, "name")
	var sizes []int
	for more := true; more; {
		set, err := w.wait(10, 2)
		r.must(err)
		sizes = append(sizes, len(set.FilterSet[0].ObjectSet))
		more = *set.Truncated
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("pages of %v", sizes)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := w.wait(30, 0)
		var canceled *types.RequestCanceled
		if _, ok := fault.As(err, &canceled); !ok {
			t.Errorf("a canceled wait ended with %v", err)
		}
	})
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for { // until the call is there
		r.must(w.pc.CancelWaitForUpdates(r.ctx))
		select {
		case <-ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A filter that comes while somebody waits is seen by that wait.
func TestUpdatesOfALaterFilter(t *testing.T) {
	r := newRig(t, vspheretest.Options{VMs: 2})
	w := newWatcher(t, r.vim, "name")
	w.updates()
	list, err := find.NewFinder(r.vim.Client).HostSystemList(r.ctx, "*")
	r.must(err)
	go func() {
		_, err := w.pc.CreateFilter(r.ctx, types.CreateFilter{Spec: types.PropertyFilterSpec{
			ObjectSet: []types.ObjectSpec{{Obj: list[0].Reference()}},
			PropSet:   []types.PropertySpec{{Type: "HostSystem", PathSet: []string{"name"}}},
		}})
		if err != nil {
			t.Error(err)
		}
	}()
	if got := w.updates(); len(got) != 1 || got[0].Kind != types.ObjectUpdateKindEnter || got[0].Obj != list[0].Reference() {
		t.Errorf("the updates are %+v", got)
	}
}

// How long one changed machine of many takes to be seen, with the simulator's
// own waiting and with ours. Devices are not watched: no agent should.
func BenchmarkDriftSeen(b *testing.B) {
	for _, n := range []int{100, 1000} {
		for _, own := range []bool{false, true} {
			name := "ours"
			if own {
				name = "stock"
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { driftSeen(b, n, own) })
		}
	}
}

func driftSeen(b *testing.B, n int, own bool) {
	vc, err := vspheretest.New(vspheretest.Options{VMs: n})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = vc.Close() })
	if own {
		vc.OwnUpdates()
	}
	vim, err := vc.Client(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	list, err := find.NewFinder(vim.Client).VirtualMachineList(b.Context(), "*")
	if err != nil {
		b.Fatal(err)
	}
	w := newWatcher(b, vim, "name", "config.keyId", "config.migrateEncryption", "config.changeVersion", "runtime.powerState")
	w.updates()
	for i := 0; b.Loop(); i++ { // the simulator's own tells nothing of most reconfigurations
		vm, change, want := list[i/2%n], (*object.VirtualMachine).PowerOn, types.VirtualMachinePowerStatePoweredOn
		if i%2 == 1 {
			change, want = (*object.VirtualMachine).PowerOff, types.VirtualMachinePowerStatePoweredOff
		}
		if _, err := change(vm, b.Context()); err != nil {
			b.Fatal(err)
		}
		if got := w.until("modify", vm.Reference(), "runtime.powerState"); got != want {
			b.Fatalf("the machine is %v", got)
		}
	}
}
