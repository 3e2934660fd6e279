package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A CheckRequest is the Check request's payload (section 4.10): how the client
// means to use the object. Each field counts only with its Has.
type CheckRequest struct {
	UniqueIdentifier []byte // in the response: nil when the use is denied

	UsageLimitsCount          int64 // units
	HasUsageLimitsCount       bool
	CryptographicUsageMask    kmip14.CryptographicUsageMask
	HasCryptographicUsageMask bool
	LeaseTime                 uint32 // seconds
	HasLeaseTime              bool
}

// A CheckResponse is the Check response's payload (section 4.10): the object
// that may be used so, or, in an item that fails with Permission Denied, those
// fields of the request because of which it may not.
type CheckResponse = CheckRequest

// Denied tells whether any of the fields is there: in a response, whether the
// use was denied because of it.
func (p *CheckRequest) Denied() bool {
	return p.HasUsageLimitsCount || p.HasCryptographicUsageMask || p.HasLeaseTime
}

// Decode implements Payload.
func (p *CheckRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	count := f.opt(kmip14.TagUsageLimitsCount)
	p.UsageLimitsCount, p.HasUsageLimitsCount = f.long(count), !count.IsZero()
	mask := f.opt(kmip14.TagCryptographicUsageMask)
	p.CryptographicUsageMask, p.HasCryptographicUsageMask = kmip14.CryptographicUsageMask(f.integer(mask)), !mask.IsZero()
	lease := f.opt(kmip14.TagLeaseTime)
	p.LeaseTime, p.HasLeaseTime = f.interval(lease), !lease.IsZero()
	return f.done()
}

// Encode implements Payload.
func (p *CheckRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	if p.HasUsageLimitsCount {
		w.LongInteger(kmip14.TagUsageLimitsCount, p.UsageLimitsCount)
	}
	if p.HasCryptographicUsageMask {
		w.Integer(kmip14.TagCryptographicUsageMask, int32(p.CryptographicUsageMask))
	}
	if p.HasLeaseTime {
		w.Interval(kmip14.TagLeaseTime, p.LeaseTime)
	}
}

// An ObtainLeaseResponse is the Obtain Lease response's payload (section
// 4.17).
type ObtainLeaseResponse struct {
	UniqueIdentifier []byte
	LeaseTime        uint32 // seconds; 0: the object may be used without limit
	LastChangeDate   int64  // seconds since 1970
}

// Decode implements Payload.
func (p *ObtainLeaseResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.must(kmip14.TagUniqueIdentifier))
	p.LeaseTime = f.interval(f.must(kmip14.TagLeaseTime))
	p.LastChangeDate = f.date(f.must(kmip14.TagLastChangeDate))
	return f.done()
}

// Encode implements Payload.
func (p *ObtainLeaseResponse) Encode(w *ttlv.Writer, _ Version) {
	w.Text(kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	w.Interval(kmip14.TagLeaseTime, p.LeaseTime)
	w.DateTime(kmip14.TagLastChangeDate, p.LastChangeDate)
}

// A GetUsageAllocationRequest is the Get Usage Allocation request's payload
// (section 4.18).
type GetUsageAllocationRequest struct {
	UniqueIdentifier []byte
	UsageLimitsCount int64 // units that the client is about to protect
}

// Decode implements Payload. A request without a count is an Invalid Message
// (section 11.19).
func (p *GetUsageAllocationRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.UniqueIdentifier = f.text(f.opt(kmip14.TagUniqueIdentifier))
	p.UsageLimitsCount = f.long(f.must(kmip14.TagUsageLimitsCount))
	return inHeader(f.done())
}

// Encode implements Payload.
func (p *GetUsageAllocationRequest) Encode(w *ttlv.Writer, _ Version) {
	optText(w, kmip14.TagUniqueIdentifier, p.UniqueIdentifier)
	w.LongInteger(kmip14.TagUsageLimitsCount, p.UsageLimitsCount)
}

// The operations whose payloads are an identifier.
type (
	// ObtainLeaseRequest is section 4.17's.
	ObtainLeaseRequest = IdentifierRequest
	// GetUsageAllocationResponse is section 4.18's.
	GetUsageAllocationResponse = IdentifierResponse
	// ArchiveRequest is section 4.22's.
	ArchiveRequest = IdentifierRequest
	// ArchiveResponse is section 4.22's.
	ArchiveResponse = IdentifierResponse
	// RecoverRequest is section 4.23's.
	RecoverRequest = IdentifierRequest
	// RecoverResponse is section 4.23's.
	RecoverResponse = IdentifierResponse
)
