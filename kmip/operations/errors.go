package operations

import (
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// Result is what the client is told of an error: one table for the whole
// server. An error that is not in the table is answered with General Failure
// and no text, and reason General Failure tells the caller to log it.
func Result(err error) (kmip14.ResultStatus, kmip14.ResultReason, string) {
	if e, ok := errors.AsType[*kmip.Error](err); ok {
		return kmip14.ResultStatusOperationFailed, e.Reason, e.Message
	}
	return kmip14.ResultStatusOperationFailed, kmip14.ResultReasonGeneralFailure, ""
}
