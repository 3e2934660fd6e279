package operations_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func indexed(a kmip.Attribute, index int32) kmip.Attribute {
	a.Index, a.HasIndex = index, true
	return a
}

func (r *rig) modify(v kmip.Version, uid []byte, a kmip.Attribute) answer {
	r.t.Helper()
	return r.do(v, kmip14.OperationModifyAttribute, &kmip.ModifyAttributeRequest{UniqueIdentifier: uid, Attribute: a})
}

// remove deletes an instance; an index below 0 is not sent.
func (r *rig) remove(v kmip.Version, uid []byte, name string, index int32) answer {
	r.t.Helper()
	in := &kmip.DeleteAttributeRequest{UniqueIdentifier: uid, Name: []byte(name)}
	if index >= 0 {
		in.Index, in.HasIndex = index, true
	}
	return r.do(v, kmip14.OperationDeleteAttribute, in)
}

func (r *rig) add(v kmip.Version, uid []byte, a kmip.Attribute) answer {
	r.t.Helper()
	return r.do(v, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: a})
}

// list is every instance of an attribute with its index, in words.
func (r *rig) list(uid []byte, name string) string {
	r.t.Helper()
	var out []string
	for _, a := range r.attributes(kmip.V1_4, uid, name) {
		out = append(out, fmt.Sprintf("%d:%s", a.Index, show(a.Value)))
	}
	return strings.Join(out, " ")
}

func TestModifyAttribute(t *testing.T) {
	for _, tc := range []struct {
		a    kmip.Attribute
		want string // all instances afterwards
	}{
		{kmip.TextAttribute("x-a", "new"), "0:new 1:v1"},
		{indexed(kmip.TextAttribute("x-a", "new"), 0), "0:new 1:v1"},
		{indexed(kmip.IntegerAttribute("x-a", 5), 1), "0:v0 1:5"},
		{indexed(kmip.NameAttribute("other"), 1), "0:{n0 1} 1:{other 1}"},
		{kmip.NameAttribute("n0"), "0:{n0 1} 1:{n1 1}"},
		{indexed(kmip.TextAttribute("Contact Information", "donald"), 0), "0:donald"},
		{kmip.TextAttribute("Object Group", "h"), "0:h"},
		{application("a", "c"), "0:{a c}"},
		{usageLimits(9), "0:{9 9 1}"},
		{kmip.DateTimeAttribute("Activation Date", began+5), "0:1700000005"},
		{kmip.DateTimeAttribute("Process Start Date", began+25), "0:1700000025"},
		{kmip.DateTimeAttribute("Protect Stop Date", began+35), "0:1700000035"},
		{kmip.DateTimeAttribute("Deactivation Date", began+45), "0:1700000045"},
		{kmip.TextAttribute("Comment", "d"), "0:d"},
		{kmip.BooleanAttribute("Sensitive", true), "0:true"}, // it had its default
		{kmip.BooleanAttribute("Extractable", false), "0:false"},
	} {
		name := string(tc.a.Name)
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			uid := r.create(kmip.TextAttribute("x-a", "v0"), kmip.TextAttribute("x-a", "v1"), kmip.NameAttribute("n0"), kmip.NameAttribute("n1"),
				kmip.TextAttribute("Contact Information", "joe"), kmip.TextAttribute("Object Group", "g"), application("a", "b"), usageLimits(5),
				kmip.DateTimeAttribute("Activation Date", began+10), kmip.DateTimeAttribute("Process Start Date", began+20),
				kmip.DateTimeAttribute("Protect Stop Date", began+30), kmip.DateTimeAttribute("Deactivation Date", began+40), kmip.TextAttribute("Comment", "c"))
			count := len(r.attributes(kmip.V1_4, uid))
			r.now.Add(1)
			var out kmip.ModifyAttributeResponse
			r.ok(kmip.V1_4, kmip14.OperationModifyAttribute, &kmip.ModifyAttributeRequest{UniqueIdentifier: uid, Attribute: tc.a}, &out)
			if string(out.UniqueIdentifier) != string(uid) || string(out.Attribute.Name) != name || out.Attribute.Index != tc.a.Index || out.Attribute.HasIndex != (tc.a.Index > 0) {
				t.Errorf("the answer is %s %s, index %d (said: %v)", out.UniqueIdentifier, out.Attribute.Name, out.Attribute.Index, out.Attribute.HasIndex)
			}
			if got := r.list(uid, name); got != tc.want {
				t.Errorf("%s is %s, want %s", name, got, tc.want)
			}
			if !strings.Contains(" "+tc.want, fmt.Sprintf(" %d:%s", tc.a.Index, show(out.Attribute.Value))) {
				t.Errorf("the answer says %s", show(out.Attribute.Value))
			}
			if after := len(r.attributes(kmip.V1_4, uid)); after != count {
				t.Errorf("%d attributes became %d", count, after)
			}
			if got := show(r.attribute(kmip.V1_0, uid, "Last Change Date")); got != fmt.Sprint(began+1) {
				t.Errorf("Last Change Date is %s", got)
			}
		})
	}
}

// The transitions 4 and 6 of section 3.22.
func TestModifyAttributeMovesTheState(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.DateTimeAttribute("Activation Date", began+100), kmip.DateTimeAttribute("Deactivation Date", began+200))
	for _, step := range []struct {
		a    kmip.Attribute
		want kmip14.State
	}{
		{kmip.DateTimeAttribute("Activation Date", began+50), kmip14.StatePreActive},
		{kmip.DateTimeAttribute("Activation Date", began), kmip14.StateActive},
		{kmip.DateTimeAttribute("Deactivation Date", began+100), kmip14.StateActive},
		{kmip.DateTimeAttribute("Deactivation Date", began), kmip14.StateDeactivated},
	} {
		r.good(r.modify(kmip.V1_0, uid, step.a))
		if got := r.state(uid); got != step.want {
			t.Errorf("after %s %s: %v, want %v", step.a.Name, show(step.a.Value), got, step.want)
		}
	}
}

// Each rule of section 3 that depends on the object, and each row of the table
// in section 11.16.
func TestModifyAttributeRefusals(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("taken"))
	uid := r.create(kmip.NameAttribute("mine"), kmip.NameAttribute("mine too"), kmip.TextAttribute("x-a", "v"), kmip.TextAttribute("Contact Information", "joe"),
		kmip.DateTimeAttribute("Activation Date", began+100))
	active := r.create(kmip.DateTimeAttribute("Activation Date", began-9), kmip.DateTimeAttribute("Process Start Date", began-8),
		kmip.DateTimeAttribute("Protect Stop Date", began-7), kmip.DateTimeAttribute("Deactivation Date", began+100), usageLimits(5))
	r.good(r.modify(kmip.V1_0, active, usageLimits(6)))
	drawn := r.create(kmip.DateTimeAttribute("Activation Date", began-9), usageLimits(5))
	r.good(r.do(kmip.V1_0, kmip14.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: drawn, UsageLimitsCount: 1}))
	ended := r.create(kmip.DateTimeAttribute("Activation Date", began-9), kmip.DateTimeAttribute("Process Start Date", began+8),
		kmip.DateTimeAttribute("Protect Stop Date", began+9), kmip.DateTimeAttribute("Deactivation Date", began+100))
	r.good(r.revoke(ended, kmip14.RevocationReasonCodeKeyCompromise))
	archived := r.create(kmip.TextAttribute("x-a", "v"))
	r.good(r.identifier(kmip14.OperationArchive, archived))
	const (
		denied   = kmip14.ResultReasonPermissionDenied
		illegal  = kmip14.ResultReasonIllegalOperation
		field    = kmip14.ResultReasonInvalidField
		notFound = kmip14.ResultReasonItemNotFound
	)
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		uid    []byte
		a      kmip.Attribute
		reason kmip14.ResultReason
	}{
		{"absent object", kmip.V1_1, []byte(r.store.NewUID().String()), kmip.TextAttribute("x-a", "w"), notFound},
		{"archived", kmip.V1_1, archived, kmip.TextAttribute("x-a", "w"), kmip14.ResultReasonObjectArchived},
		{"unknown", kmip.V1_1, uid, kmip.TextAttribute("Colour", "red"), field},
		{"of a later version", kmip.V1_3, uid, kmip.TextAttribute("Comment", "c"), field},
		{"of another type of object", kmip.V1_4, uid, kmip.TextAttribute("PKCS#12 Friendly Name", "c"), field},
		{"not set", kmip.V1_1, uid, kmip.DateTimeAttribute("Deactivation Date", began+200), field},
		{"custom, not set", kmip.V1_1, uid, kmip.TextAttribute("x-b", "w"), field},
		{"custom, other case", kmip.V1_1, uid, kmip.TextAttribute("x-A", "w"), field},
		{"no such instance", kmip.V1_1, uid, indexed(kmip.TextAttribute("x-a", "w"), 1), notFound},
		{"no such instance of a single one", kmip.V1_1, uid, indexed(kmip.TextAttribute("Contact Information", "w"), 1), notFound},
		{"no such instance of a date", kmip.V1_1, uid, indexed(kmip.DateTimeAttribute("Activation Date", began), 1), notFound},
		{"wrong type", kmip.V1_1, uid, kmip.IntegerAttribute("Contact Information", 1), field},
		{"a Name in use", kmip.V1_1, uid, kmip.NameAttribute("taken"), illegal},
		{"its own other Name", kmip.V1_1, uid, kmip.NameAttribute("mine too"), illegal},
		{"dates in the wrong order", kmip.V1_1, active, kmip.DateTimeAttribute("Deactivation Date", began-10), field},
		{"y- of a client", kmip.V1_1, uid, kmip.TextAttribute("y-a", "w"), denied},
		{"State", kmip.V1_1, uid, kmip.EnumerationAttribute("State", kmip14.StateActive), denied},
		{"Unique Identifier", kmip.V1_1, uid, kmip.TextAttribute("Unique Identifier", "1"), denied},
		{"Cryptographic Length", kmip.V1_1, uid, kmip.IntegerAttribute("Cryptographic Length", 128), denied},
		{"Cryptographic Algorithm", kmip.V1_1, uid, kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmDES3), denied},
		{"Cryptographic Usage Mask", kmip.V1_1, uid, mask(), denied},
		{"Operation Policy Name", kmip.V1_1, uid, kmip.TextAttribute("Operation Policy Name", "default"), denied},
		{"Lease Time", kmip.V1_1, uid, kmip.IntervalAttribute("Lease Time", 1), denied},
		{"Fresh", kmip.V1_1, uid, kmip.BooleanAttribute("Fresh", true), denied},
		{"Initial Date", kmip.V1_1, uid, kmip.DateTimeAttribute("Initial Date", 1), denied},
		{"Activation Date of what is Active", kmip.V1_1, active, kmip.DateTimeAttribute("Activation Date", began+1), denied},
		{"Process Start Date that has come", kmip.V1_1, active, kmip.DateTimeAttribute("Process Start Date", began+1), denied},
		{"Protect Stop Date that has come", kmip.V1_1, active, kmip.DateTimeAttribute("Protect Stop Date", began+1), denied},
		{"Process Start Date of what is Compromised", kmip.V1_1, ended, kmip.DateTimeAttribute("Process Start Date", began+7), denied},
		{"Protect Stop Date of what is Compromised", kmip.V1_1, ended, kmip.DateTimeAttribute("Protect Stop Date", began+10), denied},
		{"Deactivation Date of what is Compromised", kmip.V1_1, ended, kmip.DateTimeAttribute("Deactivation Date", began+200), denied},
		{"Usage Limits that were drawn on", kmip.V1_1, drawn, usageLimits(5), denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fmt.Sprint(r.attributes(kmip.V1_4, uid), r.attributes(kmip.V1_4, active), r.attributes(kmip.V1_4, ended), r.attributes(kmip.V1_4, drawn))
			if a := r.modify(tc.v, tc.uid, tc.a); a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
			after := fmt.Sprint(r.attributes(kmip.V1_4, uid), r.attributes(kmip.V1_4, active), r.attributes(kmip.V1_4, ended), r.attributes(kmip.V1_4, drawn))
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("a refusal changed something:\n%s", diff)
			}
		})
	}
}

// Each further value counts against the bound of all, and the one that it
// replaces does not.
func TestModifyAttributeIsBounded(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.TextAttribute("x-a", "v"))
	long := strings.Repeat("v", 60<<10)
	r.good(r.modify(kmip.V1_0, uid, kmip.TextAttribute("x-a", long)))
	r.good(r.modify(kmip.V1_0, uid, kmip.TextAttribute("x-a", long+"more")))
	if a := r.modify(kmip.V1_0, uid, kmip.TextAttribute("x-a", long+long)); a.reason != kmip14.ResultReasonInvalidField {
		t.Errorf("%v, want Invalid Field", a.err)
	}
}

// An index stays with its instance: deleting leaves a gap, and a new instance
// gets the number after the highest (section 2.1.1).
func TestAttributeIndices(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.TextAttribute("x-a", "v0"), kmip.TextAttribute("x-a", "v1"), kmip.TextAttribute("x-a", "v2"))
	wants := func(want string) {
		t.Helper()
		if got := r.list(uid, "x-a"); got != want {
			t.Fatalf("x-a is %s, want %s", got, want)
		}
	}
	wants("0:v0 1:v1 2:v2")
	r.good(r.remove(kmip.V1_1, uid, "x-a", 1))
	wants("0:v0 2:v2")
	if a := r.remove(kmip.V1_1, uid, "x-a", 1); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("deleting the gap: %v", a.err)
	}
	if a := r.modify(kmip.V1_1, uid, indexed(kmip.TextAttribute("x-a", "w"), 1)); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("modifying the gap: %v", a.err)
	}
	r.good(r.add(kmip.V1_1, uid, kmip.TextAttribute("x-a", "v3")))
	wants("0:v0 2:v2 3:v3")
	r.good(r.remove(kmip.V1_1, uid, "x-a", -1))
	wants("2:v2 3:v3")
	if a := r.remove(kmip.V1_1, uid, "x-a", -1); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("deleting without an index when instance 0 is gone: %v", a.err)
	}
	r.good(r.modify(kmip.V1_1, uid, indexed(kmip.TextAttribute("x-a", "w3"), 3)))
	wants("2:v2 3:w3")
	r.good(r.remove(kmip.V1_1, uid, "x-a", 2))
	r.good(r.remove(kmip.V1_1, uid, "x-a", 3))
	wants("")
	r.good(r.add(kmip.V1_1, uid, kmip.TextAttribute("x-a", "again")))
	wants("0:again")
}

func TestDeleteAttribute(t *testing.T) {
	r := newRig(t)
	uid := r.register(key32, rich(1)...)
	for _, name := range []string{"Name", "Object Group", "Application Specific Information", "Contact Information", "Description", "Comment",
		"Usage Limits", "Cryptographic Parameters", "Alternative Name", "x-a"} {
		before := r.list(uid, name)
		var out kmip.DeleteAttributeResponse
		r.ok(kmip.V1_4, kmip14.OperationDeleteAttribute, &kmip.DeleteAttributeRequest{UniqueIdentifier: uid, Name: []byte(name)}, &out)
		if got := fmt.Sprintf("0:%s", show(out.Attribute.Value)); before == "" || got != before || out.Attribute.HasIndex {
			t.Errorf("%s was %q, and the answer says %q", name, before, got)
		}
		if got := r.list(uid, name); got != "" {
			t.Errorf("%s is still %s", name, got)
		}
	}
	var found kmip.LocateResponse
	r.ok(kmip.V1_1, kmip14.OperationLocate, &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.NameAttribute("rich-1")}}, &found)
	if len(found.UniqueIdentifiers) != 0 {
		t.Error("the object is found by the Name that was deleted")
	}
	r.create(kmip.NameAttribute("rich-1")) // which is free again
}

// Each row of the table in section 11.17.
func TestDeleteAttributeRefusals(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.NameAttribute("n"), kmip.TextAttribute("x-a", "v"), kmip.TextAttribute("x-two", "v"), kmip.TextAttribute("x-two", "w"),
		kmip.DateTimeAttribute("Activation Date", began), usageLimits(5), kmip.BooleanAttribute("Extractable", true), kmip.TextAttribute("Comment", "c"))
	r.good(r.do(kmip.V1_0, kmip14.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: uid, UsageLimitsCount: 1}))
	r.change(uid, func(o *keystore.Object) { o.AddAttribute("y-a", kmip.TextAttribute("y-a", "v").Value) })
	archived := r.create(kmip.TextAttribute("x-a", "v"))
	r.good(r.identifier(kmip14.OperationArchive, archived))
	const (
		denied   = kmip14.ResultReasonPermissionDenied
		notFound = kmip14.ResultReasonItemNotFound
	)
	type refusal struct {
		what   string
		v      kmip.Version
		uid    []byte
		name   string
		index  int32
		reason kmip14.ResultReason
	}
	refusals := []refusal{
		{"absent object", kmip.V1_1, []byte(r.store.NewUID().String()), "x-a", -1, notFound},
		{"archived", kmip.V1_1, archived, "x-a", -1, kmip14.ResultReasonObjectArchived},
		{"unknown", kmip.V1_1, uid, "Colour", -1, notFound},
		{"of a later version", kmip.V1_3, uid, "Comment", -1, notFound},
		{"not set", kmip.V1_1, uid, "Contact Information", -1, notFound},
		{"custom, not set", kmip.V1_1, uid, "x-b", -1, notFound},
		{"no such instance", kmip.V1_1, uid, "Name", 1, notFound},
		{"one of several in 1.0", kmip.V1_0, uid, "x-two", -1, kmip14.ResultReasonInvalidField},
		{"Usage Limits that were drawn on", kmip.V1_1, uid, "Usage Limits", -1, denied},
		{"y- of the server's", kmip.V1_1, uid, "y-a", -1, denied},
	}
	for _, rule := range kmip.Attributes() {
		if rule.Always || !rule.DeletedBy.Client() {
			refusals = append(refusals, refusal{rule.Name, kmip.V1_4, uid, rule.Name, -1, denied})
		}
	}
	before := fmt.Sprint(r.attributes(kmip.V1_4, uid))
	for _, tc := range refusals {
		if a := r.remove(tc.v, tc.uid, tc.name, tc.index); a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", tc.what, a.reason, a.err, tc.reason)
		}
	}
	if diff := cmp.Diff(before, fmt.Sprint(r.attributes(kmip.V1_4, uid))); diff != "" {
		t.Errorf("refusals changed something:\n%s", diff)
	}
	r.good(r.remove(kmip.V1_0, uid, "x-two", 0)) // 1.0 with an index
	r.good(r.remove(kmip.V1_0, uid, "x-two", 1))
}

// What held from the beginning does not hold again after it once did not.
func TestAlwaysSensitiveEnds(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.BooleanAttribute("Sensitive", true), kmip.BooleanAttribute("Extractable", false))
	for i, want := range []string{"0:true 0:true", "0:false 0:false", "0:false 0:false"} {
		if got := r.list(uid, "Always Sensitive") + " " + r.list(uid, "Never Extractable"); got != want {
			t.Errorf("step %d: Always Sensitive and Never Extractable are %s, want %s", i, got, want)
		}
		r.good(r.modify(kmip.V1_4, uid, kmip.BooleanAttribute("Sensitive", i == 1)))
		r.good(r.modify(kmip.V1_4, uid, kmip.BooleanAttribute("Extractable", i == 0)))
	}
}

// A value that a version has no words for cannot be deleted by it: the client
// could not be told what it has deleted.
func TestDeleteAttributeOfALaterVersionsValue(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.Attribute{Name: []byte("Link"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagLinkType, uint32(kmip14.LinkTypeNextLink))
		w.TextString(kmip14.TagLinkedObjectIdentifier, "x")
	})})
	if a := r.remove(kmip.V1_1, uid, "Link", -1); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("1.1: %v, want Item Not Found", a.err)
	}
	r.good(r.remove(kmip.V1_2, uid, "Link", -1))
}
