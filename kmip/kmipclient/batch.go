package kmipclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
)

// A ResultError is what the server said of an operation that did not succeed.
type ResultError struct {
	Operation kmip14.Operation // 0: the message as a whole was refused
	Status    kmip14.ResultStatus
	Reason    kmip14.ResultReason
	Message   string // the server's Result Message, may be empty
}

func (e *ResultError) Error() string {
	op := "the request"
	if e.Operation != 0 {
		op = e.Operation.String()
	}
	text := fmt.Sprintf("%s: %v", op, e.Status)
	if e.Reason != 0 {
		text += fmt.Sprintf(", %v", e.Reason)
	}
	if e.Message != "" {
		text += fmt.Sprintf(": %q", e.Message)
	}
	return text
}

// ErrNotAnswered is the error of an item that the server's answer leaves out,
// because the batch stopped before it.
var ErrNotAnswered = errors.New("the server's answer leaves the item out")

// An Item is one operation of a batch.
type Item struct {
	Operation kmip14.Operation
	// ID is the Unique Batch Item ID; nil: one is made up if the batch has
	// several items.
	ID        []byte
	Request   kmip.Payload // nil: an empty payload
	Extension *kmip.MessageExtension
}

// Options are the fields of the request's header that a caller may set. The
// zero value sets none.
type Options struct {
	ErrorContinuation   kmip14.BatchErrorContinuationOption
	BatchOrder          bool // send Batch Order Option true
	MaximumResponseSize int32
	CorrelationValue    string // Client Correlation Value, 1.4
	Asynchronous        bool   // the caller can take Operation Pending, and polls then
	// Credential replaces the Client's own.
	Credential *kmip.Credential
}

// A Response is the answer to a batch. It holds views into one buffer: take
// what is needed, then call Clear, since there may be keys in it.
type Response struct {
	Header  kmip.ResponseHeader
	Results []Result // one for each item asked for, in that order

	raw []byte
}

// Clear overwrites the answer's bytes. Views into it show zeros afterwards.
func (r *Response) Clear() {
	if r != nil {
		secret.Clear(r.raw)
	}
}

// A Result is what the server said of one item.
type Result struct {
	kmip.ResponseItem
	Answered bool
	version  kmip.Version
}

// Err returns nil if the operation succeeded, else a *ResultError or
// ErrNotAnswered.
func (r *Result) Err() error {
	if !r.Answered {
		return ErrNotAnswered
	}
	if r.Status == kmip14.ResultStatusSuccess {
		return nil
	}
	return &ResultError{Operation: r.Operation, Status: r.Status, Reason: r.Reason, Message: string(r.Message)}
}

// Decode reads the Response Payload into p, or returns what Err returns.
func (r *Result) Decode(p kmip.Payload) error {
	if err := r.Err(); err != nil {
		return err
	}
	if r.Payload.IsZero() {
		return fmt.Errorf("reading the answer to %v: there is no payload", r.Operation)
	}
	if err := p.Decode(r.Payload, r.version); err != nil {
		return fmt.Errorf("reading the answer to %v: %w", r.Operation, err)
	}
	return nil
}

// Batch sends the items in one message. The error is about the message as a
// whole; each item's own is in its Result. Call Clear on the Response.
func (c *Client) Batch(ctx context.Context, opt Options, items ...Item) (*Response, error) {
	return c.batch(ctx, c.version, opt, items)
}

func (c *Client) batch(ctx context.Context, v kmip.Version, opt Options, items []Item) (*Response, error) {
	if len(items) == 0 {
		return nil, errors.New("a batch without items")
	}
	ids := c.batchIDs(items)
	request := c.request(v, opt, items, ids)
	defer secret.Clear(request)
	raw, err := c.RoundTrip(ctx, request)
	if err != nil {
		return nil, err
	}
	resp, err := parseResponse(raw, items, ids)
	if err != nil {
		secret.Clear(raw)
		return nil, err
	}
	return resp, nil
}

// batchIDs gives each item of a batch of several the ID it must have.
func (c *Client) batchIDs(items []Item) [][]byte {
	ids := make([][]byte, len(items))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range items {
		if ids[i] = items[i].ID; ids[i] == nil && c.itemID != nil {
			ids[i] = c.itemID()
		}
		if ids[i] == nil && len(items) > 1 {
			c.serial++
			ids[i] = binary.BigEndian.AppendUint32(nil, c.serial)
		}
	}
	return ids
}

func (c *Client) request(v kmip.Version, opt Options, items []Item, ids [][]byte) []byte {
	h := kmip.RequestHeader{
		Version:             v,
		MaximumResponseSize: opt.MaximumResponseSize,
		ErrorContinuation:   opt.ErrorContinuation,
		BatchOrder:          opt.BatchOrder,
		HasBatchOrder:       opt.BatchOrder,
		Asynchronous:        opt.Asynchronous,
		HasAsynchronous:     opt.Asynchronous,
	}
	if opt.CorrelationValue != "" && v.AtLeast(kmip.V1_4) {
		h.ClientCorrelationValue = []byte(opt.CorrelationValue)
	}
	if cr := c.credentialFor(opt); cr != nil {
		h.Credentials = []kmip.Credential{*cr}
		defer secret.Clear(cr.Password)
	}
	var w kmip.RequestWriter
	w.Begin(nil, &h)
	for i := range items {
		body := w.BeginItem(items[i].Operation, ids[i], items[i].Extension)
		if items[i].Request != nil {
			items[i].Request.Encode(body, v)
		}
		w.EndItem()
	}
	return w.End()
}

// credentialFor returns a copy, which its taker clears: Close may clear ours at
// any time.
func (c *Client) credentialFor(opt Options) *kmip.Credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := opt.Credential
	if from == nil {
		from = c.credential
	}
	if from == nil {
		return nil
	}
	cr := *from
	cr.Password = bytes.Clone(from.Password)
	return &cr
}

func usernameAndPassword(name string, password *secret.Bytes) *kmip.Credential {
	return &kmip.Credential{
		Type:     kmip14.CredentialTypeUsernameAndPassword,
		Username: []byte(name),
		Password: bytes.Clone(password.Expose()),
	}
}

// parseResponse finds each item's result: by ID if it has one, since a server
// may answer in any order, else by position.
func parseResponse(raw []byte, items []Item, ids [][]byte) (*Response, error) {
	var m kmip.ResponseMessage
	if err := kmip.ParseResponse(raw, &m); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	resp := &Response{Header: m.Header, Results: make([]Result, len(items)), raw: raw}
	if err := refused(&m); err != nil {
		return nil, err
	}
	for i := range items {
		at := i
		if ids[i] != nil {
			at = find(m.Items, ids[i])
		}
		if at < 0 || at >= len(m.Items) {
			continue
		}
		// What answers a Poll names the operation that was polled.
		if got := m.Items[at].Operation; got != items[i].Operation && items[i].Operation != kmip14.OperationPoll {
			return nil, fmt.Errorf("reading the answer: it is about %v, not %v", got, items[i].Operation)
		}
		resp.Results[i] = Result{ResponseItem: m.Items[at], Answered: true, version: m.Header.Version}
	}
	return resp, nil
}

func find(items []kmip.ResponseItem, id []byte) int {
	for i := range items {
		if items[i].ID != nil && bytes.Equal(items[i].ID, id) {
			return i
		}
	}
	return -1
}

// refused returns the error of a message that was refused as a whole: its only
// item names no operation (section 11.1).
func refused(m *kmip.ResponseMessage) error {
	if len(m.Items) != 1 || m.Items[0].Operation != 0 {
		return nil
	}
	it := &m.Items[0]
	return &ResultError{Status: it.Status, Reason: it.Reason, Message: string(it.Message)}
}

// do sends one operation and reads its answer into resp. The caller clears the
// Response once it has taken what it needs out of resp.
func (c *Client) do(ctx context.Context, op kmip14.Operation, req, resp kmip.Payload) (*Response, error) {
	r, err := c.Batch(ctx, Options{}, Item{Operation: op, Request: req})
	if err != nil {
		return nil, err
	}
	if err := r.Results[0].Decode(resp); err != nil {
		r.Clear()
		return nil, err
	}
	return r, nil
}
