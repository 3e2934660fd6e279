package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrCheckpoint is returned for what is no checkpoint, or is not signed by the key that was given.
	ErrCheckpoint = errors.New("not a signed checkpoint of this journal")
	// ErrForked is returned when a checkpoint was signed for another history than the journal shows, or two
	// checkpoints contradict each other: the signer has seen two journals.
	ErrForked = errors.New("the journal is not the one that was signed")
)

// Checkpoint is a signed statement: at this time the journal of this store ended so. Whoever keeps one elsewhere can
// tell later, with the public key alone, that nothing up to there was changed, dropped or put in another order.
//
// In text it is what was signed, a line with the signature, and an empty line:
//
//	keyreeve journal checkpoint 1
//	store 0123456789abcdef0123456789abcdef
//	archived 0
//	sequence 4711
//	hash 64 hexadecimal digits
//	time 2026-11-26T14:00:00Z
//	key 0123456789abcdef
//	signature base64
type Checkpoint struct {
	StoreID  [16]byte
	Archived uint64 // the journal's entries up to here may be gone; see CreateAfter and Journal.Archive
	Position
	Time      time.Time // whole seconds, UTC
	Key       [8]byte   // KeyID of the signer
	Signature [ed25519.SignatureSize]byte
}

const checkpointTitle = "keyreeve journal checkpoint 1"

// KeyID names a public key in a checkpoint: the first bytes of its SHA-256.
func KeyID(key ed25519.PublicKey) (id [8]byte) {
	sum := sha256.Sum256(key)
	copy(id[:], sum[:])
	return id
}

// signed returns the bytes that the signature is over.
func (c *Checkpoint) signed() []byte {
	return fmt.Appendf(nil, "%s\nstore %x\narchived %d\nsequence %d\nhash %x\ntime %s\nkey %x\n", checkpointTitle,
		c.StoreID, c.Archived, c.Seq, c.Hash, c.Time.Format(time.RFC3339), c.Key)
}

// Text returns the checkpoint as it is kept and sent.
func (c *Checkpoint) Text() string {
	return fmt.Sprintf("%ssignature %s\n\n", c.signed(), base64.StdEncoding.EncodeToString(c.Signature[:]))
}

// Check verifies the signature.
func (c *Checkpoint) Check(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: the public key has %d bytes", ErrCheckpoint, len(key))
	}
	if c.Key != KeyID(key) {
		return fmt.Errorf("%w: the checkpoint at sequence %d was signed by key %x, the key given is %x", ErrCheckpoint, c.Seq, c.Key, KeyID(key))
	}
	if !ed25519.Verify(key, c.signed(), c.Signature[:]) {
		return fmt.Errorf("%w: the signature of the checkpoint at sequence %d is wrong", ErrCheckpoint, c.Seq)
	}
	return nil
}

// ParseCheckpoint reads what Text wrote, and nothing else: there is one way to write a checkpoint.
func ParseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 10 || lines[0] != checkpointTitle {
		return c, fmt.Errorf("%w: want %q and seven lines after it", ErrCheckpoint, checkpointTitle)
	}
	value := func(n int, name string) string {
		v, ok := strings.CutPrefix(lines[n], name+" ")
		if !ok && err == nil {
			err = fmt.Errorf("%w: line %d is not %s", ErrCheckpoint, n+1, name)
		}
		return v
	}
	errs := []error{
		fixed(c.StoreID[:], value(1, "store"), hex.DecodeString),
		number(&c.Archived, value(2, "archived")),
		number(&c.Seq, value(3, "sequence")),
		fixed(c.Hash[:], value(4, "hash"), hex.DecodeString),
		moment(&c.Time, value(5, "time")),
		fixed(c.Key[:], value(6, "key"), hex.DecodeString),
		fixed(c.Signature[:], value(7, "signature"), base64.StdEncoding.DecodeString),
	}
	if err == nil {
		err = errors.Join(errs...)
	}
	if err == nil && c.Text() != text {
		err = fmt.Errorf("%w: it is not written as checkpoints are", ErrCheckpoint)
	}
	return c, err
}

func fixed(to []byte, text string, decode func(string) ([]byte, error)) error {
	b, err := decode(text)
	if err != nil || len(b) != len(to) {
		return fmt.Errorf("%w: %q is not %d bytes", ErrCheckpoint, text, len(to))
	}
	copy(to, b)
	return nil
}

func number(to *uint64, text string) (err error) {
	if *to, err = strconv.ParseUint(text, 10, 64); err != nil {
		return fmt.Errorf("%w: %q is not a number", ErrCheckpoint, text)
	}
	return nil
}

func moment(to *time.Time, text string) (err error) {
	if *to, err = time.Parse(time.RFC3339, text); err != nil {
		return fmt.Errorf("%w: %q is not a time", ErrCheckpoint, text)
	}
	return nil
}

// ParseCheckpoints reads a file of checkpoints, one after the other. It returns those that it could read, also with an
// error, and how many bytes they took.
func ParseCheckpoints(text []byte) (all []Checkpoint, n int, err error) {
	for n < len(text) {
		end := bytes.Index(text[n:], []byte("\n\n"))
		if end < 0 {
			return all, n, fmt.Errorf("%w: it ends in the middle, after %d", ErrCheckpoint, len(all))
		}
		c, err := ParseCheckpoint(string(text[n : n+end+2]))
		if err != nil {
			return all, n, fmt.Errorf("checkpoint %d: %w", len(all)+1, err)
		}
		all, n = append(all, c), n+end+2
	}
	return all, n, nil
}

// Signer signs checkpoints. Its methods may be called from many goroutines.
type Signer struct {
	key ed25519.PrivateKey
}

// NewSigner makes a signer of a seed of ed25519.SeedSize bytes.
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the journal's signing key has %d bytes, and must have %d", len(seed), ed25519.SeedSize)
	}
	return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public returns the key that checks what s signs.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Format keeps the key out of logs, whatever the verb.
func (s *Signer) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "signer %x", KeyID(s.Public())) }

func (s *Signer) sign(c Checkpoint) Checkpoint {
	c.Key = KeyID(s.Public())
	copy(c.Signature[:], ed25519.Sign(s.key, c.signed()))
	return c
}
