package keystore

import (
	"log/slog"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
)

// A Journal is what the Store uses of an *audit.Journal; the methods are
// documented there. keystoretest wraps it with faults.
type Journal interface {
	Append(p audit.Priority, events ...audit.Event) (audit.Position, error)
	Buffer(e audit.Event)
	SetCommitted(seq uint64)
	Base() audit.Position
	End() audit.Position
	Marker() uint64
	HashAt(seq uint64) (hash [32]byte, ok bool, err error)
	Since(seq uint64, fn func(seq uint64, e audit.Event) error) error
}

var _ Journal = (*audit.Journal)(nil)

// RootKeySize is the length of a root key in bytes.
const RootKeySize = 32

// DefaultGracePeriod is how long a destroyed object can be brought back.
const DefaultGracePeriod = 30 * 24 * time.Hour

// Config is what a Store needs. Backend, Journal and RootKey are required; the
// caller closes Backend and Journal after the Store, and clears the RootKey
// when Create or Open has returned.
type Config struct {
	Backend Backend
	Journal Journal
	RootKey *secret.Bytes // RootKeySize bytes
	// StoreID is the new store's identifier in Create, the same as its
	// journal's. Open ignores it.
	StoreID [16]byte
	Now     func() time.Time // nil: time.Now
	// GracePeriod is how long Destroy keeps a tombstone, from which an
	// administrator can bring the object back. 0: DefaultGracePeriod.
	GracePeriod time.Duration
	// PurgeAtOnce makes Destroy final: no tombstones.
	PurgeAtOnce bool
	// IndexedAttributes are the custom attributes (x-…) that Locate finds by
	// index. A change of the list needs Reindex.
	IndexedAttributes []string
	Logger            *slog.Logger // nil discards
	Metrics           *Metrics     // nil counts nothing
	// FreeSpace returns the free bytes on the disk; nil: no guard. Below
	// MinFree only urgent changes are taken.
	FreeSpace func() (uint64, error)
	MinFree   uint64
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.GracePeriod == 0 {
		c.GracePeriod = DefaultGracePeriod
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
