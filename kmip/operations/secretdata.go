package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// registerSecretData takes Secret Data in: a password or a seed (section
// 2.2.7). It has no algorithm and no length of its own. Clients of the profile
// for self-encrypting drives give it no Cryptographic Usage Mask; the server
// then sets one without any use, in all versions.
func registerSecretData(c *Call) error {
	block, d, object := &c.request.block, &c.draft, c.request.register.Object
	if err := checkSecretData(object, c.Version); err != nil {
		return err
	}
	if err := block.Decode(object, c.Version); err != nil {
		return err
	}
	if err := uncompressed(block); err != nil {
		return err
	}
	if block.KeyFormatType != kmip14.KeyFormatTypeRaw && block.KeyFormatType != kmip14.KeyFormatTypeOpaque {
		return kmip.NewError(kmip14.ResultReasonKeyFormatTypeNotSupported, "Secret Data is Raw or Opaque")
	}
	if err := d.setAll(block.Attributes, c.Version); err != nil {
		return err
	}
	d.object.HasUsageMask = true
	if err := checkDates(&d.object); err != nil {
		return err
	}
	switch {
	case !block.WrappingData.IsZero():
		if err := checkWrapped(block, c.Version); err != nil {
			return err
		}
	case block.Value.IsZero():
		if !d.has("Key Value Location") {
			return missingData("there is neither a Key Value nor a Key Value Location")
		}
		d.give("Key Value Present", valueFalse)
	case len(block.Bytes()) == 0:
		return invalidField("the Key Material is no Byte String, or empty")
	default:
		d.give("Digest", digest(block.Material, block.KeyFormatType))
	}
	c.keepSecretData(object.Find(kmip14.TagSecretDataType))
	return nil
}

// checkSecretData holds the structure to its two fields.
func checkSecretData(object ttlv.Item, v kmip.Version) error {
	items, _ := object.Items()
	kind, ok := items.Take(kmip14.TagSecretDataType)
	if !ok {
		return missingData("the Secret Data Type is missing")
	}
	if n, err := kind.Enumeration(); err != nil || !kmip.ValueIn(kmip14.TagSecretDataType, n, v) {
		return invalidField("this is no Secret Data Type")
	}
	if _, ok := items.Take(kmip14.TagKeyBlock); !ok {
		return missingData("the Secret Data has no Key Block")
	}
	if !items.Done() {
		return invalidField("Secret Data holds a Secret Data Type, a Key Block and nothing else")
	}
	return nil
}

// keepSecretData writes the Secret Data as the store keeps it: without the
// attributes that came inside, which become the object's.
func (c *Call) keepSecretData(kind ttlv.Item) {
	b, w := &c.request.block, &c.key
	all := w.Begin(kmip14.TagSecretData)
	w.Item(kind)
	block := w.Begin(kmip14.TagKeyBlock)
	w.Enumeration(kmip14.TagKeyFormatType, uint32(b.KeyFormatType))
	if !b.Value.IsZero() {
		writeKeyValue(w, b)
	}
	if b.CryptographicAlgorithm != 0 {
		w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(b.CryptographicAlgorithm))
	}
	if b.CryptographicLength != 0 {
		w.Integer(kmip14.TagCryptographicLength, b.CryptographicLength)
	}
	if !b.WrappingData.IsZero() {
		w.Item(b.WrappingData)
	}
	w.End(block)
	w.End(all)
	c.draft.object.Value, _ = ttlv.Parse(w.Bytes())
}
