package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/internal/durable"
)

var (
	// ErrCorrupt is returned when the journal is not what was written: an edit, a missing piece, or a bad disk.
	ErrCorrupt = errors.New("audit journal is damaged")
	// ErrForeign is returned when the journal belongs to another store.
	ErrForeign = errors.New("audit journal belongs to another store")
	// ErrVersion is returned for a journal that a newer version has written.
	ErrVersion = errors.New("audit journal has a newer format")
	// ErrArchived is returned for what lies before the first event that the folder still holds.
	ErrArchived = errors.New("the audit journal begins later: what was before is archived")
)

const (
	segmentMagic   = "KRVAUDIT"
	segmentVersion = 1
	segmentHeader  = 8 + 4 + 4 + 16 + 8 + 8 + 8 + 8 + 8 + 32 + 32
	segmentSuffix  = ".log"
	segmentDigits  = 8
	maxSegment     = 99_999_999
)

// header is what a segment says about itself.
type header struct {
	store   [16]byte
	number  uint64
	base    Position // end of the segment before
	marker  uint64   // marker of the last group before
	created int64    // Unix nanoseconds
	mark    [8]byte  // begins each group of this segment
}

// genesis is the chain hash before the first group: a chain of another store does not continue here.
func genesis(store [16]byte) [32]byte {
	return sha256.Sum256(append([]byte("keyreeve audit journal 1\n"), store[:]...))
}

func (h *header) encode() []byte {
	b := make([]byte, 0, segmentHeader)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint32(b, segmentVersion)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = append(b, h.store[:]...)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = binary.BigEndian.AppendUint64(b, h.base.Seq)
	b = binary.BigEndian.AppendUint64(b, h.marker)
	b = binary.BigEndian.AppendUint64(b, uint64(h.created))
	b = append(b, h.mark[:]...)
	b = append(b, h.base.Hash[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func decodeHeader(b []byte) (h header, err error) {
	if len(b) != segmentHeader || string(b[:8]) != segmentMagic {
		return h, fmt.Errorf("%w: not a journal segment", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != segmentVersion {
		return h, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, v, segmentVersion)
	}
	sum := sha256.Sum256(b[:segmentHeader-32])
	if !bytes.Equal(sum[:], b[segmentHeader-32:]) {
		return h, fmt.Errorf("%w: segment header does not match its checksum", ErrCorrupt)
	}
	copy(h.store[:], b[16:])
	h.number = binary.BigEndian.Uint64(b[32:])
	h.base.Seq = binary.BigEndian.Uint64(b[40:])
	h.marker = binary.BigEndian.Uint64(b[48:])
	h.created = int64(binary.BigEndian.Uint64(b[56:]))
	copy(h.mark[:], b[64:])
	copy(h.base.Hash[:], b[72:])
	return h, nil
}

// check compares the header with where it was found.
func (h *header) check(store [16]byte, number uint64) error {
	switch {
	case h.store != store:
		return fmt.Errorf("%w: it was made for store %x, this is store %x", ErrForeign, h.store, store)
	case h.number != number:
		return fmt.Errorf("%w: this is segment %d under the name of %d", ErrCorrupt, h.number, number)
	case h.marker > h.base.Seq:
		return fmt.Errorf("%w: marker %d is after the last sequence %d", ErrCorrupt, h.marker, h.base.Seq)
	case h.base.Seq == 0 && h.base.Hash != genesis(store):
		return fmt.Errorf("%w: the first segment does not begin the chain", ErrCorrupt)
	}
	return nil
}

// join checks that next continues where s ended.
func (s *scanner) join(next *header) error {
	if next.base != s.end || next.marker < s.marker {
		return fmt.Errorf("%w: segment %d ends at sequence %d; segment %d begins after %d and does not continue it",
			ErrCorrupt, s.head.number, s.end.Seq, next.number, next.base.Seq)
	}
	return nil
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", segmentDigits, number, segmentSuffix))
}

// extent is which segments a journal has.
type extent struct {
	first, last uint64 // numbers; 0 when there is none
	limit       int64  // how far the last may be read; 0 is its size
}

// live reports whether number is the last segment, and a server may append to it while it is read.
func (x *extent) live(number uint64) bool { return number == x.last && x.limit == 0 }

// segments looks which segments are in dir. The first may have any number, since old ones are archived; a gap behind it
// is ErrCorrupt. Other files are not ours and are left alone.
func segments(fsys durable.FS, dir string) (x extent, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return x, err
	}
	for _, e := range entries { // sorted by name, and so by number
		number, ok := segmentNumber(e.Name())
		switch {
		case !ok:
			continue
		case x.last == 0:
			x.first = number
		case number != x.last+1:
			return x, fmt.Errorf("%w: segment %d is missing", ErrCorrupt, x.last+1)
		}
		x.last = number
	}
	return x, nil
}

func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// createSegment makes the segment that h describes, whole and durable, with zone bytes of zeros for groups. It never
// replaces one.
func createSegment(cfg *Config, h header, zone int64) error {
	if h.number > maxSegment {
		return fmt.Errorf("creating segment %d: the numbers are used up", h.number)
	}
	data := make([]byte, segmentHeader+zone)
	copy(data, h.encode())
	return durable.CreateFile(cfg.FS, segmentPath(cfg.Dir, h.number), data, 0o600)
}

func newHeader(cfg *Config, number uint64, base Position, marker uint64) header {
	h := header{store: cfg.StoreID, number: number, base: base, marker: marker, created: cfg.Now().UnixNano()}
	_, _ = rand.Read(h.mark[:]) // never fails, crypto/rand ends the program instead
	if h.mark == [8]byte{} {
		h.mark[0] = 1 // zeros are the sign of the end
	}
	return h
}

// readHeader opens segment number and checks its header. The caller closes the file.
func readHeader(cfg *Config, number uint64, flag int) (durable.File, header, error) {
	path := segmentPath(cfg.Dir, number)
	f, err := cfg.FS.OpenFile(path, flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, header{}, fmt.Errorf("%w: segment %d is missing", ErrCorrupt, number)
	}
	if err != nil {
		return nil, header{}, err
	}
	h, err := headerOf(cfg, f, number)
	if err != nil {
		return nil, h, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return f, h, nil
}

func headerOf(cfg *Config, f durable.File, number uint64) (header, error) {
	b := make([]byte, segmentHeader)
	n, err := f.ReadAt(b, 0)
	if n < len(b) {
		if size, sizeErr := f.Size(); sizeErr != nil || size >= segmentHeader {
			return header{}, fmt.Errorf("reading the segment header: %w", errors.Join(err, sizeErr))
		}
		return header{}, fmt.Errorf("%w: shorter than a segment header", ErrCorrupt)
	}
	h, err := decodeHeader(b)
	if err != nil {
		return h, err
	}
	return h, h.check(cfg.StoreID, number)
}
