package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// An Attribute is the structure of section 2.1.1, a view.
type Attribute struct {
	Name     []byte
	Index    int32 // 0 if none was sent, which means the same
	HasIndex bool
	// Value carries the tag Attribute Value; its type depends on the name
	// (see AttributeRule.Check).
	Value ttlv.Item
}

// Decode reads an Attribute structure. It does not look at what the name means.
func (a *Attribute) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	a.Name = f.text(f.must(kmip14.TagAttributeName))
	index := f.opt(kmip14.TagAttributeIndex)
	a.Index, a.HasIndex = f.integer(index), !index.IsZero()
	a.Value = f.must(kmip14.TagAttributeValue)
	if a.Index < 0 {
		f.fail(invalidField("an Attribute Index of %d", a.Index))
	}
	return f.done()
}

// Encode writes the structure.
func (a *Attribute) Encode(w *ttlv.Writer) {
	m := w.Begin(kmip14.TagAttribute)
	w.Text(kmip14.TagAttributeName, a.Name)
	if a.HasIndex {
		w.Integer(kmip14.TagAttributeIndex, a.Index)
	}
	w.ItemAs(kmip14.TagAttributeValue, a.Value)
	w.End(m)
}

// BeginAttribute starts an Attribute structure: write the value under the tag
// Attribute Value, then call w.End with what BeginAttribute returned. Index 0
// is left out, since it means the same.
func BeginAttribute(w *ttlv.Writer, name string, index int32) (mark int) {
	mark = w.Begin(kmip14.TagAttribute)
	w.TextString(kmip14.TagAttributeName, name)
	if index != 0 {
		w.Integer(kmip14.TagAttributeIndex, index)
	}
	return mark
}

// WriteAttribute writes an Attribute structure whose value is an item, under
// any tag, that is encoded already.
func WriteAttribute(w *ttlv.Writer, name string, index int32, value ttlv.Item) {
	m := BeginAttribute(w, name, index)
	w.ItemAs(kmip14.TagAttributeValue, value)
	w.End(m)
}

// attributes reads every Attribute that comes next.
func (f *fields) attributes(into []Attribute) []Attribute {
	clear(into)
	into = into[:0]
	for it := f.opt(kmip14.TagAttribute); !it.IsZero(); it, _ = f.more(kmip14.TagAttribute) {
		into = append(into, Attribute{})
		if err := into[len(into)-1].Decode(it, f.v); err != nil {
			f.fail(err)
		}
	}
	return into
}

// A Name is the structure of section 3.2, a view: the value of the attribute
// Name, and in a Template-Attribute the name of a Template.
type Name struct {
	Value []byte
	Type  kmip14.NameType
}

// Decode reads the structure, under whatever tag it stands.
func (n *Name) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	n.Value = f.text(f.must(kmip14.TagNameValue))
	n.Type = kmip14.NameType(f.enum(f.must(kmip14.TagNameType)))
	return f.done()
}

// Encode writes the structure under the tag.
func (n *Name) Encode(w *ttlv.Writer, tag ttlv.Tag) {
	m := w.Begin(tag)
	w.Text(kmip14.TagNameValue, n.Value)
	w.Enumeration(kmip14.TagNameType, uint32(n.Type))
	w.End(m)
}

// A TemplateAttribute is the structure of section 2.1.8: attributes, and names
// of Template objects whose attributes are to be added. Its slices are reused
// by the next Decode.
type TemplateAttribute struct {
	Names      []Name
	Attributes []Attribute
	// Present is set by Decode. Where the structure is optional, one that is
	// empty and not Present is not written.
	Present bool
}

// Decode reads the structure, under whatever of its tags it stands
// (Template-Attribute, Common, Private Key, Public Key Template-Attribute).
func (t *TemplateAttribute) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	t.reset()
	t.Present = true
	for it := f.opt(kmip14.TagName); !it.IsZero(); it, _ = f.more(kmip14.TagName) {
		t.Names = append(t.Names, Name{})
		if err := t.Names[len(t.Names)-1].Decode(it, v); err != nil {
			f.fail(err)
		}
	}
	t.Attributes = f.attributes(t.Attributes)
	return f.done()
}

// Encode writes the structure under the tag.
func (t *TemplateAttribute) Encode(w *ttlv.Writer, tag ttlv.Tag) {
	m := w.Begin(tag)
	for i := range t.Names {
		t.Names[i].Encode(w, kmip14.TagName)
	}
	for i := range t.Attributes {
		t.Attributes[i].Encode(w)
	}
	w.End(m)
}

// Empty tells whether there is nothing in it.
func (t *TemplateAttribute) Empty() bool { return len(t.Names) == 0 && len(t.Attributes) == 0 }

// encodeOptional writes the structure under the tag if there is one.
func (t *TemplateAttribute) encodeOptional(w *ttlv.Writer, tag ttlv.Tag) {
	if t.Present || !t.Empty() {
		t.Encode(w, tag)
	}
}

func (t *TemplateAttribute) reset() {
	clear(t.Names)
	clear(t.Attributes)
	t.Names, t.Attributes, t.Present = t.Names[:0], t.Attributes[:0], false
}

// optional reads a Template-Attribute that may be absent.
func (t *TemplateAttribute) optional(f *fields, tag ttlv.Tag) {
	t.reset()
	if it := f.opt(tag); !it.IsZero() {
		if err := t.Decode(it, f.v); err != nil {
			f.fail(err)
		}
	}
}
