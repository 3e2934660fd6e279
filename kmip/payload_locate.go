package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A LocateRequest is the Locate request's payload (section 4.9).
type LocateRequest struct {
	MaximumItems    int32
	HasMaximumItems bool
	OffsetItems     int32 // 1.3
	HasOffsetItems  bool
	// StorageStatusMask is a bit mask of kmip14.StorageStatusMask; when not
	// sent, On-line storage is meant.
	StorageStatusMask    int32
	HasStorageStatusMask bool
	ObjectGroupMember    kmip14.ObjectGroupMember // 1.1
	Attributes           []Attribute
	// Template is not the specification's: FortiGate sends its filters in a
	// Template-Attribute, and they mean the same as Attributes.
	Template TemplateAttribute
}

// Decode implements Payload.
func (p *LocateRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.MaximumItems, p.HasMaximumItems = f.count(f.opt(kmip14.TagMaximumItems))
	p.OffsetItems, p.HasOffsetItems = f.count(f.since(V1_3, kmip14.TagOffsetItems))
	mask := f.opt(kmip14.TagStorageStatusMask)
	p.StorageStatusMask, p.HasStorageStatusMask = f.integer(mask), !mask.IsZero()
	p.ObjectGroupMember = kmip14.ObjectGroupMember(f.enum(f.since(V1_1, kmip14.TagObjectGroupMember)))
	p.Attributes = f.attributes(p.Attributes)
	p.Template.optional(&f, kmip14.TagTemplateAttribute)
	return f.done()
}

// count reads an Integer that is no number below zero.
func (f *fields) count(it ttlv.Item) (n int32, has bool) {
	n = f.integer(it)
	if n < 0 {
		f.fail(invalidField("%v is %d", it.Tag(), n))
	}
	return n, !it.IsZero()
}

// Encode implements Payload.
func (p *LocateRequest) Encode(w *ttlv.Writer, v Version) {
	if p.HasMaximumItems {
		w.Integer(kmip14.TagMaximumItems, p.MaximumItems)
	}
	if p.HasOffsetItems && v.AtLeast(V1_3) {
		w.Integer(kmip14.TagOffsetItems, p.OffsetItems)
	}
	if p.HasStorageStatusMask {
		w.Integer(kmip14.TagStorageStatusMask, p.StorageStatusMask)
	}
	if v.AtLeast(V1_1) {
		optEnum(w, kmip14.TagObjectGroupMember, uint32(p.ObjectGroupMember))
	}
	for i := range p.Attributes {
		p.Attributes[i].Encode(w)
	}
	p.Template.encodeOptional(w, kmip14.TagTemplateAttribute)
}

// A LocateResponse is the Locate response's payload (section 4.9).
type LocateResponse struct {
	LocatedItems      int32 // how many there are in all, 1.3
	HasLocatedItems   bool
	UniqueIdentifiers [][]byte
}

// Decode implements Payload.
func (p *LocateResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.LocatedItems, p.HasLocatedItems = f.count(f.since(V1_3, kmip14.TagLocatedItems))
	p.UniqueIdentifiers = f.texts(kmip14.TagUniqueIdentifier, p.UniqueIdentifiers)
	return f.done()
}

// Encode implements Payload.
func (p *LocateResponse) Encode(w *ttlv.Writer, v Version) {
	if p.HasLocatedItems && v.AtLeast(V1_3) {
		w.Integer(kmip14.TagLocatedItems, p.LocatedItems)
	}
	for _, id := range p.UniqueIdentifiers {
		w.Text(kmip14.TagUniqueIdentifier, id)
	}
}
