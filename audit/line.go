package audit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Line is one line of an export: a JSON object. Type says which fields are there; names and meanings stay.
//
//	journal     where what follows goes on: Store, Seq and Hash
//	event       one event; the last one of a group also has Chain, from which the chain can be computed again
//	checkpoint  Text is the signed checkpoint, as in the journal's folder
type Line struct {
	Type string `json:"type"`
	Seq  uint64 `json:"seq"`

	Store string `json:"store,omitempty"` // hexadecimal
	Hash  string `json:"hash,omitempty"`  // of the chain after Seq

	Time      *time.Time `json:"time,omitempty"`
	Class     string     `json:"class,omitempty"`
	Operation string     `json:"operation,omitempty"`
	Outcome   string     `json:"outcome,omitempty"`
	Object    string     `json:"object,omitempty"` // Unique Identifier
	Client    string     `json:"client,omitempty"`
	User      string     `json:"user,omitempty"`
	Group     string     `json:"group,omitempty"`
	Remote    string     `json:"remote,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Message   uint64     `json:"message,omitempty,string"` // the same for all items of one request
	Item      uint32     `json:"item,omitempty"`
	Raw       []byte     `json:"raw,omitempty"` // the entry as it is stored, where a name is no valid UTF-8

	Chain *Chain `json:"chain,omitempty"`
	Text  string `json:"text,omitempty"`
}

// Chain is what the hash of a group is computed over, besides its events and the hash before.
type Chain struct {
	First  uint64    `json:"first"`
	Marker uint64    `json:"marker"`
	Time   time.Time `json:"time"`
	Mark   string    `json:"mark"` // hexadecimal
	Hash   string    `json:"hash"`
}

// The types of a Line.
const (
	LineJournal    = "journal"
	LineEvent      = "event"
	LineCheckpoint = "checkpoint"
)

// BeginLine is the first line of an export that goes on after p.
func BeginLine(store [16]byte, p Position) Line {
	return Line{Type: LineJournal, Seq: p.Seq, Store: hex.EncodeToString(store[:]), Hash: hex.EncodeToString(p.Hash[:])}
}

// CheckpointLine is a checkpoint in an export.
func CheckpointLine(c *Checkpoint) Line {
	return Line{Type: LineCheckpoint, Seq: c.Seq, Hash: hex.EncodeToString(c.Hash[:]), Time: &c.Time, Text: c.Text()}
}

// EventLine is one event.
func EventLine(seq uint64, e *Event) Line {
	at := time.Unix(0, e.Time).UTC()
	l := Line{
		Type: LineEvent, Seq: seq, Time: &at, Class: e.Class.String(), Outcome: e.Outcome.String(), Operation: e.Operation,
		Client: e.Client, User: e.User, Group: e.Group, Remote: e.Remote, Reason: e.Reason, Message: e.Message, Item: e.Item,
	}
	if e.HasObject {
		l.Object = formatUUID(e.Object)
	}
	if back, err := l.Event(); err != nil || back != *e || slices.ContainsFunc(e.texts(), func(s string) bool { return !utf8.ValidString(s) }) {
		l.Raw = appendEntry(nil, e)
	}
	return l
}

func (e *Event) texts() []string {
	return []string{e.Operation, e.Client, e.User, e.Group, e.Remote, e.Reason}
}

// Lines returns the lines of a group.
func (g *Group) Lines() []Line {
	lines := make([]Line, len(g.Events))
	for i := range g.Events {
		lines[i] = EventLine(g.Before.Seq+1+uint64(i), &g.Events[i])
	}
	lines[len(lines)-1].Chain = &Chain{
		First: g.Before.Seq + 1, Marker: g.Marker, Time: time.Unix(0, g.Time).UTC(),
		Mark: hex.EncodeToString(g.Mark[:]), Hash: hex.EncodeToString(g.End.Hash[:]),
	}
	return lines
}

// Append adds the line as JSON, with its newline.
func (l *Line) Append(b []byte) []byte {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // a Line has nothing that JSON cannot hold
	}
	return append(append(b, text...), '\n')
}

var errLine = errors.New("not a line of an audit export")

// Event returns the event of a line, as it was stored.
func (l *Line) Event() (e Event, err error) {
	if l.Type != LineEvent || l.Time == nil {
		return e, fmt.Errorf("%w: it has no event", errLine)
	}
	if l.Raw != nil {
		e, rest, err := decodeEntry(l.Raw)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%w: raw is longer than an entry", errLine)
		}
		return e, err
	}
	e = Event{
		Time: l.Time.UnixNano(), Operation: l.Operation, Client: l.Client, User: l.User, Group: l.Group,
		Remote: l.Remote, Reason: l.Reason, Message: l.Message, Item: l.Item,
	}
	class, outcome := slices.Index(classNames[:], l.Class), slices.Index(outcomeNames[:], l.Outcome)
	if class < 1 || outcome < 1 {
		return e, fmt.Errorf("%w: class %q, outcome %q", errLine, l.Class, l.Outcome)
	}
	e.Class, e.Outcome = Class(class), Outcome(outcome)
	if l.Object != "" {
		e.HasObject = true
		e.Object, err = parseUUID(l.Object)
	}
	return e, err
}

func formatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func parseUUID(s string) (u [16]byte, err error) {
	digits := make([]byte, 0, 32)
	for i := range len(s) {
		if s[i] != '-' {
			digits = append(digits, s[i])
		}
	}
	if len(digits) != 32 {
		return u, fmt.Errorf("%w: object %q", errLine, s)
	}
	if _, err := hex.Decode(u[:], digits); err != nil || formatUUID(u) != s {
		return u, fmt.Errorf("%w: object %q", errLine, s)
	}
	return u, nil
}
