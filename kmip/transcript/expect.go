package transcript

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/gemalto/kmip-go/kmip14"
	gemalto "github.com/gemalto/kmip-go/ttlv"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Compare holds an answer to the message to the byte, after it has given the
// placeholders that have no value yet theirs. The error shows both in the
// notation.
func (m *Message) Compare(answer []byte, v Values, now time.Time) error {
	if err := ttlv.Check(answer, ttlv.Limits{}); err != nil {
		return fmt.Errorf("the answer is no TTLV: %w\n%x", err, answer)
	}
	it, err := ttlv.Parse(answer)
	if err != nil {
		return err
	}
	m = &Message{m.root.numberAnonymous(new(int))}
	defer maps.DeleteFunc(v, func(name string, _ []byte) bool { return strings.HasPrefix(name, anonymous) })
	if err := m.root.take(it, v, now); err != nil {
		return err
	}
	want, err := m.Encode(v)
	if err != nil {
		return fmt.Errorf("%w; the answer is:\n%s", err, Format(answer))
	}
	if bytes.Equal(want, answer) {
		return nil
	}
	return fmt.Errorf("the answer differs (- expected, + received):\n%s", difference(Format(want), Format(answer)))
}

// difference shows two texts as one, line by line: what only the first has with
// a -, what only the second has with a +.
func difference(want, got string) string {
	a, b := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	// common[i][j] is the length of the longest common sequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out.WriteString("  " + a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out.WriteString("- " + a[i])
			i++
		default:
			out.WriteString("+ " + b[j])
			j++
		}
	}
	return out.String()
}

const anonymous = "anonymous-"

// numberAnonymous gives each $_ a name of its own, so that taking one does not
// overwrite another before the bytes are compared.
func (n *node) numberAnonymous(count *int) *node {
	c := *n
	if p, ok := n.placeholder(); ok && p.name == "_" {
		*count++
		c.value = strings.Replace(n.value, "$_", fmt.Sprintf("$%s%d", anonymous, *count), 1)
	}
	c.children = nil
	for _, child := range n.children {
		c.children = append(c.children, child.numberAnonymous(count))
	}
	return &c
}

// Format writes a message in the notation. What is not TTLV is written in
// hexadecimal.
func Format(message []byte) string {
	if err := ttlv.Check(message, ttlv.Limits{}); err != nil {
		return hex.EncodeToString(message) + "\n"
	}
	it, err := ttlv.Parse(message)
	if err != nil {
		return hex.EncodeToString(message) + "\n"
	}
	var b strings.Builder
	format(&b, it, 0, place{}, formatValue)
	return b.String()
}

// A spelling writes the value of an item that is no structure.
type spelling func(it ttlv.Item, p place) string

func format(b *strings.Builder, it ttlv.Item, depth int, p place, spell spelling) {
	fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), gemalto.DefaultRegistry.FormatTag(it.Tag()))
	if it.Type() != ttlv.Structure {
		fmt.Fprintf(b, " %s %s\n", typeName(it.Type()), spell(it, p))
		return
	}
	b.WriteByte('\n')
	inner := p.enter(it)
	r, _ := it.Items()
	for {
		child, ok := r.Next()
		if !ok {
			return
		}
		format(b, child, depth+1, inner, spell)
		inner = inner.after(child)
	}
}

func typeName(t ttlv.Type) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(t.String())
}

// formatValue spells a value as it is. Enumerations and masks of an Attribute
// Value are those of the attribute around it.
func formatValue(it ttlv.Item, p place) string {
	tag, prefix := it.Tag(), ""
	if tag == kmip14.TagAttributeValue && p.attribute != 0 {
		tag, prefix = p.attribute, gemalto.DefaultRegistry.FormatTag(p.attribute)+"."
	}
	switch it.Type() {
	case ttlv.Integer:
		v, _ := it.Integer()
		if gemalto.DefaultRegistry.IsBitmask(tag) && v != 0 {
			if names := gemalto.DefaultRegistry.FormatInt(tag, v); !strings.Contains(names, "0x") {
				return prefix + names
			}
		}
		return strconv.Itoa(int(v))
	case ttlv.LongInteger:
		v, _ := it.LongInteger()
		return strconv.FormatInt(v, 10)
	case ttlv.Enumeration:
		v, _ := it.Enumeration()
		if gemalto.DefaultRegistry.IsEnum(tag) {
			if name := gemalto.DefaultRegistry.FormatEnum(tag, v); !strings.HasPrefix(name, "0x") {
				return prefix + name
			}
		}
		return fmt.Sprintf("0x%08X", v)
	case ttlv.Boolean:
		v, _ := it.Boolean()
		return strconv.FormatBool(v)
	case ttlv.TextString:
		v, _ := it.Text()
		return strconv.Quote(string(v))
	case ttlv.DateTime:
		v, _ := it.DateTime()
		return formatDate(v)
	case ttlv.Interval:
		v, _ := it.Interval()
		return strconv.FormatUint(uint64(v), 10)
	}
	return hex.EncodeToString(it.Value())
}

// formatDate spells a date that RFC 3339 has no year for in seconds.
func formatDate(seconds int64) string {
	t := time.Unix(seconds, 0).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return strconv.FormatInt(seconds, 10)
	}
	return t.Format(time.RFC3339)
}
