package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// prepareModifyAttribute holds the attribute to section 11.16: what does not
// exist is an Invalid Field, what is read-only Permission Denied.
func prepareModifyAttribute(_ *Operations, c *Call) error {
	r := &c.request.attribute
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	rule, ok := kmip.LookupAttribute(r.Attribute.Name)
	switch {
	case !ok || !rule.In(c.Version):
		return invalidField("there is no such attribute in KMIP %v", c.Version)
	case !rule.ModifiedBy.Client():
		return permissionDenied("the attribute %s is read-only", rule.Name)
	}
	_, err := newValue(rule, &r.Attribute, c.Version)
	return err
}

// newValue holds the new value to its rule. Whether there is the instance is
// for the object to say, with another reason than a wrong value has.
func newValue(rule *kmip.AttributeRule, a *kmip.Attribute, v kmip.Version) (ttlv.Item, error) {
	one := *a
	one.Index = 0
	return checkValue(rule, &one, v)
}

// applyModifyAttribute changes the value of one instance of an attribute
// (section 4.15).
func applyModifyAttribute(o *Operations, tx *Tx, c *Call) error {
	r := &c.request.attribute
	obj, err := c.edit(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	rule, _ := kmip.LookupAttribute(r.Attribute.Name)
	name := attributeName(rule, r.Attribute.Name)
	value, err := newValue(rule, &r.Attribute, c.Version)
	if err != nil {
		return err
	}
	if err := o.mayModify(tx, c, obj, rule, name, value); err != nil {
		return err
	}
	if err := modify(obj, rule, name, r.Attribute.Index, value); err != nil {
		return err
	}
	if err := tx.Put(obj); err != nil {
		return err
	}
	c.answerAttribute(obj.UniqueIdentifier, name, r.Attribute.Index, value)
	return nil
}

// mayModify tells whether the object has the instance, and whether it can have
// the new value.
func (o *Operations) mayModify(tx *Tx, c *Call, obj *keystore.Object, rule *kmip.AttributeRule, name string, value ttlv.Item) error {
	index := c.request.attribute.Attribute.Index
	any, this := o.instance(c, obj, rule, name, index)
	switch {
	case !any:
		return invalidField("the object has no such attribute; Add Attribute adds it")
	case !this:
		return kmip.NewError(kmip14.ResultReasonItemNotFound, "the object has no instance %d of the attribute", index)
	case otherName(obj, rule, value, index):
		return illegalOperation("the object has this Name already")
	}
	old, _ := obj.Attribute(name, index)
	if sizeOf(obj.Attributes())-len(old.Value.Raw())+len(value.Raw()) > maxAttributeBytes {
		return tooManyBytes()
	}
	return mayChange(obj, rule, tx.Now())
}

// modify puts the value into the object.
func modify(obj *keystore.Object, rule *kmip.AttributeRule, name string, index int32, value ttlv.Item) error {
	if d := dateField(obj, rule.Tag); d != nil {
		at, _ := value.DateTime()
		*d = keystore.At(at)
		return checkDates(obj)
	}
	if !obj.ReplaceAttribute(name, index, value) {
		obj.AddAttribute(name, value) // it had its default value
	}
	followModify(obj, rule, value)
	return nil
}

// followModify ends what held from the beginning: Always Sensitive (section
// 3.49) and Never Extractable (section 3.51) do not come back.
func followModify(obj *keystore.Object, rule *kmip.AttributeRule, value ttlv.Item) {
	set, _ := value.Boolean()
	switch {
	case rule.Tag == kmip14.TagSensitive && !set:
		obj.ReplaceAttribute("Always Sensitive", 0, valueFalse)
	case rule.Tag == kmip14.TagExtractable && set:
		obj.ReplaceAttribute("Never Extractable", 0, valueFalse)
	}
}
