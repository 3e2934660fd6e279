package vspheretest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/pbm"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// Close ends everything that was begun: the poller, calls that wait, servers
// that pose as others.
func TestCloseLeavesNothing(t *testing.T) {
	before := ours()
	for range 2 {
		t.Run("one", func(t *testing.T) {
			r := newRig(t, vspheretest.Options{PollEvery: 5 * time.Millisecond, Timeout: 2 * time.Second}).ready()
			r.encrypt(r.vm(0))
			w := newWatcher(t, r.vim, "config.keyId")
			w.updates()
			go func() { _, _ = w.wait(600, 0) }() // ends with the vCenter
			for _, kind := range []vspheretest.FaultKind{vspheretest.Hang, vspheretest.WrongCertificate} {
				r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: kind})
				if s := r.status(); s.OverallStatus != types.ManagedEntityStatusRed {
					t.Errorf("%s: %s", kind, s.OverallStatus)
				}
			}
		})
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := ours()
		if len(left) <= len(before) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}
}

// ours are the stacks of goroutines that run this package's code, but for this
// test's own.
func ours() (list []string) {
	buf := make([]byte, 4<<20)
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "vsphere/vspheretest.") || strings.Contains(stack, "govmomi/simulator.") {
			list = append(list, stack)
		}
	}
	return list
}

// Simulators live side by side, though govmomi's keeps some of its state in
// globals: the race detector watches.
func TestSideBySide(t *testing.T) {
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, vspheretest.Options{}).ready()
			key := r.encrypt(r.vm(0))
			client, err := pbm.NewClient(r.ctx, r.vim.Client)
			r.must(err)
			if id, err := client.ProfileIDByName(r.ctx, "VM Encryption Policy"); err != nil || id != vspheretest.EncryptionPolicyID {
				t.Errorf("the policy is %q: %v", id, err)
			}
			if m := r.look(r.vm(0)); m.Config.KeyId.KeyId != key.KeyId {
				t.Errorf("the machine has %v", m.Config.KeyId)
			}
		})
	}
}
