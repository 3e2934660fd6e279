// Package secret holds key material so that it cannot be printed by mistake and can be wiped after use.
//
// Why a type of its own: a []byte with a key in it is one %v, one slog attribute or one json.Marshal of the struct
// around it away from a log file. A Bytes prints "[redacted]" wherever Go offers a hook, and where Go offers none (an
// unexported field of a struct that is printed) it shows an address, because the material hangs behind pointers.
//
// What this does not do: the garbage collector of Go does not move heap objects, so Clear reaches the bytes that a
// Bytes owns, but not copies that other code made of what Expose returned. Against a reader of the process's memory
// (core dump, swap) the system must help: LimitCORE=0, no swap.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
)

// Redacted is what a Bytes shows of itself.
const Redacted = "[redacted]"

// ErrNotEncodable is returned when a Bytes is given to an encoder that would have to carry the material itself.
var ErrNotEncodable = errors.New("secret: key material cannot be encoded")

// Bytes is key material with one owner, who calls Clear when done. Use it by pointer; a nil *Bytes is empty. The
// methods are not safe for use at the same time as Clear.
type Bytes struct {
	// material is two pointers away: fmt prints an unexported field without asking its methods, and follows one
	// pointer to a slice for verbs that do not suit it, but shows a pointer to a pointer as an address.
	material **[]byte
}

// box puts a Bytes and what it points to into one allocation.
type box struct {
	bytes   Bytes
	pointer *[]byte
	slice   []byte
}

// New returns n zero bytes to be filled through Expose. It panics when n is negative.
func New(n int) *Bytes { return Own(make([]byte, n)) }

// Own takes over b and its whole capacity: the caller must not use b again, for Clear wipes it.
func Own(b []byte) *Bytes {
	x := &box{slice: b}
	x.pointer = &x.slice
	x.bytes.material = &x.pointer
	return &x.bytes
}

// Expose returns the material itself, not a copy: it is zeroed by Clear and must not be kept beyond it. It is nil for
// a nil Bytes and after Clear, so that a use after Clear fails on the key's length rather than work with a zero key.
func (b *Bytes) Expose() []byte {
	if b == nil || b.material == nil {
		return nil
	}
	return **b.material
}

// Len returns the number of bytes held.
func (b *Bytes) Len() int { return len(b.Expose()) }

// Clone returns an independent copy with an owner of its own; nil for a nil Bytes.
func (b *Bytes) Clone() *Bytes {
	if b == nil {
		return nil
	}
	c := New(b.Len())
	copy(c.Expose(), b.Expose())
	return c
}

// Equal compares in time that depends only on the lengths.
func (b *Bytes) Equal(other *Bytes) bool {
	return subtle.ConstantTimeCompare(b.Expose(), other.Expose()) == 1
}

// Clear zeroes the material and lets go of it. Calling it again, or on nil, does nothing.
func (b *Bytes) Clear() {
	if b == nil || b.material == nil {
		return
	}
	material := **b.material
	Clear(material[:cap(material)])
	**b.material = nil
}

// Clear zeroes b[0:len(b)]; for buffers that held material on its way.
func Clear(b []byte) {
	clear(b)
	runtime.KeepAlive(&b) // the stores must not be dropped because nothing reads b afterwards
}

var (
	_ fmt.Formatter  = Bytes{}
	_ slog.LogValuer = Bytes{}
	_ json.Marshaler = Bytes{}
)

// The hooks below have value receivers so that a Bytes and a *Bytes are covered alike.

// Format writes "[redacted]" for every verb, %x and %#v among them.
func (Bytes) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// String returns "[redacted]".
func (Bytes) String() string { return Redacted }

// GoString returns "[redacted]".
func (Bytes) GoString() string { return Redacted }

// LogValue returns "[redacted]".
func (Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText returns "[redacted]".
func (Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalYAML returns "[redacted]".
func (Bytes) MarshalYAML() (any, error) { return Redacted, nil }

// MarshalBinary fails: a binary encoding is meant to be read back, and would have to hold the material. encoding/gob
// asks it too.
func (Bytes) MarshalBinary() ([]byte, error) { return nil, ErrNotEncodable }
