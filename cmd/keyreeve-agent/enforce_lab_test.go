//go:build lab

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// vCenter says "Cannot generate key" and no more; what it shows of the provider
// and a proof of our own say why.
func TestNoKeyIsExplained(t *testing.T) {
	inTown(t, vspheretest.WorldOptions{}, func(n *town) {
		g := new(log)
		l, err := n.app(g).connect(&options{file: n.write("owner", "socket: "+filepath.Join(n.w.KMS.Data, "admin.sock"), "720h")})
		n.must(err)
		defer l.close()
		n.must(l.proveKeys(n.Context()))
		failed := policy.Result{Action: policy.Action{Op: policy.EncryptOp, Path: "/DC0/vm/a", Provider: "keyreeve"}, Err: fmt.Errorf("%w: Cannot generate key", policy.ErrNoKey)}
		said := func() string {
			from := len(g.String())
			(&enforcement{link: l}).report(failed)
			return g.String()[from:]
		}
		if s := said(); !strings.Contains(s, "FAILED: machine: ") || !strings.Contains(s, "hint: vCenter shows the provider as connected, and a key could be made and read just now") {
			t.Errorf("while all is well: %s", s)
		}
		_, err = n.w.KMS.Run(n.Context(), "client", "revoke", "vcenter", "--reason", "test")
		n.must(err)
		if s := said(); !strings.Contains(s, "hint: the server makes keys, and vCenter does not get to it: ") {
			t.Errorf("while vCenter is not let in: %s", s)
		}
		n.must(n.w.KMS.Stop())
		if s := said(); !strings.Contains(s, "hint: the server is down or not reached") {
			t.Errorf("while it is down: %s", s)
		}
	})
}
