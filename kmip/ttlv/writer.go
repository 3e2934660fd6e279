package ttlv

import "encoding/binary"

// A Writer appends items to a buffer. Its zero value is ready; it allocates
// only when the buffer has to grow, and then clears the memory it leaves: what
// was written may be a key, and whoever clears Bytes after use could not reach
// the old copy. It is not safe for concurrent use.
type Writer struct{ buf []byte }

// NewWriter returns a Writer that appends to buf.
func NewWriter(buf []byte) *Writer { return &Writer{buf: buf} }

// Bytes returns all that was written, valid until the next call.
func (w *Writer) Bytes() []byte { return w.buf }

// Len returns the number of bytes written.
func (w *Writer) Len() int { return len(w.buf) }

// Truncate forgets all but the first n bytes.
func (w *Writer) Truncate(n int) { w.buf = w.buf[:n] }

// Reset starts again on buf.
func (w *Writer) Reset(buf []byte) { w.buf = buf[:0] }

// Begin opens a structure; pass what it returns to End.
func (w *Writer) Begin(tag Tag) (mark int) {
	w.header(tag, Structure, 0)
	return len(w.buf)
}

// End closes the structure that Begin opened, and fills in its length.
func (w *Writer) End(mark int) {
	binary.BigEndian.PutUint32(w.buf[mark-4:mark], uint32(len(w.buf)-mark))
}

// room makes sure that n more bytes fit, so that append never moves buf.
func (w *Writer) room(n int) {
	if cap(w.buf)-len(w.buf) < n {
		w.grow(n)
	}
}

func (w *Writer) grow(n int) {
	bigger := make([]byte, len(w.buf), max(2*cap(w.buf), len(w.buf)+n, 256))
	copy(bigger, w.buf)
	clear(w.buf[:cap(w.buf)])
	w.buf = bigger
}

// header writes an item's header, and makes room for its value too.
func (w *Writer) header(tag Tag, t Type, n uint32) {
	w.room(HeaderSize + int(padded(uint64(n))))
	w.buf = append(w.buf, byte(tag>>16), byte(tag>>8), byte(tag), byte(t),
		byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func (w *Writer) word(tag Tag, t Type, v uint32) {
	w.header(tag, t, 4)
	w.buf = append(w.buf, byte(v>>24), byte(v>>16), byte(v>>8), byte(v), 0, 0, 0, 0)
}

func (w *Writer) long(tag Tag, t Type, v uint64) {
	w.header(tag, t, 8)
	w.buf = binary.BigEndian.AppendUint64(w.buf, v)
}

var zeros [8]byte

func (w *Writer) pad(n int) { w.buf = append(w.buf, zeros[:-n&7]...) }

// Integer writes an Integer.
func (w *Writer) Integer(tag Tag, v int32) { w.word(tag, Integer, uint32(v)) }

// LongInteger writes a Long Integer.
func (w *Writer) LongInteger(tag Tag, v int64) { w.long(tag, LongInteger, uint64(v)) }

// BigInteger writes a Big Integer given as two's complement, big-endian bytes,
// sign-extended on the left to a multiple of eight bytes.
func (w *Writer) BigInteger(tag Tag, v []byte) {
	fill := byte(0)
	if len(v) > 0 && v[0]&0x80 != 0 {
		fill = 0xff
	}
	lead := -len(v) & 7
	if len(v) == 0 {
		lead = 8
	}
	w.header(tag, BigInteger, uint32(lead+len(v)))
	for range lead {
		w.buf = append(w.buf, fill)
	}
	w.buf = append(w.buf, v...)
}

// Enumeration writes an Enumeration.
func (w *Writer) Enumeration(tag Tag, v uint32) { w.word(tag, Enumeration, v) }

// Boolean writes a Boolean.
func (w *Writer) Boolean(tag Tag, v bool) {
	var n uint64
	if v {
		n = 1
	}
	w.long(tag, Boolean, n)
}

// TextString writes a Text String.
func (w *Writer) TextString(tag Tag, v string) {
	w.header(tag, TextString, uint32(len(v)))
	w.buf = append(w.buf, v...)
	w.pad(len(v))
}

// Text writes a Text String given as bytes.
func (w *Writer) Text(tag Tag, v []byte) { w.bytes(tag, TextString, v) }

// ByteString writes a Byte String.
func (w *Writer) ByteString(tag Tag, v []byte) { w.bytes(tag, ByteString, v) }

func (w *Writer) bytes(tag Tag, t Type, v []byte) {
	w.header(tag, t, uint32(len(v)))
	w.buf = append(w.buf, v...)
	w.pad(len(v))
}

// DateTime writes a Date-Time: seconds since 1970, UTC.
func (w *Writer) DateTime(tag Tag, v int64) { w.long(tag, DateTime, uint64(v)) }

// Interval writes an Interval, in seconds.
func (w *Writer) Interval(tag Tag, v uint32) { w.word(tag, Interval, v) }

// Item writes an item as it is.
func (w *Writer) Item(it Item) { w.Raw(it.raw) }

// Raw writes items that are encoded already, such as another structure's Value.
func (w *Writer) Raw(items []byte) {
	w.room(len(items))
	w.buf = append(w.buf, items...)
}

// ItemAs writes an item under another tag: an attribute's value becomes the
// Attribute Value of an Attribute, and back.
func (w *Writer) ItemAs(tag Tag, it Item) {
	if it.IsZero() {
		return
	}
	at := len(w.buf)
	w.Raw(it.raw)
	w.buf[at], w.buf[at+1], w.buf[at+2] = byte(tag>>16), byte(tag>>8), byte(tag)
}
