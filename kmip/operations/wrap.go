package operations

import (
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/keywrap"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// checkWrapping refuses a Key Wrapping Specification that the server cannot
// follow, before it looks at any object.
func checkWrapping(r *kmip.GetRequest, v kmip.Version) error {
	s := &r.Wrapping
	switch {
	case r.KeyWrapType != 0:
		return invalidField("a Key Wrap Type beside a Key Wrapping Specification")
	case s.Method != kmip14.WrappingMethodEncrypt:
		return featureNotSupported("keys are wrapped by the method Encrypt only")
	case s.MACKey.UniqueIdentifier != nil:
		return featureNotSupported("wrapped keys are not signed")
	case s.EncryptionKey.UniqueIdentifier == nil:
		return missingData("the Encryption Key Information is missing")
	case s.EncodingOption == kmip14.EncodingOptionNoEncoding && len(s.AttributeNames) > 0:
		return encodingOption("attributes are wrapped with TTLV Encoding only")
	case len(s.AttributeNames) > maxAsked:
		return invalidField("more than %d Attribute Names", maxAsked)
	}
	return checkParameters(s.EncryptionKey.Parameters, v)
}

func encodingOption(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonEncodingOptionError, format, args...)
}

func cryptographicFailure(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonCryptographicFailure, format, args...)
}

// checkParameters holds Cryptographic Parameters to section 3.6.
func checkParameters(parameters ttlv.Item, v kmip.Version) error {
	if parameters.IsZero() {
		return nil
	}
	rule, _ := kmip.LookupAttribute([]byte("Cryptographic Parameters"))
	return rule.Check(parameters, v)
}

// writeWrapped writes the object with its Key Value wrapped (section 4.11). The
// reasons for refusals are those of section 11.12.
func (o *Operations) writeWrapped(tx *Tx, c *Call, obj *keystore.Object, format uint32) error {
	s, block := &c.request.get.Wrapping, obj.Value.Find(kmip14.TagKeyBlock)
	switch {
	case block.IsZero():
		return illegalOperation("only what has a Key Block is wrapped")
	case isWrapped(obj):
		return illegalOperation("the key is wrapped already, as it was registered")
	case block.Find(kmip14.TagKeyValue).IsZero():
		return kmip.NewError(kmip14.ResultReasonKeyValueNotPresent, "the key's value is not on the server")
	}
	kek, err := wrappingKey(tx, s.EncryptionKey.UniqueIdentifier, kmip14.CryptographicUsageMaskWrapKey)
	if err != nil {
		return err
	}
	mode, err := modeOf(kek, s.EncryptionKey.Parameters)
	if err != nil {
		return err
	}
	plain, err := o.toWrap(c, obj, block, format)
	if err != nil {
		return err
	}
	wrapped, err := mode.wrap(materialOf(kek.Value.Find(kmip14.TagKeyBlock)), plain)
	if errors.Is(err, keywrap.ErrLength) {
		return cryptographicFailure("a value of this length cannot be wrapped so: take AES Key Wrap Padding, or TTLV Encoding")
	}
	if err != nil {
		return err
	}
	c.writeBlock(obj, format, func(w *ttlv.Writer) { w.ByteString(kmip14.TagKeyValue, wrapped) }, func(w *ttlv.Writer) {
		data := kmip.KeyWrappingData{Method: s.Method, EncryptionKey: s.EncryptionKey, EncodingOption: s.EncodingOption}
		data.Encode(w, c.Version)
	})
	return nil
}

// toWrap returns what is wrapped: the Key Value, or without encoding the Key
// Material (section 9.1.3.2.32). It is in the call's buffer for key material, or
// a view of the object.
func (o *Operations) toWrap(c *Call, obj *keystore.Object, block ttlv.Item, format uint32) ([]byte, error) {
	s, stored := &c.request.get.Wrapping, block.Find(kmip14.TagKeyValue)
	material := materialOf(block)
	if s.EncodingOption == kmip14.EncodingOptionNoEncoding {
		if format == uint32(kmip14.KeyFormatTypeTransparentSymmetricKey) {
			return nil, encodingOption("a key that is a structure is wrapped with TTLV Encoding only")
		}
		return material, nil
	}
	w := &c.key
	w.Reset(w.Bytes())
	m := w.Begin(kmip14.TagKeyValue)
	if was, _ := block.Find(kmip14.TagKeyFormatType).Enumeration(); was == format {
		w.Item(stored.Find(kmip14.TagKeyMaterial))
	} else {
		writeMaterial(w, kmip14.KeyFormatType(format), material)
	}
	for _, name := range s.AttributeNames {
		if w.Len() > maxListed {
			return nil, kmip.NewError(kmip14.ResultReasonResponseTooLarge, "attributes of more than %d bytes", maxListed)
		}
		o.writeNamed(w, obj, name, c.Version)
	}
	w.End(m)
	return w.Bytes(), nil
}

// wrappingKey opens the key that wraps or unwraps. It has to be the principal's
// own, in a State and with a Cryptographic Usage Mask that allow it: otherwise
// who may look at two objects could have one wrapped with a key that is known.
func wrappingKey(tx *Tx, id []byte, use kmip14.CryptographicUsageMask) (*keystore.Object, error) {
	uid, ok := keystore.ParseUID(id)
	if !ok {
		return nil, keystore.ErrNotFound
	}
	kek, err := tx.Edit(uid)
	if err != nil {
		return nil, err
	}
	switch {
	case storageOf(kek) == storageDestroyed:
		return nil, keystore.ErrNotFound
	case kek.ArchiveDate.Set:
		return nil, notArchived(kek)
	case kek.Type != keystore.SymmetricKey:
		return nil, illegalOperation("the object in the Encryption Key Information is no Symmetric Key")
	case kmip14.CryptographicAlgorithm(kek.CryptographicAlgorithm) != kmip14.CryptographicAlgorithmAES,
		isWrapped(kek), materialOf(kek.Value.Find(kmip14.TagKeyBlock)) == nil:
		return nil, permissionDenied("the key in the Encryption Key Information is no AES key that the server can use")
	case !allows(kek, use, tx.Now()):
		return nil, permissionDenied("State, dates or Cryptographic Usage Mask do not let this key be used for wrapping or unwrapping")
	}
	if _, limited := usageLimitsOf(kek); limited {
		return nil, permissionDenied("the key in the Encryption Key Information has Usage Limits, which Get does not count")
	}
	return kek, nil
}

// A wrapMode is one of the ways to wrap a key with AES.
type wrapMode struct {
	mode         kmip14.BlockCipherMode
	wrap, unwrap func(kek, data []byte) ([]byte, error)
}

var wrapModes = [...]wrapMode{
	{kmip14.BlockCipherModeNISTKeyWrap, keywrap.Wrap, keywrap.Unwrap}, // the usual one
	{kmip14.BlockCipherModeAESKeyWrapPadding, keywrap.WrapPadded, keywrap.UnwrapPadded},
}

// modeOf returns the way that the request names. A key that has Cryptographic
// Parameters is used by those only; the first of them counts when the request
// names none.
func modeOf(kek *keystore.Object, parameters ttlv.Item) (*wrapMode, error) {
	mode := blockCipherMode(parameters)
	restricted, matched := false, false
	for _, a := range kek.Attributes() {
		if a.Name != "Cryptographic Parameters" {
			continue
		}
		restricted = true
		if mode == 0 {
			mode = blockCipherMode(a.Value)
		}
		matched = matched || blockCipherMode(a.Value) == mode
	}
	if restricted && !matched {
		return nil, kmip.NewError(kmip14.ResultReasonItemNotFound, "the wrapping key has no such Cryptographic Parameters")
	}
	for i := range wrapModes {
		if wrapModes[i].mode == mode || mode == 0 {
			return &wrapModes[i], nil
		}
	}
	return nil, featureNotSupported("keys are wrapped by NIST Key Wrap or AES Key Wrap Padding")
}

func blockCipherMode(parameters ttlv.Item) kmip14.BlockCipherMode {
	n, _ := parameters.Find(kmip14.TagBlockCipherMode).Enumeration()
	return kmip14.BlockCipherMode(n)
}

// isWrapped tells whether an object was registered wrapped.
func isWrapped(obj *keystore.Object) bool {
	return !obj.Value.Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyWrappingData).IsZero()
}

// writeRegistered writes an object that was registered wrapped, as it was.
func (c *Call) writeRegistered(obj *keystore.Object) error {
	data := obj.Value.Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyWrappingData)
	var how kmip.KeyWrappingData
	if err := how.Decode(data, c.Version); err != nil || checkParameters(how.EncryptionKey.Parameters, c.Version) != nil {
		return kmip.NewError(kmip14.ResultReasonKeyFormatTypeNotSupported, "KMIP %v has no words for how this key is wrapped", c.Version)
	}
	c.W.Item(obj.Value)
	return nil
}

// writeUnwrapped writes an object that was registered wrapped in the clear
// (1.4: Key Wrap Type Not Wrapped), if the server has the key that it takes.
func (c *Call) writeUnwrapped(tx *Tx, obj *keystore.Object, format uint32) error {
	block := obj.Value.Find(kmip14.TagKeyBlock)
	var how kmip.KeyWrappingData
	if err := how.Decode(block.Find(kmip14.TagKeyWrappingData), kmip.Versions()[0]); err != nil {
		return err
	}
	if how.Method != kmip14.WrappingMethodEncrypt || how.EncryptionKey.UniqueIdentifier == nil {
		return featureNotSupported("only keys that were wrapped by the method Encrypt are unwrapped")
	}
	kek, err := wrappingKey(tx, how.EncryptionKey.UniqueIdentifier, kmip14.CryptographicUsageMaskUnwrapKey)
	if err != nil {
		return err
	}
	mode, err := modeOf(kek, how.EncryptionKey.Parameters)
	if err != nil {
		return err
	}
	plain, err := mode.unwrap(materialOf(kek.Value.Find(kmip14.TagKeyBlock)), wrappedBytes(block))
	defer secret.Clear(plain)
	if err != nil {
		return cryptographicFailure("the wrapped key does not open with its wrapping key")
	}
	material, err := unwrappedMaterial(plain, &how, obj)
	if err != nil {
		return err
	}
	c.writeBlock(obj, format, func(w *ttlv.Writer) {
		m := w.Begin(kmip14.TagKeyValue)
		writeMaterial(w, kmip14.KeyFormatType(format), material)
		w.End(m)
	}, nil)
	return nil
}

// wrappedBytes returns the wrapped Key Value, which clients send as such or as
// the Key Material of one.
func wrappedBytes(block ttlv.Item) []byte {
	value := block.Find(kmip14.TagKeyValue)
	if value.Type() == ttlv.Structure {
		value = value.Find(kmip14.TagKeyMaterial)
	}
	return value.Value()
}

// unwrappedMaterial returns the key's bytes inside what was unwrapped, a view,
// and holds them to the length that the key was registered with.
func unwrappedMaterial(plain []byte, how *kmip.KeyWrappingData, obj *keystore.Object) ([]byte, error) {
	material := plain
	if how.EncodingOption != kmip14.EncodingOptionNoEncoding {
		value, err := ttlv.Parse(plain)
		if err != nil || ttlv.Check(plain, ttlv.Limits{}) != nil || value.Tag() != kmip14.TagKeyValue || value.Type() != ttlv.Structure {
			return nil, cryptographicFailure("what was unwrapped is no Key Value")
		}
		m := value.Find(kmip14.TagKeyMaterial)
		if m.Type() == ttlv.Structure {
			m = m.Find(kmip14.TagKey)
		}
		material = m.Value()
	}
	alg, stated := kmip14.CryptographicAlgorithm(obj.CryptographicAlgorithm), obj.CryptographicLength
	if len(material) == 0 || stated != 0 && keyLength(alg, len(material)) != stated && len(material)*8 != int(stated) {
		return nil, cryptographicFailure("what was unwrapped is not of the key's length")
	}
	return material, nil
}

// writeBlock writes the object with another Key Value, and with Key Wrapping
// Data or without.
func (c *Call) writeBlock(obj *keystore.Object, format uint32, value, wrapping func(w *ttlv.Writer)) {
	w := c.W
	all := w.Begin(obj.Value.Tag())
	w.Raw(obj.Value.Find(kmip14.TagSecretDataType).Raw())
	m := w.Begin(kmip14.TagKeyBlock)
	w.Enumeration(kmip14.TagKeyFormatType, format)
	value(w)
	block := obj.Value.Find(kmip14.TagKeyBlock)
	w.Raw(block.Find(kmip14.TagCryptographicAlgorithm).Raw())
	w.Raw(block.Find(kmip14.TagCryptographicLength).Raw())
	if wrapping != nil {
		wrapping(w)
	}
	w.End(m)
	w.End(all)
}

// checkWrapped holds a Key Block that comes wrapped to what can be checked of
// it. The server does not unwrap it, and need not have the wrapping key.
func checkWrapped(k *kmip.KeyBlock, v kmip.Version) error {
	var how kmip.KeyWrappingData
	if err := how.Decode(k.WrappingData, v); err != nil {
		return err
	}
	if err := errors.Join(checkParameters(how.EncryptionKey.Parameters, v), checkParameters(how.MACKey.Parameters, v)); err != nil {
		return invalidField("the Key Wrapping Data has Cryptographic Parameters that are none")
	}
	switch {
	case k.Value.IsZero():
		return missingData("the Key Value is missing")
	case k.Value.Type() == ttlv.ByteString && len(k.Value.Value()) == 0,
		k.Value.Type() == ttlv.Structure && (k.Material.Type() != ttlv.ByteString || len(k.Material.Value()) == 0):
		return invalidField("the wrapped Key Value is no Byte String, or empty")
	}
	return nil
}

// writeKeyValue writes the Key Value as it came, wrapped or not, without the
// attributes inside.
func writeKeyValue(w *ttlv.Writer, k *kmip.KeyBlock) {
	if k.Value.Type() == ttlv.ByteString {
		w.Item(k.Value)
		return
	}
	m := w.Begin(kmip14.TagKeyValue)
	w.Item(k.Material)
	w.End(m)
}
