package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A GetRequest is the Get request's payload (section 4.11).
type GetRequest struct {
	UniqueIdentifier   []byte
	KeyFormatType      kmip14.KeyFormatType
	KeyWrapType        kmip14.KeyWrapType // 1.4
	KeyCompressionType kmip14.KeyCompressionType
	// Wrapping is set when HasWrapping is.
	Wrapping    KeyWrappingSpecification
	HasWrapping bool
}

// Decode implements Payload.
func (p *GetRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	p.KeyFormatType = kmip14.KeyFormatType(f.enum(f.opt(kmip14.TagKeyFormatType)))
	p.KeyWrapType = kmip14.KeyWrapType(f.enum(f.since(V1_4, kmip14.TagKeyWrapType)))
	p.KeyCompressionType = kmip14.KeyCompressionType(f.enum(f.opt(kmip14.TagKeyCompressionType)))
	it = f.opt(kmip14.TagKeyWrappingSpecification)
	if p.HasWrapping {
		p.Wrapping = KeyWrappingSpecification{AttributeNames: p.Wrapping.AttributeNames[:0]}
	}
	if p.HasWrapping = !it.IsZero(); p.HasWrapping && f.err == nil {
		f.err = p.Wrapping.Decode(it, v)
	}
	return f.done()
}

// Encode implements Payload.
func (p *GetRequest) Encode(w *ttlv.Writer, v Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	optEnum(w, kmip14.TagKeyFormatType, uint32(p.KeyFormatType))
	if v.AtLeast(V1_4) {
		optEnum(w, kmip14.TagKeyWrapType, uint32(p.KeyWrapType))
	}
	optEnum(w, kmip14.TagKeyCompressionType, uint32(p.KeyCompressionType))
	if p.HasWrapping {
		p.Wrapping.Encode(w, v)
	}
}

// A GetResponse is the Get response's payload (section 4.11). Object is the
// Managed Object under the tag of its type.
type GetResponse struct {
	ObjectType       kmip14.ObjectType
	UniqueIdentifier []byte
	Object           ttlv.Item
}

// Decode implements Payload.
func (p *GetResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.ObjectType = f.objectType()
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.Object = f.structure(f.must(ObjectTag(p.ObjectType)))
	return f.done()
}

// Encode implements Payload.
func (p *GetResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Enumeration(kmip14.TagObjectType, uint32(p.ObjectType))
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	optItem(w, p.Object)
}

// A GetAttributesRequest is the Get Attributes request's payload (section
// 4.12). No names means all attributes.
type GetAttributesRequest struct {
	UniqueIdentifier []byte
	Names            [][]byte
}

// Decode implements Payload.
func (p *GetAttributesRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	p.Names = f.texts(kmip14.TagAttributeName, p.Names)
	return f.done()
}

// Encode implements Payload.
func (p *GetAttributesRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	for _, n := range p.Names {
		w.Text(kmip14.TagAttributeName, n)
	}
}

// A GetAttributesResponse is the Get Attributes response's payload (section
// 4.12). A server that has its attributes in another form writes the Unique
// Identifier and then uses BeginAttribute.
type GetAttributesResponse struct {
	UniqueIdentifier []byte
	Attributes       []Attribute
}

// Decode implements Payload.
func (p *GetAttributesResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.Attributes = f.attributes(p.Attributes)
	return f.done()
}

// Encode implements Payload.
func (p *GetAttributesResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	for i := range p.Attributes {
		p.Attributes[i].Encode(w)
	}
}

// A GetAttributeListResponse is the Get Attribute List response's payload
// (section 4.13).
type GetAttributeListResponse struct {
	UniqueIdentifier []byte
	Names            [][]byte
}

// Decode implements Payload.
func (p *GetAttributeListResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.Names = f.texts(kmip14.TagAttributeName, p.Names)
	return f.done()
}

// Encode implements Payload.
func (p *GetAttributeListResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	for _, n := range p.Names {
		w.Text(kmip14.TagAttributeName, n)
	}
}

// An AddAttributeRequest is the Add Attribute request's payload (section
// 4.14).
type AddAttributeRequest struct {
	UniqueIdentifier []byte
	Attribute        Attribute
}

// Decode implements Payload.
func (p *AddAttributeRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	if it := f.must(kmip14.TagAttribute); f.err == nil {
		f.err = p.Attribute.Decode(it, v)
	}
	return f.done()
}

// Encode implements Payload.
func (p *AddAttributeRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	p.Attribute.Encode(w)
}

// An AddAttributeResponse is the Add Attribute response's payload (section
// 4.14): the attribute as it was added.
type AddAttributeResponse struct {
	UniqueIdentifier []byte
	Attribute        Attribute
}

// Decode implements Payload.
func (p *AddAttributeResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	if it := f.must(kmip14.TagAttribute); f.err == nil {
		f.err = p.Attribute.Decode(it, v)
	}
	return f.done()
}

// Encode implements Payload.
func (p *AddAttributeResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	p.Attribute.Encode(w)
}
