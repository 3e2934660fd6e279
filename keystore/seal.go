package keystore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// The hierarchy:
//
//	root key ─HKDF→ wrapping key ─AES-GCM→ store key, generation 1, 2, …
//	         └HKDF→ check value, in clear: is this the right root key?
//	store key n ─HKDF→ record key n
//	store key 1 ─HKDF→ index key, digest key: they last as long as the store,
//	                   or all indexes would have to be written anew
//
// A sealed record is format(1) ‖ generation(4) ‖ version(8) ‖ nonce, ciphertext
// and tag; all numbers are big-endian.
const (
	recordFormat = 1
	recordHead   = 1 + 4 + 8
	overhead     = recordHead + 12 + 16
)

// Families of keys. A family's byte is the first of the key, and the kind
// that the seal is bound to.
const (
	familyMeta      = 'm'
	familyKey       = 'k'
	familyHead      = 'h'
	familyCanary    = 'c'
	familyObject    = 'o'
	familyTombstone = 't'
	familyRecord    = 'r'
	familyName      = 'n'
	familyValue     = 'x'
	familyState     = 'i'
	families        = "mkhcotrnxi"
)

// single is the identifier of the one record in its family.
var single = []byte{0}

// keyring holds what the root key opens. It is not changed after Open, but by
// the writer's rotation, which replaces it as a whole.
type keyring struct {
	store   [16]byte
	current uint32
	records []cipher.AEAD // by generation, from 1
	index   *secret.Bytes
	digest  *secret.Bytes
	origin  [sha256.Size]byte // of what the root key opened; see origin
}

// derive returns 32 bytes for one purpose.
func derive(from *secret.Bytes, store [16]byte, purpose string) (*secret.Bytes, error) {
	b, err := hkdf.Key(sha256.New, from.Expose(), store[:], "keyreeve/1/"+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the %s key: %w", purpose, err)
	}
	return secret.Own(b), nil
}

func newAEAD(from *secret.Bytes, store [16]byte, purpose string) (cipher.AEAD, error) {
	key, err := derive(from, store, purpose)
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// add takes in the store key of the next generation.
func (k *keyring) add(key *secret.Bytes) (err error) {
	if k.index == nil {
		if k.index, err = derive(key, k.store, "index"); err != nil {
			return err
		}
		if k.digest, err = derive(key, k.store, "digest"); err != nil {
			return err
		}
	}
	aead, err := newAEAD(key, k.store, "record")
	if err != nil {
		return err
	}
	k.records = append(k.records, aead)
	k.current = uint32(len(k.records))
	return nil
}

// clear wipes the keys that can be wiped; the AEADs' are the runtime's.
func (k *keyring) clear() {
	k.index.Clear()
	k.digest.Clear()
	k.records = nil
}

// newStoreKey draws a store key and wraps it with the root key.
func newStoreKey(root *secret.Bytes, store [16]byte, generation uint32) (key *secret.Bytes, wrapped []byte, err error) {
	wrap, err := newAEAD(root, store, "wrap")
	if err != nil {
		return nil, nil, err
	}
	key = secret.New(32)
	_, _ = rand.Read(key.Expose()) // never fails
	return key, wrap.Seal(nil, nil, key.Expose(), keyAAD(store, generation)), nil
}

func openStoreKey(root *secret.Bytes, store [16]byte, generation uint32, wrapped []byte) (*secret.Bytes, error) {
	wrap, err := newAEAD(root, store, "wrap")
	if err != nil {
		return nil, err
	}
	b, err := wrap.Open(nil, nil, wrapped, keyAAD(store, generation))
	if err != nil {
		return nil, fmt.Errorf("%w: store key %d does not open although the root key is right; restore a backup", ErrCorrupt, generation)
	}
	return secret.Own(b), nil
}

func keyAAD(store [16]byte, generation uint32) []byte {
	return binary.BigEndian.AppendUint32(append(store[:], familyKey), generation)
}

// checkValue tells a wrong root key from a damaged store without telling
// anything about the key.
func checkValue(root *secret.Bytes, store [16]byte) ([]byte, error) {
	key, err := derive(root, store, "check")
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	mac := hmac.New(sha256.New, key.Expose())
	mac.Write(store[:])
	return mac.Sum(nil)[:16], nil
}

// sealer is one transaction's use of a keyring, with its scratch memory.
type sealer struct {
	keys   *keyring
	aad    []byte
	index  hash.Hash
	digest hash.Hash
	sum    [sha256.Size]byte
}

func (s *sealer) init(keys *keyring) {
	if s.keys == keys {
		return
	}
	s.keys = keys
	s.index = hmac.New(sha256.New, keys.index.Expose())
	s.digest = hmac.New(sha256.New, keys.digest.Expose())
}

// bind sets aad to store id ‖ kind ‖ identifier ‖ version ‖ generation. Only
// the identifier has no fixed length, so no two bindings are the same bytes.
func (s *sealer) bind(kind byte, id []byte, version uint64, generation uint32) {
	s.aad = append(append(append(s.aad[:0], s.keys.store[:]...), kind), id...)
	s.aad = binary.BigEndian.AppendUint64(s.aad, version)
	s.aad = binary.BigEndian.AppendUint32(s.aad, generation)
}

// seal returns a new sealed record.
func (s *sealer) seal(kind byte, id []byte, version uint64, plain []byte) []byte {
	generation := s.keys.current
	s.bind(kind, id, version, generation)
	dst := make([]byte, 0, len(plain)+overhead)
	dst = append(dst, recordFormat)
	dst = binary.BigEndian.AppendUint32(dst, generation)
	dst = binary.BigEndian.AppendUint64(dst, version)
	return s.keys.records[generation-1].Seal(dst, nil, plain, s.aad)
}

// open appends what a sealed record holds to dst[:0], which it may outgrow;
// the old memory is cleared then.
func (s *sealer) open(dst []byte, kind byte, id, sealed []byte) (plain []byte, version uint64, err error) {
	if len(sealed) < overhead || sealed[0] != recordFormat {
		return dst[:0], 0, s.damaged(kind, id)
	}
	generation := binary.BigEndian.Uint32(sealed[1:])
	version = binary.BigEndian.Uint64(sealed[5:])
	if generation == 0 || generation > s.keys.current {
		return dst[:0], 0, s.damaged(kind, id)
	}
	if need := len(sealed) - overhead; cap(dst) < need {
		secret.Clear(dst[:cap(dst)])
		dst = make([]byte, 0, max(2*need, 512))
	}
	s.bind(kind, id, version, generation)
	plain, err = s.keys.records[generation-1].Open(dst[:0], nil, sealed[recordHead:], s.aad)
	if err != nil {
		return dst[:0], 0, s.damaged(kind, id)
	}
	return plain, version, nil
}

func (s *sealer) damaged(kind byte, id []byte) error {
	return fmt.Errorf("%w: record %s does not open: it was altered, or belongs elsewhere; run `keyreeve verify`, and restore a backup", ErrCorrupt, recordName(kind, id))
}

// recordName names a record for people.
func recordName(kind byte, id []byte) string {
	switch {
	case (kind == familyObject || kind == familyTombstone) && len(id) == len(UID{}):
		return fmt.Sprintf("%c %s", kind, UID(id))
	case kind == familyRecord && len(id) > 0:
		return fmt.Sprintf("%c %d %q", kind, id[0], id[1:])
	}
	return fmt.Sprintf("%c %x", kind, id)
}

// weigh returns what a record adds to the head's digest.
func (s *sealer) weigh(kind byte, id []byte, version uint64) (w digest) {
	s.aad = append(append(s.aad[:0], kind), id...)
	s.aad = binary.BigEndian.AppendUint64(s.aad, version)
	s.digest.Reset()
	s.digest.Write(s.aad)
	sum := s.digest.Sum(s.sum[:0])
	for i := range w {
		w[i] = binary.BigEndian.Uint64(sum[8*i:])
	}
	return w
}

// term returns the HMAC of the parts, each with its length before it, for a
// key of an index; valid until the next call.
func (s *sealer) term(family byte, parts ...[]byte) []byte {
	s.index.Reset()
	s.aad = append(s.aad[:0], family)
	for _, p := range parts {
		s.aad = binary.BigEndian.AppendUint32(s.aad, uint32(len(p)))
		s.aad = append(s.aad, p...)
	}
	s.index.Write(s.aad)
	return s.index.Sum(s.sum[:0])
}
