package operations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// vCenter asks for its own attributes before it sets them, and takes anything
// but a success without them for a failure.
func TestGetAttributesOfWhatIsNotSet(t *testing.T) {
	r := newRig(t)
	uid := r.create()
	for _, name := range []string{"x-Product_Version", "x-", "y-none", "Contact Information", "Deactivation Date", "Certificate Type", "Comment", "Colour", "", "state"} {
		if got := r.attributes(kmip.V1_1, uid, name); len(got) != 0 {
			t.Errorf("%q: %d attributes", name, len(got))
		}
	}
}

func TestGetAttributesAnswersInTheOrderAsked(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.NameAttribute("n1"), kmip.NameAttribute("n2"), kmip.TextAttribute("x-b", "1"), kmip.TextAttribute("x-a", "2"))
	names := func(list []kmip.Attribute) (out []string) {
		for _, a := range list {
			out = append(out, string(a.Name))
		}
		return out
	}
	got := names(r.attributes(kmip.V1_1, uid, "x-a", "State", "Comment", "Name", "Unique Identifier"))
	if diff := cmp.Diff([]string{"x-a", "State", "Name", "Name", "Unique Identifier"}, got); diff != "" {
		t.Errorf("asked by name (-want +got):\n%s", diff)
	}
	all := names(r.attributes(kmip.V1_0, uid))
	want := []string{"Unique Identifier", "Name", "Name", "Object Type", "Cryptographic Algorithm", "Cryptographic Length", "Digest",
		"Operation Policy Name", "Cryptographic Usage Mask", "Lease Time", "State", "Initial Date", "Last Change Date", "x-b", "x-a"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("all of them (-want +got):\n%s", diff)
	}
}

func TestGetAttributeListHasEachNameOnce(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.NameAttribute("n1"), kmip.NameAttribute("n2"), kmip.TextAttribute("x-b", "1"), kmip.TextAttribute("x-b", "2"))
	for _, v := range versions {
		var out kmip.GetAttributeListResponse
		r.ok(v, kmip14.OperationGetAttributeList, &kmip.IdentifierRequest{UniqueIdentifier: uid}, &out)
		var got, want []string
		for _, n := range out.Names {
			got = append(got, string(n))
		}
		for _, a := range r.attributes(v, uid) {
			if !slices.Contains(want, string(a.Name)) {
				want = append(want, string(a.Name))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: the list and Get Attributes differ (-attributes +list):\n%s", v, diff)
		}
	}
}

func TestGetAttributesRefusals(t *testing.T) {
	r := newRig(t)
	uid := r.create()
	twice := &kmip.GetAttributesRequest{UniqueIdentifier: uid, Names: [][]byte{[]byte("Object Type"), []byte("State"), []byte("Object Type")}}
	many := &kmip.GetAttributesRequest{UniqueIdentifier: uid}
	for i := range 600 {
		many.Names = append(many.Names, fmt.Appendf(nil, "x-%d", i))
	}
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     *kmip.GetAttributesRequest
		reason kmip14.ResultReason
	}{
		{"a name twice", kmip.V1_1, twice, kmip14.ResultReasonInvalidMessage},
		{"a name twice", kmip.V1_4, twice, kmip14.ResultReasonInvalidMessage},
		{"a name twice in 1.0", kmip.V1_0, twice, 0},
		{"too many names", kmip.V1_4, many, kmip14.ResultReasonInvalidField},
		{"no placeholder", kmip.V1_4, &kmip.GetAttributesRequest{}, kmip14.ResultReasonItemNotFound},
	} {
		if a := r.do(tc.v, kmip14.OperationGetAttributes, tc.in); a.reason != tc.reason {
			t.Errorf("%s: %v, want %v", tc.name, a.reason, tc.reason)
		}
	}
}

// Attributes outlive the key.
func TestAttributesOfADestroyedObject(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.NameAttribute("gone"))
	before := r.attributes(kmip.V1_1, uid)
	r.now.Add(60)
	r.good(r.identifier(kmip14.OperationDestroy, uid))
	got := map[string]string{}
	for _, a := range r.attributes(kmip.V1_1, uid) {
		got[string(a.Name)] = show(a.Value)
	}
	for _, a := range before {
		if name := string(a.Name); name != "State" && name != "Last Change Date" && got[name] != show(a.Value) {
			t.Errorf("%s was %s and is %s", name, show(a.Value), got[name])
		}
	}
	if got["State"] != "5" || got["Destroy Date"] != fmt.Sprint(began+60) {
		t.Errorf("State %s, Destroy Date %s", got["State"], got["Destroy Date"])
	}
}

func TestAddAttribute(t *testing.T) {
	r := newRig(t)
	uid := r.create(kmip.TextAttribute("x-some", "0"))
	var second kmip.Attribute
	for _, tc := range []struct {
		a     kmip.Attribute
		index int32
		want  string // of the instance, as Get Attributes says it
	}{
		{kmip.TextAttribute("x-Product", "VMware vSphere"), 0, "VMware vSphere"},
		{kmip.TextAttribute("x-some", "1"), 1, "1"},
		{kmip.IntegerAttribute("x-some", 2), 2, "2"},
		{kmip.NameAttribute("n0"), 0, "{n0 1}"},
		{kmip.NameAttribute("n1"), 1, "{n1 1}"},
		{kmip.TextAttribute("Object Group", "g"), 0, "g"},
		{kmip.TextAttribute("Contact Information", "joe"), 0, "joe"},
		{kmip.TextAttribute("Operation Policy Name", "default"), 0, "default"},
		{usageLimits(5), 0, "{5 5 1}"},
		{application("a", "b"), 0, "{a b}"},
		{cryptographicParameters(), 0, "{1 3 4}"},
		{kmip.DateTimeAttribute("Activation Date", began+10), 0, fmt.Sprint(began + 10)},
		{kmip.DateTimeAttribute("Process Start Date", began+20), 0, fmt.Sprint(began + 20)},
		{kmip.DateTimeAttribute("Protect Stop Date", began+30), 0, fmt.Sprint(began + 30)},
		{kmip.DateTimeAttribute("Deactivation Date", began+40), 0, fmt.Sprint(began + 40)},
		{kmip.TextAttribute("Comment", "c"), 0, "c"},
	} {
		var out kmip.AddAttributeResponse
		r.ok(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: tc.a}, &out)
		if string(out.UniqueIdentifier) != string(uid) || string(out.Attribute.Name) != string(tc.a.Name) || out.Attribute.Index != tc.index {
			t.Errorf("adding %s: the answer is %s %s %d", tc.a.Name, out.UniqueIdentifier, out.Attribute.Name, out.Attribute.Index)
		}
		if got := show(out.Attribute.Value); got != tc.want {
			t.Errorf("adding %s: the answer says %s, want %s", tc.a.Name, got, tc.want)
		}
		if out.Attribute.HasIndex && tc.index == 0 {
			t.Errorf("adding %s: the answer spells out the index 0", tc.a.Name)
		}
		second = kmip.Attribute{}
		for _, a := range r.attributes(kmip.V1_4, uid, string(tc.a.Name)) {
			if a.Index == tc.index {
				second = a
			}
		}
		if got := show(second.Value); got != tc.want {
			t.Errorf("%s is %s, want %s", tc.a.Name, got, tc.want)
		}
	}
}

// An Activation Date that is due makes the object Active (section 3.22), and a
// Deactivation Date ends it.
func TestAddAttributeOfDates(t *testing.T) {
	r := newRig(t)
	uid := r.create()
	add := func(a kmip.Attribute) answer {
		return r.do(kmip.V1_1, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: a})
	}
	r.good(add(kmip.DateTimeAttribute("Activation Date", began)))
	if got := r.state(uid); got != kmip14.StateActive {
		t.Errorf("State %v, want Active", got)
	}
	r.good(add(kmip.DateTimeAttribute("Deactivation Date", began+120)))
	r.now.Add(120)
	if got := r.state(uid); got != kmip14.StateDeactivated {
		t.Errorf("State %v, want Deactivated", got)
	}
}

func TestAddAttributeRefusals(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("taken"))
	uid := r.create(kmip.NameAttribute("mine"), kmip.TextAttribute("Contact Information", "joe"), kmip.DateTimeAttribute("Activation Date", began+100))
	compromised := r.create()
	r.good(r.revoke(compromised, kmip14.RevocationReasonCodeKeyCompromise))
	archived := r.create()
	r.change(archived, func(o *keystore.Object) { o.ArchiveDate = keystore.At(began) })
	full := r.create()
	r.change(full, func(o *keystore.Object) {
		for o.AddAttribute("x-filler", kmip.TextAttribute("x-filler", "v").Value) < 255 {
		}
	})
	indexed := kmip.TextAttribute("x-a", "v")
	indexed.HasIndex = true
	location := kmip.Attribute{Name: []byte("Key Value Location"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.TextString(kmip14.TagKeyValueLocationValue, "HSM-1")
		w.Enumeration(kmip14.TagKeyValueLocationType, 1)
	})}
	const (
		denied  = kmip14.ResultReasonPermissionDenied
		illegal = kmip14.ResultReasonIllegalOperation
		field   = kmip14.ResultReasonInvalidField
	)
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		uid    []byte
		a      kmip.Attribute
		reason kmip14.ResultReason
	}{
		{"with an index", kmip.V1_1, uid, indexed, field},
		{"read-only State", kmip.V1_1, uid, kmip.EnumerationAttribute("State", kmip14.StateActive), denied},
		{"read-only Digest", kmip.V1_1, uid, kmip.TextAttribute("Digest", ""), denied},
		{"read-only Lease Time", kmip.V1_1, uid, kmip.IntervalAttribute("Lease Time", 1), denied},
		{"read-only Unique Identifier", kmip.V1_1, uid, kmip.TextAttribute("Unique Identifier", "1"), denied},
		{"y- of a client", kmip.V1_1, uid, kmip.TextAttribute("y-a", "1"), denied},
		{"unknown", kmip.V1_1, uid, kmip.TextAttribute("Colour", "red"), denied},
		{"of a later version", kmip.V1_3, uid, kmip.TextAttribute("Comment", "c"), denied},
		{"of another type of object", kmip.V1_4, uid, kmip.TextAttribute("PKCS#12 Friendly Name", "c"), denied},
		{"for keys kept elsewhere", kmip.V1_2, uid, location, denied},
		{"wrong type", kmip.V1_1, uid, kmip.IntegerAttribute("Object Group", 1), field},
		{"set already", kmip.V1_1, uid, kmip.TextAttribute("Contact Information", "jim"), illegal},
		{"date set already", kmip.V1_1, uid, kmip.DateTimeAttribute("Activation Date", began+200), illegal},
		{"algorithm", kmip.V1_1, uid, kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmDES3), illegal},
		{"length", kmip.V1_1, uid, kmip.IntegerAttribute("Cryptographic Length", 128), illegal},
		{"usage mask", kmip.V1_1, uid, mask(), illegal},
		{"Fresh", kmip.V1_1, uid, kmip.BooleanAttribute("Fresh", false), illegal},
		{"Sensitive", kmip.V1_4, uid, kmip.BooleanAttribute("Sensitive", true), illegal},
		{"a Name in use", kmip.V1_1, uid, kmip.NameAttribute("taken"), illegal},
		{"its own Name", kmip.V1_1, uid, kmip.NameAttribute("mine"), illegal},
		{"dates in the wrong order", kmip.V1_1, uid, kmip.DateTimeAttribute("Deactivation Date", began+99), field},
		{"activation of what is compromised", kmip.V1_1, compromised, kmip.DateTimeAttribute("Activation Date", began), denied},
		{"archived", kmip.V1_1, archived, kmip.TextAttribute("x-a", "v"), kmip14.ResultReasonObjectArchived},
		{"full", kmip.V1_1, full, kmip.TextAttribute("x-a", "v"), kmip14.ResultReasonIndexOutOfBounds},
		{"absent object", kmip.V1_1, []byte(r.store.NewUID().String()), kmip.TextAttribute("x-a", "v"), kmip14.ResultReasonItemNotFound},
		{"Application Data to be made up", kmip.V1_1, uid, kmip.Attribute{Name: []byte("Application Specific Information"),
			Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.TextString(kmip14.TagApplicationNamespace, "ssl") })},
			kmip14.ResultReasonApplicationNamespaceNotSupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(r.attributes(kmip.V1_4, uid))
			a := r.do(tc.v, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: tc.uid, Attribute: tc.a})
			if a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
			if after := len(r.attributes(kmip.V1_4, uid)); after != before {
				t.Errorf("%d attributes became %d", before, after)
			}
		})
	}
}

// The texts of errors are for the client's log: they never quote what it sent.
func TestErrorsDoNotQuoteTheRequest(t *testing.T) {
	r := newRig(t)
	const planted = "planted-secret"
	uid := r.create()
	for _, a := range []kmip.Attribute{
		kmip.TextAttribute(planted, "v"), kmip.TextAttribute("y-"+planted, "v"), kmip.TextAttribute("State", planted),
		kmip.TextAttribute("Cryptographic Usage Mask", planted), {Name: []byte("Name"), Value: kmip.TextAttribute("", planted).Value},
	} {
		for _, got := range []answer{
			r.do(kmip.V1_1, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: a}),
			r.do(kmip.V1_1, kmip14.OperationCreate, createRequest(aes(256, a))),
			r.do(kmip.V1_1, kmip14.OperationLocate, &kmip.LocateRequest{Attributes: []kmip.Attribute{a}}),
		} {
			if got.err != nil && strings.Contains(got.err.Error()+got.text, planted) {
				t.Errorf("%s: %v", a.Name, got.err)
			}
		}
	}
}

// An item that ran and was dropped leaves nothing, and runs again to the same
// answer: the store does that after a conflict.
func TestApplyRunsAgain(t *testing.T) {
	all := newRig(t).ops
	for op := kmip14.Operation(1); op <= kmip14.OperationExport; op++ {
		request, ok := requests[op]
		if !ok || !all.Row(op).NeedsStore() {
			continue
		}
		t.Run(op.String(), func(t *testing.T) {
			r := newRig(t)
			uid := r.fit(op, kmip.NameAttribute("n"))
			m, changes := r.prepare(kmip.V1_4, ask{op: op, payload: request(uid)})
			m.fail = errDropped
			if err := r.ops.Do(t.Context(), r.who, changes, m); err == nil {
				t.Fatal("the message was not dropped")
			}
			if m.items[0].err != nil {
				t.Fatal(m.items[0].err)
			}
			first := m.answers()[0]
			if n := r.store.Info().Objects; n != 1 {
				t.Fatalf("what was dropped left %d objects", n)
			}
			m.fail = nil
			must(t, r.ops.Do(t.Context(), r.who, changes, m))
			must(t, m.items[0].err)
			if diff := cmp.Diff(first.payload.Raw(), m.answers()[0].payload.Raw()); diff != "" {
				t.Errorf("the second answer differs:\n%s", diff)
			}
		})
	}
}

var errDropped = fmt.Errorf("dropped")
