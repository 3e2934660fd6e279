package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A PollRequest is the Poll request's payload (section 4.28): the Asynchronous
// Correlation Value that the answer to a pending operation had. What answers
// it is the response to that operation.
type PollRequest struct{ AsynchronousCorrelationValue []byte }

// Decode implements Payload.
func (p *PollRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.AsynchronousCorrelationValue = f.bytes(f.must(kmip14.TagAsynchronousCorrelationValue))
	return f.done()
}

// Encode implements Payload.
func (p *PollRequest) Encode(w *ttlv.Writer, _ Version) {
	w.ByteString(kmip14.TagAsynchronousCorrelationValue, p.AsynchronousCorrelationValue)
}

// A CancelRequest is the Cancel request's payload (section 4.27).
type CancelRequest = PollRequest

// A CancelResponse is the Cancel response's payload (section 4.27).
type CancelResponse struct {
	AsynchronousCorrelationValue []byte
	Result                       kmip14.CancellationResult
}

// Decode implements Payload.
func (p *CancelResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.AsynchronousCorrelationValue = f.bytes(f.must(kmip14.TagAsynchronousCorrelationValue))
	p.Result = kmip14.CancellationResult(f.enum(f.must(kmip14.TagCancellationResult)))
	return f.done()
}

// Encode implements Payload.
func (p *CancelResponse) Encode(w *ttlv.Writer, _ Version) {
	w.ByteString(kmip14.TagAsynchronousCorrelationValue, p.AsynchronousCorrelationValue)
	w.Enumeration(kmip14.TagCancellationResult, uint32(p.Result))
}
