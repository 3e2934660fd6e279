package operations_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// templateObject is a Template with attributes inside.
func templateObject(list ...kmip.Attribute) ttlv.Item {
	return object(kmip14.TagTemplate, func(w *ttlv.Writer) {
		for i := range list {
			list[i].Encode(w)
		}
	})
}

// template registers a Template of that Name.
func (r *rig) template(name string, inside ...kmip.Attribute) []byte {
	r.t.Helper()
	return r.taken(kmip.V1_4, kmip14.ObjectTypeTemplate, templateObject(inside...), kmip.NameAttribute(name))
}

// named is a Template-Attribute with Names of Templates.
func named(names []string, list ...kmip.Attribute) kmip.TemplateAttribute {
	t := kmip.TemplateAttribute{Attributes: list}
	for _, n := range names {
		t.Names = append(t.Names, kmip.Name{Value: []byte(n), Type: kmip14.NameTypeUninterpretedTextString})
	}
	return t
}

func (r *rig) createBy(v kmip.Version, names []string, list ...kmip.Attribute) answer {
	r.t.Helper()
	return r.do(v, kmip14.OperationCreate, &kmip.CreateRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Template: named(names, list...)})
}

func (r *rig) createdBy(v kmip.Version, names []string, list ...kmip.Attribute) []byte {
	r.t.Helper()
	a := r.createBy(v, names, list...)
	r.good(a)
	return a.payload.Find(kmip14.TagUniqueIdentifier).Value()
}

// all shows every instance of an attribute with its index.
func (r *rig) all(uid []byte, name string) string {
	r.t.Helper()
	var out []string
	for i, a := range r.attributes(kmip.V1_4, uid, name) {
		if int(a.Index) != i {
			r.t.Errorf("instance %d of %s has index %d", i, name, a.Index)
		}
		out = append(out, show(a.Value))
	}
	return strings.Join(out, " ")
}

// What a Template holds inside goes to the objects made by its name; what
// stands beside it stays its own. The request's attributes come after, and win
// where there can be one.
func TestTemplateHandsOn(t *testing.T) {
	r := newRig(t)
	r.taken(kmip.V1_1, kmip14.ObjectTypeTemplate, templateObject(
		kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg), kmip.IntegerAttribute("Cryptographic Length", 192), mask(),
		kmip.TextAttribute("Contact Information", "Joe"), kmip.TextAttribute("Object Group", "a"), kmip.TextAttribute("Object Group", "b"),
		kmip.TextAttribute("x-ID", "inside"), kmip.DateTimeAttribute("Activation Date", began-1)),
		kmip.NameAttribute("first"), kmip.TextAttribute("x-ID", "own"), kmip.TextAttribute("Object Group", "templates"))
	r.template("second", kmip.IntegerAttribute("Cryptographic Length", 128), kmip.TextAttribute("Object Group", "c"),
		kmip.TextAttribute("Contact Information", "Ann"))
	for _, tc := range []struct {
		name  string
		names []string
		more  []kmip.Attribute
		want  map[string]string
	}{
		{"one", []string{"first"}, nil, map[string]string{"Cryptographic Length": "192", "Contact Information": "Joe", "Object Group": "a b",
			"x-ID": "inside", "Name": "", "State": "2"}},
		{"the last of two wins", []string{"first", "second"}, nil, map[string]string{"Cryptographic Length": "128", "Contact Information": "Ann", "Object Group": "a b c"}},
		{"and in the other order", []string{"second", "first"}, nil, map[string]string{"Cryptographic Length": "192", "Contact Information": "Joe", "Object Group": "c a b"}},
		{"the request wins over all", []string{"first", "second"}, []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Length", 256),
			kmip.TextAttribute("Object Group", "d"), kmip.TextAttribute("x-ID", "mine"), kmip.TextAttribute("Object Group", "a")},
			map[string]string{"Cryptographic Length": "256", "Object Group": "a b c d", "x-ID": "inside mine"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, v := range versions {
				uid := r.createdBy(v, tc.names, tc.more...)
				for name, want := range tc.want {
					if got := r.all(uid, name); got != want {
						t.Errorf("%v: %s is %q, want %q", v, name, got, want)
					}
				}
				key := r.blockOf(r.get(v, uid))
				if got := show(r.attribute(v, uid, "Cryptographic Length")); got != tc.want["Cryptographic Length"] || len(key.Bytes())*8 != int(key.CryptographicLength) {
					t.Errorf("%v: the key has %d bytes, its block says %d bits", v, len(key.Bytes()), key.CryptographicLength)
				}
				sum := sha256.Sum256(key.Bytes())
				if got := r.attribute(v, uid, "Digest").Find(kmip14.TagDigestValue).Value(); !bytes.Equal(got, sum[:]) {
					t.Errorf("%v: the digest is not the key's", v)
				}
			}
		})
	}
}

// The Operation Policy beside a Template is for what is made by it.
func TestTemplateHandsOnItsPolicy(t *testing.T) {
	r := newRig(t)
	r.taken(kmip.V1_0, kmip14.ObjectTypeTemplate, templateObject(mask()), kmip.NameAttribute("t"), kmip.TextAttribute("Operation Policy Name", "group-read"))
	uid := r.createdBy(kmip.V1_0, []string{"t"}, aes(256)...)
	if got := r.all(uid, "Operation Policy Name"); got != "group-read" {
		t.Errorf("the key's policy is %q", got)
	}
	uid = r.createdBy(kmip.V1_0, []string{"t"}, aes(256, kmip.TextAttribute("Operation Policy Name", "default"))...)
	if got := r.all(uid, "Operation Policy Name"); got != "default" {
		t.Errorf("the request's policy became %q", got)
	}
}

// A Template works for Register too, and for other types of object.
func TestRegisterByTemplate(t *testing.T) {
	r := newRig(t)
	r.template("key", mask(), kmip.TextAttribute("Object Group", "g"))
	r.template("group", kmip.TextAttribute("Object Group", "g"))
	for name, in := range map[string]*kmip.RegisterRequest{
		"key":    {ObjectType: kmip14.ObjectTypeSymmetricKey, Object: symmetricKey(raw, key32, aesAlg, 256), Template: named([]string{"key"})},
		"secret": {ObjectType: kmip14.ObjectTypeSecretData, Object: secretData(1, opaqueFormat, key32), Template: named([]string{"key"})},
		"opaque": {ObjectType: kmip14.ObjectTypeOpaqueObject, Object: opaque(1, key32), Template: named([]string{"group"})},
	} {
		var out kmip.RegisterResponse
		r.ok(kmip.V1_1, kmip14.OperationRegister, in, &out)
		if got := r.all(out.UniqueIdentifier, "Object Group"); got != "g" {
			t.Errorf("%s: Object Group %q", name, got)
		}
		if got := r.get(kmip.V1_1, out.UniqueIdentifier); !bytes.Contains(got.Object.Raw(), key32) {
			t.Errorf("%s: Get returns %x", name, got.Object.Raw())
		}
	}
	a := r.do(kmip.V1_1, kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeOpaqueObject, Object: opaque(1, key32), Template: named([]string{"key"})})
	if a.reason != kmip14.ResultReasonInvalidField {
		t.Errorf("an Opaque Object has taken a usage mask from a Template: %v", a.err)
	}
}

func TestTemplateComesBack(t *testing.T) {
	r := newRig(t)
	inside := []kmip.Attribute{kmip.TextAttribute("Object Group", "g"), kmip.NameAttribute("inner"), kmip.TextAttribute("Comment", "of 1.4")}
	uid := r.taken(kmip.V1_4, kmip14.ObjectTypeTemplate, templateObject(inside...), kmip.NameAttribute("outer"))
	for _, v := range versions {
		want := templateObject(inside...)
		if !v.AtLeast(kmip.V1_4) {
			want = templateObject(inside[:2]...)
		}
		if got := r.get(v, uid); got.ObjectType != kmip14.ObjectTypeTemplate || !bytes.Equal(got.Object.Raw(), want.Raw()) {
			t.Errorf("%v: Get returns %s, want %s", v, show(got.Object), show(want))
		}
	}
	for name, want := range map[string]string{"Name": "{outer 1} {inner 1}", "Object Group": "", "State": "", "Digest": "", "Cryptographic Usage Mask": "", "Lease Time": ""} {
		if got := r.all(uid, name); got != want {
			t.Errorf("the Template's own %s is %q, want %q", name, got, want)
		}
	}
	// Both names lead to it.
	for _, name := range []string{"outer", "inner"} {
		if got := r.all(r.createdBy(kmip.V1_0, []string{name}, aes(256)...), "Object Group"); got != "g" {
			t.Errorf("by %s: Object Group %q", name, got)
		}
	}
	if a := r.identifier(kmip14.OperationActivate, uid); a.reason != kmip14.ResultReasonIllegalOperation {
		t.Errorf("a Template is activated: %v", a.err)
	}
	if a := r.revoke(uid, kmip14.RevocationReasonCodeKeyCompromise); a.reason != kmip14.ResultReasonIllegalOperation {
		t.Errorf("a Template is revoked: %v", a.err)
	}
	a := r.do(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: kmip.DateTimeAttribute("Activation Date", 1)})
	if a.reason != kmip14.ResultReasonPermissionDenied {
		t.Errorf("a Template is given an Activation Date of its own: %v", a.err)
	}
	r.good(r.identifier(kmip14.OperationDestroy, uid))
	if a := r.createBy(kmip.V1_0, []string{"outer"}, aes(256)...); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("a destroyed Template hands on: %v", a.err)
	}
}

func TestTemplateRefusals(t *testing.T) {
	r := newRig(t)
	const field, missing, absent = kmip14.ResultReasonInvalidField, kmip14.ResultReasonMissingData, kmip14.ResultReasonItemNotFound
	for name, tc := range map[string]struct {
		object ttlv.Item
		beside []kmip.Attribute
		reason kmip14.ResultReason
	}{
		"empty":                      {templateObject(), nil, missing},
		"a Name inside it":           {object(kmip14.TagTemplate, func(w *ttlv.Writer) { n := kmip.Name{Value: []byte("x"), Type: 1}; n.Encode(w, kmip14.TagName) }), nil, field},
		"an unknown attribute":       {templateObject(kmip.TextAttribute("Colour", "red")), nil, field},
		"a read-only attribute":      {templateObject(kmip.EnumerationAttribute("State", kmip14.StateActive)), nil, field},
		"an attribute of no version": {templateObject(kmip.TextAttribute("Description", "1.4")), nil, field},
		"a length given twice":       {templateObject(kmip.IntegerAttribute("Cryptographic Length", 1), kmip.IntegerAttribute("Cryptographic Length", 2)), nil, field},
		"a wrong type":               {templateObject(kmip.TextAttribute("Cryptographic Length", "1")), nil, field},
		"dates in the wrong order":   {templateObject(kmip.DateTimeAttribute("Activation Date", 2), kmip.DateTimeAttribute("Deactivation Date", 1)), nil, field},
		"a length beside it":         {templateObject(mask()), []kmip.Attribute{kmip.IntegerAttribute("Cryptographic Length", 128)}, field},
		"a date beside it":           {templateObject(mask()), []kmip.Attribute{kmip.DateTimeAttribute("Activation Date", 1)}, field},
	} {
		if a := r.take(kmip.V1_3, kmip14.ObjectTypeTemplate, tc.object, tc.beside...); a.reason != tc.reason {
			t.Errorf("%s: %v (%v), want %v", name, a.reason, a.err, tc.reason)
		}
	}
	r.create(kmip.NameAttribute("a key"))
	archived := r.template("archived", mask())
	r.change(archived, func(o *keystore.Object) { o.ArchiveDate = keystore.At(began) })
	r.template("short", kmip.IntegerAttribute("Cryptographic Length", 100))
	for name, tc := range map[string]struct {
		names  []string
		reason kmip14.ResultReason
	}{
		"absent":              {[]string{"no such"}, absent},
		"a key":               {[]string{"a key"}, absent},
		"one of two":          {[]string{"short", "no such"}, absent},
		"archived":            {[]string{"archived"}, kmip14.ResultReasonObjectArchived},
		"an impossible value": {[]string{"short"}, field},
		"too many":            {strings.Split(strings.Repeat("short ", 17), " ")[:17], field},
	} {
		list := []kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg), mask()}
		if a := r.createBy(kmip.V1_1, tc.names, list...); a.reason != tc.reason {
			t.Errorf("Create by %s: %v (%v), want %v", name, a.reason, a.err, tc.reason)
		}
	}
	stranger := r.as(operations.Principal{Client: "other", Group: "other"})
	if a := stranger.createBy(kmip.V1_1, []string{"short"}, aes(256)...); a.reason != absent {
		t.Errorf("another group's Template is used: %v", a.err)
	}
}

// What Templates hand on is counted as it is gathered: to merge 4,000 attributes
// takes most of a second, and nobody else can write meanwhile.
func TestTemplatesAreBoundedTogether(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"one", "two"} {
		var inside []kmip.Attribute
		for i := range 150 {
			inside = append(inside, kmip.TextAttribute("x-note", fmt.Sprint(name, i)))
		}
		r.template(name, inside...)
	}
	a := r.createBy(kmip.V1_4, []string{"one", "two", "not looked for"}, aes(256)...)
	if a.reason != kmip14.ResultReasonIndexOutOfBounds {
		t.Errorf("%v (%v), want too many attributes", a.reason, a.err)
	}
	r.createdBy(kmip.V1_4, []string{"one"}, aes(256)...)
}

// Apply may run more than once, and has to make the same key each time.
func TestCreateByTemplateTwice(t *testing.T) {
	r := newRig(t)
	r.template("t", aes(256)...)
	m, changes := r.prepare(kmip.V1_1, ask{op: kmip14.OperationCreate, payload: &kmip.CreateRequest{
		ObjectType: kmip14.ObjectTypeSymmetricKey, Template: named([]string{"t"})}})
	var keys [][]byte
	for range 2 {
		m.fail = errDropped
		if err := r.ops.Do(t.Context(), r.who, changes, m); err != errDropped {
			t.Fatal(err)
		}
		keys = append(keys, append([]byte(nil), m.items[0].call.Key()...))
	}
	made, err := ttlv.Parse(keys[0])
	must(t, err)
	random := m.items[0].call.Random()
	if diff := cmp.Diff(keys[0], keys[1]); diff != "" || !bytes.Contains(made.Raw(), random[:32]) || bytes.Contains(made.Raw(), make([]byte, 32)) {
		t.Errorf("two runs make two keys, or none: %x", keys)
	}
	m.items[0].call.Reset()
	for name, memory := range map[string][]byte{"the key": m.items[0].call.Key(), "what it was drawn from": random} {
		if !bytes.Equal(memory, make([]byte, len(memory))) {
			t.Errorf("Reset leaves %s", name)
		}
	}
}
