package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The operations on one attribute, whose payloads are alike.
type (
	// ModifyAttributeRequest is section 4.15's: the new value, and an index
	// that stands for 0 if it is left out.
	ModifyAttributeRequest = AddAttributeRequest
	// ModifyAttributeResponse is section 4.15's: the attribute as it is now.
	ModifyAttributeResponse = AddAttributeResponse
	// DeleteAttributeResponse is section 4.16's: the attribute that was deleted.
	DeleteAttributeResponse = AddAttributeResponse
)

// A DeleteAttributeRequest is the Delete Attribute request's payload (section
// 4.16).
type DeleteAttributeRequest struct {
	UniqueIdentifier []byte
	Name             []byte
	Index            int32 // 0 if none was sent, which means the same from 1.1 on
	HasIndex         bool
}

// Decode implements Payload.
func (p *DeleteAttributeRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	p.Name = f.text(f.must(kmip14.TagAttributeName))
	index := f.opt(kmip14.TagAttributeIndex)
	p.Index, p.HasIndex = f.integer(index), !index.IsZero()
	if p.Index < 0 {
		f.fail(invalidField("an Attribute Index of %d", p.Index))
	}
	return f.done()
}

// Encode implements Payload.
func (p *DeleteAttributeRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	w.Text(kmip14.TagAttributeName, p.Name)
	if p.HasIndex {
		w.Integer(kmip14.TagAttributeIndex, p.Index)
	}
}
