package operations_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// Each operation that moves a State, in each State: where it leads, or what
// section 11 says.
func TestStates(t *testing.T) {
	const (
		denied  = kmip14.ResultReasonPermissionDenied
		illegal = kmip14.ResultReasonIllegalOperation
	)
	type outcome struct {
		to     kmip14.State
		reason kmip14.ResultReason
	}
	stays := func(reason kmip14.ResultReason) outcome { return outcome{0, reason} }
	to := func(s kmip14.State) outcome { return outcome{s, 0} }
	states := []kmip14.State{kmip14.StatePreActive, kmip14.StateActive, kmip14.StateDeactivated, kmip14.StateCompromised,
		kmip14.StateDestroyed, kmip14.StateDestroyedCompromised}
	for _, tc := range []struct {
		name string
		do   func(r *rig, uid []byte) answer
		want [6]outcome
	}{
		{"Activate", func(r *rig, uid []byte) answer { return r.identifier(kmip14.OperationActivate, uid) },
			[6]outcome{to(kmip14.StateActive), stays(denied), stays(denied), stays(denied), stays(denied), stays(denied)}},
		{"Destroy", func(r *rig, uid []byte) answer { return r.identifier(kmip14.OperationDestroy, uid) },
			[6]outcome{to(kmip14.StateDestroyed), stays(denied), to(kmip14.StateDestroyed), to(kmip14.StateDestroyedCompromised), stays(denied), stays(denied)}},
		{"Revoke, compromised", func(r *rig, uid []byte) answer { return r.revoke(uid, kmip14.RevocationReasonCodeKeyCompromise) },
			[6]outcome{to(kmip14.StateCompromised), to(kmip14.StateCompromised), to(kmip14.StateCompromised), stays(illegal),
				to(kmip14.StateDestroyedCompromised), stays(illegal)}},
		{"Revoke, CA compromised", func(r *rig, uid []byte) answer { return r.revoke(uid, kmip14.RevocationReasonCodeCACompromise) },
			[6]outcome{to(kmip14.StateCompromised), to(kmip14.StateCompromised), to(kmip14.StateCompromised), stays(illegal),
				to(kmip14.StateDestroyedCompromised), stays(illegal)}},
		{"Revoke, superseded", func(r *rig, uid []byte) answer { return r.revoke(uid, kmip14.RevocationReasonCodeSuperseded) },
			[6]outcome{stays(illegal), to(kmip14.StateDeactivated), stays(illegal), stays(illegal), stays(illegal), stays(illegal)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			for i, from := range states {
				uid := r.inState(from)
				a := tc.do(r, uid)
				want := tc.want[i]
				if a.reason != want.reason {
					t.Errorf("from %v: %v (%v), want %v", from, a.reason, a.err, want.reason)
				}
				if want.to == 0 {
					want.to = from
				}
				if got := r.state(uid); got != want.to {
					t.Errorf("from %v to %v, want %v", from, got, want.to)
				}
				if a.err == nil && string(a.payload.Find(kmip14.TagUniqueIdentifier).Value()) != string(uid) {
					t.Errorf("from %v: the answer has no Unique Identifier", from)
				}
			}
		})
	}
}

// inState makes a key and brings it into the State.
func (r *rig) inState(s kmip14.State) []byte {
	r.t.Helper()
	uid := r.create()
	switch s {
	case kmip14.StateActive:
		r.good(r.identifier(kmip14.OperationActivate, uid))
	case kmip14.StateDeactivated:
		r.good(r.identifier(kmip14.OperationActivate, uid))
		r.good(r.revoke(uid, kmip14.RevocationReasonCodeUnspecified))
	case kmip14.StateCompromised:
		r.good(r.revoke(uid, kmip14.RevocationReasonCodeKeyCompromise))
	case kmip14.StateDestroyed:
		r.good(r.identifier(kmip14.OperationDestroy, uid))
	case kmip14.StateDestroyedCompromised:
		r.good(r.revoke(uid, kmip14.RevocationReasonCodeKeyCompromise))
		r.good(r.identifier(kmip14.OperationDestroy, uid))
	}
	if got := r.state(uid); got != s {
		r.t.Fatalf("the key is %v, want %v", got, s)
	}
	return uid
}

func TestRevokeSetsWhatItSays(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   kmip.RevokeRequest
		want map[string]string // "": not set
	}{
		{"compromise with its date", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeKeyCompromise, Message: []byte("laptop lost")},
			HasCompromiseOccurrenceDate: true, CompromiseOccurrenceDate: 6},
			map[string]string{"Compromise Date": "1700000060", "Compromise Occurrence Date": "6", "Deactivation Date": "", "Revocation Reason": "{2 laptop lost}"}},
		{"compromise without a date", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeCACompromise}},
			map[string]string{"Compromise Date": "1700000060", "Compromise Occurrence Date": "1700000000", "Revocation Reason": "{3}"}},
		{"compromise just now", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeKeyCompromise},
			HasCompromiseOccurrenceDate: true, CompromiseOccurrenceDate: began + 60}, map[string]string{"Compromise Occurrence Date": "1700000060"}},
		{"cessation", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: kmip14.RevocationReasonCodeCessationOfOperation}},
			map[string]string{"Compromise Date": "", "Compromise Occurrence Date": "", "Deactivation Date": "1700000060", "Revocation Reason": "{6}"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			tc.in.UniqueIdentifier = r.inState(kmip14.StateActive)
			r.now.Add(60)
			r.good(r.do(kmip.V1_0, kmip14.OperationRevoke, &tc.in))
			for name, want := range tc.want {
				if it := r.attribute(kmip.V1_0, tc.in.UniqueIdentifier, name); show(it) != want && !(want == "" && it.IsZero()) {
					t.Errorf("%s is %s, want %q", name, show(it), want)
				}
			}
		})
	}
}

func TestRevokeRefusals(t *testing.T) {
	r := newRig(t)
	uid := r.inState(kmip14.StateActive)
	compromise, cessation := kmip14.RevocationReasonCodeKeyCompromise, kmip14.RevocationReasonCodeCessationOfOperation
	for _, tc := range []struct {
		name   string
		in     kmip.RevokeRequest
		reason kmip14.ResultReason
	}{
		{"unknown reason", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: 99}}, kmip14.ResultReasonInvalidField},
		{"a date without a compromise", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: cessation}, HasCompromiseOccurrenceDate: true, CompromiseOccurrenceDate: 6},
			kmip14.ResultReasonInvalidField},
		{"a compromise to come", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: compromise}, HasCompromiseOccurrenceDate: true, CompromiseOccurrenceDate: began + 1},
			kmip14.ResultReasonInvalidField},
		{"a long story", kmip.RevokeRequest{Reason: kmip.RevocationReason{Code: compromise, Message: make([]byte, 2000)}}, kmip14.ResultReasonInvalidField},
	} {
		tc.in.UniqueIdentifier = uid
		if a := r.do(kmip.V1_1, kmip14.OperationRevoke, &tc.in); a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", tc.name, a.reason, a.err, tc.reason)
		}
	}
	if got := r.state(uid); got != kmip14.StateActive {
		t.Errorf("after refusals the key is %v", got)
	}
}

// Objects without a State cannot be activated, and Templates not revoked.
func TestObjectsWithoutAState(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		objectType keystore.ObjectType
		activate   kmip14.ResultReason
		revoke     kmip14.ResultReason
	}{
		{keystore.Template, kmip14.ResultReasonIllegalOperation, kmip14.ResultReasonIllegalOperation},
		{keystore.Certificate, 0, 0},
		{keystore.OpaqueObject, kmip14.ResultReasonIllegalOperation, 0},
	} {
		uid := r.store.NewUID()
		must(t, r.store.Do(t.Context(), r.who, true, making{&keystore.Object{UniqueIdentifier: uid, Type: tc.objectType}}))
		id := []byte(uid.String())
		if a := r.identifier(kmip14.OperationActivate, id); a.reason != tc.activate {
			t.Errorf("Activate of type %d: %v, want %v", tc.objectType, a.reason, tc.activate)
		}
		if a := r.revoke(id, kmip14.RevocationReasonCodeKeyCompromise); a.reason != tc.revoke {
			t.Errorf("Revoke of type %d: %v, want %v", tc.objectType, a.reason, tc.revoke)
		}
		for _, name := range []string{"Cryptographic Algorithm", "Cryptographic Length", "Cryptographic Usage Mask"} {
			if it := r.attribute(kmip.V1_4, id, name); !it.IsZero() {
				t.Errorf("an object of type %d has a %s that nobody set: %s", tc.objectType, name, show(it))
			}
		}
		if it := r.attribute(kmip.V1_4, id, "State"); it.IsZero() == (tc.objectType == keystore.Certificate) {
			t.Errorf("an object of type %d has the State %s", tc.objectType, show(it))
		}
	}
}

// making stores an object behind the protocol's back.
type making struct{ object *keystore.Object }

func (m making) Run(b *keystore.Batch) error {
	return b.Do(&keystore.Op{Name: "Test", Class: keystore.OpChange}, m)
}

func (m making) Apply(tx *keystore.Tx) error { return tx.Create(m.object) }

func TestArchivedObjectsAreLeftAlone(t *testing.T) {
	r := newRig(t)
	uid := r.create()
	r.change(uid, func(o *keystore.Object) { o.ArchiveDate = keystore.At(began) })
	for _, op := range []kmip14.Operation{kmip14.OperationActivate, kmip14.OperationRevoke, kmip14.OperationDestroy, kmip14.OperationGet, kmip14.OperationAddAttribute,
		kmip14.OperationModifyAttribute, kmip14.OperationDeleteAttribute, kmip14.OperationCheck, kmip14.OperationObtainLease, kmip14.OperationGetUsageAllocation,
		kmip14.OperationArchive} {
		if a := r.do(kmip.V1_1, op, requests[op](uid)); a.reason != kmip14.ResultReasonObjectArchived {
			t.Errorf("%v: %v, want Object Archived", op, a.reason)
		}
	}
	if got := show(r.attribute(kmip.V1_1, uid, "Archive Date")); got != "1700000000" {
		t.Errorf("Archive Date is %s", got)
	}
}
