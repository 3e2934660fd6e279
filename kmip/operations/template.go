package operations

import (
	"bytes"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// maxTemplates bounds the Templates that one request names: each is opened
// inside the store's only writer.
const maxTemplates = 16

// registerTemplate takes a Template in (section 2.2.6). What stands beside it,
// in the request's Template-Attribute, is the Template's own; what stands inside
// goes to the objects that are made by its name. A Name inside is the
// Template's own all the same, and is not handed on.
func registerTemplate(c *Call) error {
	object := c.request.register.Object
	items, _ := object.Items()
	var inside draft
	inside.begin(kmip14.ObjectTypeTemplate, true)
	for !items.Done() {
		it, _ := items.Take(kmip14.TagAttribute)
		var a kmip.Attribute
		if err := a.Decode(it, c.Version); err != nil {
			return invalidField("a Template holds attributes and nothing else")
		}
		if err := c.draft.inside(&inside, &a, c.Version); err != nil {
			return err
		}
	}
	if inside.given == 0 {
		return missingData("the Template is empty")
	}
	c.key.Item(object)
	c.draft.object.Value, _ = ttlv.Parse(c.key.Bytes())
	return checkDates(&inside.object)
}

// inside takes one attribute of a Template's inside.
func (d *draft) inside(inside *draft, a *kmip.Attribute, v kmip.Version) error {
	rule, ok := kmip.LookupAttribute(a.Name)
	switch {
	case !ok || !rule.In(v):
		return invalidField("there is no such attribute in KMIP %v", v)
	case !rule.InitiallyBy.Client() || !rule.Objects.Has(kmip14.ObjectTypeTemplate):
		return invalidField("the attribute %s cannot be set by a Template", rule.Name)
	}
	if err := inside.place(rule, a, v); err != nil || rule.Tag != kmip14.TagName {
		return err
	}
	for i := range d.attributes {
		if d.attributes[i].Name == rule.Name && sameName(d.attributes[i].Value, a.Value) {
			return nil
		}
	}
	return d.set(&kmip.Attribute{Name: a.Name, Value: a.Value}, v)
}

// ofTemplate tells whether an attribute can be a Template's own: those that
// every object has can, those of keys are for what is made by it.
func ofTemplate(rule *kmip.AttributeRule) bool {
	return rule.Objects.Has(kmip14.ObjectTypeTemplate) && rule.Objects.Has(kmip14.ObjectTypeOpaqueObject)
}

// writeTemplate writes a Template in the words of the version.
func writeTemplate(w *ttlv.Writer, value ttlv.Item, v kmip.Version) {
	m := w.Begin(kmip14.TagTemplate)
	items, _ := value.Items()
	for {
		it, ok := items.Next()
		if !ok {
			break
		}
		var a kmip.Attribute
		if err := a.Decode(it, v); err != nil {
			continue
		}
		if rule, ok := kmip.LookupAttribute(a.Name); ok {
			writeStored(w, rule, keystore.Attribute{Name: string(a.Name), Index: a.Index, Value: a.Value}, v)
		}
	}
	w.End(m)
}

// A handedOn attribute is one for an object that is to be made, with the version
// that it was said in: what a Template holds may be younger than the request.
type handedOn struct {
	kmip.Attribute
	v kmip.Version
}

// byTemplate sets the draft's attributes anew: those in all, then those of the
// Templates that the request names, then the request's own. Of an attribute with one instance
// the request's is taken, or that of the last Template; of others all, those of
// the Templates first (section 4.2, which says it of key pairs).
func (d *draft) byTemplate(tx *Tx, all []handedOn, t *kmip.TemplateAttribute, v kmip.Version) error {
	if len(t.Names) > maxTemplates {
		return invalidField("more than %d Templates", maxTemplates)
	}
	for i := range t.Names {
		object, err := findTemplate(tx, &t.Names[i])
		if err != nil {
			return err
		}
		if all = handOn(all, object); len(all) > maxInstances {
			return tooManyInstances() // before each is held against all others, inside the store's only writer
		}
	}
	for i := range t.Attributes {
		all = merge(all, handedOn{t.Attributes[i], v})
	}
	uid := d.object.UniqueIdentifier
	d.begin(kmip14.ObjectType(d.object.Type), d.registered)
	d.object.UniqueIdentifier = uid
	for i := range all {
		if err := d.set(&all[i].Attribute, all[i].v); err != nil {
			return err
		}
	}
	return nil
}

// handOn appends what a Template hands on: what is inside, and an Operation
// Policy Name beside it, which is never the Template's own (section 3.18.2.3).
func handOn(all []handedOn, template *keystore.Object) []handedOn {
	newest := kmip.Versions()[0]
	if policy, ok := template.Attribute("Operation Policy Name", 0); ok {
		all = merge(all, handedOn{kmip.Attribute{Name: []byte(policy.Name), Value: policy.Value}, newest})
	}
	items, _ := template.Value.Items()
	for {
		it, ok := items.Next()
		if !ok {
			return all
		}
		var a kmip.Attribute
		if err := a.Decode(it, newest); err == nil && string(a.Name) != "Name" {
			all = merge(all, handedOn{a, newest})
		}
	}
}

// merge adds an attribute to a list. Its place in the request says nothing of
// its index any more, and the same value twice is one.
func merge(all []handedOn, a handedOn) []handedOn {
	a.Index, a.HasIndex = 0, false
	rule, known := kmip.LookupAttribute(a.Name)
	for i := range all {
		switch {
		case !known || !bytes.Equal(all[i].Name, a.Name):
		case !rule.Multiple:
			all[i] = a
			return all
		case sameValue(all[i].Value, a.Value):
			return all
		}
	}
	return append(all, a)
}

// findTemplate opens the Template of that Name.
func findTemplate(tx *Tx, name *kmip.Name) (*keystore.Object, error) {
	value := makeValue(func(w *ttlv.Writer) { name.Encode(w, kmip14.TagAttributeValue) })
	var uid keystore.UID
	found := false
	err := tx.Locate(keystore.Query{Type: keystore.Template, Terms: []keystore.Term{{Attribute: "Name", Value: value}}}, func(o *keystore.Object) bool {
		if found = storageOf(o) != storageDestroyed; found {
			uid = o.UniqueIdentifier
		}
		return !found
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, kmip.NewError(kmip14.ResultReasonItemNotFound, "there is no Template of this Name")
	}
	obj, err := tx.Object(uid)
	if err != nil {
		return nil, err
	}
	return obj, notArchived(obj)
}
