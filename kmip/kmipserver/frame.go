package kmipserver

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// errNotKMIP: the stream does not begin with a Request Message. Where one
// message ends and the next begins is lost with it, so the connection ends.
var errNotKMIP = errors.New("not a KMIP request")

// errTooLong: a header claims more than the limit.
var errTooLong = errors.New("request longer than the limit")

// frameSize reads a message's first eight bytes and returns the length of all
// of it. Nothing is allocated on a header's word: what it claims is held
// against the limit first.
func frameSize(header []byte, limit int) (int, error) {
	tag, typ, n := ttlv.Header(header)
	if tag != kmip14.TagRequestMessage || typ != ttlv.Structure || n%8 != 0 {
		return 0, errNotKMIP
	}
	if uint64(n)+ttlv.HeaderSize > uint64(limit) {
		return 0, fmt.Errorf("%w: %d bytes claimed, %d allowed", errTooLong, uint64(n)+ttlv.HeaderSize, limit)
	}
	return int(n) + ttlv.HeaderSize, nil
}

// readFrame reads the rest of the message whose header was read, into a buffer
// from the pool that the caller gives back with release.
func readFrame(r io.Reader, header []byte, limit int) (*buffer, error) {
	size, err := frameSize(header, limit)
	if err != nil {
		return nil, err
	}
	b := takeBuffer(size)
	b.data = b.data[:size]
	copy(b.data, header)
	if _, err := io.ReadFull(r, b.data[ttlv.HeaderSize:]); err != nil {
		b.release(nil)
		return nil, err
	}
	return b, nil
}

// A buffer comes from a pool of buffers of its size.
type buffer struct {
	data  []byte
	class int // index into pools; -1 for one that is too large to keep
}

// Buffers have 2^minClass to 2^maxClass bytes. 1 KiB holds every message that
// vCenter sends or gets; larger than 256 KiB is rare enough to leave to the
// garbage collector.
const (
	minClass = 10
	maxClass = 18
)

var pools [maxClass - minClass + 1]sync.Pool

// takeBuffer returns an empty buffer with room for size bytes.
func takeBuffer(size int) *buffer {
	class := max(bits.Len(uint(max(size, 1)-1)), minClass) - minClass
	if class >= len(pools) {
		return &buffer{data: make([]byte, 0, size), class: -1}
	}
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{data: make([]byte, 0, 1<<(class+minClass)), class: class}
}

// release clears the buffer and gives it back. used is where the content ended
// up: an answer that outgrew the buffer lives elsewhere, and is cleared there
// as well.
func (b *buffer) release(used []byte) {
	secret.Clear(used[:cap(used)])
	secret.Clear(b.data[:cap(b.data)])
	b.data = b.data[:0]
	if b.class >= 0 {
		pools[b.class].Put(b)
	}
}
