package kmipserver

import (
	"errors"
	"log/slog"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

// errUndone is what Run returns for a batch to be undone; the store drops
// every item then.
var errUndone = errors.New("batch undone")

// begin starts the answer anew. What it had outgrown its buffer into is used
// again: there may be keys in it, and the caller clears only what is returned.
func (w *work) begin(now int64) {
	if grown := w.writer.Buffer(); cap(grown) > cap(w.buffer) {
		w.buffer = grown[:0]
	}
	w.header.TimeStamp = now
	w.writer.Begin(w.buffer, &w.header)
	w.answered, w.undo, w.failure = 0, false, nil
	w.placeholder = operations.Placeholder{}
}

// Run executes the batch inside one transaction; the store may call it again,
// and it starts afresh then. Items are executed in their order, whatever the
// Batch Order Option says: section 6.12 leaves the order to the server without
// it. What follows a failure is section 6.13:
//
//   - Stop (the default): the rest is not executed and not answered;
//   - Continue: the rest is executed;
//   - Undo: what was done before is undone.
func (w *work) Run(b *operations.Batch) error {
	w.begin(b.Now())
	for i := range w.items {
		it := &w.items[i]
		before := w.placeholder
		err := w.execute(b, it)
		w.answered = i + 1
		if err == nil {
			continue
		}
		w.placeholder = before
		if it.row == nil || it.row.SetsPlaceholder() {
			// What follows means the object that this item did not make or
			// find. A Destroy must not fall on the one before.
			w.placeholder = operations.Placeholder{}
		}
		switch w.request.Header.ErrorContinuation {
		case kmip14.BatchErrorContinuationOptionContinue:
		case kmip14.BatchErrorContinuationOptionUndo:
			w.undo, w.failure = true, err
			return errUndone
		default:
			return w.fits()
		}
	}
	return w.fits()
}

// fits keeps an answer that the client has no room for from being acted on: a
// Create whose identifier cannot be sent would leave a key that nobody knows.
func (w *work) fits() error {
	if w.maximum > 0 && w.writer.Len() > w.maximum {
		return w.tooLarge()
	}
	return nil
}

func (w *work) tooLarge() error {
	return kmip.NewError(kmip14.ResultReasonResponseTooLarge, "the response exceeds the Maximum Response Size of %d bytes", w.maximum)
}

// execute runs one item through the door and writes its answer.
func (w *work) execute(b *operations.Batch, it *item) error {
	it.begun = false
	err := it.early
	if it.row != nil {
		err = b.Do(&it.row.Op, it)
	}
	if err == nil {
		w.writer.EndItem()
		it.ended = outcomeSuccess
		return nil
	}
	if it.begun {
		w.writer.CancelItem()
	}
	w.fail(it, err)
	return err
}

// Apply is the part of an item that the store runs: it appends the payload.
func (it *item) Apply(tx *operations.Tx) error {
	if it.early != nil {
		return it.early
	}
	w := it.work
	it.call.W = w.writer.BeginItem(it.named(), it.asked.ID)
	it.begun = true
	if it.payload != nil {
		it.call.W.Raw(it.payload)
		return w.fits()
	}
	if err := w.server.operations.Apply(tx, it.row, it.call); err != nil {
		return err
	}
	return w.fits()
}

// fail writes the answer to an item that failed.
func (w *work) fail(it *item, err error) {
	status, reason, text := operations.Result(err)
	it.err = err
	switch reason {
	case kmip14.ResultReasonGeneralFailure:
		it.ended = outcomeError
	case kmip14.ResultReasonPermissionDenied, kmip14.ResultReasonAuthenticationNotSuccessful:
		it.ended = outcomeDenied
	default:
		it.ended = outcomeFailure
	}
	w.writer.FailItemPayload(it.named(), it.asked.ID, status, reason, text, operations.FailurePayload(err))
}

// withoutStore answers a message none of whose items needs the store: no
// transaction, no record.
func (w *work) withoutStore() []byte {
	w.begin(w.server.now().Unix())
	var failed error
	for i := range w.items {
		it := &w.items[i]
		it.begun = false
		err := it.Apply(nil)
		w.answered = i + 1
		if err == nil {
			w.writer.EndItem()
			it.ended = outcomeSuccess
			continue
		}
		if it.begun {
			w.writer.CancelItem()
		}
		w.fail(it, err)
		if w.request.Header.ErrorContinuation == kmip14.BatchErrorContinuationOptionUndo {
			w.undo, w.failure, failed = true, err, errUndone
		}
		if w.request.Header.ErrorContinuation != kmip14.BatchErrorContinuationOptionContinue {
			break
		}
	}
	if failed == nil {
		failed = w.fits()
	}
	return w.finish(failed)
}

// finish ends the answer, and counts. err is what the store said of the whole.
func (w *work) finish(err error) []byte {
	switch {
	case err == nil:
	case w.undo && errors.Is(err, errUndone):
		w.answerUndone()
	default:
		w.answerFailed(err)
	}
	out := w.writer.End()
	if w.maximum > 0 && len(out) > w.maximum && err != nil {
		out = w.answerTooLarge()
	}
	for i := range w.items[:w.answered] {
		it := &w.items[i]
		w.server.metrics.operation(it.asked.Operation, it.ended)
		if it.ended == outcomeError {
			w.logError(it)
		}
	}
	return out
}

// answerUndone rewrites the answers to items that were undone. What they would
// have said, keys too, is gone with them.
func (w *work) answerUndone() {
	w.writer.Restart()
	last := w.answered - 1
	for i := range w.items[:last] {
		it := &w.items[i]
		it.ended = outcomeUndone
		w.writer.FailItemStatus(it.named(), it.asked.ID, kmip14.ResultStatusOperationUndone, 0, "")
	}
	w.fail(&w.items[last], w.failure)
}

// answerFailed answers every item with the failure of the whole: nothing that
// was written before it may leave, since none of it is known to be durable.
func (w *work) answerFailed(err error) {
	w.begin(w.server.now().Unix())
	for i := range w.items {
		w.fail(&w.items[i], err)
	}
	w.answered = len(w.items)
}

// logError writes down what the client is not told: the text of an error from
// within.
func (w *work) logError(it *item) {
	w.server.log.error(logKey{kind: "request"}, "a request failed", slog.String("operation", it.asked.Operation.String()),
		slog.String("client", w.principal.Client), slog.String("remote", w.principal.Remote), slog.String("error", it.err.Error()))
}

// answerTooLarge is the shortest answer there is. It is sent even to a client
// that has no room for it either.
func (w *work) answerTooLarge() []byte {
	w.writer.Restart()
	w.writer.FailItemStatus(0, nil, kmip14.ResultStatusOperationFailed, kmip14.ResultReasonResponseTooLarge, "")
	return w.writer.End()
}
