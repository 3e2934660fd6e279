package keystore

import (
	"context"
	"errors"
)

// A Backend runs transactions over a flat, ordered key space. The first byte
// of a key is its family; a backend may keep families apart, but Range never
// crosses one.
//
// Update runs fn in a serializable read-write transaction, then prepared in
// the same transaction, then commits; when it returns nil the writes of both
// are durable. If fn or prepared returns an error nothing is written and that
// error is returned as it is (errors.Is holds). fn may run more than once and
// must have no effect outside kv and what it sets up anew on each run;
// prepared runs once, after the run that counts (the journal is written
// there). Updates do not run concurrently.
//
// If the outcome of a commit cannot be known (failed write or sync, lost
// leader, timeout) the error wraps ErrCommitUnknown: the caller must assume
// neither outcome. After such an error a backend refuses every Update with an
// error that wraps ErrFailed until it has been closed and opened again, since
// a sync that failed once may report success the next time without having
// written anything.
//
// View runs fn on a consistent snapshot of what was last committed, as of some
// moment after View was called; it sees every Update that had returned before.
// Views run concurrently with each other and with Update, and never wait for a
// sync.
//
// A file that is damaged in a way the backend notices gives ErrCorrupt, never
// a panic.
type Backend interface {
	Update(ctx context.Context, fn func(kv KV) error, prepared func(kv KV) error) error
	View(ctx context.Context, fn func(kv KV) error) error
	Close() error
}

// KV is the key space inside a transaction. Slices that it returns are valid
// until fn returns and must not be written to; slices given to it must not be
// changed until then. Keys have 2 to 256 bytes. In a View, Put and Delete
// return ErrReadOnly.
type KV interface {
	// Get returns the value, nil if there is none. An empty value is not nil.
	Get(key []byte) ([]byte, error)
	Put(key, value []byte) error
	// Delete is no error when the key is absent.
	Delete(key []byte) error
	// Range calls fn for each key that begins with prefix and is not below
	// start (nil: from the prefix's first), in ascending order, until fn
	// returns false. fn must not write to the family it walks.
	Range(prefix, start []byte, fn func(key, value []byte) bool) error
}

// Errors of a Backend. Their texts are completed by the wrapping error.
var (
	// ErrCommitUnknown: a commit's outcome cannot be known; see Backend.
	ErrCommitUnknown = errors.New("the outcome of the commit is unknown")
	// ErrFailed: writing stopped after an earlier failure; reopen and verify.
	ErrFailed = errors.New("the store has stopped writing after a failed write")
	// ErrCorrupt: what is on disk is not what was written.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrReadOnly: a write in a View.
	ErrReadOnly = errors.New("read-only transaction")
	// ErrDiskFull: the disk has too little room; nothing was written.
	ErrDiskFull = errors.New("the disk is full")
)
