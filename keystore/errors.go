package keystore

import "errors"

// Errors of an item: what Tx's methods return, and what Batch.Do passes on.
var (
	// ErrNotFound: there is no such object or record, or it belongs to another
	// group. The two cannot be told apart, so that a stranger learns nothing.
	ErrNotFound = errors.New("no such object")
	// ErrPermission: the object belongs to another user of the group, or the
	// principal is no administrator.
	ErrPermission = errors.New("permission denied")
	// ErrNameTaken: a live object of the group has that Name already.
	ErrNameTaken = errors.New("the name is in use in this group")
	// ErrState: the object's state does not allow it.
	ErrState = errors.New("wrong state")
	// ErrDestroyed is wrapped, beside ErrState, when that state is Destroyed
	// or Destroyed Compromised.
	ErrDestroyed = errors.New("the object is destroyed")
	// ErrInvalid: the object cannot be stored as it is; a caller's mistake.
	ErrInvalid = errors.New("invalid object")
	// ErrStale: the object was written since Edit returned it.
	ErrStale = errors.New("the object was changed since it was read")
	// ErrInUse: an inventory names the key. It is an *InUseError.
	ErrInUse = errors.New("the key is in use")
	// ErrReport: an inventory report cannot be believed.
	ErrReport = errors.New("the report is refused")
	// ErrInternal: a panic while the item was worked on; it is in the log.
	ErrInternal = errors.New("internal error")
)

// Errors of a message: what Store.Do returns, beside those of a Backend.
var (
	// ErrAudit: the journal takes nothing, so no key leaves and nothing changes.
	ErrAudit = errors.New("the audit journal is not available")
	// ErrClosed: the store is closing or closed.
	ErrClosed = errors.New("the store is closed")
)

// Errors of Open and Create. Each comes wrapped in a sentence that says what
// happened and what to do.
var (
	// ErrNoStore: the backend holds no store.
	ErrNoStore = errors.New("there is no store here")
	// ErrExists: Create found something in the backend.
	ErrExists = errors.New("the backend is not empty")
	// ErrFormat: the store was written by a newer version.
	ErrFormat = errors.New("the store has an unknown format")
	// ErrWrongRootKey: the root key is not the one that the store was made with.
	ErrWrongRootKey = errors.New("wrong root key")
	// ErrRolledBack: the store is older than its journal says: an old file was put back.
	ErrRolledBack = errors.New("the store was rolled back")
	// ErrForeignJournal: the journal belongs to another store or another past of this one.
	ErrForeignJournal = errors.New("the journal does not belong to this store")
	// ErrJournalCut: the journal ends before what the store has committed, or
	// begins after what was archived.
	ErrJournalCut = errors.New("the journal was cut")
)
