package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// prepareDeleteAttribute holds the attribute to section 11.17: what does not
// exist is an Item Not Found, what is read-only or required Permission Denied.
func prepareDeleteAttribute(_ *Operations, c *Call) error {
	r := &c.request.deleteAttribute
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	rule, ok := kmip.LookupAttribute(r.Name)
	switch {
	case !ok || !rule.In(c.Version):
		return itemNotFound("there is no such attribute in KMIP %v", c.Version)
	case !rule.DeletedBy.Client():
		return permissionDenied("the attribute %s cannot be deleted", rule.Name)
	}
	return nil
}

// applyDeleteAttribute deletes one instance of an attribute (section 4.16). The
// other instances keep their indices.
func applyDeleteAttribute(_ *Operations, tx *Tx, c *Call) error {
	r := &c.request.deleteAttribute
	obj, err := c.edit(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	rule, _ := kmip.LookupAttribute(r.Name)
	old, err := c.deletable(obj, rule)
	if err != nil {
		return err
	}
	if err := mayChange(obj, rule, tx.Now()); err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	before := c.W.Len()
	if writeStored(c.W, rule, old, c.Version); c.W.Len() == before {
		return itemNotFound("the object has no such attribute in KMIP %v", c.Version)
	}
	obj.RemoveAttribute(old.Name, old.Index)
	return tx.Put(obj)
}

// deletable returns the instance that is meant. 1.0 does not say which one of
// several it is when there is no index; guessing would delete another than the
// client means, so it has to say.
func (c *Call) deletable(obj *keystore.Object, rule *kmip.AttributeRule) (keystore.Attribute, error) {
	r := &c.request.deleteAttribute
	name := attributeName(rule, r.Name)
	old, ok := obj.Attribute(name, r.Index)
	if !ok {
		return old, itemNotFound("the object has no such attribute, or no instance %d of it", r.Index)
	}
	if !r.HasIndex && !c.Version.AtLeast(kmip.V1_1) && instances(obj, name) > 1 {
		return old, invalidField("the object has several instances of the attribute, and the request no Attribute Index")
	}
	return old, nil
}

func instances(obj *keystore.Object, name string) (n int) {
	for _, a := range obj.Attributes() {
		if a.Name == name {
			n++
		}
	}
	return n
}

func itemNotFound(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonItemNotFound, format, args...)
}
