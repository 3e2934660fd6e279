package keystore

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// A UID is a Unique Identifier: a UUID of version 7 (RFC 9562), so that
// identifiers sort by their time and neighbours in time are neighbours in the
// store. The zero UID names no object.
type UID [16]byte

// uidText is the length of a UID's text.
const uidText = 36

// String returns the 36 characters of the UUID, in lower case.
func (u UID) String() string { return string(u.AppendTo(make([]byte, 0, uidText))) }

// AppendTo appends the text to b.
func (u UID) AppendTo(b []byte) []byte {
	for i, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, u[part[0]:part[1]])
	}
	return b
}

// ParseUID reads exactly the form that String writes, in any case. It
// allocates nothing.
func ParseUID(b []byte) (u UID, ok bool) {
	if len(b) != uidText {
		return UID{}, false
	}
	at := 0
	for i := 0; i < uidText; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if b[i] != '-' {
				return UID{}, false
			}
			i++
			continue
		}
		high, low := nibble(b[i]), nibble(b[i+1])
		if high|low > 0xf {
			return UID{}, false
		}
		u[at] = high<<4 | low
		at++
		i += 2
	}
	return u, true
}

// nibble returns the value of a hexadecimal digit, 0xff of anything else.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// Stamp is the part that rises: milliseconds << 12 | counter. What was made
// later has a higher one.
func (u UID) Stamp() uint64 {
	high := binary.BigEndian.Uint64(u[:8])
	return high>>16<<12 | high&0xfff
}

// uidSource makes UIDs whose stamps rise, whatever the clock does.
type uidSource struct {
	mu   sync.Mutex
	last uint64
}

// next returns a UID of that moment: 48 bits of milliseconds, 12 bits that
// count inside the millisecond, 62 random bits.
func (s *uidSource) next(now time.Time) (u UID) {
	_, _ = rand.Read(u[8:]) // never fails
	s.mu.Lock()
	s.last = max(s.last+1, uint64(now.UnixMilli())<<12)
	stamp := s.last
	s.mu.Unlock()
	binary.BigEndian.PutUint64(u[:8], stamp>>12<<16|stamp&0xfff)
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	return u
}
