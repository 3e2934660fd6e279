package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Class says what kind of thing an event records.
type Class uint8

// The classes. Their numbers are on disk.
const (
	Change      Class = 1 + iota // a Managed Object was made or changed
	Release                      // key material left the store
	Observation                  // attributes were read, objects located
	Denial                       // somebody was refused
	Admin                        // an administrator acted
	Note                         // the journal or the server about itself
)

var classNames = [...]string{Change: "change", Release: "release", Observation: "observation", Denial: "denial", Admin: "admin", Note: "note"}

// String returns the class's name, or class(N) for one that this version does not know.
func (c Class) String() string {
	if int(c) < len(classNames) && c != 0 {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Outcome says how it ended. A Success of class Change is an intent: it is written before the store commits.
type Outcome uint8

// The outcomes. Their numbers are on disk.
const (
	Success Outcome = 1 + iota
	Failure
	Denied
)

var outcomeNames = [...]string{Success: "success", Failure: "failure", Denied: "denied"}

// String returns the outcome's name, or outcome(N) for one that this version does not know.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) && o != 0 {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MaxString is the length in bytes to which each string of an Event is cut: names come from clients, and a journal
// that takes what they send is a disk that they fill.
const MaxString = 512

// Event is one entry of the journal. It holds words and identifiers, never key material.
type Event struct {
	Time      int64 // Unix nanoseconds; 0 means the moment of Append
	Class     Class
	Outcome   Outcome
	HasObject bool     // whether Object is meant
	Object    [16]byte // Unique Identifier of the Managed Object
	Message   uint64   // number of the request, the same for all its batch items; 0 for none
	Item      uint32   // place of the batch item in the request
	Operation string   // as the KMIP specification spells it, or the admin's command
	Client    string   // the client record's name
	User      string   // the credential's user, when one was used
	Group     string   // the client's group
	Remote    string   // address of the peer
	Reason    string   // why, in words
}

// An entry is an Event on disk: length:2, then version, class, outcome, flags, time:8, object when flagged, message
// and item as uvarints when flagged, and six strings, each a uvarint length and the bytes.
const (
	entryVersion = 1
	entryFixed   = 2 + 4 + 8 // up to the time
	flagObject   = 1 << 0
	flagMessage  = 1 << 1
	maxEntry     = entryFixed + 16 + 2*binary.MaxVarintLen64 + 6*(2+MaxString)
)

// strings lists the strings in the order in which they are stored.
func (e *Event) strings() [6]*string {
	return [6]*string{&e.Operation, &e.Client, &e.User, &e.Group, &e.Remote, &e.Reason}
}

// appendEntry appends e's entry to b. It allocates only when b must grow.
func appendEntry(b []byte, e *Event) []byte {
	start := len(b)
	var flags byte
	if e.HasObject {
		flags |= flagObject
	}
	if e.Message != 0 || e.Item != 0 {
		flags |= flagMessage
	}
	b = append(b, 0, 0, entryVersion, byte(e.Class), byte(e.Outcome), flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	if flags&flagObject != 0 {
		b = append(b, e.Object[:]...)
	}
	if flags&flagMessage != 0 {
		b = binary.AppendUvarint(b, e.Message)
		b = binary.AppendUvarint(b, uint64(e.Item))
	}
	for _, s := range [6]string{e.Operation, e.Client, e.User, e.Group, e.Remote, e.Reason} {
		s = cut(s)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return b
}

// cut shortens s to MaxString bytes without splitting a character.
func cut(s string) string {
	if len(s) <= MaxString {
		return s
	}
	n := MaxString
	for n > MaxString-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

var errEntry = errors.New("malformed entry")

// decodeEntry reads the entry at the start of b and returns what follows it. Only what appendEntry writes is taken, so
// that decode and encode are inverse and nothing can hide between fields.
func decodeEntry(b []byte) (e Event, rest []byte, err error) {
	if len(b) < entryFixed {
		return e, nil, fmt.Errorf("%w: %d bytes", errEntry, len(b))
	}
	n := int(binary.BigEndian.Uint16(b)) + 2
	if n < entryFixed || n > len(b) || n > maxEntry {
		return e, nil, fmt.Errorf("%w: length %d of %d", errEntry, n, len(b))
	}
	rest, b = b[n:], b[:n]
	if b[2] != entryVersion {
		return e, nil, fmt.Errorf("%w: version %d", errEntry, b[2])
	}
	e.Class, e.Outcome = Class(b[3]), Outcome(b[4])
	e.Time = int64(binary.BigEndian.Uint64(b[6:]))
	return e, rest, e.decodeFields(b[5], b[entryFixed:])
}

func (e *Event) decodeFields(flags byte, b []byte) error {
	if flags&^(flagObject|flagMessage) != 0 {
		return fmt.Errorf("%w: flags %#x", errEntry, flags)
	}
	if flags&flagObject != 0 {
		if len(b) < 16 {
			return fmt.Errorf("%w: object cut short", errEntry)
		}
		e.HasObject = true
		b = b[copy(e.Object[:], b):]
	}
	if flags&flagMessage != 0 {
		message, b1, ok1 := uvarint(b)
		item, b2, ok2 := uvarint(b1)
		if !ok1 || !ok2 || item > 1<<32-1 || (message == 0 && item == 0) {
			return fmt.Errorf("%w: message number", errEntry)
		}
		e.Message, e.Item, b = message, uint32(item), b2
	}
	for _, s := range e.strings() {
		n, rest, ok := uvarint(b)
		if !ok || n > MaxString || n > uint64(len(rest)) {
			return fmt.Errorf("%w: string", errEntry)
		}
		*s, b = string(rest[:n]), rest[n:]
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes too many", errEntry, len(b))
	}
	return nil
}

// uvarint reads the shortest form only: a longer one would be a second way to write the same entry.
func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || (n > 1 && b[n-1] == 0) {
		return 0, nil, false
	}
	return v, b[n:], true
}
