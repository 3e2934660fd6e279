package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// prepareAddAttribute holds the attribute to section 11.15: an index is an
// Invalid Field, what is read-only or unknown is Permission Denied.
func prepareAddAttribute(_ *Operations, c *Call) error {
	r := &c.request.attribute
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if r.Attribute.HasIndex {
		return invalidField("Add Attribute takes no Attribute Index; the server gives one")
	}
	rule, ok := kmip.LookupAttribute(r.Attribute.Name)
	switch {
	case !ok || !rule.In(c.Version):
		return permissionDenied("there is no such attribute in KMIP %v", c.Version)
	case !rule.InitiallyBy.Client():
		return permissionDenied("the attribute %s is read-only", rule.Name)
	}
	_, err := checkValue(rule, &r.Attribute, c.Version)
	return err
}

// applyAddAttribute adds an instance of an attribute (section 4.14).
func applyAddAttribute(o *Operations, tx *Tx, c *Call) error {
	r := &c.request.attribute
	uid, err := c.target(r.UniqueIdentifier)
	if err != nil {
		return err
	}
	obj, err := tx.Edit(uid)
	if err != nil {
		return err
	}
	rule, err := o.mayAdd(c, obj, &r.Attribute, tx.Now())
	if err != nil {
		return err
	}
	value, index, err := addAttribute(obj, rule, &r.Attribute, c.Version)
	if err != nil {
		return err
	}
	if err := tx.Put(obj); err != nil {
		return err
	}
	c.answerAttribute(uid, attributeName(rule, r.Attribute.Name), index, value)
	return nil
}

// mayAdd tells whether the object can have the attribute, or a further
// instance of it.
func (o *Operations) mayAdd(c *Call, obj *keystore.Object, a *kmip.Attribute, now int64) (*kmip.AttributeRule, error) {
	if err := notArchived(obj); err != nil {
		return nil, err
	}
	rule, err := settable(a, c.Version, obj.Type, permissionDenied)
	if err != nil {
		return nil, err
	}
	switch {
	case rule.Tag == kmip14.TagKeyValueLocation && !is(obj, "Key Value Present", false):
		return nil, permissionDenied("the key's value is on the server, and has no Key Value Location")
	case len(obj.Attributes()) >= maxInstances:
		return nil, tooManyInstances()
	case sizeOf(obj.Attributes())+len(a.Name)+len(a.Value.Raw()) > maxAttributeBytes:
		return nil, tooManyBytes()
	case !rule.Multiple && o.hasValue(c, obj, rule):
		return nil, illegalOperation("the object has a value for the attribute %s already", rule.Name)
	case otherName(obj, rule, a.Value, noIndex):
		return nil, illegalOperation("the object has this Name already")
	}
	return rule, mayChange(obj, rule, now)
}

// hasValue tells whether an attribute of one instance has a value. The default
// Operation Policy does not count: an object that has it was given none.
func (o *Operations) hasValue(c *Call, obj *keystore.Object, rule *kmip.AttributeRule) bool {
	if rule.Tag == kmip14.TagOperationPolicyName {
		_, ok := obj.Attribute(rule.Name, 0)
		return ok
	}
	return o.eachValue(&c.scratch, obj, rule, rule.Name, c.Version, func(ttlv.Item) bool { return true })
}

// addAttribute puts the value into the object, and returns it as it is kept.
func addAttribute(obj *keystore.Object, rule *kmip.AttributeRule, a *kmip.Attribute, v kmip.Version) (value ttlv.Item, index int32, err error) {
	value, err = checkValue(rule, a, v)
	if err != nil {
		return value, 0, err
	}
	if isField, _ := setField(obj, rule.Tag, value); isField {
		return value, 0, checkDates(obj)
	}
	return value, obj.AddAttribute(attributeName(rule, a.Name), value), nil
}
