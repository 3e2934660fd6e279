package kmipserver

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A work is one message on its way. It lives in a pool, so that a request
// allocates nothing here and an idle connection holds none.
type work struct {
	server    *Server
	principal *operations.Principal
	user      operations.Principal // what principal points to when the request is a user's
	request   kmip.RequestMessage
	items     []item

	header      kmip.ResponseHeader
	writer      kmip.ResponseWriter
	buffer      []byte // the caller's, where the answer is written
	placeholder operations.Placeholder
	maximum     int // bytes: Maximum Response Size or the server's own limit
	polled      int // bytes that Polls have gathered for the answer

	answered int   // items that have an answer so far
	undo     bool  // the last of them failed, and the batch is to be undone
	failure  error // why
}

// An item is one Batch Item: what was asked, and how it went.
type item struct {
	work  *work
	asked *kmip.RequestItem
	row   *operations.Row
	call  *operations.Call
	early error // what was wrong before the transaction; the item fails with it
	begun bool
	ended outcome
	// Of a Poll or Cancel that is about a deferred operation: what the answer
	// is about, if not the operation itself, and what is inside its payload.
	operation kmip14.Operation // 0: the one that was asked for
	payload   []byte           // nil: the operation has to write it
	err       error            // what became of it
}

func newWork(s *Server) *work {
	return &work{server: s, request: kmip.RequestMessage{MaxItems: s.limits.BatchItems}}
}

// Handle answers one request: bytes in, bytes out. The answer is written to
// dst[:0], which is grown as needed. A nil answer means that the connection
// would be closed without one. The caller clears both buffers. It is what a
// connection does with a message, for tests and transcripts without a socket.
func (s *Server) Handle(ctx context.Context, p *operations.Principal, request, dst []byte) []byte {
	out, _ := s.handle(ctx, p, request, dst)
	return out
}

// handle also tells whether the connection may go on.
func (s *Server) handle(ctx context.Context, p *operations.Principal, request, dst []byte) (out []byte, open bool) {
	began := time.Now()
	w := s.works.Get().(*work)
	w.principal, w.buffer = p, dst
	out, open = w.answer(ctx, request)
	w.reset()
	s.works.Put(w)
	s.metrics.answered(len(request), len(out), time.Since(began))
	return out, open
}

// reset drops every view into the message.
func (w *work) reset() {
	for i := range w.items {
		it := &w.items[i]
		it.call.Reset()
		*it = item{call: it.call}
	}
	w.items = w.items[:0]
	w.request.Reset()
	w.principal, w.user, w.buffer, w.failure = nil, operations.Principal{}, nil, nil
	w.placeholder, w.polled = operations.Placeholder{}, 0
	w.header, w.writer = kmip.ResponseHeader{}, kmip.ResponseWriter{} // the buffer is the caller's again
}

// answer takes a message through parsing, preparation and the store.
func (w *work) answer(ctx context.Context, request []byte) (out []byte, open bool) {
	s := w.server
	if err := ttlv.Check(request, ttlv.Limits{Depth: s.limits.Depth, Items: s.limits.Items}); err != nil {
		return w.malformed(peekVersion(request), err)
	}
	if err := kmip.ParseRequest(request, &w.request); err != nil {
		return w.malformed(w.request.Header.Version, err)
	}
	h := &w.request.Header
	w.header = kmip.ResponseHeader{Version: h.Version}
	w.maximum = s.limits.ResponseSize
	if asked := int(h.MaximumResponseSize); asked > 0 {
		w.maximum = min(w.maximum, asked)
	}
	if err := w.uniqueIDs(); err != nil {
		return w.malformed(h.Version, err)
	}
	if err := w.authenticate(ctx); err != nil {
		if ctx.Err() != nil { // the server ends, and nobody knows whether it was right
			return nil, false
		}
		return w.notAuthenticated(ctx, err), true
	}
	if out, ok := w.deferItem(); ok {
		return out, true
	}
	store, changes := w.prepare(ctx)
	if !store {
		return w.withoutStore(), true
	}
	err := s.operations.Do(ctx, w.principal, changes, w)
	return w.finish(err), true
}

// uniqueIDs refuses a batch in which two items have the same Unique Batch Item
// ID: their answers could not be told apart.
func (w *work) uniqueIDs() error {
	for i := range w.request.Items {
		for j := range i {
			if bytes.Equal(w.request.Items[i].ID, w.request.Items[j].ID) {
				return kmip.NewError(kmip14.ResultReasonInvalidMessage, "two batch items have the same Unique Batch Item ID")
			}
		}
	}
	return nil
}

// prepare does for each item what needs no transaction, and tells whether any
// needs the store, and whether one of those changes it.
func (w *work) prepare(ctx context.Context) (store, changes bool) {
	for i := range w.request.Items {
		it := w.next()
		it.asked = &w.request.Items[i]
		it.row = w.server.operations.Row(it.asked.Operation)
		switch {
		case it.row == nil || !kmip.OperationIn(it.asked.Operation, w.header.Version):
			it.row = nil
			it.early = kmip.NewError(kmip14.ResultReasonOperationNotSupported, "this operation is not supported")
			continue
		case it.asked.Extension.Present() && it.asked.Extension.Critical:
			it.early = kmip.NewError(kmip14.ResultReasonFeatureNotSupported, "the critical Message Extension is not known here")
		default:
			it.call.Version, it.call.Payload, it.call.Placeholder = w.header.Version, it.asked.Payload, &w.placeholder
			it.early = w.server.operations.Prepare(ctx, it.row, it.call)
			w.pending(it)
		}
		store = store || it.row.NeedsStore()
		// What has failed already changes nothing: a client that sends
		// malformed Creates must not keep the one writer busy.
		changes = changes || it.early == nil && it.row.Changes()
	}
	return store, changes
}

// pending looks for the deferred operation that an item is about. It does so
// before the batch's own transaction, since it may need one itself.
func (w *work) pending(it *item) {
	switch it.asked.Operation {
	case kmip14.OperationPoll:
		w.poll(it)
	case kmip14.OperationCancel:
		w.cancel(it)
	}
}

// named returns the operation that the answer to an item names: after a Poll it
// is the one that was polled.
func (it *item) named() kmip14.Operation {
	if it.operation != 0 {
		return it.operation
	}
	return it.asked.Operation
}

// next makes room for an item, with the call that the place had before.
func (w *work) next() *item {
	n := len(w.items)
	if n < cap(w.items) {
		w.items = w.items[:n+1]
	} else {
		w.items = append(w.items, item{})
	}
	it := &w.items[n]
	if it.call == nil {
		it.call = new(operations.Call)
	}
	*it = item{work: w, call: it.call}
	return it
}

// malformed answers a message that could not be read: in its version with no
// Operation, as section 11.1 says. Without a version there is nothing that the
// peer is sure to understand, and the connection ends.
func (w *work) malformed(v kmip.Version, err error) (out []byte, open bool) {
	w.server.metrics.malformed.Inc()
	if errors.Is(err, ttlv.ErrLimit) {
		w.server.metrics.limit(limitComplexity)
	}
	if v == (kmip.Version{}) {
		return nil, false
	}
	var said *kmip.Error
	switch {
	case errors.As(err, &said):
	case !v.Supported(): // no wonder that it cannot be read
		said = kmip.NewError(kmip14.ResultReasonInvalidMessage, "protocol version %v is not supported", v)
	default:
		said = kmip.NewError(kmip14.ResultReasonInvalidMessage, "the message cannot be parsed: %v", err)
	}
	w.header = kmip.ResponseHeader{Version: nearest(v)}
	w.begin(w.server.now().Unix())
	w.writer.FailItem(0, nil, said)
	return w.writer.End(), true
}

// nearest returns v if we speak it, and else the nearest version that we do: a
// client of the next generation can read that, or at least its header.
func nearest(v kmip.Version) kmip.Version {
	switch {
	case v.Supported():
		return v
	case v.AtLeast(kmip.V1_0):
		return kmip.V1_4
	}
	return kmip.V1_0
}

// peekVersion reads the Protocol Version of a message that is not well-formed,
// the zero Version if it cannot be made out.
func peekVersion(b []byte) kmip.Version {
	msg, err := ttlv.Parse(b)
	if err != nil {
		return kmip.Version{}
	}
	header := msg.Find(kmip14.TagRequestHeader)
	version := header.Find(kmip14.TagProtocolVersion)
	major, err := version.Find(kmip14.TagProtocolVersionMajor).Integer()
	minor, err2 := version.Find(kmip14.TagProtocolVersionMinor).Integer()
	if err != nil || err2 != nil {
		return kmip.Version{}
	}
	return kmip.Version{Major: major, Minor: minor}
}
