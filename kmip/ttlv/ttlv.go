// Package ttlv reads and writes the Tag-Type-Length-Value encoding of KMIP
// (specification 1.0 to 1.4, section 9.1), and nothing of what it means.
//
// It is ours, and not a library's, because bytes from the network arrive here
// first: the work it does is linear in their number, it never allocates what a
// length field claims, and it never panics. [Check] walks a message once,
// iteratively, under limits; everything after it works on views into the same
// buffer, so reading allocates nothing. Nothing here is trusted: every view is
// bounded by the slice it was cut from, checked or not.
//
// Tags, types and enumerations carry the names and numbers of gemalto's kmip14,
// so that its text printers can be used on bytes that have passed Check.
package ttlv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	gemalto "github.com/gemalto/kmip-go/ttlv"
)

// Tag names an item; its constants are in kmip14 (kmip14.TagUniqueIdentifier …).
type Tag = gemalto.Tag

// Type is the Item Type of section 9.1.1.2.
type Type byte

// The item types of KMIP 1.0 to 1.4.
const (
	Structure   Type = 0x01
	Integer     Type = 0x02
	LongInteger Type = 0x03
	BigInteger  Type = 0x04
	Enumeration Type = 0x05
	Boolean     Type = 0x06
	TextString  Type = 0x07
	ByteString  Type = 0x08
	DateTime    Type = 0x09
	Interval    Type = 0x0A
)

// String returns the specification's name of the type.
func (t Type) String() string {
	names := [...]string{"", "Structure", "Integer", "Long Integer", "Big Integer", "Enumeration",
		"Boolean", "Text String", "Byte String", "Date-Time", "Interval"}
	if t >= Structure && t <= Interval {
		return names[t]
	}
	return fmt.Sprintf("type 0x%02x", byte(t))
}

// HeaderSize is the length in bytes of tag, type and length.
const HeaderSize = 8

// ErrMalformed is wrapped by every error that says an encoding breaks the
// rules of section 9.1, as opposed to a well-formed item that is not wanted.
var ErrMalformed = errors.New("malformed TTLV")

// ErrLimit is wrapped when an encoding is deeper or has more items than allowed.
var ErrLimit = errors.New("TTLV limit exceeded")

// Limits bound what Check accepts. The zero value means the defaults.
type Limits struct {
	Depth int // nested structures, the outermost counted; default 32
	Items int // items in all; default 65,536
}

// DefaultDepth and DefaultItems stand in for zero Limits. The deepest message
// of the KMIP 1.4 specification has a depth of about 10.
const (
	DefaultDepth = 32
	DefaultItems = 1 << 16
	maxDepth     = 64
)

// Header reads the eight bytes in front of an item's value: its tag, type and
// length in bytes without padding. b must hold at least HeaderSize bytes.
func Header(b []byte) (Tag, Type, uint32) {
	_ = b[7]
	return Tag(uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])), Type(b[3]), binary.BigEndian.Uint32(b[4:8])
}

// padded returns n rounded up to the multiple of eight that the value fills.
func padded(n uint64) uint64 { return (n + 7) &^ 7 }

// Check tells whether b is exactly one well-formed item. It is one pass without
// recursion: its time is linear in len(b) and it allocates nothing unless it
// fails. It is strict where leniency would let two encodings mean the same
// (non-zero padding, a Boolean of 2), so that reading and writing back is the
// identity; Text Strings must be UTF-8.
func Check(b []byte, lim Limits) error {
	if lim.Depth <= 0 {
		lim.Depth = DefaultDepth
	}
	if lim.Items <= 0 {
		lim.Items = DefaultItems
	}
	lim.Depth = min(lim.Depth, maxDepth)
	var ends [maxDepth]int // where each open structure ends
	depth, items, pos, end := 0, 0, 0, len(b)
	for {
		if items++; items > lim.Items {
			return fmt.Errorf("%w: more than %d items", ErrLimit, lim.Items)
		}
		next, typ, err := checkItem(b, pos, end)
		if err != nil {
			return err
		}
		if typ == Structure {
			if depth == lim.Depth {
				return fmt.Errorf("%w: nested deeper than %d", ErrLimit, lim.Depth)
			}
			ends[depth] = end
			depth++
			pos, end = pos+HeaderSize, next
		} else {
			pos = next
		}
		for depth > 0 && pos == end {
			depth--
			end = ends[depth]
		}
		if depth == 0 {
			if pos != len(b) {
				return fmt.Errorf("%w: %d bytes after the item", ErrMalformed, len(b)-pos)
			}
			return nil
		}
	}
}

// checkItem checks the one item at pos, without what a structure holds, and
// returns where it ends, padding included.
func checkItem(b []byte, pos, end int) (next int, typ Type, err error) {
	if end-pos < HeaderSize {
		return 0, 0, fmt.Errorf("%w: item at byte %d is cut short", ErrMalformed, pos)
	}
	tag, typ, n := Header(b[pos:])
	// Section 9.1.1.1: 42 for the specification's tags, 54 for extensions.
	if c := b[pos]; c != 0x42 && c != 0x54 {
		return 0, 0, fmt.Errorf("%w: no KMIP tag at byte %d: %06X", ErrMalformed, pos, uint32(tag))
	}
	if typ < Structure || typ > Interval {
		return 0, 0, fmt.Errorf("%w: %06X has the unknown %v", ErrMalformed, uint32(tag), typ)
	}
	size := padded(uint64(n))
	if size > uint64(end-pos-HeaderSize) {
		return 0, 0, fmt.Errorf("%w: %06X claims %d bytes, %d are there", ErrMalformed, uint32(tag), n, end-pos-HeaderSize)
	}
	next = pos + HeaderSize + int(size)
	val := b[pos+HeaderSize : pos+HeaderSize+int(n)]
	if !validLength(typ, n) || !validValue(typ, val) {
		return 0, 0, fmt.Errorf("%w: %06X is no valid %v of %d bytes", ErrMalformed, uint32(tag), typ, n)
	}
	for _, p := range b[pos+HeaderSize+int(n) : next] {
		if p != 0 {
			return 0, 0, fmt.Errorf("%w: %06X has padding that is not zero", ErrMalformed, uint32(tag))
		}
	}
	return next, typ, nil
}

func validLength(t Type, n uint32) bool {
	switch t {
	case Integer, Enumeration, Interval:
		return n == 4
	case LongInteger, Boolean, DateTime:
		return n == 8
	case BigInteger:
		return n > 0 && n%8 == 0
	case Structure:
		return n%8 == 0
	}
	return true
}

func validValue(t Type, v []byte) bool {
	switch t {
	case Boolean:
		return binary.BigEndian.Uint64(v) <= 1
	case TextString:
		return utf8.Valid(v)
	}
	return true
}
