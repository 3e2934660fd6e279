package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A ReKeyRequest is the Re-key request's payload (section 4.4).
type ReKeyRequest struct {
	UniqueIdentifier []byte
	// Offset is the time from the new key's Initial Date to its Activation
	// Date, in seconds.
	Offset    uint32
	HasOffset bool
	Template  TemplateAttribute // an empty one is not written
}

// Decode implements Payload.
func (p *ReKeyRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	offset := f.opt(kmip14.TagOffset)
	p.Offset, p.HasOffset = 0, !offset.IsZero()
	if p.HasOffset {
		var err error
		if p.Offset, err = offset.Interval(); err != nil {
			f.fail(typeError(offset, ttlv.Interval))
		}
	}
	p.Template.optional(&f, kmip14.TagTemplateAttribute)
	return f.done()
}

// Encode implements Payload.
func (p *ReKeyRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	if p.HasOffset {
		w.Interval(kmip14.TagOffset, p.Offset)
	}
	p.Template.encodeOptional(w, kmip14.TagTemplateAttribute)
}

// A ReKeyResponse is the Re-key response's payload (section 4.4): the
// identifier of the new key.
type ReKeyResponse = RegisterResponse
