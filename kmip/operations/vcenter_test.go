package operations_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// What vCenter 7 and 8 send for the key of one VM, in their order: KMIP 1.1, Get
// before Activate, and their own attributes asked for before they are set.
func TestVCenterConversation(t *testing.T) {
	r := newRig(t)
	v := kmip.V1_1
	r.good(r.do(v, kmip14.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}))
	r.good(r.do(v, kmip14.OperationQuery, &kmip.QueryRequest{Functions: []kmip14.QueryFunction{kmip14.QueryFunctionQueryServerInformation}}))
	var made kmip.CreateResponse
	r.ok(v, kmip14.OperationCreate, createRequest(aes(256)), &made)
	uid := append([]byte(nil), made.UniqueIdentifier...)
	tag := func(pairs ...[2]string) {
		var asks []ask
		for _, p := range pairs {
			if it := r.attribute(v, uid, p[0]); !it.IsZero() {
				t.Errorf("%s is set already: %s", p[0], show(it))
			}
			asks = append(asks, ask{op: kmip14.OperationAddAttribute,
				payload: &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.TextAttribute(p[0], p[1])}})
		}
		for _, a := range r.send(v, asks...) {
			must(t, a.err)
		}
		for _, p := range pairs {
			if got := show(r.attribute(v, uid, p[0])); got != p[1] {
				t.Errorf("%s is %q, want %q", p[0], got, p[1])
			}
		}
	}
	tag([2]string{"x-Product_Version", "8.0.1 build-21560480"}, [2]string{"x-Vendor", "VMware, Inc."}, [2]string{"x-Product", "VMware vSphere"})
	block := r.blockOf(r.get(v, uid))
	if len(block.Bytes()) != 32 || block.KeyFormatType != raw {
		t.Errorf("got %d bytes in the format %v", len(block.Bytes()), block.KeyFormatType)
	}
	if got := r.state(uid); got != kmip14.StatePreActive {
		t.Errorf("State %v, want Pre-Active", got)
	}
	r.good(r.identifier(kmip14.OperationActivate, uid))
	tag([2]string{"x-Identifier", "4226f566-3ed5-1c8f-cda3-b0b037b6dc97"}, [2]string{"x-Component", "Virtual Machine"}, [2]string{"x-Name", "test01"})
	if got := r.state(uid); got != kmip14.StateActive {
		t.Errorf("State %v, want Active", got)
	}
	var found kmip.LocateResponse
	r.ok(v, kmip14.OperationLocate, &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.TextAttribute("x-Name", "test01")}}, &found)
	if len(found.UniqueIdentifiers) != 1 || string(found.UniqueIdentifiers[0]) != string(uid) {
		t.Errorf("the VM's name finds %d keys", len(found.UniqueIdentifiers))
	}
}
