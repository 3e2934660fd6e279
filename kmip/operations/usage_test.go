package operations_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

func (r *rig) allocate(uid []byte, count int64) answer {
	r.t.Helper()
	return r.do(kmip.V1_0, kmip14.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: uid, UsageLimitsCount: count})
}

func usable(more ...kmip.Attribute) []kmip.Attribute {
	return append(more, kmip.DateTimeAttribute("Activation Date", began-100))
}

func TestGetUsageAllocation(t *testing.T) {
	r := newRig(t)
	uid := r.create(usable(usageLimits(1000))...)
	for i, step := range []struct {
		count  int64
		reason kmip14.ResultReason
		left   string
	}{
		{500, 0, "{1000 500 1}"},
		{501, kmip14.ResultReasonPermissionDenied, "{1000 500 1}"}, // whole or not at all
		{0, kmip14.ResultReasonInvalidField, "{1000 500 1}"},
		{-500, kmip14.ResultReasonInvalidField, "{1000 500 1}"},
		{-1 << 63, kmip14.ResultReasonInvalidField, "{1000 500 1}"},
		{1<<63 - 1, kmip14.ResultReasonPermissionDenied, "{1000 500 1}"},
		{499, 0, "{1000 1 1}"},
		{1, 0, "{1000 0 1}"},
		{1, kmip14.ResultReasonPermissionDenied, "{1000 0 1}"},
	} {
		r.now.Add(1)
		if a := r.allocate(uid, step.count); a.reason != step.reason {
			t.Errorf("step %d, %d units: %v (%v), want %v", i, step.count, a.reason, a.err, step.reason)
		}
		if got := show(r.attribute(kmip.V1_0, uid, "Usage Limits")); got != step.left {
			t.Errorf("step %d: Usage Limits are %s, want %s", i, got, step.left)
		}
	}
	if got := show(r.attribute(kmip.V1_0, uid, "Last Change Date")); got != fmt.Sprint(began+8) {
		t.Errorf("Last Change Date is %s", got)
	}
}

// Only what can protect, and only while it may (sections 4.18 and 11.19).
func TestGetUsageAllocationRefusals(t *testing.T) {
	r := newRig(t)
	decrypting := func(more ...kmip.Attribute) []byte {
		var out kmip.CreateResponse
		r.ok(kmip.V1_0, kmip14.OperationCreate, createRequest(append(more, kmip.IntegerAttribute("Cryptographic Usage Mask", 8),
			kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg))), &out)
		return append([]byte(nil), out.UniqueIdentifier...)
	}
	deactivated := r.create(usable(usageLimits(5))...)
	r.good(r.revoke(deactivated, kmip14.RevocationReasonCodeSuperseded))
	compromised := r.create(usable(usageLimits(5))...)
	r.good(r.revoke(compromised, kmip14.RevocationReasonCodeKeyCompromise))
	destroyed := r.create(usageLimits(5))
	r.good(r.identifier(kmip14.OperationDestroy, destroyed))
	for _, tc := range []struct {
		name   string
		uid    []byte
		reason kmip14.ResultReason
	}{
		{"no Usage Limits", r.create(usable()...), kmip14.ResultReasonIllegalOperation},
		{"not Active yet", r.create(usageLimits(5)), kmip14.ResultReasonIllegalOperation},
		{"after Protect Stop", r.create(usable(usageLimits(5), kmip.DateTimeAttribute("Protect Stop Date", began-1))...), kmip14.ResultReasonIllegalOperation},
		{"before Protect Stop", r.create(usable(usageLimits(5), kmip.DateTimeAttribute("Protect Stop Date", began+1))...), 0},
		{"before Process Start", r.create(usable(usageLimits(5), kmip.DateTimeAttribute("Process Start Date", began+1))...), 0},
		{"for decryption only", decrypting(usable(usageLimits(5))...), kmip14.ResultReasonIllegalOperation},
		{"Deactivated", deactivated, kmip14.ResultReasonIllegalOperation},
		{"Compromised", compromised, kmip14.ResultReasonIllegalOperation},
		{"Destroyed", destroyed, kmip14.ResultReasonIllegalOperation},
		{"absent", []byte(r.store.NewUID().String()), kmip14.ResultReasonItemNotFound},
	} {
		if a := r.allocate(tc.uid, 1); a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", tc.name, a.reason, a.err, tc.reason)
		}
	}
}

// Clients that race for a key's allowance get all of it together, and never
// more.
func TestUsageIsNeverAllocatedTwice(t *testing.T) {
	const clients, each, total = 32, 20, 1000
	r := newRig(t)
	uid := r.create(usable(usageLimits(total))...)
	var granted atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			mine := r.as(*r.who)
			for j := range each {
				if count := int64(1 + (i+j)%7); mine.allocate(uid, count).err == nil {
					granted.Add(count)
				}
			}
		})
	}
	all.Wait()
	want := fmt.Sprintf("{%d %d 1}", total, total-granted.Load())
	if got := show(r.attribute(kmip.V1_0, uid, "Usage Limits")); got != want {
		t.Errorf("%d units were granted, and the limits are %s", granted.Load(), got)
	}
	if granted.Load() != total {
		t.Errorf("%d units were granted of %d: %d asked for %d", granted.Load(), total, clients*each, clients*each*4)
	}
}

// What a failed message took is given back with it.
func TestUsageOfADroppedMessage(t *testing.T) {
	r := newRig(t)
	uid := r.create(usable(usageLimits(5))...)
	m, changes := r.prepare(kmip.V1_0, ask{op: kmip14.OperationGetUsageAllocation, payload: &kmip.GetUsageAllocationRequest{UniqueIdentifier: uid, UsageLimitsCount: 5}})
	m.fail = errDropped
	if err := r.ops.Do(t.Context(), r.who, changes, m); err == nil {
		t.Fatal("the message was not dropped")
	}
	r.good(r.allocate(uid, 5))
}

func TestCheck(t *testing.T) {
	const encrypt, decrypt, sign = kmip14.CryptographicUsageMaskEncrypt, kmip14.CryptographicUsageMaskDecrypt, kmip14.CryptographicUsageMaskSign
	r := newRig(t)
	limited := r.create(usable(usageLimits(5))...)
	r.good(r.allocate(limited, 2))
	ended := r.create(usable(usageLimits(5))...)
	r.good(r.revoke(ended, kmip14.RevocationReasonCodeSuperseded))
	compromised := r.create(usable()...)
	r.good(r.revoke(compromised, kmip14.RevocationReasonCodeKeyCompromise))
	destroyed := r.create()
	r.good(r.identifier(kmip14.OperationDestroy, destroyed))
	early := r.create(usable(kmip.DateTimeAttribute("Process Start Date", began+1))...)
	late := r.create(usable(kmip.DateTimeAttribute("Protect Stop Date", began-1))...)
	units := func(n int64) kmip.CheckRequest {
		return kmip.CheckRequest{UsageLimitsCount: n, HasUsageLimitsCount: true}
	}
	use := func(m kmip14.CryptographicUsageMask) kmip.CheckRequest {
		return kmip.CheckRequest{CryptographicUsageMask: m, HasCryptographicUsageMask: true}
	}
	lease := func(s uint32) kmip.CheckRequest { return kmip.CheckRequest{LeaseTime: s, HasLeaseTime: true} }
	all := units(4)
	all.CryptographicUsageMask, all.HasCryptographicUsageMask, all.LeaseTime, all.HasLeaseTime = encrypt, true, 9999, true
	some := all
	some.CryptographicUsageMask, some.HasCryptographicUsageMask = 0, false
	none := kmip.CheckRequest{}
	for _, tc := range []struct {
		name   string
		uid    []byte
		in     kmip.CheckRequest
		denied kmip.CheckRequest
	}{
		{"nothing asked", limited, none, none},
		{"what is left", limited, units(3), none},
		{"more than what is left", limited, units(4), units(4)},
		{"units without limits", early, units(1 << 40), none},
		{"units of what is Deactivated", ended, units(1), units(1)},
		{"a use", limited, use(encrypt | decrypt), none},
		{"a use that it is not for", limited, use(encrypt | sign), use(encrypt | sign)},
		{"no use", limited, use(0), none},
		{"protecting with what is Deactivated", ended, use(encrypt), use(encrypt)},
		{"processing with what is Deactivated", ended, use(decrypt), none},
		{"protecting with what is Compromised", compromised, use(encrypt), use(encrypt)},
		{"processing with what is Compromised", compromised, use(decrypt), none},
		{"using what is Pre-Active", r.create(), use(decrypt), use(decrypt)},
		{"using what is Destroyed", destroyed, use(decrypt), use(decrypt)},
		{"protecting before Process Start", early, use(encrypt), none},
		{"processing before Process Start", early, use(decrypt), use(decrypt)},
		{"protecting after Protect Stop", late, use(encrypt), use(encrypt)},
		{"processing after Protect Stop", late, use(decrypt), none},
		{"the longest lease", limited, lease(3600), none},
		{"a longer lease", limited, lease(3601), lease(3601)},
		{"a lease on what is Compromised", compromised, lease(1), lease(1)},
		{"all at once", limited, all, some},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := tc.in
			in.UniqueIdentifier = tc.uid
			a := r.do(kmip.V1_0, kmip14.OperationCheck, &in)
			if !tc.denied.Denied() {
				var out kmip.CheckResponse
				if a.err != nil {
					t.Fatal(a.err)
				}
				must(t, out.Decode(a.payload, kmip.V1_0))
				if string(out.UniqueIdentifier) != string(tc.uid) || out.Denied() {
					t.Errorf("the answer is %+v", out)
				}
				return
			}
			got, ok := operations.FailurePayload(a.err).(*kmip.CheckResponse)
			if a.reason != kmip14.ResultReasonPermissionDenied || !ok {
				t.Fatalf("%v with %T, want Permission Denied", a.err, operations.FailurePayload(a.err))
			}
			if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", tc.denied) {
				t.Errorf("denied because of %+v, want %+v", *got, tc.denied)
			}
		})
	}
}

func TestObtainLease(t *testing.T) {
	for _, tc := range []struct {
		name   string
		refuse bool // the configuration refuses what is Deactivated
		in     kmip14.State
		reason kmip14.ResultReason
	}{
		{"Pre-Active", false, kmip14.StatePreActive, 0},
		{"Active", true, kmip14.StateActive, 0},
		{"Deactivated", false, kmip14.StateDeactivated, 0},
		{"Deactivated, and refused", true, kmip14.StateDeactivated, kmip14.ResultReasonPermissionDenied},
		{"Compromised", false, kmip14.StateCompromised, kmip14.ResultReasonPermissionDenied},
		{"Destroyed", false, kmip14.StateDestroyed, kmip14.ResultReasonPermissionDenied},
		{"Destroyed Compromised", false, kmip14.StateDestroyedCompromised, kmip14.ResultReasonPermissionDenied},
	} {
		r := newRig(t, func(c *operations.Config) { c.RefuseInactive, c.LeaseTime = tc.refuse, 77 })
		uid := r.inState(tc.in)
		r.now.Add(5)
		a := r.identifier(kmip14.OperationObtainLease, uid)
		if a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", tc.name, a.reason, a.err, tc.reason)
			continue
		}
		if a.err != nil {
			continue
		}
		var out kmip.ObtainLeaseResponse
		must(t, out.Decode(a.payload, kmip.V1_1))
		if string(out.UniqueIdentifier) != string(uid) || out.LeaseTime != 77 || out.LastChangeDate != began {
			t.Errorf("%s: %+v", tc.name, out)
		}
	}
}

func TestArchiveAndRecover(t *testing.T) {
	r := newRig(t)
	uid := r.register(key32, kmip.NameAttribute("stored away"))
	locate := func(mask kmip14.StorageStatusMask) int {
		in := &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.NameAttribute("stored away")}}
		if mask != 0 {
			in.StorageStatusMask, in.HasStorageStatusMask = int32(mask), true
		}
		var out kmip.LocateResponse
		r.ok(kmip.V1_0, kmip14.OperationLocate, in, &out)
		return len(out.UniqueIdentifiers)
	}
	const online, archival = kmip14.StorageStatusMaskOnLineStorage, kmip14.StorageStatusMaskArchivalStorage
	r.good(r.identifier(kmip14.OperationRecover, uid)) // on-line already
	r.now.Add(10)
	r.good(r.identifier(kmip14.OperationArchive, uid))
	if got := show(r.attribute(kmip.V1_0, uid, "Archive Date")); got != fmt.Sprint(began+10) {
		t.Errorf("Archive Date is %s", got)
	}
	if a, b, c := locate(0), locate(archival), locate(online|archival); a != 0 || b != 1 || c != 1 {
		t.Errorf("archived, it is located %d, %d and %d times", a, b, c)
	}
	if a := r.identifier(kmip14.OperationArchive, uid); a.reason != kmip14.ResultReasonObjectArchived {
		t.Errorf("Archive again: %v, want Object Archived", a.err)
	}
	r.now.Add(10)
	r.good(r.identifier(kmip14.OperationRecover, uid))
	if it := r.attribute(kmip.V1_0, uid, "Archive Date"); !it.IsZero() {
		t.Errorf("after Recover the Archive Date is %s", show(it))
	}
	if got := show(r.attribute(kmip.V1_0, uid, "Last Change Date")); got != fmt.Sprint(began+20) {
		t.Errorf("Last Change Date is %s", got)
	}
	if a, b, c := locate(0), locate(archival), locate(online|archival); a != 1 || b != 0 || c != 1 {
		t.Errorf("recovered, it is located %d, %d and %d times", a, b, c)
	}
	r.get(kmip.V1_0, uid)
	r.good(r.identifier(kmip14.OperationDestroy, uid))
	if a := r.identifier(kmip14.OperationArchive, uid); a.reason != kmip14.ResultReasonPermissionDenied {
		t.Errorf("Archive of what is destroyed: %v, want Permission Denied", a.err)
	}
}
