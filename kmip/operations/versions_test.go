package operations_test

import (
	"fmt"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// responses has a payload to decode each operation's answer with; decoding
// refuses fields that the version does not have.
var responses = map[kmip14.Operation]func() kmip.Payload{
	kmip14.OperationCreate:           func() kmip.Payload { return new(kmip.CreateResponse) },
	kmip14.OperationRegister:         func() kmip.Payload { return new(kmip.RegisterResponse) },
	kmip14.OperationLocate:           func() kmip.Payload { return new(kmip.LocateResponse) },
	kmip14.OperationGet:              func() kmip.Payload { return new(kmip.GetResponse) },
	kmip14.OperationReKey:            func() kmip.Payload { return new(kmip.ReKeyResponse) },
	kmip14.OperationGetAttributes:    func() kmip.Payload { return new(kmip.GetAttributesResponse) },
	kmip14.OperationGetAttributeList: func() kmip.Payload { return new(kmip.GetAttributeListResponse) },
	kmip14.OperationAddAttribute:     func() kmip.Payload { return new(kmip.AddAttributeResponse) },
	kmip14.OperationModifyAttribute:  func() kmip.Payload { return new(kmip.ModifyAttributeResponse) },
	kmip14.OperationDeleteAttribute:  func() kmip.Payload { return new(kmip.DeleteAttributeResponse) },
	kmip14.OperationCheck:            func() kmip.Payload { return new(kmip.CheckResponse) },
	kmip14.OperationObtainLease:      func() kmip.Payload { return new(kmip.ObtainLeaseResponse) },
	kmip14.OperationActivate:         func() kmip.Payload { return new(kmip.IdentifierResponse) },
	kmip14.OperationArchive:          func() kmip.Payload { return new(kmip.IdentifierResponse) },
	kmip14.OperationRecover:          func() kmip.Payload { return new(kmip.IdentifierResponse) },

	kmip14.OperationCancel:             func() kmip.Payload { return new(kmip.CancelResponse) },
	kmip14.OperationGetUsageAllocation: func() kmip.Payload { return new(kmip.GetUsageAllocationResponse) },
	kmip14.OperationRevoke:             func() kmip.Payload { return new(kmip.IdentifierResponse) },
	kmip14.OperationDestroy:            func() kmip.Payload { return new(kmip.IdentifierResponse) },
	kmip14.OperationQuery:              func() kmip.Payload { return new(kmip.QueryResponse) },
	kmip14.OperationDiscoverVersions:   func() kmip.Payload { return new(kmip.DiscoverVersionsResponse) },
}

// rich are attributes that need every version's words: what a 1.4 client says,
// an older one must not be told.
func rich(i int) []kmip.Attribute {
	structure := func(name string, write func(w *ttlv.Writer)) kmip.Attribute {
		return kmip.Attribute{Name: []byte(name), Value: object(kmip14.TagAttributeValue, write)}
	}
	return []kmip.Attribute{
		kmip.NameAttribute(fmt.Sprintf("rich-%d", i)), kmip.TextAttribute("Object Group", "g"), application("a", "b"),
		kmip.TextAttribute("Contact Information", "c"), kmip.TextAttribute("Description", "d"), kmip.TextAttribute("Comment", "c"),
		kmip.BooleanAttribute("Sensitive", false), kmip.BooleanAttribute("Extractable", true), usageLimits(5),
		kmip.DateTimeAttribute("Original Creation Date", 1), kmip.DateTimeAttribute("Activation Date", 10),
		kmip.DateTimeAttribute("Process Start Date", 11), kmip.DateTimeAttribute("Protect Stop Date", 12), kmip.DateTimeAttribute("Deactivation Date", 1<<40),
		structure("Cryptographic Parameters", func(w *ttlv.Writer) { // fields and values of 1.0, 1.2 and 1.4
			w.Enumeration(kmip14.TagBlockCipherMode, uint32(kmip14.BlockCipherModeAEAD))
			w.Enumeration(kmip14.TagHashingAlgorithm, 0x0C)
			w.Boolean(kmip14.TagRandomIV, true)
			w.Integer(kmip14.TagSaltLength, 4)
		}),
		structure("Alternative Name", func(w *ttlv.Writer) {
			w.TextString(kmip14.TagAlternativeNameValue, "n")
			w.Enumeration(kmip14.TagAlternativeNameType, 1)
		}),
		structure("Link", func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagLinkType, uint32(kmip14.LinkTypeNextLink))
			w.TextString(kmip14.TagLinkedObjectIdentifier, "x")
		}),
		structure("Link", func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagLinkType, uint32(kmip14.LinkTypeReplacementObjectLink))
			w.TextString(kmip14.TagLinkedObjectIdentifier, "x")
		}),
		structure("Random Number Generator", func(w *ttlv.Writer) { w.Enumeration(kmip14.TagRNGAlgorithm, 1) }),
		kmip.TextAttribute("x-a", "v"),
	}
}

// No answer has a field, an attribute or a value that is newer than its
// request: for every operation of the table, in every version.
func TestVersionGate(t *testing.T) {
	r := newRig(t)
	i := 0
	for op := kmip14.Operation(1); op <= 0xff; op++ {
		row := r.ops.Row(op)
		if row == nil || op == kmip14.OperationPoll { // there is nothing to poll
			continue
		}
		for _, v := range versions {
			t.Run(fmt.Sprintf("%v %v", op, v), func(t *testing.T) {
				if requests[op] == nil || responses[op] == nil {
					t.Fatal("this test has no request or response for the operation")
				}
				i++
				uid := r.register(key32, append(rich(i), kmip.TextAttribute("x-present", "v"))...)
				switch op {
				case kmip14.OperationActivate, kmip14.OperationDestroy, kmip14.OperationReKey, kmip14.OperationCheck, kmip14.OperationGetUsageAllocation:
					uid = r.fit(op)
				}
				in := requests[op](uid)
				if op == kmip14.OperationQuery {
					in = allFunctions(v)
				}
				a := r.do(v, op, in)
				if !v.AtLeast(row.Since) {
					return // the server refuses it before
				}
				if a.err != nil {
					t.Fatal(a.err)
				}
				if err := responses[op]().Decode(a.payload, v); err != nil {
					t.Fatalf("the answer is not one of %v: %v", v, err)
				}
				gate(t, a.payload, v)
			})
		}
	}
}

// gate walks an answer and holds every enumeration, and every attribute's name
// and value, to the version.
func gate(t *testing.T, it ttlv.Item, v kmip.Version) {
	t.Helper()
	if it.Tag() == kmip14.TagAttribute {
		var a kmip.Attribute
		must(t, a.Decode(it, v))
		rule, ok := kmip.LookupAttribute(a.Name)
		if !ok || !rule.In(v) {
			t.Fatalf("the attribute %s does not exist in %v", a.Name, v)
		}
		if err := rule.Check(a.Value, v); err != nil {
			t.Errorf("the value of %s: %v", a.Name, err)
		}
		if n, err := a.Value.Enumeration(); err == nil && !rule.Custom() && !kmip.ValueIn(rule.Tag, n, v) {
			t.Errorf("%s is 0x%X, which %v does not have", a.Name, n, v)
		}
	}
	if it.Tag() == kmip14.TagAttributeName && it.Type() == ttlv.TextString {
		if rule, ok := kmip.LookupAttribute(it.Value()); !ok || !rule.In(v) {
			t.Errorf("the name %s does not exist in %v", it.Value(), v)
		}
	}
	if n, err := it.Enumeration(); err == nil && !kmip.ValueIn(it.Tag(), n, v) {
		t.Errorf("%v is 0x%X, which %v does not have", it.Tag(), n, v)
	}
	items, err := it.Items()
	for err == nil {
		inner, ok := items.Next()
		if !ok {
			return
		}
		gate(t, inner, v)
	}
}

// The gate is no wall: what a version has is said in full.
func TestVersionGateLetsThrough(t *testing.T) {
	r := newRig(t)
	uid := r.register(key32, rich(0)...)
	for _, tc := range []struct {
		name string
		want [5]string // by version; "": nothing
	}{
		{"Digest", [5]string{"{6 *}", "{6 * 1}", "{6 * 1}", "{6 * 1}", "{6 * 1}"}},
		{"Fresh", [5]string{"", "true", "true", "true", "true"}},
		{"Original Creation Date", [5]string{"", "", "1", "1", "1"}},
		{"Alternative Name", [5]string{"", "", "{n 1}", "{n 1}", "{n 1}"}},
		{"Random Number Generator", [5]string{"", "", "", "{1}", "{1}"}},
		{"Comment", [5]string{"", "", "", "", "c"}},
		{"Sensitive", [5]string{"", "", "", "", "false"}},
		{"Cryptographic Parameters", [5]string{"", "", "{12 true}", "{12 true}", "{18 12 true 4}"}},
		{"Link", [5]string{"{262 x}", "{262 x}", "{267 x} {262 x}", "{267 x} {262 x}", "{267 x} {262 x}"}},
		{"Usage Limits", [5]string{"{5 5 1}", "{5 5 1}", "{5 5 1}", "{5 5 1}", "{5 5 1}"}},
		{"State", [5]string{"2", "2", "2", "2", "2"}},
	} {
		for i, v := range versions {
			got := ""
			for j, a := range r.attributes(v, uid, tc.name) {
				if j > 0 {
					got += " "
				}
				if tc.name == "Digest" {
					a.Value = mask32(a.Value)
				}
				got += show(a.Value)
			}
			want := tc.want[i]
			if tc.name == "Digest" {
				want = fmt.Sprintf(map[bool]string{true: "{6 %x}", false: "{6 %x 1}"}[v == kmip.V1_0], make([]byte, 32))
			}
			if got != want {
				t.Errorf("%s in %v is %q, want %q", tc.name, v, got, want)
			}
		}
	}
}

// mask32 replaces the digest, which is another each time, by zeros.
func mask32(it ttlv.Item) ttlv.Item {
	c, _ := ttlv.Parse(append([]byte(nil), it.Raw()...))
	clear(c.Find(kmip14.TagDigestValue).Value())
	return c
}
