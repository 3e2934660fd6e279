package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The constructors below make an Attribute with memory of its own, for clients
// and tests. Servers write theirs with BeginAttribute.

func newAttribute(name string, write func(w *ttlv.Writer, tag ttlv.Tag)) Attribute {
	var w ttlv.Writer
	write(&w, kmip14.TagAttributeValue)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		panic("kmip: an attribute value of our own does not parse: " + err.Error())
	}
	return Attribute{Name: []byte(name), Value: it}
}

// TextAttribute makes an attribute of type Text String.
func TextAttribute(name, v string) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.TextString(tag, v) })
}

// BytesAttribute makes an attribute of type Byte String.
func BytesAttribute(name string, v []byte) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.ByteString(tag, v) })
}

// IntegerAttribute makes an attribute of type Integer, bit masks included.
func IntegerAttribute(name string, v int32) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.Integer(tag, v) })
}

// LongIntegerAttribute makes an attribute of type Long Integer.
func LongIntegerAttribute(name string, v int64) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.LongInteger(tag, v) })
}

// EnumerationAttribute makes an attribute of type Enumeration.
func EnumerationAttribute[E ~uint32](name string, v E) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.Enumeration(tag, uint32(v)) })
}

// BooleanAttribute makes an attribute of type Boolean.
func BooleanAttribute(name string, v bool) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.Boolean(tag, v) })
}

// DateTimeAttribute makes an attribute of type Date-Time, in seconds since 1970.
func DateTimeAttribute(name string, unix int64) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.DateTime(tag, unix) })
}

// IntervalAttribute makes an attribute of type Interval, in seconds.
func IntervalAttribute(name string, seconds uint32) Attribute {
	return newAttribute(name, func(w *ttlv.Writer, tag ttlv.Tag) { w.Interval(tag, seconds) })
}

// NameAttribute makes the attribute Name (section 3.2) from a text.
func NameAttribute(v string) Attribute {
	n := Name{Value: []byte(v), Type: kmip14.NameTypeUninterpretedTextString}
	return newAttribute("Name", n.Encode)
}
