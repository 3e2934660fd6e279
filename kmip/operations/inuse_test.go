package operations_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

// reported has an agent report that a machine uses a key of the rig's group.
func (r *rig) reported(uid []byte) {
	r.t.Helper()
	admin := &operations.Principal{Client: "admin", Admin: true}
	vc := keystore.VCenterID{0: 1}
	_, err := r.store.AssignVCenter(r.t.Context(), admin, keystore.VCenterInfo{ID: vc, Name: "vc", Agent: "agent", Groups: []string{"lab"}})
	must(r.t, err)
	_, err = r.store.TakeInventory(r.t.Context(), admin, &keystore.InventoryReport{
		VCenter: vc, Agent: "agent", Instance: keystore.UID{0: 1}, Number: 1, Time: r.now.Load(), Providers: []string{"kms"},
		Entries: []keystore.ReportEntry{{Key: string(uid), KeyUse: keystore.KeyUse{Kind: keystore.UseVM, Name: "db-1", UUID: "5001", Provider: "kms"}}},
	})
	must(r.t, err)
}

// Every way by KMIP to a Destroy of a key that a machine uses ends in
// Permission Denied with the machine's name, and leaves the key. Revoke and all
// else on the way go on.
func TestDestroyOfAKeyInUse(t *testing.T) {
	for _, way := range []struct {
		name string
		do   func(r *rig, uid []byte)
	}{
		{"at once", func(*rig, []byte) {}},
		{"Revoke", func(r *rig, uid []byte) {
			r.good(r.identifier(kmip14.OperationActivate, uid))
			r.good(r.revoke(uid, kmip14.RevocationReasonCodeSuperseded))
		}},
		{"Revoke, compromised", func(r *rig, uid []byte) { r.good(r.revoke(uid, kmip14.RevocationReasonCodeKeyCompromise)) }},
		{"Modify Attribute, Deactivation Date", func(r *rig, uid []byte) {
			r.good(r.do(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.DateTimeAttribute("Activation Date", r.now.Load()+5)}))
			r.good(r.do(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.DateTimeAttribute("Deactivation Date", r.now.Load()+1000)}))
			r.good(r.modify(kmip.V1_4, uid, kmip.DateTimeAttribute("Deactivation Date", r.now.Load()+10)))
			r.now.Add(20)
		}},
		{"Re-key", func(r *rig, uid []byte) {
			r.good(r.identifier(kmip14.OperationActivate, uid))
			r.rekeyed(kmip.V1_4, &kmip.ReKeyRequest{UniqueIdentifier: uid})
			r.good(r.revoke(uid, kmip14.RevocationReasonCodeSuperseded))
		}},
		{"Archive and Recover", func(r *rig, uid []byte) {
			r.good(r.identifier(kmip14.OperationArchive, uid))
			if a := r.identifier(kmip14.OperationDestroy, uid); a.err == nil {
				t.Error("an archived key in use was destroyed")
			}
			r.good(r.identifier(kmip14.OperationRecover, uid))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			r := newRig(t)
			uid := r.create()
			material := bytes.Clone(r.bytesOf(kmip.V1_4, uid))
			r.reported(uid)
			way.do(r, uid)
			before := r.state(uid)
			a := r.identifier(kmip14.OperationDestroy, uid)
			if a.reason != kmip14.ResultReasonPermissionDenied || !strings.Contains(a.text, `VM "db-1" (5001) of vCenter vc`) {
				t.Errorf("Destroy: %v, %q", a.reason, a.text)
			}
			if r.state(uid) != before || !bytes.Equal(r.bytesOf(kmip.V1_4, uid), material) {
				t.Error("the key is another one")
			}
			stranger := r.as(operations.Principal{Client: "nas", Group: "nas"})
			absent := stranger.identifier(kmip14.OperationDestroy, []byte("0190e0d0-0000-7000-8000-000000000000"))
			if a := stranger.identifier(kmip14.OperationDestroy, uid); a.reason != absent.reason || a.text != absent.text {
				t.Errorf("another group is told %v %q, and of an absent key %v %q", a.reason, a.text, absent.reason, absent.text)
			}
		})
	}
}

// In one message with other items the Destroy alone fails.
func TestDestroyOfAKeyInUseInABatch(t *testing.T) {
	r := newRig(t)
	used, free := r.create(), r.create()
	r.reported(used)
	destroy := func(uid []byte) ask {
		return ask{op: kmip14.OperationDestroy, payload: &kmip.IdentifierRequest{UniqueIdentifier: uid}}
	}
	answers := r.send(kmip.V1_4, destroy(used), destroy(free),
		ask{op: kmip14.OperationActivate, payload: &kmip.IdentifierRequest{UniqueIdentifier: used}},
		ask{op: kmip14.OperationRevoke, payload: &kmip.RevokeRequest{UniqueIdentifier: used, Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeSuperseded}}},
		destroy(used))
	for i, want := range []kmip14.ResultReason{kmip14.ResultReasonPermissionDenied, 0, 0, 0, kmip14.ResultReasonPermissionDenied} {
		if answers[i].reason != want {
			t.Errorf("item %d: %v (%v), want %v", i, answers[i].reason, answers[i].err, want)
		}
	}
	if r.state(used) != kmip14.StateDeactivated || r.state(free) != kmip14.StateDestroyed {
		t.Errorf("the one in use is %v, the other %v", r.state(used), r.state(free))
	}
}
