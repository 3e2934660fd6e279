package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A ResponseMessage is a parsed Response Message (section 7.1). Its byte slices
// are views into the buffer that was parsed; its slices are reused by the next
// ParseResponse into it.
type ResponseMessage struct {
	Header ResponseHeader
	Items  []ResponseItem
}

// A ResponseHeader is the Response Header (section 7.2).
type ResponseHeader struct {
	Version                Version
	TimeStamp              int64                    // seconds since 1970
	NonceID, NonceValue    []byte                   // 1.2; nil: none
	AttestationTypes       []kmip14.AttestationType // 1.2
	ClientCorrelationValue []byte                   // 1.4; nil: none
	ServerCorrelationValue []byte                   // 1.4; nil: none
	BatchCount             int32
}

// A ResponseItem is a Batch Item of a response (section 7.2).
type ResponseItem struct {
	Operation kmip14.Operation // 0: none, the request could not be read that far
	ID        []byte           // Unique Batch Item ID; nil: none
	Status    kmip14.ResultStatus
	Reason    kmip14.ResultReason // 0: none
	Message   []byte              // Result Message; nil: none

	AsynchronousCorrelationValue []byte    // nil: none
	Payload                      ttlv.Item // zero: none
	Extension                    MessageExtension
}

// ParseResponse reads a Response Message that has passed ttlv.Check. It is as
// strict as ParseRequest.
func ParseResponse(b []byte, into *ResponseMessage) error {
	into.Reset()
	msg, err := ttlv.Parse(b)
	if err != nil || msg.Tag() != kmip14.TagResponseMessage {
		return invalidMessage("not a Response Message")
	}
	f := open(msg, Version{})
	if it := f.must(kmip14.TagResponseHeader); f.err == nil {
		f.err = into.Header.parse(it)
	}
	f.v = into.Header.Version
	for it := f.opt(kmip14.TagBatchItem); !it.IsZero(); it, _ = f.more(kmip14.TagBatchItem) {
		if len(into.Items) == int(into.Header.BatchCount) {
			return invalidMessage("more batch items than the Batch Count of %d", into.Header.BatchCount)
		}
		into.Items = append(into.Items, ResponseItem{})
		if err := into.Items[len(into.Items)-1].parse(it, into.Header.Version); err != nil {
			return err
		}
	}
	if err := f.done(); err != nil {
		return inHeader(err)
	}
	if len(into.Items) != int(into.Header.BatchCount) {
		return invalidMessage("%d batch items, but a Batch Count of %d", len(into.Items), into.Header.BatchCount)
	}
	return nil
}

// Reset drops every view into the last message, and keeps the memory for the
// next.
func (m *ResponseMessage) Reset() {
	clear(m.Items)
	m.Items = m.Items[:0]
	m.Header = ResponseHeader{AttestationTypes: m.Header.AttestationTypes[:0]}
}

func (h *ResponseHeader) parse(it ttlv.Item) error {
	f, err := openHeader(it, &h.Version)
	if err != nil {
		return err
	}
	h.TimeStamp = f.date(f.must(kmip14.TagTimeStamp))
	if it := f.since(V1_2, kmip14.TagNonce); !it.IsZero() && f.err == nil {
		n := open(it, h.Version)
		h.NonceID = n.bytes(n.must(kmip14.TagNonceID))
		h.NonceValue = n.bytes(n.must(kmip14.TagNonceValue))
		f.err = n.done()
	}
	for it := f.since(V1_2, kmip14.TagAttestationType); !it.IsZero(); it, _ = f.more(kmip14.TagAttestationType) {
		h.AttestationTypes = append(h.AttestationTypes, kmip14.AttestationType(f.enum(it)))
	}
	h.ClientCorrelationValue = f.text(f.since(V1_4, kmip14.TagClientCorrelationValue))
	h.ServerCorrelationValue = f.text(f.since(V1_4, kmip14.TagServerCorrelationValue))
	h.BatchCount = f.integer(f.must(kmip14.TagBatchCount))
	return inHeader(f.done())
}

func (i *ResponseItem) parse(it ttlv.Item, v Version) error {
	f := open(it, v)
	if it := f.opt(kmip14.TagOperation); !it.IsZero() {
		n, err := it.Enumeration()
		if err != nil || n == 0 {
			return invalidMessage("an Operation that is none")
		}
		i.Operation = kmip14.Operation(n)
	}
	i.ID = f.bytes(f.opt(kmip14.TagUniqueBatchItemID))
	i.Status = kmip14.ResultStatus(f.enum(f.must(kmip14.TagResultStatus)))
	i.Reason = kmip14.ResultReason(f.enum(f.opt(kmip14.TagResultReason)))
	i.Message = f.text(f.opt(kmip14.TagResultMessage))
	i.AsynchronousCorrelationValue = f.bytes(f.opt(kmip14.TagAsynchronousCorrelationValue))
	i.Payload = f.structure(f.opt(kmip14.TagResponsePayload))
	if it := f.opt(kmip14.TagMessageExtension); !it.IsZero() && f.err == nil {
		f.err = i.Extension.parse(it, v)
	}
	return inHeader(f.done())
}
