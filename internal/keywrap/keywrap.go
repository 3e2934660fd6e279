// Package keywrap wraps keys with AES: the NIST key wrap of RFC 3394, and the
// one with padding of RFC 5649. KMIP names them NIST Key Wrap and AES Key Wrap
// Padding (specification section 9.1.3.2.14).
//
// Why here: Go's library has neither. Both are a few lines around crypto/aes;
// the tests hold them to the RFCs' vectors and to vectors of another library.
//
// What the functions return and what they were given is the caller's to clear.
// The round keys inside crypto/aes cannot be cleared.
package keywrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"math"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// ErrUnwrap: what was to be unwrapped was wrapped with another key, in another
// way, or changed since. Which of them is not to be told.
var ErrUnwrap = errors.New("the wrapped key does not open")

// ErrLength: data of this length cannot be wrapped in this way.
var ErrLength = errors.New("data of this length cannot be wrapped")

const block = 8 // bytes of RFC 3394's semiblock

// iv is the default initial value (RFC 3394 section 2.2.3.1); padIV the first
// half of the alternative one, before the length (RFC 5649 section 3).
const (
	iv    uint64 = 0xa6a6a6a6a6a6a6a6
	padIV uint64 = 0xa65959a6 << 32
)

// Wrap wraps data, at least 16 bytes and a multiple of 8, by RFC 3394. The error
// is ErrLength, or crypto/aes's for a kek that is no AES key.
func Wrap(kek, data []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(data) < 2*block || len(data)%block != 0 {
		return nil, ErrLength
	}
	out := make([]byte, block+len(data))
	copy(out[block:], data)
	wrap(c, iv, out)
	return out, nil
}

// Unwrap undoes Wrap. The error is ErrUnwrap, or crypto/aes's.
func Unwrap(kek, wrapped []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < 3*block || len(wrapped)%block != 0 {
		return nil, ErrUnwrap
	}
	buf := append([]byte(nil), wrapped...)
	a := unwrap(c, buf)
	if subtle.ConstantTimeCompare(big(a), big(iv)) != 1 {
		secret.Clear(buf)
		return nil, ErrUnwrap
	}
	return buf[block:], nil
}

// WrapPadded wraps data of at least one byte by RFC 5649. The error is
// ErrLength, or crypto/aes's.
func WrapPadded(kek, data []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || len(data) > math.MaxInt32 {
		return nil, ErrLength
	}
	out := make([]byte, block+(len(data)+block-1)/block*block)
	copy(out[block:], data)
	a := padIV | uint64(len(data))
	if len(out) == 2*block { // one block: plain AES
		binary.BigEndian.PutUint64(out, a)
		c.Encrypt(out, out)
	} else {
		wrap(c, a, out)
	}
	return out, nil
}

// UnwrapPadded undoes WrapPadded. The error is ErrUnwrap, or crypto/aes's.
func UnwrapPadded(kek, wrapped []byte) ([]byte, error) {
	c, err := aes.NewCipher(kek)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < 2*block || len(wrapped)%block != 0 {
		return nil, ErrUnwrap
	}
	buf := append([]byte(nil), wrapped...)
	var a uint64
	if len(buf) == 2*block {
		c.Decrypt(buf, buf)
		a = binary.BigEndian.Uint64(buf)
	} else {
		a = unwrap(c, buf)
	}
	n, padded := int(uint32(a)), len(buf)-block
	good := subtle.ConstantTimeCompare(big(a>>32<<32), big(padIV))
	good &= subtle.ConstantTimeLessOrEq(n, padded) & subtle.ConstantTimeLessOrEq(padded-block+1, n)
	if good == 1 {
		good = subtle.ConstantTimeCompare(buf[block+n:], make([]byte, padded-n))
	}
	if good != 1 {
		secret.Clear(buf)
		return nil, ErrUnwrap
	}
	return buf[block : block+n], nil
}

// wrap is the wrapping process (RFC 3394 section 2.2.1) in place: buf has room
// for the check value, then the data.
func wrap(c cipher.Block, a uint64, buf []byte) {
	var b [aes.BlockSize]byte
	defer secret.Clear(b[:])
	t := uint64(0)
	for range 6 {
		for at := block; at < len(buf); at += block {
			binary.BigEndian.PutUint64(b[:], a)
			copy(b[block:], buf[at:at+block])
			c.Encrypt(b[:], b[:])
			t++
			a = binary.BigEndian.Uint64(b[:]) ^ t
			copy(buf[at:], b[block:])
		}
	}
	binary.BigEndian.PutUint64(buf, a)
}

// unwrap is the unwrapping process (section 2.2.2) in place. It returns the
// check value for the caller to compare.
func unwrap(c cipher.Block, buf []byte) (a uint64) {
	var b [aes.BlockSize]byte
	defer secret.Clear(b[:])
	a = binary.BigEndian.Uint64(buf)
	t := uint64(6 * (len(buf)/block - 1))
	for range 6 {
		for at := len(buf) - block; at >= block; at -= block {
			binary.BigEndian.PutUint64(b[:], a^t)
			copy(b[block:], buf[at:at+block])
			c.Decrypt(b[:], b[:])
			t--
			a = binary.BigEndian.Uint64(b[:])
			copy(buf[at:], b[block:])
		}
	}
	return a
}

func big(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
