package kmipclient

import (
	"context"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// Pending tells whether the operation goes on after the answer; its
// AsynchronousCorrelationValue is what to poll with. Only a batch sent with
// Options.Asynchronous has such results.
func (r *Result) Pending() bool {
	return r.Answered && r.Status == kmip14.ResultStatusOperationPending
}

// Poll asks what became of a pending operation (section 4.28). The Response has
// one result, which is that operation's, or pending still. Call Clear on it.
func (c *Client) Poll(ctx context.Context, value []byte) (*Response, error) {
	return c.Batch(ctx, Options{}, Item{Operation: kmip14.OperationPoll, Request: &kmip.PollRequest{AsynchronousCorrelationValue: value}})
}

// Cancel takes a pending operation back, if it still can be (section 4.27), and
// returns what became of it.
func (c *Client) Cancel(ctx context.Context, value []byte) (kmip14.CancellationResult, error) {
	var resp kmip.CancelResponse
	if _, err := c.do(ctx, kmip14.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: value}, &resp); err != nil {
		return 0, err
	}
	return resp.Result, nil
}
