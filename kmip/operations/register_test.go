package operations_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

const (
	raw         = kmip14.KeyFormatTypeRaw
	transparent = kmip14.KeyFormatTypeTransparentSymmetricKey
	aesAlg      = kmip14.CryptographicAlgorithmAES
)

var key32 = []byte("0123456789abcdef0123456789ABCDEF")

func TestRegisterTakesAlgorithmAndLengthFromEither(t *testing.T) {
	r := newRig(t)
	algorithm := kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg)
	length := kmip.IntegerAttribute("Cryptographic Length", 256)
	inside := func(w *ttlv.Writer) { a := kmip.TextAttribute("x-inside", "v"); a.Encode(w) }
	for name, in := range map[string]*kmip.RegisterRequest{
		"from the block":      registerRequest(symmetricKey(raw, key32, aesAlg, 256), mask()),
		"from the attributes": registerRequest(symmetricKey(raw, key32, 0, 0), mask(), algorithm, length),
		"from both":           registerRequest(symmetricKey(raw, key32, aesAlg, 256), mask(), algorithm, length),
		"length from the key": registerRequest(symmetricKey(raw, key32, aesAlg, 0), mask()),
		"transparent":         registerRequest(symmetricKey(transparent, key32, aesAlg, 256), mask()),
		"with attributes":     registerRequest(symmetricKey(raw, key32, aesAlg, 256, inside), mask()),
	} {
		t.Run(name, func(t *testing.T) {
			var out kmip.RegisterResponse
			r.ok(kmip.V1_0, kmip14.OperationRegister, in, &out)
			got := r.blockOf(r.get(kmip.V1_0, out.UniqueIdentifier))
			if !bytes.Equal(got.Bytes(), key32) || got.CryptographicAlgorithm != aesAlg || got.CryptographicLength != 256 {
				t.Errorf("got %x, %v, %d bits", got.Bytes(), got.CryptographicAlgorithm, got.CryptographicLength)
			}
			if len(got.Attributes) != 0 {
				t.Errorf("the Key Value that Get returns has %d attributes", len(got.Attributes))
			}
			for name, want := range map[string]string{"Cryptographic Algorithm": "3", "Cryptographic Length": "256"} {
				if got := show(r.attribute(kmip.V1_0, out.UniqueIdentifier, name)); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if name == "with attributes" {
				if got := show(r.attribute(kmip.V1_0, out.UniqueIdentifier, "x-inside")); got != "v" {
					t.Errorf("the attribute inside the Key Value became %q", got)
				}
			}
		})
	}
}

// The digest is over the Key Material as registered: the bytes of a raw key,
// the encoding of a transparent one's structure.
func TestRegisterDigest(t *testing.T) {
	r := newRig(t)
	structure := object(kmip14.TagKeyMaterial, func(w *ttlv.Writer) { w.ByteString(kmip14.TagKey, key32) })
	for _, tc := range []struct {
		format kmip14.KeyFormatType
		over   []byte
	}{{raw, key32}, {transparent, structure.Raw()}} {
		var out kmip.RegisterResponse
		r.ok(kmip.V1_1, kmip14.OperationRegister, registerRequest(symmetricKey(tc.format, key32, aesAlg, 256), mask()), &out)
		digest := r.attribute(kmip.V1_1, out.UniqueIdentifier, "Digest")
		sum := sha256.Sum256(tc.over)
		if got := digest.Find(kmip14.TagDigestValue).Value(); !bytes.Equal(got, sum[:]) {
			t.Errorf("%v: digest %x, want %x", tc.format, got, sum)
		}
		if n, _ := digest.Find(kmip14.TagKeyFormatType).Enumeration(); n != uint32(tc.format) {
			t.Errorf("the digest is said to be over the format %d, want %d", n, tc.format)
		}
		if it := r.attribute(kmip.V1_0, out.UniqueIdentifier, "Digest"); !it.Find(kmip14.TagKeyFormatType).IsZero() || it.Find(kmip14.TagDigestValue).IsZero() {
			t.Errorf("1.0 is told the digest %s", show(it))
		}
	}
}

func TestRegisterRefusals(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("taken"))
	good := symmetricKey(raw, key32, aesAlg, 256)
	const field, missing = kmip14.ResultReasonInvalidField, kmip14.ResultReasonMissingData
	compressed := object(kmip14.TagSymmetricKey, func(w *ttlv.Writer) {
		b := w.Begin(kmip14.TagKeyBlock)
		w.Enumeration(kmip14.TagKeyFormatType, uint32(raw))
		w.Enumeration(kmip14.TagKeyCompressionType, 1)
		kv := w.Begin(kmip14.TagKeyValue)
		w.ByteString(kmip14.TagKeyMaterial, key32)
		w.End(kv)
		w.End(b)
	})
	material := func(format kmip14.KeyFormatType, write func(w *ttlv.Writer)) ttlv.Item {
		return object(kmip14.TagSymmetricKey, func(w *ttlv.Writer) {
			b := w.Begin(kmip14.TagKeyBlock)
			w.Enumeration(kmip14.TagKeyFormatType, uint32(format))
			kv := w.Begin(kmip14.TagKeyValue)
			write(w)
			w.End(kv)
			w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(aesAlg))
			w.Integer(kmip14.TagCryptographicLength, 256)
			w.End(b)
		})
	}
	splitKey := object(kmip14.TagSplitKey, func(*ttlv.Writer) {})
	extra := object(kmip14.TagSymmetricKey, func(w *ttlv.Writer) {
		w.Raw(good.Value())
		w.Integer(kmip14.TagCryptographicLength, 256)
	})
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     *kmip.RegisterRequest
		reason kmip14.ResultReason
	}{
		{"no usage mask", kmip.V1_0, registerRequest(good), missing},
		{"no algorithm anywhere", kmip.V1_0, registerRequest(symmetricKey(raw, key32, 0, 0), mask()), missing},
		{"no Key Block", kmip.V1_0, registerRequest(object(kmip14.TagSymmetricKey, func(*ttlv.Writer) {}), mask()), missing},
		{"no object", kmip.V1_0, registerRequest(ttlv.Item{}, mask()), missing},
		{"another object", kmip.V1_0, registerRequest(splitKey, mask()), field},
		{"an object type without support", kmip.V1_0, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSplitKey, Object: splitKey}, kmip14.ResultReasonFeatureNotSupported},
		{"something beside the Key Block", kmip.V1_0, registerRequest(extra, mask()), field},
		{"compressed", kmip.V1_0, registerRequest(compressed, mask()), kmip14.ResultReasonKeyCompressionTypeNotSupported},
		{"PKCS#8", kmip.V1_0, registerRequest(symmetricKey(kmip14.KeyFormatTypePKCS_8, key32, aesAlg, 256), mask()), kmip14.ResultReasonKeyFormatTypeNotSupported},
		{"Opaque", kmip.V1_0, registerRequest(symmetricKey(kmip14.KeyFormatTypeOpaque, key32, aesAlg, 256), mask()), kmip14.ResultReasonKeyFormatTypeNotSupported},
		{"raw, but a structure", kmip.V1_0, registerRequest(material(raw, func(w *ttlv.Writer) {
			m := w.Begin(kmip14.TagKeyMaterial)
			w.ByteString(kmip14.TagKey, key32)
			w.End(m)
		}), mask()), field},
		{"transparent, but bytes", kmip.V1_0, registerRequest(material(transparent, func(w *ttlv.Writer) { w.ByteString(kmip14.TagKeyMaterial, key32) }), mask()), field},
		{"transparent with two keys", kmip.V1_0, registerRequest(material(transparent, func(w *ttlv.Writer) {
			m := w.Begin(kmip14.TagKeyMaterial)
			w.ByteString(kmip14.TagKey, key32)
			w.ByteString(kmip14.TagKey, key32)
			w.End(m)
		}), mask()), field},
		{"empty", kmip.V1_0, registerRequest(symmetricKey(raw, []byte{}, aesAlg, 0), mask()), field},
		{"31 bytes", kmip.V1_0, registerRequest(symmetricKey(raw, key32[:31], aesAlg, 256), mask()), field},
		{"31 bytes and no length", kmip.V1_0, registerRequest(symmetricKey(raw, key32[:31], aesAlg, 0), mask()), field},
		{"length of the block and the key differ", kmip.V1_0, registerRequest(symmetricKey(raw, key32, aesAlg, 128), mask()), field},
		{"length of the block and the attribute differ", kmip.V1_0, registerRequest(good, mask(), kmip.IntegerAttribute("Cryptographic Length", 128)), field},
		{"algorithm of the block and the attribute differ", kmip.V1_0, registerRequest(good, mask(),
			kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmCamellia)), field},
		{"RSA", kmip.V1_0, registerRequest(symmetricKey(raw, key32, kmip14.CryptographicAlgorithmRSA, 256), mask()), field},
		{"no Key Value in 1.1", kmip.V1_1, registerRequest(symmetricKey(raw, nil, aesAlg, 256), mask()), missing},
		{"no Key Value and no location", kmip.V1_2, registerRequest(symmetricKey(raw, nil, aesAlg, 256), mask()), missing},
		{"Name in use", kmip.V1_0, registerRequest(good, mask(), kmip.NameAttribute("taken")), field},
		{"read-only attribute", kmip.V1_0, registerRequest(good, mask(), kmip.EnumerationAttribute("State", kmip14.StateActive)), field},
		{"attribute inside against one outside", kmip.V1_0, registerRequest(symmetricKey(raw, key32, aesAlg, 256, func(w *ttlv.Writer) {
			a := kmip.TextAttribute("Contact Information", "a")
			a.Encode(w)
		}), mask(), kmip.TextAttribute("Contact Information", "b")), field},
		{"Template", kmip.V1_0, &kmip.RegisterRequest{ObjectType: kmip14.ObjectTypeSymmetricKey, Object: good, Template: kmip.TemplateAttribute{
			Names: []kmip.Name{{Value: []byte("t"), Type: kmip14.NameTypeUninterpretedTextString}}}}, kmip14.ResultReasonItemNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := r.do(tc.v, kmip14.OperationRegister, tc.in)
			if a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
		})
	}
	if n := r.store.Info().Objects; n != 1 {
		t.Errorf("refused requests left %d objects, want the first one only", n)
	}
}

// Clients count a 3DES key's bits with and without parity; both are kept as
// they were said.
func TestRegisterDESLengths(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		size         int
		stated, want int32
		ok           bool
	}{{24, 168, 168, true}, {24, 192, 192, true}, {24, 0, 168, true}, {16, 112, 112, true}, {16, 128, 128, true}, {24, 128, 0, false}, {20, 0, 0, false}} {
		in := registerRequest(symmetricKey(raw, key32[:tc.size], kmip14.CryptographicAlgorithmDES3, tc.stated), mask())
		a := r.do(kmip.V1_0, kmip14.OperationRegister, in)
		if (a.err == nil) != tc.ok {
			t.Errorf("%d bytes as %d bits: %v", tc.size, tc.stated, a.err)
		}
		if a.err != nil {
			continue
		}
		uid := a.payload.Find(kmip14.TagUniqueIdentifier).Value()
		if got := r.blockOf(r.get(kmip.V1_0, uid)).CryptographicLength; got != tc.want {
			t.Errorf("%d bytes as %d bits came back as %d", tc.size, tc.stated, got)
		}
	}
}

// What only registered objects can be told by a client.
func TestRegisterKeepsWhatTheClientKnows(t *testing.T) {
	r := newRig(t)
	uid := r.register(key32, kmip.DateTimeAttribute("Original Creation Date", 7), kmip.BooleanAttribute("Fresh", false),
		kmip.Attribute{Name: []byte("Random Number Generator"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagRNGAlgorithm, uint32(kmip14.RNGAlgorithmDRBG))
			w.Enumeration(kmip14.TagDRBGAlgorithm, uint32(kmip14.DRBGAlgorithmHMAC))
			w.Boolean(kmip14.TagPredictionResistance, true)
		})})
	for name, want := range map[string]string{"Original Creation Date": "7", "Fresh": "false", "Random Number Generator": "{3 4 true}"} {
		if got := show(r.attribute(kmip.V1_4, uid, name)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	plain := r.register(key32)
	for _, name := range []string{"Original Creation Date", "Random Number Generator"} {
		if it := r.attribute(kmip.V1_4, plain, name); !it.IsZero() {
			t.Errorf("a registered key has a %s that nobody set: %s", name, show(it))
		}
	}
	if got := show(r.attribute(kmip.V1_4, plain, "Fresh")); got != "true" {
		t.Errorf("a registered key that was never handed out is not Fresh: %s", got)
	}
}

// A key whose value is kept elsewhere (1.2).
func TestRegisterKeyKeptElsewhere(t *testing.T) {
	r := newRig(t)
	location := kmip.Attribute{Name: []byte("Key Value Location"), Value: object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.TextString(kmip14.TagKeyValueLocationValue, "HSM-1")
		w.Enumeration(kmip14.TagKeyValueLocationType, uint32(kmip14.KeyValueLocationTypeUninterpretedTextString))
	})}
	var out kmip.RegisterResponse
	r.ok(kmip.V1_2, kmip14.OperationRegister, registerRequest(symmetricKey(raw, nil, aesAlg, 128), mask(), location), &out)
	got := r.get(kmip.V1_2, out.UniqueIdentifier)
	if diff := cmp.Diff(hex.EncodeToString(symmetricKey(raw, nil, aesAlg, 128).Raw()), hex.EncodeToString(got.Object.Raw())); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"Key Value Present": "false", "Key Value Location": "{HSM-1 1}"} {
		if got := show(r.attribute(kmip.V1_2, out.UniqueIdentifier, name)); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if it := r.attribute(kmip.V1_2, out.UniqueIdentifier, "Digest"); !it.IsZero() {
		t.Error("a key without a value has a digest")
	}
	for _, length := range []int32{0, 100} {
		if a := r.do(kmip.V1_2, kmip14.OperationRegister, registerRequest(symmetricKey(raw, nil, aesAlg, length), mask(), location)); a.err == nil {
			t.Errorf("a key of %d bits is taken in", length)
		}
	}
	a := r.do(kmip.V1_2, kmip14.OperationGet, &kmip.GetRequest{UniqueIdentifier: out.UniqueIdentifier, KeyFormatType: transparent})
	if a.reason != kmip14.ResultReasonKeyValueNotPresent {
		t.Errorf("a key without a value in another format: %v", a.err)
	}
}
