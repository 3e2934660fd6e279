package operations_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

const opaqueFormat = kmip14.KeyFormatTypeOpaque

func secretData(kind kmip14.SecretDataType, format kmip14.KeyFormatType, data []byte) ttlv.Item {
	var w ttlv.Writer
	kmip.WriteSecretData(&w, kind, format, data)
	it, _ := ttlv.Parse(w.Bytes())
	return it
}

func opaque(kind uint32, data []byte) ttlv.Item {
	return object(kmip14.TagOpaqueObject, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagOpaqueDataType, kind)
		w.ByteString(kmip14.TagOpaqueDataValue, data)
	})
}

// take registers an object of any type.
func (r *rig) take(v kmip.Version, t kmip14.ObjectType, it ttlv.Item, list ...kmip.Attribute) answer {
	r.t.Helper()
	return r.do(v, kmip14.OperationRegister, &kmip.RegisterRequest{ObjectType: t, Object: it, Template: template(list)})
}

// taken is take that must succeed.
func (r *rig) taken(v kmip.Version, t kmip14.ObjectType, it ttlv.Item, list ...kmip.Attribute) []byte {
	r.t.Helper()
	a := r.take(v, t, it, list...)
	r.good(a)
	return a.payload.Find(kmip14.TagUniqueIdentifier).Value()
}

// What is registered comes back byte by byte, with a digest over the data
// itself, in every version.
func TestSecretDataAndOpaqueObjects(t *testing.T) {
	for _, tc := range []struct {
		name   string
		typ    kmip14.ObjectType
		object ttlv.Item
		format kmip14.KeyFormatType
	}{
		{"password", kmip14.ObjectTypeSecretData, secretData(kmip14.SecretDataTypePassword, opaqueFormat, key32), opaqueFormat},
		{"seed", kmip14.ObjectTypeSecretData, secretData(kmip14.SecretDataTypeSeed, raw, key32), raw},
		{"opaque", kmip14.ObjectTypeOpaqueObject, opaque(0x80000001, key32), opaqueFormat},
	} {
		for _, v := range versions {
			t.Run(tc.name+" "+v.String(), func(t *testing.T) {
				r := newRig(t)
				uid := r.taken(v, tc.typ, tc.object, kmip.NameAttribute("it"))
				got := r.get(v, uid)
				if got.ObjectType != tc.typ || !bytes.Equal(got.Object.Raw(), tc.object.Raw()) {
					t.Errorf("Get returns %v %x, want %x", got.ObjectType, got.Object.Raw(), tc.object.Raw())
				}
				sum := sha256.Sum256(key32)
				digest := r.attribute(v, uid, "Digest")
				if got := digest.Find(kmip14.TagDigestValue).Value(); !bytes.Equal(got, sum[:]) {
					t.Errorf("the digest is %x, want %x", got, sum)
				}
				if n, _ := digest.Find(kmip14.TagKeyFormatType).Enumeration(); v.AtLeast(kmip.V1_1) && n != uint32(tc.format) {
					t.Errorf("the digest is said to be over the format %d", n)
				}
			})
		}
	}
}

// Which attributes exist for which type (the tables of section 3).
func TestAttributesOfTypes(t *testing.T) {
	r := newRig(t)
	for name, tc := range map[string]struct {
		typ     kmip14.ObjectType
		object  ttlv.Item
		has     []string
		hasNot  []string
		refused []kmip.Attribute
	}{
		"Secret Data": {kmip14.ObjectTypeSecretData, secretData(1, opaqueFormat, key32),
			[]string{"State", "Cryptographic Usage Mask", "Digest", "Initial Date", "Lease Time"},
			[]string{"Cryptographic Algorithm", "Cryptographic Length"},
			[]kmip.Attribute{kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg), kmip.IntegerAttribute("Cryptographic Length", 256),
				kmip.DateTimeAttribute("Process Start Date", 1), cryptographicParameters(), usageLimits(7)}},
		"Opaque Object": {kmip14.ObjectTypeOpaqueObject, opaque(1, key32),
			[]string{"Digest", "Initial Date", "Last Change Date"},
			[]string{"State", "Cryptographic Algorithm", "Cryptographic Length", "Cryptographic Usage Mask", "Lease Time"},
			[]kmip.Attribute{mask(), kmip.DateTimeAttribute("Activation Date", 1), kmip.DateTimeAttribute("Deactivation Date", 1),
				kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg)}},
	} {
		t.Run(name, func(t *testing.T) {
			uid := r.taken(kmip.V1_4, tc.typ, tc.object)
			for _, n := range tc.has {
				if r.attribute(kmip.V1_4, uid, n).IsZero() {
					t.Errorf("it has no %s", n)
				}
			}
			for _, n := range tc.hasNot {
				if it := r.attribute(kmip.V1_4, uid, n); !it.IsZero() {
					t.Errorf("it has a %s: %s", n, show(it))
				}
			}
			for _, a := range tc.refused {
				if got := r.take(kmip.V1_4, tc.typ, tc.object, a); got.reason != kmip14.ResultReasonInvalidField {
					t.Errorf("registered with %s: %v", a.Name, got.err)
				}
				got := r.do(kmip.V1_4, kmip14.OperationAddAttribute, &kmip.AddAttributeRequest{UniqueIdentifier: uid, Attribute: a})
				if got.reason != kmip14.ResultReasonPermissionDenied {
					t.Errorf("%s is added: %v", a.Name, got.err)
				}
			}
		})
	}
}

func TestSecretDataRefusals(t *testing.T) {
	r := newRig(t)
	const field, missing, format = kmip14.ResultReasonInvalidField, kmip14.ResultReasonMissingData, kmip14.ResultReasonKeyFormatTypeNotSupported
	good := secretData(1, opaqueFormat, key32)
	block := good.Find(kmip14.TagKeyBlock)
	secret := func(write func(w *ttlv.Writer)) ttlv.Item { return object(kmip14.TagSecretData, write) }
	for _, tc := range []struct {
		name   string
		object ttlv.Item
		reason kmip14.ResultReason
	}{
		{"no type", secret(func(w *ttlv.Writer) { w.Item(block) }), missing},
		{"no block", secret(func(w *ttlv.Writer) { w.Enumeration(kmip14.TagSecretDataType, 1) }), missing},
		{"an unknown type", secret(func(w *ttlv.Writer) { w.Enumeration(kmip14.TagSecretDataType, 3); w.Item(block) }), field},
		{"an extension's type", secret(func(w *ttlv.Writer) { w.Enumeration(kmip14.TagSecretDataType, 0x80000001); w.Item(block) }), field},
		{"a type that is a number", secret(func(w *ttlv.Writer) { w.Integer(kmip14.TagSecretDataType, 1); w.Item(block) }), field},
		{"something after", secret(func(w *ttlv.Writer) { w.Raw(good.Value()); w.Item(block) }), field},
		{"empty", secretData(1, opaqueFormat, nil), field},
		{"transparent", secretData(1, transparent, key32), format},
		{"PKCS#8", secretData(1, kmip14.KeyFormatTypePKCS_8, key32), format},
		{"no value", secret(func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagSecretDataType, 1)
			b := w.Begin(kmip14.TagKeyBlock)
			w.Enumeration(kmip14.TagKeyFormatType, uint32(opaqueFormat))
			w.End(b)
		}), missing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := r.take(kmip.V1_2, kmip14.ObjectTypeSecretData, tc.object); a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
		})
	}
	for name, it := range map[string]ttlv.Item{
		"no type":  object(kmip14.TagOpaqueObject, func(w *ttlv.Writer) { w.ByteString(kmip14.TagOpaqueDataValue, key32) }),
		"no value": object(kmip14.TagOpaqueObject, func(w *ttlv.Writer) { w.Enumeration(kmip14.TagOpaqueDataType, 1) }),
		"value is text": object(kmip14.TagOpaqueObject, func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagOpaqueDataType, 1)
			w.TextString(kmip14.TagOpaqueDataValue, "x")
		}),
		"something after": object(kmip14.TagOpaqueObject, func(w *ttlv.Writer) {
			good := opaque(1, key32)
			w.Raw(good.Value())
			w.ByteString(kmip14.TagOpaqueDataValue, key32)
		}),
	} {
		if a := r.take(kmip.V1_2, kmip14.ObjectTypeOpaqueObject, it); a.reason != field && a.reason != missing {
			t.Errorf("opaque, %s: %v", name, a.err)
		}
	}
	if n := r.store.Info().Objects; n != 0 {
		t.Errorf("refused requests left %d objects", n)
	}
}

// Attributes inside the Key Value become the object's; Get returns none there.
func TestSecretDataWithAttributesInside(t *testing.T) {
	r := newRig(t)
	it := object(kmip14.TagSecretData, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagSecretDataType, 1)
		b := w.Begin(kmip14.TagKeyBlock)
		w.Enumeration(kmip14.TagKeyFormatType, uint32(opaqueFormat))
		kv := w.Begin(kmip14.TagKeyValue)
		w.ByteString(kmip14.TagKeyMaterial, key32)
		a := kmip.TextAttribute("x-inside", "v")
		a.Encode(w)
		w.End(kv)
		w.End(b)
	})
	uid := r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, it, mask())
	want := secretData(1, opaqueFormat, key32)
	if got := r.get(kmip.V1_1, uid); !bytes.Equal(got.Object.Raw(), want.Raw()) {
		t.Errorf("Get returns %x", got.Object.Raw())
	}
	if got := show(r.attribute(kmip.V1_1, uid, "x-inside")); got != "v" {
		t.Errorf("the attribute inside became %q", got)
	}
}

// Secret Data lives as keys do. An Opaque Object has no State: it cannot be
// activated, a revocation leaves its reason and nothing else, and it can be
// destroyed at any time.
func TestLifeOfSecretDataAndOpaqueObjects(t *testing.T) {
	r := newRig(t)
	secret := r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, opaqueFormat, key32), kmip.DateTimeAttribute("Activation Date", began))
	if got := r.state(secret); got != kmip14.StateActive {
		t.Errorf("the secret is %v", got)
	}
	if a := r.identifier(kmip14.OperationDestroy, secret); a.reason != kmip14.ResultReasonPermissionDenied {
		t.Errorf("an Active secret is destroyed: %v", a.err)
	}
	r.good(r.revoke(secret, kmip14.RevocationReasonCodeSuperseded))
	r.good(r.identifier(kmip14.OperationDestroy, secret))

	plain := r.taken(kmip.V1_1, kmip14.ObjectTypeOpaqueObject, opaque(1, key32))
	if a := r.identifier(kmip14.OperationActivate, plain); a.reason != kmip14.ResultReasonIllegalOperation {
		t.Errorf("an Opaque Object is activated: %v", a.err)
	}
	r.good(r.revoke(plain, kmip14.RevocationReasonCodeSuperseded))
	for name, want := range map[string]string{"Revocation Reason": "{5}", "State": "", "Deactivation Date": "", "Compromise Date": ""} {
		if it := r.attribute(kmip.V1_4, plain, name); show(it) != want {
			t.Errorf("the revoked Opaque Object's %s is %s, want %q", name, show(it), want)
		}
	}
	r.good(r.revoke(plain, kmip14.RevocationReasonCodeKeyCompromise))
	if it := r.attribute(kmip.V1_4, plain, "Compromise Date"); it.IsZero() {
		t.Error("the compromised Opaque Object has no Compromise Date")
	}
	r.good(r.identifier(kmip14.OperationDestroy, plain))
	for name, a := range map[string]answer{
		"destroyed twice":         r.identifier(kmip14.OperationDestroy, plain),
		"revoked after its death": r.revoke(plain, kmip14.RevocationReasonCodeSuperseded),
		"got after its death":     r.do(kmip.V1_1, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: plain}),
	} {
		if a.err == nil {
			t.Errorf("an Opaque Object is %s", name)
		}
	}
}

// An object that is no key has no Key Format Type to ask for, save Secret
// Data its own.
func TestGetFormatsOfOtherTypes(t *testing.T) {
	r := newRig(t)
	secret := r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, opaqueFormat, key32))
	plain := r.taken(kmip.V1_1, kmip14.ObjectTypeOpaqueObject, opaque(1, key32))
	for _, tc := range []struct {
		uid    []byte
		format kmip14.KeyFormatType
		reason kmip14.ResultReason
	}{{secret, opaqueFormat, 0}, {secret, transparent, kmip14.ResultReasonKeyFormatTypeNotSupported}, {plain, raw, kmip14.ResultReasonKeyFormatTypeNotSupported}} {
		a := r.do(kmip.V1_1, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: tc.uid, KeyFormatType: tc.format})
		if a.reason != tc.reason {
			t.Errorf("%v: %v", tc.format, a.err)
		}
	}
}

// Locate finds each by its type, and by a State only what has one.
func TestLocateByType(t *testing.T) {
	r := newRig(t)
	key := r.create()
	secret := r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, opaqueFormat, key32))
	plain := r.taken(kmip.V1_1, kmip14.ObjectTypeOpaqueObject, opaque(1, key32))
	for _, tc := range []struct {
		by   kmip.Attribute
		want [][]byte
	}{
		{kmip.EnumerationAttribute("Object Type", kmip14.ObjectTypeSecretData), [][]byte{secret}},
		{kmip.EnumerationAttribute("Object Type", kmip14.ObjectTypeOpaqueObject), [][]byte{plain}},
		{kmip.EnumerationAttribute("State", kmip14.StatePreActive), [][]byte{secret, key}},
	} {
		got := r.locate(kmip.V1_1, &kmip.LocateRequest{Attributes: []kmip.Attribute{tc.by}}).UniqueIdentifiers
		if len(got) != len(tc.want) {
			t.Errorf("%s %s: found %d, want %d", tc.by.Name, show(tc.by.Value), len(got), len(tc.want))
			continue
		}
		for i := range got {
			if !bytes.Equal(got[i], tc.want[i]) {
				t.Errorf("%s %s: found %s, want %s", tc.by.Name, show(tc.by.Value), got[i], tc.want[i])
			}
		}
	}
}
