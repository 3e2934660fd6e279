// Package rootkey says where the root key of a store comes from: a file or a passphrase.
//
// The root key opens the store key, and with it everything. So it lies outside the data folder (a copied folder opens
// nothing), never in a backup, and is in memory only until the store key is open: the store clears what RootKey gave.
//
// What is trusted: that only our user can read a file of mode 0600 or 0400, and Argon2id for a passphrase. Losing the root key
// is losing every key in the store and in its backups; there is no other way in. Whether a key or passphrase is the
// right one is known only to the store, which fails to open its first record: nothing here could tell, and what could
// would help a guesser.
package rootkey

import (
	"github.com/keyreeve/keyreeve/internal/secret"
)

// Size is the length of a root key in bytes.
const Size = 32

// Source gives the root key of a store.
type Source interface {
	// RootKey returns the key, Size bytes, which the caller owns and clears.
	RootKey() (*secret.Bytes, error)
	// Describe says for people where the key comes from, without anything secret.
	Describe() string
}
