package kmip

import (
	"slices"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A RequestMessage is a parsed Request Message (section 7.1). Its byte slices
// are views into the buffer that was parsed; its slices are reused by the next
// ParseRequest into it.
type RequestMessage struct {
	Header RequestHeader
	Items  []RequestItem

	// MaxItems bounds the batch that ParseRequest takes, 0 for no bound. It is
	// held against the Batch Count before any item is read, so that a message
	// full of tiny items costs nothing.
	MaxItems int
}

// A RequestHeader is the Request Header (section 7.2). Fields that were not
// sent are zero; where zero could have been sent, a Has field tells.
type RequestHeader struct {
	Version                Version
	MaximumResponseSize    int32  // bytes; 0: none sent
	ClientCorrelationValue []byte // 1.4; nil: none sent
	ServerCorrelationValue []byte // 1.4; nil: none sent

	Asynchronous          bool // Asynchronous Indicator
	HasAsynchronous       bool
	AttestationCapable    bool // Attestation Capable Indicator, 1.2
	HasAttestationCapable bool
	AttestationTypes      []kmip14.AttestationType // 1.2

	Credentials []Credential // of the Authentication; one at most before 1.2

	ErrorContinuation kmip14.BatchErrorContinuationOption // 0: none sent, which means Stop
	BatchOrder        bool                                // Batch Order Option
	HasBatchOrder     bool
	TimeStamp         int64 // seconds since 1970
	HasTimeStamp      bool
	BatchCount        int32
}

// A RequestItem is a Batch Item of a request (section 7.2).
type RequestItem struct {
	Operation kmip14.Operation
	ID        []byte // Unique Batch Item ID; nil: none sent, an empty one is not nil
	Payload   ttlv.Item
	Extension MessageExtension
}

// A MessageExtension is the structure of section 6.16. The zero value is none.
type MessageExtension struct {
	VendorIdentification []byte
	Critical             bool // Criticality Indicator
	VendorExtension      ttlv.Item
}

// Present tells whether there is an extension at all.
func (m *MessageExtension) Present() bool { return !m.VendorExtension.IsZero() }

// ParseRequest reads a Request Message that has passed ttlv.Check. On failure
// the error is an *Error, and into.Header holds what was read until then, the
// Version first of all.
//
// The rules of sections 6 and 7.2 that it holds the message to: the version is
// one of ours (else the error wraps ErrVersion), the Batch Count is the number
// of items, and each item of a batch of several has a Unique Batch Item ID.
func ParseRequest(b []byte, into *RequestMessage) error {
	into.reset()
	msg, err := ttlv.Parse(b)
	if err != nil || msg.Tag() != kmip14.TagRequestMessage {
		return invalidMessage("not a Request Message")
	}
	f := open(msg, Version{})
	if err := into.Header.parse(f.must(kmip14.TagRequestHeader)); f.err == nil && err != nil {
		return err
	}
	if f.err != nil {
		return invalidMessage("the message has no Request Header")
	}
	h := &into.Header
	if into.MaxItems > 0 && int(h.BatchCount) > into.MaxItems {
		return invalidMessage("a Batch Count of %d; at most %d are taken", h.BatchCount, into.MaxItems)
	}
	f.v = h.Version
	// An item has 40 bytes at least, so what is reserved is bounded by what was
	// sent, not by what the Batch Count claims.
	into.Items = slices.Grow(into.Items, min(int(h.BatchCount), len(b)/40+1))
	for it := f.opt(kmip14.TagBatchItem); !it.IsZero(); it, _ = f.more(kmip14.TagBatchItem) {
		if len(into.Items) == int(h.BatchCount) {
			return invalidMessage("more batch items than the Batch Count of %d", h.BatchCount)
		}
		into.Items = append(into.Items, RequestItem{})
		if err := into.Items[len(into.Items)-1].parse(it, h); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return err
	}
	if len(into.Items) != int(h.BatchCount) {
		return invalidMessage("%d batch items, but a Batch Count of %d", len(into.Items), h.BatchCount)
	}
	return nil
}

// reset forgets the last message but keeps the memory of the slices.
func (m *RequestMessage) reset() {
	clear(m.Items)
	m.Items = m.Items[:0]
	m.Header.reset()
}

// Reset drops every view into the last message, and keeps the memory for the
// next.
func (m *RequestMessage) Reset() { m.reset() }

func (h *RequestHeader) reset() {
	clear(h.Credentials)
	*h = RequestHeader{Credentials: h.Credentials[:0], AttestationTypes: h.AttestationTypes[:0]}
}

// openHeader reads a header's version, by which the rest of it is read.
func openHeader(it ttlv.Item, v *Version) (fields, error) {
	f := open(it, V1_0)
	if named := f.must(kmip14.TagProtocolVersion); f.err == nil {
		*v, f.err = version(named)
	}
	if f.err != nil {
		return f, inHeader(f.err)
	}
	if !v.Supported() {
		return f, &Error{Reason: kmip14.ResultReasonInvalidMessage, Err: ErrVersion,
			Message: "protocol version " + v.String() + " is not supported"}
	}
	f.v = *v
	return f, nil
}

func (h *RequestHeader) parse(it ttlv.Item) error {
	f, err := openHeader(it, &h.Version)
	if err != nil {
		return err
	}
	h.MaximumResponseSize = f.positive(f.opt(kmip14.TagMaximumResponseSize))
	h.ClientCorrelationValue = f.text(f.since(V1_4, kmip14.TagClientCorrelationValue))
	h.ServerCorrelationValue = f.text(f.since(V1_4, kmip14.TagServerCorrelationValue))
	h.Asynchronous, h.HasAsynchronous = f.optBoolean(f.opt(kmip14.TagAsynchronousIndicator))
	h.AttestationCapable, h.HasAttestationCapable = f.optBoolean(f.since(V1_2, kmip14.TagAttestationCapableIndicator))
	for it := f.since(V1_2, kmip14.TagAttestationType); !it.IsZero(); it, _ = f.more(kmip14.TagAttestationType) {
		h.AttestationTypes = append(h.AttestationTypes, kmip14.AttestationType(f.enum(it)))
	}
	if it := f.opt(kmip14.TagAuthentication); !it.IsZero() && f.err == nil {
		f.err = h.parseAuthentication(it)
	}
	h.ErrorContinuation = kmip14.BatchErrorContinuationOption(f.enum(f.opt(kmip14.TagBatchErrorContinuationOption)))
	h.BatchOrder, h.HasBatchOrder = f.optBoolean(f.opt(kmip14.TagBatchOrderOption))
	stamp := f.opt(kmip14.TagTimeStamp)
	h.TimeStamp, h.HasTimeStamp = f.date(stamp), !stamp.IsZero()
	h.BatchCount = f.integer(f.must(kmip14.TagBatchCount))
	if err := f.done(); err != nil {
		return inHeader(err)
	}
	if h.BatchCount < 1 {
		return invalidMessage("a Batch Count of %d", h.BatchCount)
	}
	return nil
}

// inHeader turns Missing Data into Invalid Message: what is missing from a
// header leaves no operation to answer for it.
func inHeader(err error) error {
	if e, ok := err.(*Error); ok && e.Reason == kmip14.ResultReasonMissingData {
		e.Reason = kmip14.ResultReasonInvalidMessage
	}
	return err
}

func (f *fields) optBoolean(it ttlv.Item) (value, has bool) {
	return f.boolean(it), !it.IsZero()
}

func (i *RequestItem) parse(it ttlv.Item, h *RequestHeader) error {
	f := open(it, h.Version)
	op := f.must(kmip14.TagOperation)
	switch n, err := op.Enumeration(); {
	case f.err != nil:
	case err != nil:
		f.fail(typeError(op, ttlv.Enumeration))
	case n == 0: // stands for no Operation here, and could not be answered as the one asked for
		f.fail(invalidMessage("an Operation that is none"))
	default:
		i.Operation = kmip14.Operation(n) // an unknown one is the operations' to refuse
	}
	i.ID = f.bytes(f.opt(kmip14.TagUniqueBatchItemID))
	i.Payload = f.structure(f.must(kmip14.TagRequestPayload))
	if it := f.opt(kmip14.TagMessageExtension); !it.IsZero() && f.err == nil {
		f.err = i.Extension.parse(it, h.Version)
	}
	if err := f.done(); err != nil {
		return inHeader(err)
	}
	if i.ID == nil && h.BatchCount > 1 {
		return invalidMessage("a batch item of several without Unique Batch Item ID")
	}
	return nil
}

func (m *MessageExtension) parse(it ttlv.Item, v Version) error {
	f := open(it, v)
	m.VendorIdentification = f.text(f.must(kmip14.TagVendorIdentification))
	m.Critical = f.boolean(f.must(kmip14.TagCriticalityIndicator))
	m.VendorExtension = f.structure(f.must(kmip14.TagVendorExtension))
	return inHeader(f.done())
}
