package operations

import (
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// errNoPlaceholder: the request has no Unique Identifier, and there is none to
// stand in for it.
var errNoPlaceholder = kmip.NewError(kmip14.ResultReasonItemNotFound,
	"the request has no Unique Identifier, and the ID Placeholder is empty")

// A told error is one that the client is told in words of ours.
type told struct {
	err    error
	reason kmip14.ResultReason
	text   string
}

// results is the table from the store's errors to section 11. The first row
// that fits holds. An operation whose own error table says otherwise turns the
// error into a *kmip.Error itself.
//
// The text for what is absent is one and the same, whether the object does not
// exist, is another group's, or could not exist.
var results = [...]told{
	{keystore.ErrNotFound, kmip14.ResultReasonItemNotFound, "there is no object with this Unique Identifier"},
	{keystore.ErrPermission, kmip14.ResultReasonPermissionDenied, "the object belongs to another user"},
	{keystore.ErrNameTaken, kmip14.ResultReasonIllegalOperation, "another object has this Name"},
	{keystore.ErrDestroyed, kmip14.ResultReasonPermissionDenied, "the object is destroyed"},
	{keystore.ErrState, kmip14.ResultReasonPermissionDenied, "the object's State does not allow this operation"},
	{keystore.ErrInvalid, kmip14.ResultReasonInvalidField, "the object cannot be stored as it is"},
	{keystore.ErrDiskFull, kmip14.ResultReasonGeneralFailure, "the server's disk is full; nothing was changed"},
	{keystore.ErrCommitUnknown, kmip14.ResultReasonGeneralFailure, "the server cannot tell whether the change was made; ask again later"},
	{keystore.ErrAudit, kmip14.ResultReasonGeneralFailure, "the server cannot keep its records; nothing was released or changed"},
	{keystore.ErrClosed, kmip14.ResultReasonGeneralFailure, "the server is shutting down"},
}

// Result is what the client is told of an error: one table for the whole
// server. An error that is not in it is answered with General Failure and no
// text, since texts from within are not for strangers; General Failure tells
// the caller to log the error.
func Result(err error) (kmip14.ResultStatus, kmip14.ResultReason, string) {
	if e, ok := errors.AsType[*kmip.Error](err); ok {
		return kmip14.ResultStatusOperationFailed, e.Reason, e.Message
	}
	if e, ok := errors.AsType[*keystore.InUseError](err); ok { // which names nobody to other groups
		return kmip14.ResultStatusOperationFailed, kmip14.ResultReasonPermissionDenied, e.Error()
	}
	for i := range results {
		if errors.Is(err, results[i].err) {
			return kmip14.ResultStatusOperationFailed, results[i].reason, results[i].text
		}
	}
	return kmip14.ResultStatusOperationFailed, kmip14.ResultReasonGeneralFailure, ""
}

// FailurePayload returns what a failed item answers beside its reason; nil:
// nothing.
func FailurePayload(err error) kmip.Payload {
	if e, ok := errors.AsType[*kmip.Error](err); ok {
		return e.Payload
	}
	return nil
}

func invalidField(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonInvalidField, format, args...)
}

func missingData(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonMissingData, format, args...)
}

func permissionDenied(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonPermissionDenied, format, args...)
}

func illegalOperation(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonIllegalOperation, format, args...)
}

func featureNotSupported(format string, args ...any) error {
	return kmip.NewError(kmip14.ResultReasonFeatureNotSupported, format, args...)
}

// notArchived refuses what most operations may not do to an archived object.
func notArchived(obj *keystore.Object) error {
	if obj.ArchiveDate.Set {
		return kmip.NewError(kmip14.ResultReasonObjectArchived, "the object is archived")
	}
	return nil
}
