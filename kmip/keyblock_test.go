package kmip_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func block(fields ...item) item {
	return st(kmip14.TagSymmetricKey, st(kmip14.TagKeyBlock, fields...))
}

var (
	raw      = en(kmip14.TagKeyFormatType, 1)
	material = bs(kmip14.TagKeyMaterial, "0123456789abcdef")
	aes      = en(kmip14.TagCryptographicAlgorithm, 3)
	bits     = in(kmip14.TagCryptographicLength, 128)
	wrapping = st(kmip14.TagKeyWrappingData, en(kmip14.TagWrappingMethod, 1))
)

func TestKeyBlock(t *testing.T) {
	value := func(kids ...item) item { return st(kmip14.TagKeyValue, kids...) }
	transparent := st(kmip14.TagKeyMaterial, bs(kmip14.TagKey, "k"))
	for _, tc := range []struct {
		name  string
		v     kmip.Version
		in    item
		bytes string
		attrs int
	}{
		{"raw", kmip.V1_0, block(raw, value(material), aes, bits), "0123456789abcdef", 0},
		{"with attributes", kmip.V1_0, block(raw, value(material, state, state)), "0123456789abcdef", 2},
		{"transparent", kmip.V1_0, block(en(kmip14.TagKeyFormatType, 7), value(transparent)), "k", 0},
		{"wrapped without encoding", kmip.V1_1, block(raw, value(material), wrapping), "0123456789abcdef", 0},
		{"wrapped with its attributes", kmip.V1_0, block(raw, bs(kmip14.TagKeyValue, "wrapped"), wrapping), "", 0},
		{"kept elsewhere", kmip.V1_2, block(raw, aes, bits), "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var k kmip.KeyBlock
			if err := k.Decode(parsed(t, tc.in), tc.v); err != nil {
				t.Fatal(err)
			}
			if string(k.Bytes()) != tc.bytes || len(k.Attributes) != tc.attrs {
				t.Errorf("%d bytes, %d attributes", len(k.Bytes()), len(k.Attributes))
			}
		})
	}
	for _, tc := range []struct {
		name   string
		v      kmip.Version
		in     item
		reason kmip14.ResultReason
		text   string
	}{
		{"no key block", kmip.V1_4, st(kmip14.TagSymmetricKey), missingData, "no Key Block"},
		{"no format", kmip.V1_4, block(value(material)), missingData, "KeyFormatType is missing"},
		{"no value in 1.1", kmip.V1_1, block(raw, aes, bits), missingData, "Key Value is missing"},
		{"no material", kmip.V1_4, block(raw, value()), missingData, "KeyMaterial is missing"},
		{"material of text", kmip.V1_4, block(raw, value(tx(kmip14.TagKeyMaterial, "secret"))), invalidMessage, "Byte String is expected"},
		{"bytes without wrapping data", kmip.V1_4, block(raw, bs(kmip14.TagKeyValue, "x")), invalidMessage, "Structure is expected"},
		{"value of text", kmip.V1_4, block(raw, tx(kmip14.TagKeyValue, "x"), wrapping), invalidMessage, "Structure is expected"},
		{"unknown in value", kmip.V1_4, block(raw, value(material, uid)), invalidField, "is no field"},
		{"length before algorithm", kmip.V1_4, block(raw, value(material), bits, aes), invalidMessage, "out of order"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var k kmip.KeyBlock
			wantError(t, k.Decode(parsed(t, tc.in), tc.v), tc.reason, tc.text)
		})
	}
}

func TestWrittenObjectsDecode(t *testing.T) {
	sym := built(func(w *ttlv.Writer) {
		kmip.WriteSymmetricKey(w, []byte("0123456789abcdef"), kmip14.CryptographicAlgorithmAES, 128)
	})
	if diff := cmp.Diff(block(raw, st(kmip14.TagKeyValue, material), aes, bits), sym); diff != "" {
		t.Errorf("symmetric key (-want +got):\n%s", diff)
	}
	sec := built(func(w *ttlv.Writer) {
		kmip.WriteSecretData(w, kmip14.SecretDataTypePassword, kmip14.KeyFormatTypeOpaque, []byte("0123456789abcdef"))
	})
	want := st(kmip14.TagSecretData, en(kmip14.TagSecretDataType, 1), st(kmip14.TagKeyBlock, en(kmip14.TagKeyFormatType, 2), st(kmip14.TagKeyValue, material)))
	if diff := cmp.Diff(want, sec); diff != "" {
		t.Errorf("secret data (-want +got):\n%s", diff)
	}
}
