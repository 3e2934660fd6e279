package kmip_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func TestValueIn(t *testing.T) {
	for _, tc := range []struct {
		tag   ttlv.Tag
		value uint32
		since int32 // minor version; 9: in none
	}{
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmAES), 0},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmTwofish), 0},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmEC), 2},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmOneTimePad), 3},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmChaCha20), 4},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmSHAKE_256), 4},
		{kmip14.TagCryptographicAlgorithm, 0x80000001, 9},
		{kmip14.TagObjectType, uint32(kmip14.ObjectTypePGPKey), 2},
		{kmip14.TagObjectType, uint32(kmip14.ObjectTypeOpaqueObject), 0},
		{kmip14.TagKeyFormatType, uint32(kmip14.KeyFormatTypePKCS_12), 4},
		{kmip14.TagState, uint32(kmip14.StateActive), 0},
		{kmip14.TagState, 7, 9},
	} {
		for minor := range int32(5) {
			if got, want := kmip.ValueIn(tc.tag, tc.value, kmip.Version{Major: 1, Minor: minor}), minor >= tc.since; got != want {
				t.Errorf("ValueIn(%v, 0x%X, 1.%d) = %v", tc.tag, tc.value, minor, got)
			}
		}
	}
}

// What WriteValue writes passes the same rule's Check, in every version, and
// in the newest it is the value itself.
func TestWriteValueWritesWhatCheckTakes(t *testing.T) {
	structure := func(write func(w *ttlv.Writer)) ttlv.Item {
		var w ttlv.Writer
		m := w.Begin(kmip14.TagAttributeValue)
		write(&w)
		w.End(m)
		it, _ := ttlv.Parse(w.Bytes())
		return it
	}
	for _, tc := range []struct {
		name   string
		value  ttlv.Item
		writes [5]bool
	}{
		{"Digest", structure(func(w *ttlv.Writer) {
			w.Enumeration(kmip14.TagHashingAlgorithm, uint32(kmip14.HashingAlgorithmSHA_256))
			w.ByteString(kmip14.TagDigestValue, []byte{1})
			w.Enumeration(kmip14.TagKeyFormatType, 1)
		}), [5]bool{true, true, true, true, true}},
		{"Digest", structure(func(w *ttlv.Writer) { w.Enumeration(kmip14.TagHashingAlgorithm, 0x0E) }), [5]bool{false, false, false, false, true}},
		{"Cryptographic Parameters", structure(func(w *ttlv.Writer) { w.Integer(kmip14.TagSaltLength, 1) }), [5]bool{false, false, false, false, true}},
		{"Cryptographic Parameters", structure(func(*ttlv.Writer) {}), [5]bool{true, true, true, true, true}},
		{"Cryptographic Algorithm", kmip.EnumerationAttribute("", kmip14.CryptographicAlgorithmPoly1305).Value, [5]bool{false, false, false, false, true}},
		{"Fresh", kmip.BooleanAttribute("", true).Value, [5]bool{false, true, true, true, true}},
		{"Comment", kmip.TextAttribute("", "c").Value, [5]bool{false, false, false, false, true}},
		{"x-a", kmip.IntegerAttribute("", 3).Value, [5]bool{true, true, true, true, true}},
		{"Name", ttlv.Item{}, [5]bool{}},
	} {
		rule, ok := kmip.LookupAttribute([]byte(tc.name))
		if !ok {
			t.Fatal(tc.name)
		}
		for minor, want := range tc.writes {
			v := kmip.Version{Major: 1, Minor: int32(minor)}
			var w ttlv.Writer
			if got := rule.WriteValue(&w, tc.value, v); got != want || got != (w.Len() > 0) {
				t.Errorf("%s in %v: %v, %d bytes, want %v", tc.name, v, got, w.Len(), want)
				continue
			}
			if !want {
				continue
			}
			it, err := ttlv.Parse(w.Bytes())
			if err != nil || it.Tag() != kmip14.TagAttributeValue {
				t.Fatalf("%s in %v: %v %v", tc.name, v, it.Tag(), err)
			}
			if err := rule.Check(it, v); err != nil {
				t.Errorf("%s in %v: %v", tc.name, v, err)
			}
			if v == kmip.V1_4 && string(it.Raw()) != string(tc.value.Raw()) {
				t.Errorf("%s in 1.4 is changed", tc.name)
			}
		}
	}
}
