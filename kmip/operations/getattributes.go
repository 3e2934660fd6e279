package operations

import (
	"bytes"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// maxAsked bounds the names in one request, so that looking for doubles and
// then for each name stays cheap.
const maxAsked = 512

// maxListed bounds one answer in bytes, as 1.0 lets a client name an attribute
// with a long value again and again.
const maxListed = 1 << 20

// prepareGetAttributes refuses a name that is given twice (section 11.13; 1.0
// has no such rule, and answers it twice).
func prepareGetAttributes(_ *Operations, c *Call) error {
	r := &c.request.getAttributes
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if len(r.Names) > maxAsked {
		return invalidField("more than %d Attribute Names", maxAsked)
	}
	if !c.Version.AtLeast(kmip.V1_1) {
		return nil
	}
	for i, name := range r.Names {
		for _, other := range r.Names[:i] {
			if bytes.Equal(name, other) {
				return kmip.NewError(kmip14.ResultReasonInvalidMessage, "an Attribute Name is given twice")
			}
		}
	}
	return nil
}

// applyGetAttributes answers with what the object has of the attributes asked
// for, all if none are named (section 4.12). An attribute without a value,
// which one that does not exist never has, is left out: the answer is a success
// all the same, which vCenter relies on.
func applyGetAttributes(o *Operations, tx *Tx, c *Call) error {
	r := &c.request.getAttributes
	obj, err := c.look(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	if len(r.Names) == 0 {
		o.writeAll(c.W, obj, c.Version)
		return nil
	}
	start := c.W.Len()
	for _, name := range r.Names {
		if c.W.Len()-start > maxListed {
			return kmip.NewError(kmip14.ResultReasonResponseTooLarge, "attributes of more than %d bytes", maxListed)
		}
		o.writeNamed(c.W, obj, name, c.Version)
	}
	return nil
}

// writeNamed writes every instance of the attribute of that name.
func (o *Operations) writeNamed(w *ttlv.Writer, obj *keystore.Object, name []byte, v kmip.Version) {
	rule, ok := kmip.LookupAttribute(name)
	switch {
	case !ok:
		return
	case !rule.Custom():
		o.writeRule(w, obj, rule, v)
		return
	}
	for _, a := range obj.Attributes() {
		if a.Name == string(name) {
			writeStored(w, rule, a, v)
		}
	}
}

// look opens the object that a request means, to be looked at. Section 11.13
// refuses archived ones, but the attributes of those stay on-line (section
// 4.22), and clients ask them for the Archive Date.
func (c *Call) look(tx *Tx, id []byte) (*keystore.Object, error) {
	uid, err := c.target(id)
	if err != nil {
		return nil, err
	}
	return tx.Object(uid)
}

// applyGetAttributeList answers with the names of the attributes that the
// object has, each once (section 4.13).
func applyGetAttributeList(o *Operations, tx *Tx, c *Call) error {
	obj, err := c.look(tx, c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	for _, rule := range o.rules {
		c.scratch.Reset(c.scratch.Bytes())
		if o.writeRule(&c.scratch, obj, rule, c.Version); c.scratch.Len() > 0 {
			c.W.TextString(kmip14.TagAttributeName, rule.Name)
		}
	}
	all := obj.Attributes()
	for i := range all {
		if _, custom := customRule(all[i].Name); custom && !named(all[:i], all[i].Name) {
			c.W.TextString(kmip14.TagAttributeName, all[i].Name)
		}
	}
	return nil
}

func named(list []keystore.Attribute, name string) bool {
	for i := range list {
		if list[i].Name == name {
			return true
		}
	}
	return false
}
