package provider_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A status that is waited for when everything is to end is an error, and nothing
// worse: govmomi returns neither a result nor an error then.
func TestStatusThatIsBrokenOff(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Delay, Delay: 2 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if _, err := r.m.Look(ctx, "keyreeve"); !errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
}
