package kmip_test

import (
	"bytes"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Key Wrapping Data is read and written as it is, and its Encoding Option not
// in 1.0.
func TestKeyWrappingData(t *testing.T) {
	mode := st(kmip14.TagCryptographicParameters, en(kmip14.TagBlockCipherMode, 0xd))
	info := func(tag ttlv.Tag) item { return st(tag, tx(kmip14.TagUniqueIdentifier, "k"), mode) }
	full := parsed(t, st(kmip14.TagKeyWrappingData, en(kmip14.TagWrappingMethod, 3), info(kmip14.TagEncryptionKeyInformation),
		info(kmip14.TagMACSignatureKeyInformation), bs(kmip14.TagMACSignature, "mac"), bs(kmip14.TagIVCounterNonce, "iv"), en(kmip14.TagEncodingOption, 1)))
	var d kmip.KeyWrappingData
	if err := d.Decode(full, kmip.V1_1); err != nil {
		t.Fatal(err)
	}
	var w ttlv.Writer
	if d.Encode(&w, kmip.V1_1); !bytes.Equal(w.Bytes(), full.Raw()) {
		t.Errorf("read and written: %x, want %x", w.Bytes(), full.Raw())
	}
	if err := d.Decode(full, kmip.V1_0); err == nil {
		t.Error("1.0 has an Encoding Option")
	}
	for name, it := range map[string]item{
		"no method":           st(kmip14.TagKeyWrappingData, info(kmip14.TagEncryptionKeyInformation)),
		"an unknown method":   st(kmip14.TagKeyWrappingData, en(kmip14.TagWrappingMethod, 9)),
		"a nonce in words":    st(kmip14.TagKeyWrappingData, en(kmip14.TagWrappingMethod, 1), tx(kmip14.TagIVCounterNonce, "iv")),
		"a key without a uid": st(kmip14.TagKeyWrappingData, en(kmip14.TagWrappingMethod, 1), st(kmip14.TagEncryptionKeyInformation, mode)),
	} {
		if err := d.Decode(parsed(t, it), kmip.V1_4); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
