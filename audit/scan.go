package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/keyreeve/keyreeve/internal/durable"
)

const (
	groupHeader = 8 + 4 + 4 + 8 + 8 + 8 + 4
	groupHash   = 32
	maxBody     = 64 << 20  // bytes of entries in a group; a bound for what a damaged length can claim
	windowSize  = 256 << 10 // bytes read at a time
)

// group is one group as read; body is valid until the next call of next.
type group struct {
	off    int64 // where its header begins
	size   int64 // with header and hash
	first  uint64
	count  uint32
	marker uint64
	time   int64
	body   []byte
	end    Position
}

// events calls fn for each entry.
func (g *group) events(fn func(seq uint64, e Event) error) error {
	body := g.body
	for i := range uint64(g.count) {
		e, rest, err := decodeEntry(body)
		if err != nil {
			return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, g.first+i, err)
		}
		if err := fn(g.first+i, e); err != nil {
			return err
		}
		body = rest
	}
	if len(body) != 0 {
		return fmt.Errorf("%w: %d bytes after entry %d", ErrCorrupt, len(body), g.end.Seq)
	}
	return nil
}

// scanner walks the groups of one segment and checks each against the one before.
type scanner struct {
	file   durable.File
	head   header
	off    int64    // of the next group
	limit  int64    // end of what may be read
	end    Position // after the last group read
	marker uint64   // of the last group read

	window []byte // file content from windowAt on
	at     int64
}

func newScanner(f durable.File, h header, limit int64) *scanner {
	return &scanner{file: f, head: h, off: segmentHeader, limit: limit, end: h.base, marker: h.marker}
}

// peek returns n bytes at off, or fewer where the segment ends.
func (s *scanner) peek(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(s.limit-off, 0)))
	if off < s.at || off+int64(n) > s.at+int64(len(s.window)) {
		if err := s.fill(off, n); err != nil {
			return nil, err
		}
	}
	w := s.window[off-s.at:]
	return w[:min(n, len(w))], nil
}

// forget drops what was read ahead.
func (s *scanner) forget() { s.window, s.at = s.window[:0], 0 }

func (s *scanner) fill(off int64, n int) error {
	n = int(min(int64(max(n, windowSize)), s.limit-off))
	if cap(s.window) < n {
		s.window = make([]byte, n)
	}
	got, err := s.file.ReadAt(s.window[:n], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the journal: %w", err)
	}
	s.window, s.at = s.window[:got], off
	return nil
}

// next returns the group at off. ok is false when none is there that continues the chain; tail says why. A group that
// is whole but breaks the rules is ErrCorrupt.
func (s *scanner) next() (g group, ok bool, err error) {
	head, err := s.peek(s.off, groupHeader)
	if err != nil || !s.isHeader(head) {
		return g, false, err
	}
	n := int64(binary.BigEndian.Uint32(head[8:]))
	size := groupHeader + n + groupHash
	if n > maxBody || size > s.limit-s.off {
		return g, false, nil
	}
	whole, err := s.peek(s.off, int(size))
	if err != nil || int64(len(whole)) < size {
		return g, false, err
	}
	g = parseGroup(whole, s.off)
	if g.end.Hash != chain(&s.end.Hash, whole[:size-groupHash]) {
		return g, false, nil
	}
	if err := s.follow(&g); err != nil {
		return g, false, err
	}
	s.off, s.end, s.marker = s.off+size, g.end, g.marker
	return g, true, nil
}

// isHeader reports whether b is a whole header that was written into this segment.
func (s *scanner) isHeader(b []byte) bool {
	return len(b) == groupHeader && bytes.Equal(b[:8], s.head.mark[:]) &&
		headerSum(b) == binary.BigEndian.Uint32(b[groupHeader-4:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// headerSum tells a header from the remains of one: the chain hash cannot when the group is not whole.
func headerSum(b []byte) uint32 { return crc32.Checksum(b[:groupHeader-4], castagnoli) }

func parseGroup(b []byte, off int64) group {
	g := group{
		off:    off,
		size:   int64(len(b)),
		count:  binary.BigEndian.Uint32(b[12:]),
		first:  binary.BigEndian.Uint64(b[16:]),
		marker: binary.BigEndian.Uint64(b[24:]),
		time:   int64(binary.BigEndian.Uint64(b[32:])),
		body:   b[groupHeader : len(b)-groupHash],
	}
	g.end.Seq = g.first + uint64(g.count) - 1
	copy(g.end.Hash[:], b[len(b)-groupHash:])
	return g
}

// chain hashes a group's header and entries onto the hash before.
func chain(prev *[32]byte, content []byte) (sum [32]byte) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(content)
	h.Sum(sum[:0])
	return sum
}

// follow checks what a right hash does not prove: a forger can compute hashes, and so can a bug.
func (s *scanner) follow(g *group) error {
	switch {
	case g.count == 0:
		return fmt.Errorf("%w: empty group after sequence %d", ErrCorrupt, s.end.Seq)
	case g.first != s.end.Seq+1:
		return fmt.Errorf("%w: sequence %d follows %d", ErrCorrupt, g.first, s.end.Seq)
	case g.marker < s.marker:
		return fmt.Errorf("%w: marker runs back from %d to %d at sequence %d", ErrCorrupt, s.marker, g.marker, g.first)
	case g.marker > s.end.Seq:
		return fmt.Errorf("%w: marker %d at sequence %d names the future", ErrCorrupt, g.marker, g.first)
	}
	return nil
}

// tail judges what lies behind the last group, after next returned false. It returns the end of what is not zero:
// s.off when the segment ends cleanly, more for a torn group. A torn group is the only one that was not durable when
// it was written, so any sign of a later group (J3) means that a durable one is damaged or missing: ErrCorrupt.
func (s *scanner) tail() (dirty int64, err error) {
	head, err := s.peek(s.off, groupHeader)
	if err != nil {
		return 0, err
	}
	if s.isHeader(head) {
		if first := binary.BigEndian.Uint64(head[16:]); first > s.end.Seq+1 {
			return 0, fmt.Errorf("%w: sequences %d to %d are missing", ErrCorrupt, s.end.Seq+1, first-1)
		}
	}
	dirty = s.off
	for off := s.off; off < s.limit; off += windowSize - int64(len(s.head.mark)) + 1 {
		w, err := s.peek(off, windowSize)
		if err != nil {
			return 0, err
		}
		if len(w) == 0 {
			break // shorter than its size said; a live journal does not shrink, a damaged one may
		}
		if i := s.findMark(w, off); i >= 0 {
			return 0, fmt.Errorf("%w: the group after sequence %d is bad, but another follows at byte %d", ErrCorrupt, s.end.Seq, off+int64(i))
		}
		if n := len(bytes.TrimRight(w, "\x00")); n > 0 {
			dirty = max(dirty, off+int64(n))
		}
	}
	return dirty, nil
}

// walk calls visit for each group and returns the end of what lies behind the last. In the segment that a running
// server appends to, a group that was just being written, with another after it meanwhile, looks the same as damage.
// But it is whole when read again; damage stays.
func (s *scanner) walk(live bool, visit func(*group) error) (dirty int64, err error) {
	for again := false; ; again = true {
		before := s.off
		if err := s.visit(visit); err != nil {
			return 0, err
		}
		dirty, err = s.tail()
		if !live || !errors.Is(err, ErrCorrupt) || (again && s.off == before) {
			return dirty, err
		}
		s.forget()
	}
}

func (s *scanner) visit(fn func(*group) error) error {
	for {
		g, ok, err := s.next()
		if err != nil || !ok {
			return err
		}
		if err := fn(&g); err != nil {
			return err
		}
	}
}

// findMark looks for the sign of a group in w, leaving out the bad one's own at s.off.
func (s *scanner) findMark(w []byte, off int64) int {
	skip := 0
	if off == s.off {
		skip = min(1, len(w))
	}
	if i := bytes.Index(w[skip:], s.head.mark[:]); i >= 0 {
		return skip + i
	}
	return -1
}
