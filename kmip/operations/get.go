package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func prepareGet(_ *Operations, c *Call) error {
	r := &c.request.get
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if r.KeyCompressionType != 0 {
		return kmip.NewError(kmip14.ResultReasonKeyCompressionTypeNotSupported, "keys are not compressed")
	}
	if r.HasWrapping {
		return checkWrapping(r, c.Version)
	}
	return nil
}

// applyGet hands an object out (section 4.11), in whatever State it is: a
// client may need a key before it activates it, as vCenter does, and to read
// old data after it was deactivated. A Destroyed object is as absent as one
// that never was.
func applyGet(o *Operations, tx *Tx, c *Call) error {
	uid, err := c.target(c.request.get.UniqueIdentifier)
	if err != nil {
		return err
	}
	obj, err := tx.Object(uid)
	if err != nil {
		return err
	}
	if err := o.mayLeave(obj, c.inClear(obj)); err != nil {
		return err
	}
	c.W.Enumeration(kmip14.TagObjectType, uint32(obj.Type))
	c.writeUID(uid)
	if err := o.writeObject(tx, c, obj); err != nil {
		return err
	}
	return o.handedOut(tx, obj)
}

// inClear tells whether the object is to be handed out without a wrapping.
func (c *Call) inClear(obj *keystore.Object) bool {
	r := &c.request.get
	return !r.HasWrapping && !(isWrapped(obj) && r.KeyWrapType != kmip14.KeyWrapTypeNotWrapped)
}

// mayLeave tells whether an object may be handed out at all.
func (o *Operations) mayLeave(obj *keystore.Object, inClear bool) error {
	switch obj.State {
	case keystore.Destroyed, keystore.DestroyedCompromised:
		return keystore.ErrNotFound
	case keystore.Deactivated, keystore.Compromised:
		if o.config.RefuseInactive {
			return permissionDenied("the key is not Active any more; an administrator can reactivate it")
		}
	}
	if err := notArchived(obj); err != nil {
		return err
	}
	if obj.Value.IsZero() {
		return permissionDenied("the object is not handed out to this client")
	}
	if inClear && is(obj, "Sensitive", true) {
		return kmip.NewError(kmip14.ResultReasonSensitive, "the key is Sensitive, and leaves wrapped only")
	}
	if is(obj, "Extractable", false) {
		return kmip.NewError(kmip14.ResultReasonNotExtractable, "the key is not Extractable")
	}
	return nil
}

// is tells whether an attribute is stored with that value.
func is(obj *keystore.Object, name string, want bool) bool {
	a, ok := obj.Attribute(name, 0)
	if !ok {
		return false
	}
	got, err := a.Value.Boolean()
	return err == nil && got == want
}

// writeObject writes the object as it is stored, or a symmetric key in its
// other format, wrapped or unwrapped if the request says so. Without a wrapping
// the bytes go from the record to the response and nowhere else.
func (o *Operations) writeObject(tx *Tx, c *Call, obj *keystore.Object) error {
	block := obj.Value.Find(kmip14.TagKeyBlock)
	stored, _ := block.Find(kmip14.TagKeyFormatType).Enumeration()
	want := uint32(c.request.get.KeyFormatType)
	if want == 0 {
		want = stored
	}
	alg := obj.CryptographicAlgorithm
	switch {
	case obj.Type == keystore.Template && want == 0 && !c.request.get.HasWrapping:
		writeTemplate(c.W, obj.Value, c.Version)
		return nil
	case !block.IsZero() && !kmip.ValueIn(kmip14.TagKeyFormatType, want, c.Version),
		alg != 0 && !kmip.ValueIn(kmip14.TagCryptographicAlgorithm, alg, c.Version):
		return kmip.NewError(kmip14.ResultReasonKeyFormatTypeNotSupported, "KMIP %v has no words for this key", c.Version)
	case want != stored && (!symmetricFormat(want) || !symmetricFormat(stored) || isWrapped(obj) && !c.inClear(obj)):
		return kmip.NewError(kmip14.ResultReasonKeyFormatTypeNotSupported, "the object is not to be had in this Key Format Type")
	case c.request.get.HasWrapping:
		return o.writeWrapped(tx, c, obj, want)
	case isWrapped(obj) && c.inClear(obj):
		return c.writeUnwrapped(tx, obj, want)
	case isWrapped(obj):
		return c.writeRegistered(obj)
	case want == stored:
		c.W.Item(obj.Value)
		return nil
	}
	material := materialOf(block)
	if material == nil {
		return kmip.NewError(kmip14.ResultReasonKeyValueNotPresent, "the key's value is not on the server")
	}
	writeSymmetricKey(c.W, kmip14.KeyFormatType(want), material, kmip14.CryptographicAlgorithm(alg), obj.CryptographicLength)
	return nil
}

// symmetricFormat tells whether a format is one of the two that a symmetric key
// can be turned into.
func symmetricFormat(f uint32) bool {
	return f == uint32(kmip14.KeyFormatTypeRaw) || f == uint32(kmip14.KeyFormatTypeTransparentSymmetricKey)
}

// materialOf returns the bytes of a symmetric key, a view; nil if there are none.
func materialOf(block ttlv.Item) []byte {
	material := block.Find(kmip14.TagKeyValue).Find(kmip14.TagKeyMaterial)
	if material.Type() == ttlv.Structure {
		material = material.Find(kmip14.TagKey)
	}
	return material.Value()
}
