//go:build lab

package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// destroy asks the key server to destroy a key, and returns why it does not.
func (n *town) destroy(key string) string {
	_, err := n.w.KMS.Run(n.Context(), "key", "destroy", key, "--reason", "test", "--yes")
	if err != nil {
		return err.Error()
	}
	return ""
}

// keyOf is the key of a machine, by what vCenter wrote on it.
func (n *town) keyOf(machine string) string {
	n.Helper()
	out, err := n.w.KMS.Run(n.Context(), "key", "list", "-o", "json")
	n.must(err)
	var keys []admin.Key
	n.must(json.Unmarshal([]byte(out), &keys))
	for _, k := range keys {
		if slices.Contains(k.Attributes, admin.Attribute{Name: "x-Name", Value: machine}) {
			return k.UniqueIdentifier
		}
	}
	n.Fatalf("no key is of %s", machine)
	return ""
}

// decrypt does what the agent never does.
func (n *town) decrypt(ctx context.Context, vm *object.VirtualMachine) {
	n.Helper()
	devices, err := vm.Device(ctx)
	n.must(err)
	spec := types.VirtualMachineConfigSpec{Crypto: new(types.CryptoSpecDecrypt)}
	for _, d := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: d,
			Backing: &types.VirtualDeviceConfigSpecBackingSpec{Crypto: new(types.CryptoSpecDecrypt)}})
	}
	task, err := vm.Reconfigure(ctx, spec)
	n.must(err)
	n.must(task.Wait(ctx))
}

// A key in use is not destroyed, and the answer names the machine. It is let go
// once the machine is decrypted and two complete reports in a row have come; no
// report, and half of one, let nothing go. All of it is in the journal.
func TestDestroyOfAKeyInUse(t *testing.T) {
	inTown(t, vspheretest.WorldOptions{VCenter: vspheretest.Options{VMs: 2}}, func(n *town) {
		ctx, vc := n.Context(), n.w.VCenters[0]
		n.must(vc.EncryptAll(ctx, "keyreeve"))
		vim, err := vc.Client(ctx)
		n.must(err)
		defer func() { _ = vim.Logout(ctx) }()
		_, err = n.w.KMS.Run(ctx, "inventory", "assign", vim.ServiceContent.About.InstanceUuid, "--agent", "agent", "--group", "vcenter")
		n.must(err)
		last := time.Time{} // reports carry whole seconds, and one must be after the other
		report := func() string {
			n.Helper()
			for ; time.Since(last) < time.Second; time.Sleep(10 * time.Millisecond) {
			}
			last = time.Now()
			return n.agent(exitDone, "inventory", "report", "-f", n.settings)
		}
		report()

		vm, err := find.NewFinder(vim.Client).VirtualMachine(ctx, "/DC0/vm/DC0_C0_RP0_VM0")
		n.must(err)
		host, err := vm.HostSystem(ctx)
		n.must(err)
		key := n.keyOf("DC0_C0_RP0_VM0")
		_, err = n.w.KMS.Run(ctx, "key", "revoke", key, "--reason", "test", "--yes")
		n.must(err)
		kept := func(when string) {
			n.Helper()
			if why := n.destroy(key); !strings.Contains(why, `the key is in use by VM "DC0_C0_RP0_VM0"`) {
				t.Fatalf("%s: %q", when, why)
			}
		}
		kept("in use")
		n.decrypt(ctx, vm)
		kept("the agent has reported nothing since")
		report()
		kept("one report")
		n.away(host.Reference(), types.HostSystemConnectionStateDisconnected)
		if said := report(); !strings.Contains(said, "partial") {
			t.Errorf("with a host away: %s", said)
		}
		kept("half a report")
		n.away(host.Reference(), types.HostSystemConnectionStateConnected)
		report()
		kept("one complete report after half of one")
		report()
		if why := n.destroy(key); why != "" {
			t.Errorf("let go, and not destroyed: %s", why)
		}
		other := n.keyOf("DC0_C0_RP0_VM1")
		_, err = n.w.KMS.Run(ctx, "key", "revoke", other, "--reason", "test", "--yes")
		n.must(err)
		if why := n.destroy(other); !strings.Contains(why, `in use by VM "DC0_C0_RP0_VM1"`) {
			t.Errorf("another machine's key: %q", why)
		}
		journal, err := n.w.KMS.Run(ctx, "audit", "tail", "--since", "1h", "--object", key, "-o", "json")
		n.must(err)
		for _, what := range []string{`"operation":"Release Key","outcome":"success"`, `"operation":"Destroy Key","outcome":"success"`, "in use by"} {
			if !strings.Contains(journal, what) {
				t.Errorf("the journal has no %s:\n%s", what, journal)
			}
		}
	})
}

// away has a host be in that state.
func (n *town) away(host types.ManagedObjectReference, state types.HostSystemConnectionState) {
	n.Helper()
	n.must(n.w.VCenters[0].Change(host, func(o any) { o.(*mo.HostSystem).Runtime.ConnectionState = state }))
}
