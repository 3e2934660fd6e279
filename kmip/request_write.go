package kmip

import (
	"encoding/binary"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A RequestWriter appends one Request Message to a buffer: Begin, then for
// each item BeginItem, the payload's Encode and EndItem, then End. Its zero
// value is ready. The buffer is the caller's to clear.
type RequestWriter struct {
	messageWriter
	extension *MessageExtension
}

// Begin starts a message on buf[:0]. The header's Batch Count is not used: End
// writes the number of items.
func (w *RequestWriter) Begin(buf []byte, h *RequestHeader) {
	w.start(buf, kmip14.TagRequestMessage, h.Version)
	m := w.w.Begin(kmip14.TagRequestHeader)
	writeVersion(&w.w, h.Version)
	if h.MaximumResponseSize > 0 {
		w.w.Integer(kmip14.TagMaximumResponseSize, h.MaximumResponseSize)
	}
	optText(&w.w, kmip14.TagClientCorrelationValue, h.ClientCorrelationValue)
	optText(&w.w, kmip14.TagServerCorrelationValue, h.ServerCorrelationValue)
	if h.HasAsynchronous {
		w.w.Boolean(kmip14.TagAsynchronousIndicator, h.Asynchronous)
	}
	if h.HasAttestationCapable {
		w.w.Boolean(kmip14.TagAttestationCapableIndicator, h.AttestationCapable)
	}
	for _, t := range h.AttestationTypes {
		w.w.Enumeration(kmip14.TagAttestationType, uint32(t))
	}
	if len(h.Credentials) > 0 {
		a := w.w.Begin(kmip14.TagAuthentication)
		for i := range h.Credentials {
			h.Credentials[i].write(&w.w)
		}
		w.w.End(a)
	}
	optEnum(&w.w, kmip14.TagBatchErrorContinuationOption, uint32(h.ErrorContinuation))
	if h.HasBatchOrder {
		w.w.Boolean(kmip14.TagBatchOrderOption, h.BatchOrder)
	}
	if h.HasTimeStamp {
		w.w.DateTime(kmip14.TagTimeStamp, h.TimeStamp)
	}
	w.endHeader(m)
}

// BeginItem starts a batch item and returns the writer for what is inside its
// payload. A nil id writes none. extension may be nil, and is kept until
// EndItem.
func (w *RequestWriter) BeginItem(op kmip14.Operation, id []byte, extension *MessageExtension) *ttlv.Writer {
	w.beginItem(op, id)
	w.extension = extension
	w.payload = w.w.Begin(kmip14.TagRequestPayload)
	return &w.w
}

// EndItem closes the item.
func (w *RequestWriter) EndItem() {
	w.w.End(w.payload)
	if w.extension != nil && w.extension.Present() {
		w.extension.write(&w.w)
	}
	w.w.End(w.item)
	w.items++
}

func (m *MessageExtension) write(w *ttlv.Writer) {
	mark := w.Begin(kmip14.TagMessageExtension)
	w.Text(kmip14.TagVendorIdentification, m.VendorIdentification)
	w.Boolean(kmip14.TagCriticalityIndicator, m.Critical)
	w.Item(m.VendorExtension)
	w.End(mark)
}

// Append appends the message's encoding to buf: the mirror of ParseRequest.
func (m *RequestMessage) Append(buf []byte) []byte {
	var w RequestWriter
	w.Begin(nil, &m.Header)
	for i := range m.Items {
		it := &m.Items[i]
		body := w.BeginItem(it.Operation, it.ID, &it.Extension)
		body.Raw(it.Payload.Value())
		w.EndItem()
	}
	return append(buf, w.End()...)
}

// messageWriter is what both kinds of message have in common.
type messageWriter struct {
	w       ttlv.Writer
	version Version
	message int // marks of the open structures
	item    int
	payload int
	count   int // where the Batch Count's value is
	first   int // where the first item begins
	items   int
}

func (w *messageWriter) start(buf []byte, tag ttlv.Tag, v Version) {
	w.w.Reset(buf)
	w.version, w.items = v, 0
	w.message = w.w.Begin(tag)
}

// endHeader leaves room for the Batch Count, which only End knows.
func (w *messageWriter) endHeader(mark int) {
	w.w.Integer(kmip14.TagBatchCount, 0)
	w.count = w.w.Len() - 8
	w.w.End(mark)
	w.first = w.w.Len()
}

func (w *messageWriter) beginItem(op kmip14.Operation, id []byte) {
	w.item = w.w.Begin(kmip14.TagBatchItem)
	optEnum(&w.w, kmip14.TagOperation, uint32(op))
	optBytes(&w.w, kmip14.TagUniqueBatchItemID, id)
}

// End closes the message and returns it. It is valid until the next Begin.
func (w *messageWriter) End() []byte {
	b := w.w.Bytes()
	binary.BigEndian.PutUint32(b[w.count:], uint32(w.items))
	w.w.End(w.message)
	return b
}

// Len returns the length in bytes of the message as it is now, which is what
// End would return.
func (w *messageWriter) Len() int { return w.w.Len() }

// Items returns the number of finished items.
func (w *messageWriter) Items() int { return w.items }

// Buffer returns the memory in use, for the caller to clear after use: what
// the message grew into may not be what Begin was given.
func (w *messageWriter) Buffer() []byte { return w.w.Bytes() }

func writeVersion(w *ttlv.Writer, v Version) {
	m := w.Begin(kmip14.TagProtocolVersion)
	w.Integer(kmip14.TagProtocolVersionMajor, v.Major)
	w.Integer(kmip14.TagProtocolVersionMinor, v.Minor)
	w.End(m)
}

// The opt writers leave a field out that has no value.

func optText(w *ttlv.Writer, tag ttlv.Tag, v []byte) {
	if v != nil {
		w.Text(tag, v)
	}
}

func optBytes(w *ttlv.Writer, tag ttlv.Tag, v []byte) {
	if v != nil {
		w.ByteString(tag, v)
	}
}

func optEnum(w *ttlv.Writer, tag ttlv.Tag, v uint32) {
	if v != 0 {
		w.Enumeration(tag, v)
	}
}

func optItem(w *ttlv.Writer, it ttlv.Item) {
	if !it.IsZero() {
		w.Item(it)
	}
}
