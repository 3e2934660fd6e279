package operations_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func (r *rig) locate(v kmip.Version, in *kmip.LocateRequest) (out kmip.LocateResponse) {
	r.t.Helper()
	r.ok(v, kmip14.OperationLocate, in, &out)
	return out
}

// zoo makes keys that differ in everything, oldest first, and returns their
// identifiers by letter.
func zoo(r *rig) map[string][]byte {
	r.t.Helper()
	z := map[string][]byte{}
	make := func(letter string, alg kmip14.CryptographicAlgorithm, bits, mask int32, more ...kmip.Attribute) {
		r.now.Add(100)
		list := append([]kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", alg), kmip.IntegerAttribute("Cryptographic Length", bits),
			kmip.IntegerAttribute("Cryptographic Usage Mask", mask), kmip.NameAttribute(letter)}, more...)
		var out kmip.CreateResponse
		r.ok(kmip.V1_4, kmip14.OperationCreate, createRequest(list), &out)
		z[letter] = slices.Clone(out.UniqueIdentifier)
	}
	aes, des := kmip14.CryptographicAlgorithmAES, kmip14.CryptographicAlgorithmDES3
	make("a", aes, 128, 0x0C, kmip.TextAttribute("Object Group", "g"), application("ssl", "x"), kmip.TextAttribute("x-id", "1"))
	make("b", aes, 256, 0x04, kmip.TextAttribute("Object Group", "g"), application("ssl", "y"), kmip.TextAttribute("x-id", "2"), kmip.DateTimeAttribute("Activation Date", 1000))
	make("c", des, 168, 0x1C, kmip.TextAttribute("Object Group", "g"), kmip.TextAttribute("Object Group", "h"), kmip.IntegerAttribute("x-id", 2), usageLimits(500))
	make("d", des, 112, 0x0C, kmip.TextAttribute("Contact Information", "joe"), kmip.DateTimeAttribute("Activation Date", 2000), kmip.DateTimeAttribute("Deactivation Date", 3000))
	make("e", aes, 256, 0x08, kmip.DateTimeAttribute("Activation Date", r.now.Load()+450))
	make("f", aes, 256, 0x0C, cryptographicParameters(), kmip.TextAttribute("x-id", "1"), kmip.BooleanAttribute("Sensitive", true))
	r.good(r.identifier(kmip14.OperationDestroy, z["f"]))
	make("g", aes, 256, 0x0C, kmip.TextAttribute("x-id", "1"))
	r.change(z["g"], func(o *keystore.Object) { o.ArchiveDate = keystore.At(r.now.Load()) })
	return z
}

func partName(value string) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Name"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.TextString(kmip14.TagNameValue, value) })}
}

func namespace(value string) kmip.Attribute {
	return kmip.Attribute{Name: []byte("Application Specific Information"),
		Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.TextString(kmip14.TagApplicationNamespace, value) })}
}

func TestLocateFilters(t *testing.T) {
	r := newRig(t)
	start := r.now.Load()
	z := zoo(r)
	const all = 7 // every Storage Status
	for _, tc := range []struct {
		name    string
		filters []kmip.Attribute
		storage int32
		want    string // newest first
	}{
		{"nothing", nil, 0, "edcba"},
		{"all storage", nil, all, "gfedcba"},
		{"on-line", nil, 1, "edcba"},
		{"archived", nil, 2, "g"},
		{"destroyed", nil, 4, "f"},
		{"no storage at all", nil, 8, ""},
		{"Object Type", []kmip.Attribute{kmip.EnumerationAttribute("Object Type", kmip14.ObjectTypeSymmetricKey)}, 0, "edcba"},
		{"another Object Type", []kmip.Attribute{kmip.EnumerationAttribute("Object Type", kmip14.ObjectTypeCertificate)}, 0, ""},
		{"Name", []kmip.Attribute{kmip.NameAttribute("c")}, 0, "c"},
		{"Name in part", []kmip.Attribute{partName("c")}, 0, "c"},
		{"Name Type alone", []kmip.Attribute{{Name: []byte("Name"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagNameType, uint32(kmip14.NameTypeUninterpretedTextString))
		})}}, 0, "edcba"},
		{"Name of nobody", []kmip.Attribute{kmip.NameAttribute("nobody")}, 0, ""},
		{"Name of what is destroyed", []kmip.Attribute{kmip.NameAttribute("f")}, 0, ""},
		{"two Names", []kmip.Attribute{kmip.NameAttribute("c"), kmip.NameAttribute("d")}, 0, ""},
		{"Object Group", []kmip.Attribute{kmip.TextAttribute("Object Group", "g")}, 0, "cba"},
		{"both Object Groups", []kmip.Attribute{kmip.TextAttribute("Object Group", "g"), kmip.TextAttribute("Object Group", "h")}, 0, "c"},
		{"algorithm", []kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmDES3)}, 0, "dc"},
		{"length", []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Length", 256)}, 0, "eb"},
		{"algorithm and length", []kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmDES3), kmip.IntegerAttribute("Cryptographic Length", 112)}, 0, "d"},
		{"mask, all bits of it", []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Usage Mask", 0x0C)}, 0, "dca"},
		{"mask, one bit", []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Usage Mask", 0x10)}, 0, "c"},
		{"mask, no bit", []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Usage Mask", 0)}, 0, "edcba"},
		{"State Active", []kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateActive)}, 0, "b"},
		{"State Deactivated, by its date", []kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateDeactivated)}, 0, "d"},
		{"State Destroyed", []kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateDestroyed)}, all, "f"},
		{"State Destroyed among what is on-line", []kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateDestroyed)}, 0, ""},
		{"application", []kmip.Attribute{application("ssl", "y")}, 0, "b"},
		{"application namespace", []kmip.Attribute{namespace("ssl")}, 0, "ba"},
		{"custom", []kmip.Attribute{kmip.TextAttribute("x-id", "1")}, 0, "a"},
		{"custom, all storage", []kmip.Attribute{kmip.TextAttribute("x-id", "1")}, all, "gfa"},
		{"custom of another type", []kmip.Attribute{kmip.IntegerAttribute("x-id", 2)}, 0, "c"},
		{"custom of nobody", []kmip.Attribute{kmip.TextAttribute("x-none", "1")}, 0, ""},
		{"contact", []kmip.Attribute{kmip.TextAttribute("Contact Information", "joe")}, 0, "d"},
		{"structure in part", []kmip.Attribute{{Name: []byte("Cryptographic Parameters"),
			Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagPaddingMethod, uint32(kmip14.PaddingMethodPKCS5)) })}}, all, "f"},
		{"structure with another field", []kmip.Attribute{{Name: []byte("Cryptographic Parameters"),
			Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagPaddingMethod, uint32(kmip14.PaddingMethodNone)) })}}, all, ""},
		{"Usage Limits of 500 or more", []kmip.Attribute{usageLimits(500)}, 0, "c"},
		{"Usage Limits of 501 or more", []kmip.Attribute{usageLimits(501)}, 0, ""},
		{"identifier", []kmip.Attribute{kmip.TextAttribute("Unique Identifier", strings.ToUpper(string(z["b"])))}, 0, "b"},
		{"Fresh", []kmip.Attribute{kmip.BooleanAttribute("Fresh", true)}, 0, "edcba"},
		{"not Fresh", []kmip.Attribute{kmip.BooleanAttribute("Fresh", false)}, 0, ""},
		{"Sensitive", []kmip.Attribute{kmip.BooleanAttribute("Sensitive", true)}, all, "f"},
		{"not Sensitive, said or not", []kmip.Attribute{kmip.BooleanAttribute("Sensitive", false)}, all, "gedcba"},
		{"default policy", []kmip.Attribute{kmip.TextAttribute("Operation Policy Name", "default")}, 0, "edcba"},
		{"Certificate Type, which no key has", []kmip.Attribute{kmip.EnumerationAttribute("Certificate Type", kmip14.CertificateTypeX_509)}, 0, ""},
		{"a date", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 1000)}, 0, "b"},
		{"a date that is nobody's", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 1001)}, 0, ""},
		{"a range", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 1000), kmip.DateTimeAttribute("Activation Date", 2000)}, 0, "db"},
		{"a range backwards", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 2000), kmip.DateTimeAttribute("Activation Date", 1001)}, 0, "d"},
		{"a range of Initial Dates", []kmip.Attribute{kmip.DateTimeAttribute("Initial Date", start+150), kmip.DateTimeAttribute("Initial Date", start+300)}, 0, "cb"},
		{"no date", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", math.MaxInt64)}, 0, "ca"},
		{"a range up to no date", []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 1500), kmip.DateTimeAttribute("Activation Date", math.MaxInt64)}, 0, "edca"},
		{"a date that the store keeps as an attribute", []kmip.Attribute{kmip.DateTimeAttribute("Original Creation Date", start+100)}, 0, "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &kmip.LocateRequest{Attributes: tc.filters, StorageStatusMask: tc.storage, HasStorageStatusMask: tc.storage != 0}
			out := r.locate(kmip.V1_4, in)
			if got := letters(z, out.UniqueIdentifiers); got != tc.want {
				t.Errorf("found %q, want %q", got, tc.want)
			}
			if int(out.LocatedItems) != len(tc.want) || !out.HasLocatedItems {
				t.Errorf("Located Items is %d, want %d", out.LocatedItems, len(tc.want))
			}
			in = &kmip.LocateRequest{Template: template(tc.filters), StorageStatusMask: tc.storage, HasStorageStatusMask: tc.storage != 0}
			if got := letters(z, r.locate(kmip.V1_4, in).UniqueIdentifiers); got != tc.want {
				t.Errorf("with the filters in a Template-Attribute: found %q, want %q", got, tc.want)
			}
		})
	}
	r.now.Add(1000)
	out := r.locate(kmip.V1_0, &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateActive)}})
	if got := letters(z, out.UniqueIdentifiers); got != "eb" {
		t.Errorf("after an Activation Date has come: %q, want eb", got)
	}
}

func letters(z map[string][]byte, uids [][]byte) (out string) {
	for _, uid := range uids {
		for letter, id := range z {
			if string(id) == string(uid) {
				out += letter
			}
		}
	}
	return out
}

func TestLocatePages(t *testing.T) {
	r := newRig(t, func(c *operations.Config) { c.LocateLimit = 4 })
	z := zoo(r)
	for _, tc := range []struct {
		v    kmip.Version
		in   kmip.LocateRequest
		want string
	}{
		{kmip.V1_0, kmip.LocateRequest{}, "edcb"},
		{kmip.V1_0, kmip.LocateRequest{HasMaximumItems: true, MaximumItems: 2}, "ed"},
		{kmip.V1_0, kmip.LocateRequest{HasMaximumItems: true, MaximumItems: 100}, "edcb"},
		{kmip.V1_3, kmip.LocateRequest{HasMaximumItems: true, MaximumItems: 2, HasOffsetItems: true, OffsetItems: 1}, "dc"},
		{kmip.V1_3, kmip.LocateRequest{HasOffsetItems: true, OffsetItems: 4}, "a"},
		{kmip.V1_3, kmip.LocateRequest{HasOffsetItems: true, OffsetItems: 99}, ""},
		{kmip.V1_3, kmip.LocateRequest{HasMaximumItems: true}, ""},
	} {
		out := r.locate(tc.v, &tc.in)
		if got := letters(z, out.UniqueIdentifiers); got != tc.want {
			t.Errorf("%v %+v: %q, want %q", tc.v, tc.in, got, tc.want)
		}
		if out.HasLocatedItems != tc.v.AtLeast(kmip.V1_3) || out.HasLocatedItems && out.LocatedItems != 5 {
			t.Errorf("%v: Located Items %v %d, want 5 of 1.3 on", tc.v, out.HasLocatedItems, out.LocatedItems)
		}
	}
}

// Members of an Object Group come oldest first: taking the fresh ones, one
// after the other, takes each once.
func TestLocateGroupMembers(t *testing.T) {
	r := newRig(t)
	z := zoo(r)
	next := func(member kmip14.ObjectGroupMember) string {
		all := r.send(kmip.V1_1,
			ask{op: kmip14.OperationLocate, payload: &kmip.LocateRequest{MaximumItems: 1, HasMaximumItems: true, ObjectGroupMember: member,
				Attributes: []kmip.Attribute{kmip.TextAttribute("Object Group", "g")}}},
			ask{op: kmip14.OperationGet, payload: &kmip.GetRequest{}})
		if all[1].err != nil {
			return all[1].reason.String()
		}
		return letters(z, [][]byte{all[1].payload.Find(kmip14.TagUniqueIdentifier).Value()})
	}
	all := r.locate(kmip.V1_1, &kmip.LocateRequest{ObjectGroupMember: kmip14.ObjectGroupMemberGroupMemberDefault,
		Attributes: []kmip.Attribute{kmip.TextAttribute("Object Group", "g")}})
	if got := letters(z, all.UniqueIdentifiers); got != "a" {
		t.Errorf("of members that are all fresh, the default one is %q, want the oldest", got)
	}
	for _, want := range []string{"a", "b"} {
		if got := next(kmip14.ObjectGroupMemberGroupMemberFresh); got != want {
			t.Errorf("the next fresh member is %s, want %s", got, want)
		}
	}
	for i, want := range []string{"c", "a", "b", "c", "a"} {
		if got := next(kmip14.ObjectGroupMemberGroupMemberDefault); got != want {
			t.Errorf("the default member is %s the time %d, want %s", got, i, want)
		}
	}
	if got := next(kmip14.ObjectGroupMemberGroupMemberFresh); got != kmip14.ResultReasonItemNotFound.String() {
		t.Errorf("after the last fresh member: %s", got)
	}
}

func TestLocateRefusals(t *testing.T) {
	r := newRig(t)
	many := make([]kmip.Attribute, 100)
	for i := range many {
		many[i] = kmip.TextAttribute("x-a", "v")
	}
	date := kmip.DateTimeAttribute("Initial Date", 1)
	for name, in := range map[string]*kmip.LocateRequest{
		"unknown attribute":            {Attributes: []kmip.Attribute{kmip.TextAttribute("Colour", "red")}},
		"attribute of a later version": {Attributes: []kmip.Attribute{kmip.TextAttribute("Comment", "c")}},
		"wrong type":                   {Attributes: []kmip.Attribute{kmip.TextAttribute("State", "Active")}},
		"unknown State":                {Attributes: []kmip.Attribute{kmip.EnumerationAttribute("State", uint32(99))}},
		"algorithm of a later version": {Attributes: []kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmChaCha20)}},
		"three dates":                  {Attributes: []kmip.Attribute{date, date, date}},
		"too many":                     {Attributes: many},
		"less than no items":           {HasMaximumItems: true, MaximumItems: -1},
		"Template":                     {Template: kmip.TemplateAttribute{Names: []kmip.Name{{Value: []byte("t"), Type: kmip14.NameTypeUninterpretedTextString}}}},
	} {
		if a := r.do(kmip.V1_1, kmip14.OperationLocate, in); a.reason != kmip14.ResultReasonInvalidField {
			t.Errorf("%s: %v (%v), want Invalid Field", name, a.reason, a.err)
		}
	}
	r.good(r.do(kmip.V1_1, kmip14.OperationLocate, &kmip.LocateRequest{Attributes: many[:64]}))
}
