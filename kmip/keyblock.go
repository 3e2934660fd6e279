package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A KeyBlock is the structure of section 2.1.3, the inside of every key and of
// Secret Data: a view.
type KeyBlock struct {
	KeyFormatType      kmip14.KeyFormatType
	KeyCompressionType kmip14.KeyCompressionType // 0: none

	// Value is the Key Value (section 2.1.4): a structure, or a Byte String
	// when the key is wrapped with the attributes. The zero Item, from 1.2 on:
	// the value is kept elsewhere.
	Value ttlv.Item
	// Material is the Key Material inside a Value that is a structure: a Byte
	// String or, in the transparent formats and PKCS#12, a structure.
	Material ttlv.Item
	// Attributes are those inside a Value that is a structure.
	Attributes []Attribute

	CryptographicAlgorithm kmip14.CryptographicAlgorithm // 0: none
	CryptographicLength    int32                         // bits; 0: none
	WrappingData           ttlv.Item                     // zero: not wrapped
}

// Decode reads the Key Block inside a Managed Object as sent: a Symmetric Key,
// Public Key, Private Key, Secret Data, PGP Key or Split Key.
func (k *KeyBlock) Decode(object ttlv.Item, v Version) error {
	block := object.Find(kmip14.TagKeyBlock)
	if block.IsZero() {
		return missingData("%v has no Key Block", object.Tag())
	}
	f := open(block, v)
	k.KeyFormatType = kmip14.KeyFormatType(f.enum(f.must(kmip14.TagKeyFormatType)))
	k.KeyCompressionType = kmip14.KeyCompressionType(f.enum(f.opt(kmip14.TagKeyCompressionType)))
	k.Value = f.opt(kmip14.TagKeyValue)
	k.CryptographicAlgorithm = kmip14.CryptographicAlgorithm(f.enum(f.opt(kmip14.TagCryptographicAlgorithm)))
	k.CryptographicLength = f.integer(f.opt(kmip14.TagCryptographicLength))
	k.WrappingData = f.structure(f.opt(kmip14.TagKeyWrappingData))
	k.decodeValue(&f)
	return f.done()
}

func (k *KeyBlock) decodeValue(f *fields) {
	clear(k.Attributes)
	k.Attributes, k.Material = k.Attributes[:0], ttlv.Item{}
	switch {
	case k.Value.IsZero() && !f.v.AtLeast(V1_2):
		f.fail(missingData("the Key Value is missing"))
	case k.Value.Type() == ttlv.Structure:
		g := open(k.Value, f.v)
		k.Material = g.must(kmip14.TagKeyMaterial)
		k.Attributes = g.attributes(k.Attributes)
		f.adopt(g.done())
		if t := k.Material.Type(); f.err == nil && t != ttlv.ByteString && t != ttlv.Structure {
			f.fail(typeError(k.Material, ttlv.ByteString))
		}
	case !k.Value.IsZero() && (k.Value.Type() != ttlv.ByteString || k.WrappingData.IsZero()):
		f.fail(typeError(k.Value, ttlv.Structure))
	}
}

// Bytes returns the key itself when the format is one of plain bytes (Raw and
// the encoded ones) or Transparent Symmetric Key, and nil otherwise. It is a
// view of key material: clear its buffer after use.
func (k *KeyBlock) Bytes() []byte {
	it := k.Material
	if k.KeyFormatType == kmip14.KeyFormatTypeTransparentSymmetricKey {
		it = it.Find(kmip14.TagKey)
	}
	b, err := it.Bytes()
	if err != nil {
		return nil
	}
	return b
}

// WriteSymmetricKey writes a Symmetric Key in the format Raw (section 2.2.2).
// Algorithm and length (in bits) that are 0 are left out.
func WriteSymmetricKey(w *ttlv.Writer, key []byte, alg kmip14.CryptographicAlgorithm, bits int32) {
	m := w.Begin(kmip14.TagSymmetricKey)
	writeRaw(w, kmip14.KeyFormatTypeRaw, key, alg, bits)
	w.End(m)
}

// WriteSecretData writes Secret Data in the format Raw or Opaque (section
// 2.2.7).
func WriteSecretData(w *ttlv.Writer, t kmip14.SecretDataType, format kmip14.KeyFormatType, data []byte) {
	m := w.Begin(kmip14.TagSecretData)
	w.Enumeration(kmip14.TagSecretDataType, uint32(t))
	writeRaw(w, format, data, 0, 0)
	w.End(m)
}

func writeRaw(w *ttlv.Writer, format kmip14.KeyFormatType, key []byte, alg kmip14.CryptographicAlgorithm, bits int32) {
	block := w.Begin(kmip14.TagKeyBlock)
	w.Enumeration(kmip14.TagKeyFormatType, uint32(format))
	value := w.Begin(kmip14.TagKeyValue)
	w.ByteString(kmip14.TagKeyMaterial, key)
	w.End(value)
	optEnum(w, kmip14.TagCryptographicAlgorithm, uint32(alg))
	optInteger(w, kmip14.TagCryptographicLength, bits)
	w.End(block)
}

// A KeyWrappingSpecification is the structure of section 2.1.6.
type KeyWrappingSpecification struct {
	Method         kmip14.WrappingMethod
	EncryptionKey  KeyInformation
	MACKey         KeyInformation
	AttributeNames [][]byte
	EncodingOption kmip14.EncodingOption // 1.1; 0: none, which means TTLV Encoding
}

// A KeyInformation names a key and how it is used for wrapping (section
// 2.1.5). A nil UniqueIdentifier means that there is none.
type KeyInformation struct {
	UniqueIdentifier []byte
	Parameters       ttlv.Item // Cryptographic Parameters; zero: none
}

// Decode reads the structure.
func (s *KeyWrappingSpecification) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	s.Method = kmip14.WrappingMethod(f.enum(f.must(kmip14.TagWrappingMethod)))
	s.EncryptionKey.decode(&f, f.opt(kmip14.TagEncryptionKeyInformation))
	s.MACKey.decode(&f, f.opt(kmip14.TagMACSignatureKeyInformation))
	s.AttributeNames = f.texts(kmip14.TagAttributeName, s.AttributeNames)
	s.EncodingOption = kmip14.EncodingOption(f.enum(f.since(V1_1, kmip14.TagEncodingOption)))
	return f.done()
}

func (k *KeyInformation) decode(f *fields, it ttlv.Item) {
	*k = KeyInformation{}
	if it.IsZero() {
		return
	}
	g := open(it, f.v)
	k.UniqueIdentifier = g.text(g.must(kmip14.TagUniqueIdentifier))
	k.Parameters = g.structure(g.opt(kmip14.TagCryptographicParameters))
	f.adopt(g.done())
}

// Encode writes the structure.
func (s *KeyWrappingSpecification) Encode(w *ttlv.Writer, v Version) {
	m := w.Begin(kmip14.TagKeyWrappingSpecification)
	w.Enumeration(kmip14.TagWrappingMethod, uint32(s.Method))
	s.EncryptionKey.encode(w, kmip14.TagEncryptionKeyInformation)
	s.MACKey.encode(w, kmip14.TagMACSignatureKeyInformation)
	for _, n := range s.AttributeNames {
		w.Text(kmip14.TagAttributeName, n)
	}
	if v.AtLeast(V1_1) {
		optEnum(w, kmip14.TagEncodingOption, uint32(s.EncodingOption))
	}
	w.End(m)
}

func (k *KeyInformation) encode(w *ttlv.Writer, tag ttlv.Tag) {
	if k.UniqueIdentifier == nil {
		return
	}
	m := w.Begin(tag)
	w.Text(kmip14.TagUniqueIdentifier, k.UniqueIdentifier)
	optItem(w, k.Parameters)
	w.End(m)
}
