package kmip_test

import (
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	ovh "github.com/ovh/kmip-go"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func rule(t *testing.T, name string) *kmip.AttributeRule {
	t.Helper()
	r, ok := kmip.LookupAttribute([]byte(name))
	if !ok {
		t.Fatalf("there is no attribute %q", name)
	}
	return r
}

// The table against two lists that were made by others: the tags' names in
// kmip14, and ovh's list of attributes.
func TestAttributeTableIsComplete(t *testing.T) {
	plain := strings.NewReplacer(" ", "", "#", "_", "X.5", "X_5")
	seen := map[string]bool{}
	lastSection := 0
	for _, r := range kmip.Attributes() {
		if got := r.Tag.String(); got != plain.Replace(r.Name) {
			t.Errorf("%s has the tag %s", r.Name, got)
		}
		if seen[r.Name] {
			t.Errorf("%s is there twice", r.Name)
		}
		seen[r.Name] = true
		if r != rule(t, r.Name) {
			t.Errorf("%s is not found by its name", r.Name)
		}
		if r.Custom() || r.Objects == 0 || !r.Since.Supported() {
			t.Errorf("%s: %+v", r.Name, r)
		}
		if r.Always && r.DeletedBy != kmip.Nobody {
			t.Errorf("%s always has a value, yet may be deleted", r.Name)
		}
		var n int
		for _, c := range strings.TrimPrefix(r.Section, "3.") {
			n = 10*n + int(c-'0')
		}
		if n <= lastSection {
			t.Errorf("%s is out of order: section %s", r.Name, r.Section)
		}
		lastSection = n
	}
	for _, name := range ovh.AllAttributeNames {
		if !seen[string(name)] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(seen) != len(ovh.AllAttributeNames) {
		t.Errorf("%d attributes, ovh has %d", len(seen), len(ovh.AllAttributeNames))
	}
}

func TestAttributesCameWithTheirVersion(t *testing.T) {
	for _, tc := range []struct {
		v     kmip.Version
		names string
	}{
		{kmip.V1_1, "Certificate Length,X.509 Certificate Identifier,X.509 Certificate Subject,X.509 Certificate Issuer,Digital Signature Algorithm,Fresh"},
		{kmip.V1_2, "Alternative Name,Key Value Present,Key Value Location,Original Creation Date"},
		{kmip.V1_3, "Random Number Generator"},
		{kmip.V1_4, "PKCS#12 Friendly Name,Description,Comment,Sensitive,Always Sensitive,Extractable,Never Extractable"},
	} {
		var got []string
		for _, r := range kmip.Attributes() {
			if r.Since == tc.v {
				got = append(got, r.Name)
			}
			if r.In(tc.v) != tc.v.AtLeast(r.Since) {
				t.Errorf("%s in %v: %v", r.Name, tc.v, r.In(tc.v))
			}
		}
		if want := strings.Split(tc.names, ","); !sameSet(want, got) {
			t.Errorf("%v brought %q, want %q", tc.v, got, want)
		}
	}
}

func sameSet(a, b []string) bool {
	in := map[string]bool{}
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			return false
		}
	}
	return len(a) == len(b)
}

// Rules that operations lean on, as section 3's tables have them.
func TestAttributeRules(t *testing.T) {
	const sym, tmpl, cert, opaque = kmip14.ObjectTypeSymmetricKey, kmip14.ObjectTypeTemplate, kmip14.ObjectTypeCertificate, kmip14.ObjectTypeOpaqueObject
	for _, tc := range []struct {
		name                                string
		always, multiple                    bool
		initially, modified, deleted        kmip.By
		symmetric, template, cert, opaqueOb bool
	}{
		{"Unique Identifier", true, false, kmip.Server, kmip.Nobody, kmip.Nobody, true, true, true, true},
		{"Name", false, true, kmip.Client, kmip.Both, kmip.Client, true, true, true, true},
		{"State", true, false, kmip.Server, kmip.Server, kmip.Nobody, true, false, true, false},
		{"Digest", true, true, kmip.Server, kmip.Nobody, kmip.Nobody, true, false, true, true},
		{"Cryptographic Usage Mask", true, false, kmip.Both, kmip.Server, kmip.Nobody, true, true, true, false},
		{"Initial Date", true, false, kmip.Server, kmip.Nobody, kmip.Nobody, true, true, true, true},
		{"Process Start Date", false, false, kmip.Both, kmip.Both, kmip.Nobody, true, true, false, false},
		{"Object Group", false, true, kmip.Both, kmip.Both, kmip.Client, true, true, true, true},
		{"Contact Information", false, false, kmip.Both, kmip.Both, kmip.Client, true, true, true, true},
		{"Certificate Type", true, false, kmip.Server, kmip.Nobody, kmip.Nobody, false, false, true, false},
		{"x-Name", false, true, kmip.Client, kmip.Both, kmip.Client, true, true, true, true},
		{"y-Name", false, true, kmip.Server, kmip.Server, kmip.Nobody, true, true, true, true},
	} {
		r := rule(t, tc.name)
		if r.Always != tc.always || r.Multiple != tc.multiple || r.InitiallyBy != tc.initially || r.ModifiedBy != tc.modified || r.DeletedBy != tc.deleted {
			t.Errorf("%s: %+v", tc.name, r)
		}
		if r.Objects.Has(sym) != tc.symmetric || r.Objects.Has(tmpl) != tc.template || r.Objects.Has(cert) != tc.cert || r.Objects.Has(opaque) != tc.opaqueOb {
			t.Errorf("%s applies to %b", tc.name, r.Objects)
		}
		if r.InitiallyBy.Client() != (tc.initially&kmip.Client != 0) || r.InitiallyBy.Server() != (tc.initially&kmip.Server != 0) {
			t.Errorf("%s: initially by %b", tc.name, r.InitiallyBy)
		}
	}
	if kmip.ObjectTypes(0xffff).Has(99) {
		t.Error("object type 99 is in a set")
	}
}

func TestLookupAttribute(t *testing.T) {
	for name, want := range map[string]bool{
		"State": true, "state": false, "State ": false, "": false, "x-": false, "y-": false, "x-a": true, "y-a": true, "X-a": false, "z-a": false, "Custom Attribute": false,
	} {
		if _, ok := kmip.LookupAttribute([]byte(name)); ok != want {
			t.Errorf("%q: %v, want %v", name, ok, want)
		}
	}
	names := [][]byte{[]byte("Application Specific Information"), []byte("x-Product_Version"), []byte("nonsense")}
	if n := testing.AllocsPerRun(100, func() {
		for _, name := range names {
			kmip.LookupAttribute(name)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// sample returns a valid value for a type; of a structure there is none.
func sample(typ ttlv.Type, n uint32) item {
	const tag = kmip14.TagAttributeValue
	switch typ {
	case ttlv.Integer:
		return in(tag, int32(n))
	case ttlv.LongInteger:
		return li(tag, int64(n))
	case ttlv.BigInteger:
		return built(func(w *ttlv.Writer) { w.BigInteger(tag, []byte{byte(n)}) })
	case ttlv.Enumeration:
		return en(tag, n)
	case ttlv.Boolean:
		return bo(tag, n == 1)
	case ttlv.TextString:
		return tx(tag, "text")
	case ttlv.ByteString:
		return bs(tag, "bytes")
	case ttlv.DateTime:
		return da(tag, int64(n))
	case ttlv.Interval:
		return iv(tag, n)
	}
	return st(tag)
}

func TestEveryAttributeHoldsToItsType(t *testing.T) {
	for _, r := range kmip.Attributes() {
		for typ := ttlv.Structure; typ <= ttlv.Interval; typ++ {
			err := r.Check(parsed(t, sample(typ, 1)), kmip.V1_4)
			switch {
			case typ == r.Type && typ != ttlv.Structure && err != nil:
				t.Errorf("%s refuses a %v: %v", r.Name, typ, err)
			case typ != r.Type && err == nil:
				t.Errorf("%s takes a %v", r.Name, typ)
			}
		}
		if r.Type == ttlv.Enumeration && (r.Check(parsed(t, en(kmip14.TagAttributeValue, 0)), kmip.V1_4) == nil ||
			r.Check(parsed(t, en(kmip14.TagAttributeValue, 0x80000001)), kmip.V1_4) == nil) {
			t.Errorf("%s takes a value that it does not have", r.Name)
		}
		if v := r.Since; v != kmip.V1_0 {
			wantError(t, r.Check(parsed(t, sample(r.Type, 1)), kmip.Version{Major: 1, Minor: v.Minor - 1}), invalidField, "does not exist in KMIP")
		}
	}
	for typ := ttlv.Integer; typ <= ttlv.Interval; typ++ {
		if err := rule(t, "x-a").Check(parsed(t, sample(typ, 1)), kmip.V1_0); err != nil {
			t.Errorf("a custom attribute refuses a %v: %v", typ, err)
		}
	}
}

func TestStructuredAttributes(t *testing.T) {
	value := func(kids ...item) item { return st(kmip14.TagAttributeValue, kids...) }
	alg := en(kmip14.TagHashingAlgorithm, 6)
	for _, tc := range []struct {
		name string
		v    kmip.Version
		in   item
		text string // "" if it is valid
	}{
		{"Name", kmip.V1_0, value(tx(kmip14.TagNameValue, "n"), en(kmip14.TagNameType, 1)), ""},
		{"Name", kmip.V1_0, value(en(kmip14.TagNameType, 1), tx(kmip14.TagNameValue, "n")), "has no NameValue"},
		{"Name", kmip.V1_0, value(tx(kmip14.TagNameValue, "n")), "has no NameType"},
		{"Name", kmip.V1_0, value(tx(kmip14.TagNameValue, "n"), en(kmip14.TagNameType, 3)), "0x3 is no value"},
		{"Name", kmip.V1_0, value(bs(kmip14.TagNameValue, "n"), en(kmip14.TagNameType, 1)), "Text String is expected"},
		{"Name", kmip.V1_0, value(tx(kmip14.TagNameValue, "n"), en(kmip14.TagNameType, 1), en(kmip14.TagNameType, 1)), "repeated"},
		{"Cryptographic Parameters", kmip.V1_0, value(), ""},
		{"Cryptographic Parameters", kmip.V1_0, value(en(kmip14.TagBlockCipherMode, 1), en(kmip14.TagPaddingMethod, 3), alg, en(kmip14.TagKeyRoleType, 11)), ""},
		{"Cryptographic Parameters", kmip.V1_1, value(bo(kmip14.TagRandomIV, true)), "RandomIV is unknown"},
		{"Cryptographic Parameters", kmip.V1_2, value(bo(kmip14.TagRandomIV, true)), ""},
		{"Cryptographic Parameters", kmip.V1_4, value(en(kmip14.TagPaddingMethod, 10), alg, in(kmip14.TagSaltLength, 20)), ""},
		{"Cryptographic Parameters", kmip.V1_3, value(in(kmip14.TagSaltLength, 20)), "SaltLength is unknown"},
		{"Digest", kmip.V1_0, value(alg, bs(kmip14.TagDigestValue, "d")), ""},
		{"Digest", kmip.V1_1, value(alg, bs(kmip14.TagDigestValue, "d"), en(kmip14.TagKeyFormatType, 1)), ""},
		{"Digest", kmip.V1_0, value(alg, bs(kmip14.TagDigestValue, "d"), en(kmip14.TagKeyFormatType, 1)), "KeyFormatType is unknown"},
		{"Usage Limits", kmip.V1_0, value(li(kmip14.TagUsageLimitsTotal, 9), li(kmip14.TagUsageLimitsCount, 9), en(kmip14.TagUsageLimitsUnit, 1)), ""},
		{"Usage Limits", kmip.V1_0, value(in(kmip14.TagUsageLimitsTotal, 9), en(kmip14.TagUsageLimitsUnit, 1)), "Long Integer is expected"},
		{"Link", kmip.V1_0, value(en(kmip14.TagLinkType, 0x101), tx(kmip14.TagLinkedObjectIdentifier, "u")), ""},
		{"Link", kmip.V1_0, value(en(kmip14.TagLinkType, 1), tx(kmip14.TagLinkedObjectIdentifier, "u")), "0x1 is no value"},
		{"Application Specific Information", kmip.V1_0, value(tx(kmip14.TagApplicationNamespace, "n")), ""},
		{"X.509 Certificate Subject", kmip.V1_1, value(bs(kmip14.TagSubjectDistinguishedName, "d"), bs(kmip14.TagSubjectAlternativeName, "1"), bs(kmip14.TagSubjectAlternativeName, "2")), ""},
		{"Random Number Generator", kmip.V1_3, value(en(kmip14.TagRNGAlgorithm, 3), en(kmip14.TagDRBGAlgorithm, 5), bo(kmip14.TagPredictionResistance, true)), ""},
		{"x-flat", kmip.V1_0, value(tx(kmip14.TagNameValue, "n"), en(kmip14.TagNameType, 1)), ""},
		{"x-nested", kmip.V1_0, value(tx(kmip14.TagNameValue, "n"), st(kmip14.TagName)), "structure inside"},
	} {
		err := rule(t, tc.name).Check(parsed(t, tc.in), tc.v)
		if tc.text == "" {
			if err != nil {
				t.Errorf("%s in %v: %v", tc.name, tc.v, err)
			}
			continue
		}
		wantError(t, err, invalidField, tc.text)
	}
}

func TestAttributeCheck(t *testing.T) {
	indexed := kmip.TextAttribute("Contact Information", "c")
	indexed.Index, indexed.HasIndex = 1, true
	several := kmip.NameAttribute("n")
	several.Index, several.HasIndex = 3, true
	for _, tc := range []struct {
		name string
		in   kmip.Attribute
		v    kmip.Version
		text string
	}{
		{"valid", kmip.EnumerationAttribute("State", kmip14.StateActive), kmip.V1_0, ""},
		{"several instances", several, kmip.V1_0, ""},
		{"unknown", kmip.TextAttribute("Colour", "red"), kmip.V1_4, `no attribute "Colour" in KMIP 1.4`},
		{"too new", kmip.BooleanAttribute("Fresh", true), kmip.V1_0, `no attribute "Fresh" in KMIP 1.0`},
		{"one instance only", indexed, kmip.V1_0, "has one instance; Attribute Index 1"},
		{"wrong type", kmip.IntegerAttribute("State", 2), kmip.V1_0, "State is a Enumeration, not a Integer"},
		{"name of 300", kmip.TextAttribute("x-"+strings.Repeat("a", 300), ""), kmip.V1_0, "longer than 255"},
		{"unknown name of 300", kmip.TextAttribute(strings.Repeat("é", 150), ""), kmip.V1_0, strings.Repeat("é", 32) + "…\""},
		{"no value", kmip.Attribute{Name: []byte("x-a")}, kmip.V1_0, "missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := tc.in.Check(tc.v)
			if (err == nil) != (tc.text == "") || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %q", err, tc.text)
			}
			if err == nil && r == nil {
				t.Error("no rule")
			}
		})
	}
}

func TestAttributeConstructors(t *testing.T) {
	for _, tc := range []struct {
		a    kmip.Attribute
		want item
	}{
		{kmip.TextAttribute("a", "v"), tx(kmip14.TagAttributeValue, "v")},
		{kmip.BytesAttribute("a", []byte("v")), bs(kmip14.TagAttributeValue, "v")},
		{kmip.IntegerAttribute("a", -1), in(kmip14.TagAttributeValue, -1)},
		{kmip.LongIntegerAttribute("a", -1), li(kmip14.TagAttributeValue, -1)},
		{kmip.EnumerationAttribute("a", kmip14.StateActive), en(kmip14.TagAttributeValue, 2)},
		{kmip.BooleanAttribute("a", true), bo(kmip14.TagAttributeValue, true)},
		{kmip.DateTimeAttribute("a", 5), da(kmip14.TagAttributeValue, 5)},
		{kmip.IntervalAttribute("a", 5), iv(kmip14.TagAttributeValue, 5)},
		{kmip.NameAttribute("v"), st(kmip14.TagAttributeValue, tx(kmip14.TagNameValue, "v"), en(kmip14.TagNameType, 1))},
	} {
		if string(tc.a.Value.Raw()) != string(tc.want) {
			t.Errorf("%x, want %x", tc.a.Value.Raw(), tc.want)
		}
		var w ttlv.Writer
		tc.a.Encode(&w)
		var direct ttlv.Writer
		kmip.WriteAttribute(&direct, string(tc.a.Name), 0, tc.a.Value)
		if string(w.Bytes()) != string(direct.Bytes()) {
			t.Errorf("WriteAttribute writes %x, Encode %x", direct.Bytes(), w.Bytes())
		}
	}
}

func TestBeginAttributeLeavesIndexZeroOut(t *testing.T) {
	for index, want := range map[int32]item{
		0: st(kmip14.TagAttribute, tx(kmip14.TagAttributeName, "a"), in(kmip14.TagAttributeValue, 1)),
		2: st(kmip14.TagAttribute, tx(kmip14.TagAttributeName, "a"), in(kmip14.TagAttributeIndex, 2), in(kmip14.TagAttributeValue, 1)),
	} {
		got := built(func(w *ttlv.Writer) {
			m := kmip.BeginAttribute(w, "a", index)
			w.Integer(kmip14.TagAttributeValue, 1)
			w.End(m)
		})
		if string(got) != string(want) {
			t.Errorf("index %d: %x, want %x", index, got, want)
		}
	}
}
