package kmip

import (
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A ResponseWriter appends one Response Message to a buffer: Begin; for each
// item either BeginItem, the payload's Encode and EndItem, or FailItem; then
// End. Its zero value is ready and may be used again. It is not safe for
// concurrent use. The buffer is the caller's to clear.
type ResponseWriter struct{ messageWriter }

// Begin starts a message on buf[:0]. The header's Batch Count is not used: End
// writes the number of items. Fields that the header's version does not have
// are left out.
func (w *ResponseWriter) Begin(buf []byte, h *ResponseHeader) {
	w.start(buf, kmip14.TagResponseMessage, h.Version)
	m := w.w.Begin(kmip14.TagResponseHeader)
	writeVersion(&w.w, h.Version)
	w.w.DateTime(kmip14.TagTimeStamp, h.TimeStamp)
	if h.Version.AtLeast(V1_2) {
		if h.NonceID != nil {
			n := w.w.Begin(kmip14.TagNonce)
			w.w.ByteString(kmip14.TagNonceID, h.NonceID)
			w.w.ByteString(kmip14.TagNonceValue, h.NonceValue)
			w.w.End(n)
		}
		for _, t := range h.AttestationTypes {
			w.w.Enumeration(kmip14.TagAttestationType, uint32(t))
		}
	}
	if h.Version.AtLeast(V1_4) {
		optText(&w.w, kmip14.TagClientCorrelationValue, h.ClientCorrelationValue)
		optText(&w.w, kmip14.TagServerCorrelationValue, h.ServerCorrelationValue)
	}
	w.endHeader(m)
}

// BeginItem starts an item that succeeds, and returns the writer for what is
// inside its Response Payload. A nil id writes none.
func (w *ResponseWriter) BeginItem(op kmip14.Operation, id []byte) *ttlv.Writer {
	w.beginItem(op, id)
	w.w.Enumeration(kmip14.TagResultStatus, uint32(kmip14.ResultStatusSuccess))
	w.payload = w.w.Begin(kmip14.TagResponsePayload)
	return &w.w
}

// EndItem closes the item that BeginItem started.
func (w *ResponseWriter) EndItem() {
	w.w.End(w.payload)
	w.w.End(w.item)
	w.items++
}

// CancelItem takes back the item that BeginItem started, before EndItem. What
// it wrote is overwritten with zeros: it may have been key material.
func (w *ResponseWriter) CancelItem() { w.cut(w.item - ttlv.HeaderSize) }

// Restart takes back all items, finished or not, for a batch that is undone or
// an answer that is too large.
func (w *ResponseWriter) Restart() {
	w.cut(w.first)
	w.items = 0
}

func (w *ResponseWriter) cut(n int) {
	clear(w.w.Bytes()[n:])
	w.w.Truncate(n)
}

// FailItem writes a whole item that failed. An err that is no *Error is
// answered with General Failure and no text, since texts from within are not
// for strangers. op 0 writes no Operation (section 11.1).
func (w *ResponseWriter) FailItem(op kmip14.Operation, id []byte, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Reason: kmip14.ResultReasonGeneralFailure, Message: "internal error"}
	}
	w.FailItemPayload(op, id, kmip14.ResultStatusOperationFailed, e.Reason, e.Message, e.Payload)
}

// FailItemStatus is FailItem with each field given. A reason that the
// message's version does not have is replaced by the nearest it has; 0 and ""
// write no Result Reason and no Result Message.
func (w *ResponseWriter) FailItemStatus(op kmip14.Operation, id []byte, status kmip14.ResultStatus, reason kmip14.ResultReason, text string) {
	w.FailItemPayload(op, id, status, reason, text, nil)
}

// FailItemPayload is FailItemStatus with what is answered besides; nil writes
// no payload.
func (w *ResponseWriter) FailItemPayload(op kmip14.Operation, id []byte, status kmip14.ResultStatus, reason kmip14.ResultReason, text string, payload Payload) {
	w.beginItem(op, id)
	w.w.Enumeration(kmip14.TagResultStatus, uint32(status))
	optEnum(&w.w, kmip14.TagResultReason, uint32(reasonIn(reason, w.version)))
	if text != "" {
		w.w.TextString(kmip14.TagResultMessage, text)
	}
	if payload != nil {
		m := w.w.Begin(kmip14.TagResponsePayload)
		payload.Encode(&w.w, w.version)
		w.w.End(m)
	}
	w.w.End(w.item)
	w.items++
}

// PendingItem writes an item whose operation goes on after the answer (section
// 6.8).
func (w *ResponseWriter) PendingItem(op kmip14.Operation, id, correlation []byte) {
	w.beginItem(op, id)
	w.w.Enumeration(kmip14.TagResultStatus, uint32(kmip14.ResultStatusOperationPending))
	w.w.ByteString(kmip14.TagAsynchronousCorrelationValue, correlation)
	w.w.End(w.item)
	w.items++
}

// Append appends the message's encoding to buf: the mirror of ParseResponse.
func (m *ResponseMessage) Append(buf []byte) []byte {
	var w ResponseWriter
	w.Begin(nil, &m.Header)
	for i := range m.Items {
		m.Items[i].write(&w)
	}
	return append(buf, w.End()...)
}

func (i *ResponseItem) write(w *ResponseWriter) {
	w.beginItem(i.Operation, i.ID)
	w.w.Enumeration(kmip14.TagResultStatus, uint32(i.Status))
	optEnum(&w.w, kmip14.TagResultReason, uint32(i.Reason))
	optText(&w.w, kmip14.TagResultMessage, i.Message)
	optBytes(&w.w, kmip14.TagAsynchronousCorrelationValue, i.AsynchronousCorrelationValue)
	optItem(&w.w, i.Payload)
	if i.Extension.Present() {
		i.Extension.write(&w.w)
	}
	w.w.End(w.item)
	w.items++
}
