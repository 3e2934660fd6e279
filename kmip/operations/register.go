package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// objectTypes are the types of object that the server keeps, and how each is
// taken in. What Query answers comes from it.
var objectTypes = [...]struct {
	objectType kmip14.ObjectType
	register   func(c *Call) error
}{
	{kmip14.ObjectTypeSymmetricKey, registerSymmetricKey},
	{kmip14.ObjectTypeTemplate, registerTemplate},
	{kmip14.ObjectTypeSecretData, registerSecretData},
	{kmip14.ObjectTypeOpaqueObject, registerOpaqueObject},
}

// prepareRegister takes an object in (section 4.3).
func prepareRegister(o *Operations, c *Call) error {
	r := &c.request.register
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return mismatch(c.Payload, r.ObjectType, err)
	}
	complete := registerOf(r.ObjectType)
	if complete == nil {
		return featureNotSupported("objects of the type %v are not supported", r.ObjectType)
	}
	c.draft.begin(r.ObjectType, true)
	c.draft.object.UniqueIdentifier = o.store.NewUID()
	if err := c.draft.setAll(r.Template.Attributes, c.Version); err != nil || len(r.Template.Names) > 0 {
		return err // the Templates are in the store
	}
	return complete(c)
}

// registerOf returns how objects of the type are taken in, nil if they are not.
func registerOf(t kmip14.ObjectType) func(c *Call) error {
	for i := range objectTypes {
		if objectTypes[i].objectType == t {
			return objectTypes[i].register
		}
	}
	return nil
}

// mismatch turns a missing object into an Invalid Field when there is one of
// another type (section 11.4).
func mismatch(payload ttlv.Item, t kmip14.ObjectType, err error) error {
	items, ierr := payload.Items()
	for ierr == nil {
		it, ok := items.Next()
		if !ok {
			break
		}
		for other := kmip14.ObjectTypeCertificate; other <= kmip14.ObjectTypePGPKey; other++ {
			if it.Tag() == kmip.ObjectTag(other) && other != t && t != 0 {
				return invalidField("the Object Type is not that of the object")
			}
		}
	}
	return err
}

// registerSymmetricKey takes a Symmetric Key in (section 2.2.2). The store
// keeps a Key Block of our own writing: with algorithm and length always, and
// without the attributes that came inside, which become the object's.
func registerSymmetricKey(c *Call) error {
	block, d := &c.request.block, &c.draft
	if err := block.Decode(c.request.register.Object, c.Version); err != nil {
		return err
	}
	if err := checkKeyBlock(c.request.register.Object, block); err != nil {
		return err
	}
	if err := d.setAll(block.Attributes, c.Version); err != nil {
		return err
	}
	if err := d.fromBlock(block); err != nil {
		return err
	}
	alg, err := d.required(c.Version)
	if err != nil {
		return err
	}
	switch {
	case !block.WrappingData.IsZero():
		return c.registerWrapped(alg)
	case block.Value.IsZero():
		return c.registerElsewhere(alg)
	}
	material := block.Bytes()
	if err := d.checkMaterial(alg, len(material)); err != nil {
		return err
	}
	writeSymmetricKey(&c.key, block.KeyFormatType, material, alg, d.object.CryptographicLength)
	d.object.Value, _ = ttlv.Parse(c.key.Bytes())
	d.give("Digest", digest(block.Material, block.KeyFormatType))
	return nil
}

// checkKeyBlock refuses formats that a Symmetric Key does not have, and what we
// cannot take.
func checkKeyBlock(object ttlv.Item, k *kmip.KeyBlock) error {
	items, _ := object.Items()
	if it, ok := items.Next(); !ok || it.Tag() != kmip14.TagKeyBlock || !items.Done() {
		return invalidField("a Symmetric Key holds a Key Block and nothing else")
	}
	if err := uncompressed(k); err != nil {
		return err
	}
	switch {
	case k.KeyFormatType != kmip14.KeyFormatTypeRaw && k.KeyFormatType != kmip14.KeyFormatTypeTransparentSymmetricKey:
		return kmip.NewError(kmip14.ResultReasonKeyFormatTypeNotSupported, "a Symmetric Key is Raw or a Transparent Symmetric Key")
	case k.Value.IsZero(), !k.WrappingData.IsZero():
		return nil
	case k.KeyFormatType == kmip14.KeyFormatTypeTransparentSymmetricKey:
		inner, err := k.Material.Items()
		if _, ok := inner.Take(kmip14.TagKey); err != nil || !ok || !inner.Done() {
			return invalidField("the Key Material of a Transparent Symmetric Key holds a Key and nothing else")
		}
	}
	if len(k.Bytes()) == 0 {
		return invalidField("the Key Material is no Byte String, or empty")
	}
	return nil
}

// uncompressed refuses a Key Block that is compressed.
func uncompressed(k *kmip.KeyBlock) error {
	if k.KeyCompressionType != 0 {
		return kmip.NewError(kmip14.ResultReasonKeyCompressionTypeNotSupported, "only asymmetric keys are compressed")
	}
	return nil
}

// fromBlock takes algorithm and length from the Key Block, which must not
// contradict the attributes.
func (d *draft) fromBlock(k *kmip.KeyBlock) error {
	if alg := uint32(k.CryptographicAlgorithm); alg != 0 {
		if d.object.CryptographicAlgorithm != 0 && d.object.CryptographicAlgorithm != alg {
			return invalidField("the Cryptographic Algorithm of the Key Block is not that of the attribute")
		}
		d.object.CryptographicAlgorithm = alg
	}
	if length := k.CryptographicLength; length != 0 {
		if d.object.CryptographicLength != 0 && d.object.CryptographicLength != length {
			return invalidField("the Cryptographic Length of the Key Block is not that of the attribute")
		}
		d.object.CryptographicLength = length
	}
	return nil
}

// checkMaterial holds the key material to the length, and both to the
// algorithm. A DES key's length may count the parity bits, as some clients do.
func (d *draft) checkMaterial(alg kmip14.CryptographicAlgorithm, size int) error {
	length, err := checkLength(alg, min(keyLength(alg, size), maxKeyBits+1))
	if err != nil {
		return err
	}
	switch stated := d.object.CryptographicLength; {
	case stated == 0:
		d.object.CryptographicLength = length
	case stated != length && !(withParity(alg) && int(stated) == size*8):
		return invalidField("the Key Material has %d bits, and the Cryptographic Length says %d", length, stated)
	}
	return nil
}

// registerWrapped takes in a key that is wrapped. It is kept and handed out as it
// came: there is no digest, since the server has not seen the key.
func (c *Call) registerWrapped(alg kmip14.CryptographicAlgorithm) error {
	d, k := &c.draft, &c.request.block
	if d.object.CryptographicLength == 0 {
		return missingData("the Cryptographic Length is missing, which cannot be seen on a wrapped key")
	}
	if _, err := checkLength(alg, d.object.CryptographicLength); err != nil && !withParity(alg) {
		return err
	}
	if err := checkWrapped(k, c.Version); err != nil {
		return err
	}
	w := &c.key
	all := w.Begin(kmip14.TagSymmetricKey)
	m := w.Begin(kmip14.TagKeyBlock)
	w.Enumeration(kmip14.TagKeyFormatType, uint32(k.KeyFormatType))
	writeKeyValue(w, k)
	w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(alg))
	w.Integer(kmip14.TagCryptographicLength, d.object.CryptographicLength)
	w.Item(k.WrappingData)
	w.End(m)
	w.End(all)
	d.object.Value, _ = ttlv.Parse(w.Bytes())
	return nil
}

// registerElsewhere takes in a key whose value is not on the server (1.2,
// sections 3.41 and 3.42).
func (c *Call) registerElsewhere(alg kmip14.CryptographicAlgorithm) error {
	d := &c.draft
	if !d.has("Key Value Location") {
		return missingData("there is neither a Key Value nor a Key Value Location")
	}
	if d.object.CryptographicLength == 0 {
		return missingData("the Cryptographic Length is missing")
	}
	if _, err := checkLength(alg, d.object.CryptographicLength); err != nil {
		return err
	}
	writeSymmetricKey(&c.key, c.request.block.KeyFormatType, nil, alg, d.object.CryptographicLength)
	d.object.Value, _ = ttlv.Parse(c.key.Bytes())
	d.give("Key Value Present", valueFalse)
	return nil
}

func applyRegister(_ *Operations, tx *Tx, c *Call) error {
	if r := &c.request.register; len(r.Template.Names) > 0 {
		if err := c.draft.byTemplate(tx, nil, &r.Template, c.Version); err != nil {
			return err
		}
		c.key.Reset(c.key.Bytes())
		if err := registerOf(r.ObjectType)(c); err != nil {
			return err
		}
	}
	if err := c.create(tx); err != nil {
		return err
	}
	c.writeUID(c.object.UniqueIdentifier)
	return nil
}
