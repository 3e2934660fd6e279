//go:build lab

package vspheretest_test

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A change of one machine among 10,000 is seen within a second.
func TestDriftAmongTenThousand(t *testing.T) {
	vc, err := vspheretest.New(vspheretest.Options{Clusters: 4, VMs: 2500})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := vc.Close(); err != nil {
			t.Error(err)
		}
	}()
	vim, err := vc.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := newWatcher(t, vim, "name", "config.keyId", "config.migrateEncryption")
	if first := w.updates(); len(first) != 10_000 {
		t.Fatalf("%d machines", len(first))
	}
	vm, err := find.NewFinder(vim.Client).VirtualMachine(t.Context(), "DC0_C3_RP0_VM2499")
	if err != nil {
		t.Fatal(err)
	}
	task, err := vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{MigrateEncryption: "required"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := w.until("modify", vm.Reference(), "config.migrateEncryption"); got != "required" {
		t.Errorf("vMotion %v", got)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("seen after %v", took)
	}
	if err := task.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}
