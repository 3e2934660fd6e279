package kmip_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func TestValueIn(t *testing.T) {
	for _, tc := range []struct {
		tag   ttlv.Tag
		value uint32
		since kmip.Version // zero: in none
	}{
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmAES), kmip.V1_0},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmEC), kmip.V1_2},
		{kmip14.TagCryptographicAlgorithm, uint32(kmip14.CryptographicAlgorithmChaCha20), kmip.V1_4},
		{kmip14.TagCryptographicAlgorithm, 0x29, kmip.Version{}},
		{kmip14.TagObjectType, uint32(kmip14.ObjectTypePGPKey), kmip.V1_2},
		{kmip14.TagState, uint32(kmip14.StateActive), kmip.V1_0},
		{kmip14.TagState, 0, kmip.Version{}},
		{kmip14.TagLinkType, uint32(kmip14.LinkTypeNextLink), kmip.V1_2},
	} {
		for _, v := range kmip.Versions() {
			want := tc.since != kmip.Version{} && v.AtLeast(tc.since)
			if got := kmip.ValueIn(tc.tag, tc.value, v); got != want {
				t.Errorf("%v 0x%X in %v: %v, want %v", tc.tag, tc.value, v, got, want)
			}
		}
	}
}

// An attribute that is told to an old client has only what that client knows.
func TestWriteValue(t *testing.T) {
	value := func(kids ...item) item { return st(kmip14.TagAttributeValue, kids...) }
	alg, digest, format := en(kmip14.TagHashingAlgorithm, 6), bs(kmip14.TagDigestValue, "d"), en(kmip14.TagKeyFormatType, 1)
	mode, iv := en(kmip14.TagBlockCipherMode, 1), bo(kmip14.TagRandomIV, true)
	sha3 := en(kmip14.TagHashingAlgorithm, 0x0E)
	for _, tc := range []struct {
		name string
		v    kmip.Version
		in   item
		want item // nil: not said
	}{
		{"State", kmip.V1_0, en(kmip14.TagState, 2), en(kmip14.TagAttributeValue, 2)},
		{"Fresh", kmip.V1_0, bo(kmip14.TagFresh, true), nil},
		{"Fresh", kmip.V1_1, bo(kmip14.TagFresh, true), bo(kmip14.TagAttributeValue, true)},
		{"Cryptographic Algorithm", kmip.V1_3, en(kmip14.TagCryptographicAlgorithm, 0x1C), nil},
		{"Cryptographic Algorithm", kmip.V1_4, en(kmip14.TagCryptographicAlgorithm, 0x1C), en(kmip14.TagAttributeValue, 0x1C)},
		{"Digest", kmip.V1_0, value(alg, digest, format), value(alg, digest)},
		{"Digest", kmip.V1_1, value(alg, digest, format), value(alg, digest, format)},
		{"Digest", kmip.V1_3, value(sha3, digest), nil},
		{"Cryptographic Parameters", kmip.V1_1, value(mode, iv), value(mode)},
		{"Cryptographic Parameters", kmip.V1_2, value(mode, iv), value(mode, iv)},
		{"x-a", kmip.V1_0, tx(kmip14.TagAttributeValue, "v"), tx(kmip14.TagAttributeValue, "v")},
	} {
		before := tx(kmip14.TagUniqueIdentifier, "u")
		var w ttlv.Writer
		w.Raw(before)
		said := rule(t, tc.name).WriteValue(&w, parsed(t, tc.in), tc.v)
		if said != (tc.want != nil) {
			t.Errorf("%s in %v: said %v", tc.name, tc.v, said)
		}
		if diff := cmp.Diff(append(before, tc.want...), w.Bytes()); diff != "" {
			t.Errorf("%s in %v (-want +got):\n%s", tc.name, tc.v, diff)
		}
		if said {
			if err := rule(t, tc.name).Check(parsed(t, w.Bytes()[len(before):]), tc.v); err != nil {
				t.Errorf("%s in %v: what was said is not valid: %v", tc.name, tc.v, err)
			}
		}
	}
	var w ttlv.Writer
	if rule(t, "State").WriteValue(&w, ttlv.Item{}, kmip.V1_4) || w.Len() != 0 {
		t.Error("a value that is none was written")
	}
}
