package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// Poll and Cancel are about operations that the server has deferred, which it
// keeps itself and finds by the Asynchronous Correlation Value. What is here
// is the answer when there is none: the value was made up, has expired, or is
// another client's, and nobody can tell which.

func preparePoll(_ *Operations, c *Call) error {
	return c.request.poll.Decode(c.Payload, c.Version)
}

// applyPoll says what section 11.28 does.
func applyPoll(*Operations, *Tx, *Call) error {
	return itemNotFound("there is no outstanding operation with this Asynchronous Correlation Value")
}

// applyCancel says that there is nothing to cancel, which is no failure
// (section 4.27).
func applyCancel(_ *Operations, _ *Tx, c *Call) error {
	answer := kmip.CancelResponse{AsynchronousCorrelationValue: c.request.poll.AsynchronousCorrelationValue, Result: kmip14.CancellationResultUnavailable}
	answer.Encode(c.W, c.Version)
	return nil
}
