package ttlv

import (
	"encoding/binary"
	"fmt"
)

// An Item is a view of one encoded item. It shares the memory of the buffer it
// was read from and is valid as long as that buffer is left alone. The zero
// Item is no item: Tag 0, and every getter fails.
type Item struct{ raw []byte }

// Parse cuts the first item from b. It checks only that the item fits; use
// Check first on bytes from outside.
func Parse(b []byte) (Item, error) {
	it, _, ok := cut(b)
	if !ok {
		return Item{}, fmt.Errorf("%w: item is cut short", ErrMalformed)
	}
	return it, nil
}

func cut(b []byte) (it Item, rest []byte, ok bool) {
	if len(b) < HeaderSize {
		return Item{}, nil, false
	}
	size := padded(uint64(binary.BigEndian.Uint32(b[4:8])))
	if size > uint64(len(b)-HeaderSize) {
		return Item{}, nil, false
	}
	n := HeaderSize + int(size)
	return Item{raw: b[:n:n]}, b[n:], true
}

// IsZero tells whether i is no item at all.
func (i Item) IsZero() bool { return len(i.raw) < HeaderSize }

// Raw returns the whole encoding, header and padding included.
func (i Item) Raw() []byte { return i.raw }

// Tag returns the item's tag, 0 for the zero Item.
func (i Item) Tag() Tag {
	if i.IsZero() {
		return 0
	}
	t, _, _ := Header(i.raw)
	return t
}

// Type returns the item's type, 0 for the zero Item.
func (i Item) Type() Type {
	if i.IsZero() {
		return 0
	}
	return Type(i.raw[3])
}

// Value returns the value's bytes without padding; of a structure, its items.
func (i Item) Value() []byte {
	if i.IsZero() {
		return nil
	}
	n := HeaderSize + int(binary.BigEndian.Uint32(i.raw[4:8]))
	if n > len(i.raw) {
		return nil
	}
	return i.raw[HeaderSize:n:n]
}

// A TypeError says that an item is not of the type its place asks for.
type TypeError struct {
	Tag       Tag
	Got, Want Type
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("%v is %v, expected %v", e.Tag, e.Got, e.Want)
}

// value returns the value if i is a t of at least n bytes.
func (i Item) value(t Type, n int) ([]byte, error) {
	v := i.Value()
	if i.Type() != t || len(v) < n {
		return nil, &TypeError{Tag: i.Tag(), Got: i.Type(), Want: t}
	}
	return v, nil
}

// Integer returns the value of an Integer.
func (i Item) Integer() (int32, error) {
	v, err := i.value(Integer, 4)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(v)), nil
}

// LongInteger returns the value of a Long Integer.
func (i Item) LongInteger() (int64, error) {
	v, err := i.value(LongInteger, 8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// BigInteger returns the two's complement, big-endian bytes of a Big Integer.
func (i Item) BigInteger() ([]byte, error) { return i.value(BigInteger, 8) }

// Enumeration returns the value of an Enumeration.
func (i Item) Enumeration() (uint32, error) {
	v, err := i.value(Enumeration, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(v), nil
}

// Boolean returns the value of a Boolean.
func (i Item) Boolean() (bool, error) {
	v, err := i.value(Boolean, 8)
	if err != nil {
		return false, err
	}
	return v[7] != 0, nil
}

// Text returns the bytes of a Text String, a view.
func (i Item) Text() ([]byte, error) { return i.value(TextString, 0) }

// Bytes returns the bytes of a Byte String, a view.
func (i Item) Bytes() ([]byte, error) { return i.value(ByteString, 0) }

// DateTime returns the value of a Date-Time: seconds since 1970, UTC.
func (i Item) DateTime() (int64, error) {
	v, err := i.value(DateTime, 8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// Interval returns the value of an Interval, in seconds.
func (i Item) Interval() (uint32, error) {
	v, err := i.value(Interval, 4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(v), nil
}

// Items returns a Reader over what a structure holds.
func (i Item) Items() (Reader, error) {
	v, err := i.value(Structure, 0)
	if err != nil {
		return Reader{}, err
	}
	return Reader{rest: v}, nil
}

// Find returns the first item with the tag directly inside a structure, the
// zero Item if there is none or i is no structure.
func (i Item) Find(tag Tag) Item {
	r, err := i.Items()
	if err != nil {
		return Item{}
	}
	for {
		it, ok := r.Next()
		if !ok {
			return Item{}
		}
		if it.Tag() == tag {
			return it
		}
	}
}

// A Reader walks items that stand one after the other. It is a value: a copy
// is a bookmark.
type Reader struct{ rest []byte }

// NewReader reads the items in b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Next returns the next item; ok is false at the end, and at an item that does
// not fit (which Check would have refused).
func (r *Reader) Next() (it Item, ok bool) {
	it, rest, ok := cut(r.rest)
	if ok {
		r.rest = rest
	}
	return it, ok
}

// Take returns the next item if it has the tag, and leaves it there otherwise.
func (r *Reader) Take(tag Tag) (it Item, ok bool) {
	// Most optional fields are absent: look at the tag before anything else.
	if b := r.rest; len(b) < HeaderSize || b[0] != byte(tag>>16) || b[1] != byte(tag>>8) || b[2] != byte(tag) {
		return Item{}, false
	}
	it, rest, ok := cut(r.rest)
	if ok {
		r.rest = rest
	}
	return it, ok
}

// Done tells whether everything was read.
func (r *Reader) Done() bool { return len(r.rest) == 0 }
