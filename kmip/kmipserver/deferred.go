package kmipserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Asynchronous operations (sections 4.27, 4.28, 6.7 and 6.8): a client that can
// wait may get Operation Pending and a value to poll with. What is kept for it
// is the question, not the answer: the operation is carried out when the client
// polls, as a message of its own. One that changes objects is carried out
// once, without being polled, too, after a moment in which it can be canceled,
// and its outcome is kept for a while.
//
// Only operations that carry no key material either way are deferred
// (operations.Row.Deferrable), so nothing that lies here is secret. The
// attacks that are left are filling memory, which the bounds below stop, and
// guessing or overhearing another's value: it is 128 random bits, and stands
// for nothing with another principal.
const (
	deferredDelay   = time.Second      // until a change is carried out without being polled
	deferredExpiry  = 10 * time.Minute // until what was asked or answered is forgotten
	deferredOf      = 16               // operations of one client; the next is answered at once
	deferredInAll   = 1024
	deferredPayload = 16 << 10 // bytes of a request; a larger one is answered at once
)

// A owner is who may poll. Another user of the same client is another owner.
type owner struct{ client, user, group string }

func ownerOf(p *operations.Principal) owner { return owner{p.Client, p.User, p.Group} }

// A deferral is an operation that was answered with Operation Pending.
type deferral struct {
	owner     owner
	value     string // Asynchronous Correlation Value
	principal operations.Principal
	version   kmip.Version
	asked     kmip.RequestItem // with memory of its own
	changes   bool
	timer     *time.Timer

	// mu is held while the operation is carried out.
	mu     sync.Mutex
	ended  *deferredResult // nil: not carried out yet; see carryOut
	closed bool            // canceled or forgotten
	stale  bool            // the timer went off while a Poll carried it out
}

// A deferredResult is the answer to a deferred operation.
type deferredResult struct {
	err     error  // why it failed; nil: it succeeded
	payload []byte // what is inside the Response Payload
}

// deferrals are all of a server's, by value. The zero value is ready.
type deferrals struct {
	mu     sync.Mutex
	all    map[string]*deferral
	counts map[string]int // by client
	closed bool
}

// deferItem answers a message with Operation Pending if it may be: the client
// can wait, there is one operation in it, and room for it. Several items are
// not deferred, since the next would be about what the first has not found yet.
func (w *work) deferItem() (out []byte, ok bool) {
	if !w.request.Header.Asynchronous || len(w.request.Items) != 1 {
		return nil, false
	}
	asked := &w.request.Items[0]
	row := w.server.operations.Row(asked.Operation)
	if row == nil || !row.Deferrable() || asked.Extension.Present() || len(asked.Payload.Raw()) > deferredPayload {
		return nil, false
	}
	d := &deferral{owner: ownerOf(w.principal), principal: *w.principal, version: w.header.Version, changes: row.Changes()}
	d.asked = kmip.RequestItem{Operation: asked.Operation, Payload: copied(asked.Payload)}
	if !w.server.deferred.add(w.server, d) {
		return nil, false
	}
	w.begin(w.server.now().Unix())
	w.writer.PendingItem(asked.Operation, asked.ID, []byte(d.value))
	return w.writer.End(), true
}

// add takes d in and starts its clock; false if there is no room.
func (all *deferrals) add(s *Server, d *deferral) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed || len(all.all) >= deferredInAll || all.counts[d.owner.client] >= deferredOf {
		return false
	}
	if all.all == nil {
		all.all, all.counts = map[string]*deferral{}, map[string]int{}
	}
	value := make([]byte, 16)
	_, _ = rand.Read(value) // it never returns an error
	d.value = string(value)
	all.all[d.value] = d
	all.counts[d.owner.client]++
	s.metrics.deferred.Inc()
	wait := deferredExpiry
	if d.changes {
		wait = deferredDelay
	}
	d.timer = time.AfterFunc(wait, func() { s.deferralDue(d) })
	return true
}

// find returns the operation that the value stands for with this principal,
// nil if there is none: whether another has one cannot be told.
func (all *deferrals) find(value []byte, p *operations.Principal) *deferral {
	all.mu.Lock()
	defer all.mu.Unlock()
	d := all.all[string(value)]
	if d == nil || d.owner != ownerOf(p) {
		return nil
	}
	return d
}

// forget drops the deferrals that fit. What is being carried out ends, and its
// outcome goes nowhere.
func (s *Server) forget(fits func(d *deferral) bool) {
	all := &s.deferred
	all.mu.Lock()
	defer all.mu.Unlock()
	for value, d := range all.all {
		if !fits(d) {
			continue
		}
		d.timer.Stop()
		delete(all.all, value)
		if all.counts[d.owner.client]--; all.counts[d.owner.client] == 0 {
			delete(all.counts, d.owner.client)
		}
		s.metrics.deferred.Dec()
	}
}

// holds tells whether d is still among them.
func (all *deferrals) holds(d *deferral) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.all[d.value] == d
}

// deferralDue is called when d's time has come: to be carried out, or to be
// forgotten.
func (s *Server) deferralDue(d *deferral) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked("deferred operation", v)
		}
	}()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stale:
		d.stale = false
		return
	case d.changes && d.ended == nil:
		s.carryOut(d)
		return
	}
	d.closed = true
	s.forget(func(other *deferral) bool { return other == d })
}

// carryOut carries d out, if it still may be, and returns the outcome; d.mu is
// held. A client that was shut out since, or a server that ends, carries out
// nothing more. Of what changes nothing only how it ended is kept: its answer
// can be long, and the next Poll asks anew.
func (s *Server) carryOut(d *deferral) *deferredResult {
	if d.closed || !s.deferred.holds(d) {
		return nil
	}
	w := s.works.Get().(*work)
	w.principal, w.buffer = &d.principal, nil
	result := w.alone(s.ctx, d.version, d.asked)
	w.reset()
	s.works.Put(w)
	d.ended = &result
	if !d.changes {
		d.ended = &deferredResult{err: result.err}
	}
	d.timer.Reset(deferredExpiry)
	return &result
}

// alone carries out one operation as a message of its own, and returns what
// the answer to it would have been.
func (w *work) alone(ctx context.Context, v kmip.Version, asked kmip.RequestItem) (r deferredResult) {
	w.header = kmip.ResponseHeader{Version: v}
	w.maximum = w.server.limits.ResponseSize
	w.request.Items = append(w.request.Items[:0], asked)
	_, changes := w.prepare(ctx)
	out := w.finish(w.server.operations.Do(ctx, w.principal, changes, w))
	var m kmip.ResponseMessage
	if err := kmip.ParseResponse(out, &m); err != nil || len(m.Items) != 1 {
		return deferredResult{err: err}
	}
	if it := &m.Items[0]; it.Status != kmip14.ResultStatusSuccess {
		r.err = &kmip.Error{Reason: it.Reason, Message: string(it.Message)}
	} else {
		r.payload = bytes.Clone(it.Payload.Value())
	}
	return r
}

// poll takes in the outcome of the operation that a Poll is about, which is
// carried out now if it was not yet. What there is none of is for the
// operation's row to answer.
func (w *work) poll(it *item) {
	var r kmip.PollRequest
	if r.Decode(it.asked.Payload, w.header.Version) != nil {
		return
	}
	s := w.server
	d := s.deferred.find(r.AsynchronousCorrelationValue, w.principal)
	if d == nil {
		return
	}
	switch {
	case d.version != w.header.Version: // there would be no words for the answer
		it.early = kmip.NewError(kmip14.ResultReasonInvalidField, "the operation was asked for in KMIP %v; poll for it in that version", d.version)
		return
	case w.maximum > 0 && w.polled > w.maximum: // a batch of Polls gathers no more than can be sent
		it.early = w.tooLarge()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	result := d.ended
	if !d.changes || result == nil {
		d.stale = !d.timer.Stop()
		result = s.carryOut(d)
	}
	if result == nil || d.closed {
		return
	}
	it.operation, it.early, it.payload = d.asked.Operation, result.err, result.payload
	if it.early == nil && it.payload == nil {
		it.payload = []byte{}
	}
	w.polled += len(it.payload)
}

// cancel takes back the operation that a Cancel is about, if it was not
// carried out yet. What there is none of is for the operation's row to answer.
func (w *work) cancel(it *item) {
	var r kmip.CancelRequest
	if r.Decode(it.asked.Payload, w.header.Version) != nil {
		return
	}
	d := w.server.deferred.find(r.AsynchronousCorrelationValue, w.principal)
	if d == nil {
		return
	}
	answer := kmip.CancelResponse{AsynchronousCorrelationValue: r.AsynchronousCorrelationValue, Result: w.server.cancelDeferral(d)}
	it.payload = payloadOf(&answer, w.header.Version)
}

func (s *Server) cancelDeferral(d *deferral) kmip14.CancellationResult {
	if !d.mu.TryLock() {
		return kmip14.CancellationResultUnableToCancel // it is being carried out
	}
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return kmip14.CancellationResultUnavailable
	case d.ended == nil:
		d.closed = true
		s.forget(func(other *deferral) bool { return other == d })
		return kmip14.CancellationResultCanceled
	case d.ended.err != nil:
		return kmip14.CancellationResultFailed
	}
	return kmip14.CancellationResultCompleted
}

// finishDeferred carries out the changes that wait, so that a server that ends
// in peace has done what it said it would, and forgets the rest.
func (s *Server) finishDeferred() {
	all := &s.deferred
	all.mu.Lock()
	all.closed = true
	var waiting []*deferral
	for _, d := range all.all {
		if d.changes {
			waiting = append(waiting, d)
		}
	}
	all.mu.Unlock()
	for _, d := range waiting {
		d.mu.Lock()
		if d.ended == nil {
			s.carryOut(d)
		}
		d.mu.Unlock()
	}
	s.forget(func(*deferral) bool { return true })
}

// copied returns an item with memory of its own.
func copied(it ttlv.Item) ttlv.Item {
	out, _ := ttlv.Parse(bytes.Clone(it.Raw()))
	return out
}

// payloadOf returns what is inside a payload.
func payloadOf(p kmip.Payload, v kmip.Version) []byte {
	var w ttlv.Writer
	p.Encode(&w, v)
	return w.Bytes()
}
