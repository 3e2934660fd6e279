package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// KeyWrappingData is the structure of section 2.1.5: how the Key Value beside it
// is wrapped. A view.
type KeyWrappingData struct {
	Method         kmip14.WrappingMethod
	EncryptionKey  KeyInformation
	MACKey         KeyInformation
	MACSignature   ttlv.Item             // zero: none
	IV             ttlv.Item             // IV/Counter/Nonce; zero: none
	EncodingOption kmip14.EncodingOption // 1.1; 0: none, which means TTLV Encoding
}

// Decode reads the structure.
func (d *KeyWrappingData) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	d.Method = kmip14.WrappingMethod(f.enum(f.must(kmip14.TagWrappingMethod)))
	d.EncryptionKey.decode(&f, f.opt(kmip14.TagEncryptionKeyInformation))
	d.MACKey.decode(&f, f.opt(kmip14.TagMACSignatureKeyInformation))
	d.MACSignature = f.opt(kmip14.TagMACSignature)
	f.bytes(d.MACSignature)
	d.IV = f.opt(kmip14.TagIVCounterNonce)
	f.bytes(d.IV)
	d.EncodingOption = kmip14.EncodingOption(f.enum(f.since(V1_1, kmip14.TagEncodingOption)))
	return f.done()
}

// Encode writes the structure.
func (d *KeyWrappingData) Encode(w *ttlv.Writer, v Version) {
	m := w.Begin(kmip14.TagKeyWrappingData)
	w.Enumeration(kmip14.TagWrappingMethod, uint32(d.Method))
	d.EncryptionKey.encode(w, kmip14.TagEncryptionKeyInformation)
	d.MACKey.encode(w, kmip14.TagMACSignatureKeyInformation)
	optItem(w, d.MACSignature)
	optItem(w, d.IV)
	if v.AtLeast(V1_1) {
		optEnum(w, kmip14.TagEncodingOption, uint32(d.EncodingOption))
	}
	w.End(m)
}
