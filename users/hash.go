package users

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Parameters of new hashes: OWASP's first choice for Argon2id. What guards the
// hashes first is that they are sealed; this guards them against whoever holds
// the root key too.
const (
	newMemory  = 19 << 10 // KiB
	newPasses  = 2
	newThreads = 1
	saltSize   = 16
	hashSize   = 32
)

// Bounds of the parameters that a record may ask for: a check of one password
// must not take the machine down.
const (
	maxMemory  = 256 << 10 // KiB
	maxPasses  = 16
	maxThreads = 16
)

// MinPassword and MaxPassword bound new passwords, in bytes. The lower bound is
// the administrator's business: appliances limit what can be typed into them.
const (
	MinPassword = 1
	MaxPassword = 1024
)

// ErrPassword is wrapped by refusals of new passwords.
var ErrPassword = errors.New("the password cannot be used")

// Hash is a password as it is kept: Argon2id with the parameters that it was
// made with.
type Hash struct {
	Memory  uint32 `json:"memory_kib"`
	Passes  uint32 `json:"passes"`
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"`
	Sum     []byte `json:"argon2id"`
}

// NewHash hashes a password, which stays the caller's. It takes some 20 ms and
// 19 MiB.
func NewHash(password *secret.Bytes) (*Hash, error) {
	if n := password.Len(); n < MinPassword || n > MaxPassword {
		return nil, fmt.Errorf("%w: it has %d bytes; between %d and %d are allowed", ErrPassword, n, MinPassword, MaxPassword)
	}
	h := newHash()
	h.Sum = h.derive(password.Expose())
	return h, nil
}

func newHash() *Hash {
	h := &Hash{Memory: newMemory, Passes: newPasses, Threads: newThreads, Salt: make([]byte, saltSize)}
	_, _ = rand.Read(h.Salt) // it never returns an error
	return h
}

// decoy is what the password of an unknown user is held against, so that it
// takes what a known one's does. No password fits.
func decoy() *Hash {
	h := newHash()
	h.Sum = make([]byte, hashSize)
	_, _ = rand.Read(h.Sum)
	return h
}

func (h *Hash) derive(password []byte) []byte {
	return argon2.IDKey(password, h.Salt, h.Passes, h.Memory, h.Threads, hashSize)
}

// fits tells whether the password is the one. It takes the time and memory that
// the parameters say, and the comparison shows nothing of where it failed.
func (h *Hash) fits(password []byte) bool {
	sum := h.derive(password)
	defer secret.Clear(sum)
	return subtle.ConstantTimeCompare(sum, h.Sum) == 1
}

func (h *Hash) check() error {
	switch {
	case h.Memory == 0 || h.Memory > maxMemory || h.Passes == 0 || h.Passes > maxPasses || h.Threads == 0 || h.Threads > maxThreads:
		return fmt.Errorf("the password's parameters are out of bounds: %d KiB, %d passes, %d threads", h.Memory, h.Passes, h.Threads)
	case len(h.Salt) < 8 || len(h.Sum) != hashSize:
		return errors.New("the password's hash is cut short")
	}
	return nil
}
