package kmip

import (
	"errors"
	"fmt"

	"github.com/gemalto/kmip-go/kmip14"
)

// An Error is what the peer is told: a Result Reason of section 11 and a text.
// The text never holds values from the message.
type Error struct {
	Reason  kmip14.ResultReason
	Message string
	// Err, if any, is for us and never leaves: ErrVersion, or what went wrong
	// below.
	Err error
	// Payload, if any, is answered beside the failure: Check's denial has the
	// fields that caused it (section 4.10).
	Payload Payload
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ErrVersion is wrapped by ParseRequest when the message is of a version that
// this package does not speak. Answer it in the newest version spoken, without
// an Operation (section 11.1).
var ErrVersion = errors.New("protocol version not supported")

// NewError returns an *Error with a formatted message. Pass no secrets.
func NewError(reason kmip14.ResultReason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func invalidMessage(format string, args ...any) *Error {
	return NewError(kmip14.ResultReasonInvalidMessage, format, args...)
}

func invalidField(format string, args ...any) *Error {
	return NewError(kmip14.ResultReasonInvalidField, format, args...)
}

func missingData(format string, args ...any) *Error {
	return NewError(kmip14.ResultReasonMissingData, format, args...)
}
