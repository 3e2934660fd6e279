package transcript

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	gemalto "github.com/gemalto/kmip-go/ttlv"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Message is a KMIP message in the notation of transcripts:
//
//	RequestMessage
//	  RequestHeader
//	    ProtocolVersion
//	      ProtocolVersionMajor Integer 1
//	      ProtocolVersionMinor Integer 1
//	    BatchCount Integer 1
//	  BatchItem
//	    Operation Enumeration Get
//	    RequestPayload
//	      UniqueIdentifier TextString $key
//
// Two spaces go one structure deeper. A line is a tag, and unless it is a
// structure a type and a value: numbers in decimal or 0x…, enumerations and
// masks by name (Encrypt|Decrypt; under another tag than their own with the
// tag in front, as in State.Active), text quoted as in Go, bytes in
// hexadecimal, dates as in RFC 3339 or in seconds. Lines that begin with # are comments.
//
// A value that begins with $ stands for what the server chose. $name takes the
// value when it is first met in an answer and stands for it from then on;
// $name[32] must have 32 bytes; $_ is taken anew each time. Dates taken must
// be within five minutes of this machine's clock.
type Message struct{ root *node }

type node struct {
	line     int
	tag      ttlv.Tag
	typ      ttlv.Type
	value    string
	children []*node
}

// Values are what placeholders stand for, by name.
type Values map[string][]byte

var typesByName = map[string]ttlv.Type{
	"Integer": ttlv.Integer, "LongInteger": ttlv.LongInteger, "BigInteger": ttlv.BigInteger,
	"Enumeration": ttlv.Enumeration, "Boolean": ttlv.Boolean, "TextString": ttlv.TextString,
	"ByteString": ttlv.ByteString, "DateTime": ttlv.DateTime, "Interval": ttlv.Interval,
}

// ParseMessage reads the notation. line is the number of text's first line, for
// errors.
func ParseMessage(text string, line int) (*Message, error) {
	var open []*node // the structures around the next line
	var root *node
	for i, l := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(l)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		n, depth, err := parseLine(l, line+i)
		if err != nil {
			return nil, err
		}
		switch {
		case depth == 0 && root == nil:
			root = n
		case depth == 0 || depth > len(open) || open[depth-1].typ != ttlv.Structure:
			return nil, fmt.Errorf("line %d: indented where no structure is open", n.line)
		default:
			parent := open[depth-1]
			parent.children = append(parent.children, n)
		}
		open = append(open[:depth], n)
	}
	if root == nil {
		return nil, fmt.Errorf("line %d: no message", line)
	}
	return &Message{root}, nil
}

func parseLine(l string, number int) (n *node, depth int, err error) {
	body := strings.TrimLeft(l, " ")
	indent := len(l) - len(body)
	if indent%2 != 0 {
		return nil, 0, fmt.Errorf("line %d: indented by an odd number of spaces", number)
	}
	name, rest, isLeaf := strings.Cut(strings.TrimRight(body, " "), " ")
	tag, err := gemalto.DefaultRegistry.ParseTag(name)
	if err != nil {
		return nil, 0, fmt.Errorf("line %d: %q is no tag", number, name)
	}
	n = &node{line: number, tag: tag, typ: ttlv.Structure}
	if !isLeaf {
		return n, indent / 2, nil
	}
	typ, value, _ := strings.Cut(rest, " ")
	if n.typ = typesByName[typ]; n.typ == 0 {
		return nil, 0, fmt.Errorf("line %d: %q is no type", number, typ)
	}
	n.value = strings.TrimSpace(value)
	if _, placeholder := n.placeholder(); !placeholder {
		if _, err := n.raw(); err != nil {
			return nil, 0, fmt.Errorf("line %d: %s: %w", number, name, err)
		}
	}
	return n, indent / 2, nil
}

var placeholderForm = regexp.MustCompile(`^\$(_|[a-zA-Z][a-zA-Z0-9-]*)(?:\[(\d+)\])?$`)

type placeholder struct {
	name   string
	length int // bytes; 0: any
}

func (n *node) placeholder() (placeholder, bool) {
	m := placeholderForm.FindStringSubmatch(n.value)
	if m == nil {
		return placeholder{}, false
	}
	length, _ := strconv.Atoi(m[2])
	return placeholder{name: m[1], length: length}, true
}

// placeholders calls f with each in the message.
func (n *node) placeholders(f func(*node, placeholder)) {
	if p, ok := n.placeholder(); ok {
		f(n, p)
	}
	for _, c := range n.children {
		c.placeholders(f)
	}
}

// raw encodes the value, without header and padding. It is written apart from
// package ttlv's Writer on purpose: what is compared with the server's answer
// must not come from the server's own code.
func (n *node) raw() ([]byte, error) {
	switch n.typ {
	case ttlv.Integer:
		v, err := n.number(func(tag ttlv.Tag, s string) (int64, error) {
			v, err := gemalto.DefaultRegistry.ParseInt(tag, s)
			return int64(v), err
		})
		return binary.BigEndian.AppendUint32(nil, uint32(v)), err
	case ttlv.Enumeration:
		v, err := n.number(func(tag ttlv.Tag, s string) (int64, error) {
			v, err := gemalto.DefaultRegistry.ParseEnum(tag, s)
			return int64(v), err
		})
		return binary.BigEndian.AppendUint32(nil, uint32(v)), err
	case ttlv.Interval:
		v, err := strconv.ParseUint(n.value, 0, 32)
		return binary.BigEndian.AppendUint32(nil, uint32(v)), err
	case ttlv.LongInteger:
		v, err := strconv.ParseInt(n.value, 0, 64)
		return binary.BigEndian.AppendUint64(nil, uint64(v)), err
	case ttlv.DateTime:
		if v, err := strconv.ParseInt(n.value, 0, 64); err == nil {
			return binary.BigEndian.AppendUint64(nil, uint64(v)), nil
		}
		t, err := time.Parse(time.RFC3339, n.value)
		return binary.BigEndian.AppendUint64(nil, uint64(t.Unix())), err
	case ttlv.Boolean:
		v, err := strconv.ParseBool(n.value)
		if v {
			return binary.BigEndian.AppendUint64(nil, 1), err
		}
		return make([]byte, 8), err
	case ttlv.TextString:
		s, err := strconv.Unquote(n.value)
		return []byte(s), err
	}
	return hex.DecodeString(n.value)
}

// number reads a number, or names of the tag's enumeration or mask.
func (n *node) number(named func(ttlv.Tag, string) (int64, error)) (int64, error) {
	if v, err := strconv.ParseInt(n.value, 0, 64); err == nil {
		return v, nil
	}
	tag, names := n.tag, n.value
	if before, after, ok := strings.Cut(n.value, "."); ok {
		t, err := gemalto.DefaultRegistry.ParseTag(before)
		if err != nil {
			return 0, fmt.Errorf("%q is no tag", before)
		}
		tag, names = t, after
	}
	return named(tag, names)
}

// Encode returns the message's bytes with the placeholders filled in.
func (m *Message) Encode(v Values) ([]byte, error) { return m.root.encode(nil, v) }

func (n *node) encode(b []byte, v Values) ([]byte, error) {
	if n.typ == ttlv.Structure {
		b = append(b, byte(n.tag>>16), byte(n.tag>>8), byte(n.tag), byte(n.typ), 0, 0, 0, 0)
		start := len(b)
		for _, c := range n.children {
			var err error
			if b, err = c.encode(b, v); err != nil {
				return nil, err
			}
		}
		binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
		return b, nil
	}
	raw, err := n.filled(v)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", n.line, err)
	}
	b = append(b, byte(n.tag>>16), byte(n.tag>>8), byte(n.tag), byte(n.typ))
	b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
	b = append(b, raw...)
	return append(b, make([]byte, -len(raw)&7)...), nil
}

func (n *node) filled(v Values) ([]byte, error) {
	p, ok := n.placeholder()
	if !ok {
		return n.raw()
	}
	raw, known := v[p.name]
	if !known {
		return nil, fmt.Errorf("nothing has set $%s yet", p.name)
	}
	return raw, nil
}

// take gives every placeholder that has no value yet the one that stands in
// its place in the answer. Where the answer has another shape it stops: the
// comparison of bytes that follows tells.
func (n *node) take(it ttlv.Item, v Values, now time.Time) error {
	if it.Tag() != n.tag || it.Type() != n.typ {
		return nil
	}
	if n.typ == ttlv.Structure {
		r, err := it.Items()
		if err != nil {
			return err
		}
		for _, c := range n.children {
			child, ok := r.Next()
			if !ok {
				return nil
			}
			if err := c.take(child, v, now); err != nil {
				return err
			}
		}
		return nil
	}
	p, ok := n.placeholder()
	if !ok {
		return nil
	}
	if _, known := v[p.name]; known {
		return nil
	}
	if err := plausible(n.typ, p, it, now); err != nil {
		return fmt.Errorf("line %d: $%s: %w", n.line, p.name, err)
	}
	v[p.name] = append([]byte(nil), it.Value()...)
	return nil
}

func plausible(typ ttlv.Type, p placeholder, it ttlv.Item, now time.Time) error {
	if got := len(it.Value()); p.length > 0 && got != p.length {
		return fmt.Errorf("has %d bytes, expected %d", got, p.length)
	}
	if typ != ttlv.DateTime {
		return nil
	}
	seconds, err := it.DateTime()
	if err != nil {
		return err
	}
	if d := now.Sub(time.Unix(seconds, 0)).Abs(); d > 5*time.Minute {
		return fmt.Errorf("the date %v is %v from now", time.Unix(seconds, 0).UTC(), d)
	}
	return nil
}
