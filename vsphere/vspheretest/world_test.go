//go:build lab

package vspheretest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/programtest"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

var programs = programtest.New("keyreeve")

func TestMain(m *testing.M) { programs.Main(m, nil) }

// inWorld gives a test a world in which everything is trusted.
func inWorld(t *testing.T, vms int, fn func(ctx context.Context, w *vspheretest.World, c *govmomi.Client)) {
	t.Helper()
	inWorldWith(t, vspheretest.Options{VMs: vms, Hosts: 3}, fn)
}

func inWorldWith(t *testing.T, vc vspheretest.Options, fn func(ctx context.Context, w *vspheretest.World, c *govmomi.Client)) {
	t.Helper()
	o := vspheretest.WorldOptions{Keyreeve: programs.Path(t, "keyreeve"), VCenter: vc}
	vspheretest.Run(t, o, func(ctx context.Context, w *vspheretest.World) {
		g, err := vspheretest.NewGuide(ctx, w, w.VCenters[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Trust() {
			if _, err := s.Do(ctx); err != nil {
				t.Fatalf("%s: %v", s.Title, err)
			}
		}
		c, err := w.VCenters[0].Client(ctx)
		if err != nil {
			t.Fatal(err)
		}
		fn(ctx, w, c)
	})
}

// machines reads all machines.
func machines(t *testing.T, ctx context.Context, c *govmomi.Client) (list []mo.VirtualMachine) {
	t.Helper()
	v, err := view.NewManager(c.Client).CreateContainerView(ctx, c.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err == nil {
		err = v.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "config", "runtime"}, &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// encryptAll encrypts machines side by side, each under a key of its own, and
// calls failed for those that could not be.
func encryptAll(ctx context.Context, c *govmomi.Client, list []mo.VirtualMachine, failed func(mo.VirtualMachine, error)) error {
	m, err := crypto.GetManagerKmip(c.Client)
	if err != nil {
		return err
	}
	work := make(chan mo.VirtualMachine)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for vm := range work {
				if err := encryptOne(ctx, c, m.Reference(), vm); err != nil {
					failed(vm, err)
				}
			}
		})
	}
	for _, vm := range list {
		work <- vm
	}
	close(work)
	wg.Wait()
	return nil
}

func encryptOne(ctx context.Context, c *govmomi.Client, manager types.ManagedObjectReference, vm mo.VirtualMachine) error {
	made, err := methods.GenerateKey(ctx, c, &types.GenerateKey{This: manager})
	if err != nil {
		return err
	}
	if !made.Returnval.Success {
		return fmt.Errorf("%s", made.Returnval.Reason)
	}
	task, err := object.NewVirtualMachine(c.Client, vm.Self).Reconfigure(ctx, vspheretest.EncryptSpec(vm.Config, vspheretest.EncryptionPolicyID, made.Returnval.KeyId))
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// keysOf lists all keys of the server, by identifier.
func keysOf(t *testing.T, ctx context.Context, w *vspheretest.World) map[string]admin.Key {
	t.Helper()
	out := map[string]admin.Key{}
	for query := (admin.KeyQuery{Limit: 100}); ; {
		page, err := w.KMS.Admin.Keys(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			out[k.UniqueIdentifier] = k
		}
		if page.Next == "" {
			return out
		}
		query.After = page.Next
	}
}

// The keys of 500 machines are in the key server's list, with the machine's
// name and UUID from what vCenter itself wrote on them.
func TestFiveHundredMachines(t *testing.T) {
	inWorld(t, 500, func(ctx context.Context, w *vspheretest.World, c *govmomi.Client) {
		before := machines(t, ctx, c)
		if len(before) != 500 {
			t.Fatalf("%d machines", len(before))
		}
		err := encryptAll(ctx, c, before, func(vm mo.VirtualMachine, err error) { t.Errorf("%s: %v", vm.Name, err) })
		if err != nil {
			t.Fatal(err)
		}
		keys, used := keysOf(t, ctx, w), map[string]bool{}
		for _, vm := range machines(t, ctx, c) {
			if vm.Config.KeyId == nil {
				t.Errorf("%s is not encrypted", vm.Name)
				continue
			}
			id := vm.Config.KeyId.KeyId
			k, ok := keys[id]
			if !ok || k.State != "Active" || used[id] {
				t.Errorf("%s has the key %s: in the list %v, %s, used before %v", vm.Name, id, ok, k.State, used[id])
			}
			used[id] = true
			if name, uuid := custom(k, "x-Name"), custom(k, "x-Identifier"); name != vm.Name || uuid != vm.Config.Uuid {
				t.Errorf("key %s is marked %q %q, its machine is %q %q", id, name, uuid, vm.Name, vm.Config.Uuid)
			}
		}
		out, err := w.KMS.Run(ctx, "key", "list")
		for _, vm := range before {
			if err != nil || !strings.Contains(out, "Virtual Machine "+vm.Name+" "+vm.Config.Uuid) {
				t.Fatalf("keyreeve key list does not show %s: %v", vm.Name, err)
			}
		}
	})
}

// The key server is killed and started again, over and over, while machines
// are encrypted: what vCenter was told exists is there afterwards, nothing is
// half done, and what failed can be done again.
func TestKeyServerKilledInTheMiddle(t *testing.T) {
	inWorld(t, 60, func(ctx context.Context, w *vspheretest.World, c *govmomi.Client) {
		ended := make(chan error, 1)
		go func() { ended <- killAgainAndAgain(ctx, w.KMS) }()
		todo := machines(t, ctx, c)
		for len(todo) > 0 { // ends, since the killing does
			var mu sync.Mutex
			var again []types.ManagedObjectReference
			err := encryptAll(ctx, c, todo, func(vm mo.VirtualMachine, err error) {
				mu.Lock()
				defer mu.Unlock()
				again = append(again, vm.Self)
			})
			if err != nil {
				t.Fatal(err)
			}
			todo = nil
			if len(again) > 0 {
				if err := property.DefaultCollector(c.Client).Retrieve(ctx, again, []string{"name", "config", "runtime"}, &todo); err != nil {
					t.Fatal(err)
				}
			}
			for _, vm := range todo {
				if vm.Config.KeyId != nil {
					t.Errorf("%s failed, and has a key all the same", vm.Name)
				}
			}
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		keys := keysOf(t, ctx, w)
		for _, vm := range machines(t, ctx, c) {
			if state := keys[vm.Config.KeyId.KeyId].State; state != "Active" {
				t.Errorf("%s has the key %s, which is %q", vm.Name, vm.Config.KeyId.KeyId, state)
			}
			if vm.Runtime.CryptoState != "unlocked" {
				t.Errorf("%s is %q", vm.Name, vm.Runtime.CryptoState)
			}
		}
		if out, err := w.KMS.Run(ctx, "verify"); err != nil {
			t.Errorf("the store is not whole: %v %s", err, out)
		}
	})
}

// killAgainAndAgain leaves the server some time to live between its deaths.
func killAgainAndAgain(ctx context.Context, k *vspheretest.KMS) error {
	for range 6 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
		if err := k.Kill(); err != nil {
			return err
		}
		if err := k.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// custom is the value of a key's custom attribute.
func custom(k admin.Key, name string) string {
	for _, a := range k.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}
