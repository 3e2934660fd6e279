package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A CreateRequest is the Create request's payload (section 4.1).
type CreateRequest struct {
	ObjectType kmip14.ObjectType
	Template   TemplateAttribute
}

// Decode implements Payload.
func (p *CreateRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.ObjectType = f.objectType()
	if it := f.must(kmip14.TagTemplateAttribute); f.err == nil {
		f.err = p.Template.Decode(it, v)
	}
	return f.done()
}

// Encode implements Payload.
func (p *CreateRequest) Encode(w *ttlv.Writer, _ Version) {
	w.Enumeration(kmip14.TagObjectType, uint32(p.ObjectType))
	p.Template.Encode(w, kmip14.TagTemplateAttribute)
}

// objectType reads an Object Type that must be there and exist in the version.
func (f *fields) objectType() kmip14.ObjectType {
	t := kmip14.ObjectType(f.enum(f.must(kmip14.TagObjectType)))
	if f.err == nil && !ObjectTypeIn(t, f.v) {
		f.fail(invalidField("the Object Type %d does not exist in KMIP %v", uint32(t), f.v))
	}
	return t
}

// A CreateResponse is the Create response's payload (section 4.1). Template
// holds the attributes that the server set by itself; an empty one is not
// written.
type CreateResponse struct {
	ObjectType       kmip14.ObjectType
	UniqueIdentifier []byte
	Template         TemplateAttribute
}

// Decode implements Payload.
func (p *CreateResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.ObjectType = f.objectType()
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.Template.optional(&f, kmip14.TagTemplateAttribute)
	return f.done()
}

// Encode implements Payload.
func (p *CreateResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Enumeration(kmip14.TagObjectType, uint32(p.ObjectType))
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	p.Template.encodeOptional(w, kmip14.TagTemplateAttribute)
}

// A RegisterRequest is the Register request's payload (section 4.3). Object is
// the Managed Object as sent, under the tag of its type; its inside is not
// looked at (see KeyBlock).
type RegisterRequest struct {
	ObjectType kmip14.ObjectType
	Template   TemplateAttribute
	Object     ttlv.Item
}

// Decode implements Payload.
func (p *RegisterRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.ObjectType = f.objectType()
	if it := f.must(kmip14.TagTemplateAttribute); f.err == nil {
		f.err = p.Template.Decode(it, v)
	}
	p.Object = f.structure(f.must(ObjectTag(p.ObjectType)))
	return f.done()
}

// Encode implements Payload.
func (p *RegisterRequest) Encode(w *ttlv.Writer, _ Version) {
	w.Enumeration(kmip14.TagObjectType, uint32(p.ObjectType))
	p.Template.Encode(w, kmip14.TagTemplateAttribute)
	optItem(w, p.Object)
}

// A RegisterResponse is the Register response's payload (section 4.3).
type RegisterResponse struct {
	UniqueIdentifier []byte
	Template         TemplateAttribute // an empty one is not written
}

// Decode implements Payload.
func (p *RegisterResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.Template.optional(&f, kmip14.TagTemplateAttribute)
	return f.done()
}

// Encode implements Payload.
func (p *RegisterResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	p.Template.encodeOptional(w, kmip14.TagTemplateAttribute)
}

// objectTags is section 2.2's object of each Object Type.
var objectTags = [...]ttlv.Tag{
	kmip14.ObjectTypeCertificate:  kmip14.TagCertificate,
	kmip14.ObjectTypeSymmetricKey: kmip14.TagSymmetricKey,
	kmip14.ObjectTypePublicKey:    kmip14.TagPublicKey,
	kmip14.ObjectTypePrivateKey:   kmip14.TagPrivateKey,
	kmip14.ObjectTypeSplitKey:     kmip14.TagSplitKey,
	kmip14.ObjectTypeTemplate:     kmip14.TagTemplate,
	kmip14.ObjectTypeSecretData:   kmip14.TagSecretData,
	kmip14.ObjectTypeOpaqueObject: kmip14.TagOpaqueObject,
	kmip14.ObjectTypePGPKey:       kmip14.TagPGPKey,
}

// ObjectTag returns the tag of the structure that holds an object of the type,
// 0 for an unknown type.
func ObjectTag(t kmip14.ObjectType) ttlv.Tag {
	if int(t) < len(objectTags) {
		return objectTags[t]
	}
	return 0
}
