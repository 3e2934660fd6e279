package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Payload is one side of an operation. Decode reads the fields of a Request
// or Response Payload of a message of version v; it overwrites everything in
// the value, keeps the memory of its slices, and returns an *Error. Encode
// writes what is inside the payload, in the order of the specification, and
// leaves out what v does not have. Byte slices and items are views into what
// was decoded. For an optional field nil, the zero Item and 0 mean not sent.
//
// A Unique Identifier that a request leaves out stands for the ID Placeholder
// (section 4).
type Payload interface {
	Decode(it ttlv.Item, v Version) error
	Encode(w *ttlv.Writer, v Version)
}

// An IdentifierRequest is the payload of the requests that hold a Unique
// Identifier and nothing else: Activate (section 4.19), Destroy (4.21), Get
// Attribute List (4.13), Archive (4.22), Recover (4.23), Obtain Lease (4.17).
type IdentifierRequest struct{ UniqueIdentifier []byte }

// Decode implements Payload.
func (p *IdentifierRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	return f.done()
}

// Encode implements Payload.
func (p *IdentifierRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
}

// An IdentifierResponse is the payload of the responses that hold a Unique
// Identifier and nothing else: Activate, Revoke, Destroy, Archive, Recover.
type IdentifierResponse struct{ UniqueIdentifier []byte }

// Decode implements Payload.
func (p *IdentifierResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	return f.done()
}

// Encode implements Payload.
func (p *IdentifierResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
}

// The operations whose payloads are an identifier.
type (
	// ActivateRequest is section 4.19's.
	ActivateRequest = IdentifierRequest
	// ActivateResponse is section 4.19's.
	ActivateResponse = IdentifierResponse
	// DestroyRequest is section 4.21's.
	DestroyRequest = IdentifierRequest
	// DestroyResponse is section 4.21's.
	DestroyResponse = IdentifierResponse
	// GetAttributeListRequest is section 4.13's.
	GetAttributeListRequest = IdentifierRequest
	// RevokeResponse is section 4.20's.
	RevokeResponse = IdentifierResponse
)

// A RevokeRequest is the Revoke request's payload (section 4.20).
type RevokeRequest struct {
	UniqueIdentifier []byte
	Reason           RevocationReason
	// CompromiseOccurrenceDate is seconds since 1970.
	CompromiseOccurrenceDate    int64
	HasCompromiseOccurrenceDate bool
}

// Decode implements Payload.
func (p *RevokeRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	if it := f.must(kmip14.TagRevocationReason); f.err == nil {
		f.err = p.Reason.Decode(it, v)
	}
	at := f.opt(kmip14.TagCompromiseOccurrenceDate)
	p.CompromiseOccurrenceDate, p.HasCompromiseOccurrenceDate = f.date(at), !at.IsZero()
	return f.done()
}

// Encode implements Payload.
func (p *RevokeRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	p.Reason.Encode(w, kmip14.TagRevocationReason)
	if p.HasCompromiseOccurrenceDate {
		w.DateTime(kmip14.TagCompromiseOccurrenceDate, p.CompromiseOccurrenceDate)
	}
}

// A RevocationReason is the structure of section 3.31.
type RevocationReason struct {
	Code    kmip14.RevocationReasonCode
	Message []byte // nil: none
}

// Decode reads the structure, under whatever tag it stands.
func (r *RevocationReason) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	r.Code = kmip14.RevocationReasonCode(f.enum(f.must(kmip14.TagRevocationReasonCode)))
	r.Message = f.text(f.opt(kmip14.TagRevocationMessage))
	return f.done()
}

// Encode writes the structure under the tag.
func (r *RevocationReason) Encode(w *ttlv.Writer, tag ttlv.Tag) {
	m := w.Begin(tag)
	w.Enumeration(kmip14.TagRevocationReasonCode, uint32(r.Code))
	optText(w, kmip14.TagRevocationMessage, r.Message)
	w.End(m)
}

// A DiscoverVersionsRequest is the payload of section 4.26's request, 1.1 on.
type DiscoverVersionsRequest struct{ Versions []Version }

// Decode implements Payload.
func (p *DiscoverVersionsRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.Versions = p.Versions[:0]
	for it := f.opt(kmip14.TagProtocolVersion); !it.IsZero() && f.err == nil; it, _ = f.more(kmip14.TagProtocolVersion) {
		var one Version
		one, f.err = version(it)
		p.Versions = append(p.Versions, one)
	}
	return f.done()
}

// Encode implements Payload.
func (p *DiscoverVersionsRequest) Encode(w *ttlv.Writer, _ Version) {
	for _, one := range p.Versions {
		writeVersion(w, one)
	}
}

// A DiscoverVersionsResponse is the payload of section 4.26's response, the
// versions best first.
type DiscoverVersionsResponse = DiscoverVersionsRequest
