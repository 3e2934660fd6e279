package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of an export: the longest event, escaped, is far below.
const maxLine = 64 << 10

// VerifyLines is VerifySigned for an export in JSON lines, in order; several files are given one after the other. It
// computes the chain again from the events. key may be nil: then only the chain is checked, and signatures are not.
// What follows the last whole group is read but not proved; Report.Torn counts these lines.
func VerifyLines(r io.Reader, key ed25519.PublicKey, others []Checkpoint) (Report, error) {
	v := &lineVerifier{signed: &seals{key: key, given: others}}
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	n := 0
	for scan.Scan() {
		n++
		if err := v.line(scan.Bytes()); err != nil {
			return v.report, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := scan.Err(); err != nil {
		return v.report, fmt.Errorf("after line %d: %w", n, err)
	}
	return v.report, v.finish()
}

// lineVerifier goes through an export.
type lineVerifier struct {
	report Report
	signed *seals
	begun  bool
	store  [16]byte
	buf    []byte // header and entries of the group that is being read
	count  uint64
	ends   []Position
}

func (v *lineVerifier) line(text []byte) error {
	var l Line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields() // nothing may hide in a line
	if err := dec.Decode(&l); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrCorrupt, errLine, err)
	}
	switch l.Type {
	case LineJournal:
		return v.begin(&l)
	case LineCheckpoint:
		c, err := ParseCheckpoint(l.Text)
		v.signed.given = append(v.signed.given, c)
		return err
	case LineEvent:
		return v.event(&l)
	}
	return fmt.Errorf("%w: %w: type %q", ErrCorrupt, errLine, l.Type)
}

// begin takes the first line. In a later one, of the next file, the chain must be where it was.
func (v *lineVerifier) begin(l *Line) error {
	var store [16]byte
	at := Position{Seq: l.Seq}
	if !decodeHex(store[:], l.Store) || !decodeHex(at.Hash[:], l.Hash) {
		return fmt.Errorf("%w: %w: store or hash", ErrCorrupt, errLine)
	}
	switch {
	case v.begun && store != v.store:
		return fmt.Errorf("%w: %x follows %x", ErrForeign, store, v.store)
	case v.begun && (at != v.report.End || v.count > 0):
		return fmt.Errorf("%w: it goes on after sequence %d, what came before ended at %d", ErrCorrupt, at.Seq, v.report.End.Seq)
	case at.Seq == 0 && at.Hash != genesis(store):
		return fmt.Errorf("%w: it does not begin the chain of store %x", ErrCorrupt, store)
	}
	if !v.begun {
		v.begun, v.store, v.report.Base, v.report.End = true, store, at, at
		v.ends = append(v.ends, at)
	}
	return nil
}

func decodeHex(to []byte, text string) bool {
	if len(text) != 2*len(to) {
		return false
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

func (v *lineVerifier) event(l *Line) error {
	if !v.begun {
		return fmt.Errorf("%w: %w: the first line must say where the journal goes on", ErrCorrupt, errLine)
	}
	e, err := l.Event()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if again := EventLine(l.Seq, &e); !bytes.Equal(again.Raw, l.Raw) || again.words() != l.words() {
		return fmt.Errorf("%w: sequence %d: what it says is not what its entry holds", ErrCorrupt, l.Seq)
	}
	if want := v.report.End.Seq + v.count + 1; l.Seq != want {
		return fmt.Errorf("%w: sequence %d follows %d", ErrCorrupt, l.Seq, want-1)
	}
	if v.count == 0 {
		v.buf = append(v.buf[:0], make([]byte, groupHeader)...)
	}
	v.buf = appendEntry(v.buf, &e)
	v.count++
	if l.Chain == nil {
		return nil
	}
	return v.group(l.Chain)
}

// words is what an event's line says besides Raw and Chain, as whoever reads the JSON gets it.
func (l *Line) words() string {
	c := *l
	c.Raw, c.Chain = nil, nil
	var read Line
	if err := json.Unmarshal(c.Append(nil), &read); err != nil {
		panic(err) // it was written a moment ago
	}
	return string(read.Append(nil))
}

// group computes the hash of a group from its events, as seal and chain do.
func (v *lineVerifier) group(c *Chain) error {
	var mark [8]byte
	if !decodeHex(mark[:], c.Mark) {
		return fmt.Errorf("%w: %w: mark", ErrCorrupt, errLine)
	}
	putHeader(v.buf, mark, int(v.count), v.report.End.Seq+1, c.Marker, c.Time)
	end := Position{Seq: v.report.End.Seq + v.count, Hash: chain(&v.report.End.Hash, v.buf)}
	if c.First != v.report.End.Seq+1 || c.Hash != hex.EncodeToString(end.Hash[:]) {
		return fmt.Errorf("%w: the group of the sequences %d to %d does not continue the chain", ErrCorrupt, v.report.End.Seq+1, end.Seq)
	}
	if c.Marker < v.report.Marker || c.Marker > v.report.End.Seq {
		return fmt.Errorf("%w: marker %d at sequence %d", ErrCorrupt, c.Marker, c.First)
	}
	v.report.Groups++
	v.report.Entries += v.count
	v.report.End, v.report.Marker, v.count = end, c.Marker, 0
	v.ends = append(v.ends, end)
	return nil
}

// finish holds the chain against the checkpoints.
func (v *lineVerifier) finish() error {
	v.report.Torn = int64(v.count)
	if !v.begun {
		return fmt.Errorf("%w: it is empty", ErrMissing)
	}
	if v.signed.key == nil {
		return nil // nothing is said of signatures
	}
	v.signed.all = v.signed.given
	err := v.signed.sort(v.store)
	for i, end := range v.ends {
		if err != nil {
			return err
		}
		if i == 0 {
			err = v.signed.begin(end)
		} else {
			err = v.signed.at(end)
		}
	}
	return errors.Join(err, v.signed.finish(&v.report))
}
