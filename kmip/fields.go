package kmip

import (
	"slices"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// fields reads a structure as the specification lays it out: the caller asks
// for the fields in their order, then calls done. The first error sticks and
// later reads give zero values, so callers check once.
//
// What done finds left over decides what the peer is told (section 11.1): a
// field that was asked for before is there twice or in the wrong place, which
// is an Invalid Message; one that was not is unknown in this version, which is
// an Invalid Field.
type fields struct {
	r     ttlv.Reader
	v     Version
	err   error
	n     int
	asked [16]ttlv.Tag
}

// open starts to read the structure it; a structure's tag is for the caller to
// have checked.
func open(it ttlv.Item, v Version) fields {
	r, err := it.Items()
	if err != nil {
		return fields{err: typeError(it, ttlv.Structure)}
	}
	return fields{r: r, v: v}
}

func typeError(it ttlv.Item, want ttlv.Type) *Error {
	if it.IsZero() {
		return missingData("a %v is missing", want)
	}
	return invalidMessage("%v is a %v where a %v is expected", it.Tag(), it.Type(), want)
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) ask(tag ttlv.Tag) {
	if f.n < len(f.asked) {
		f.asked[f.n] = tag
		f.n++
	}
}

// opt returns the field if it comes next; the zero Item otherwise.
func (f *fields) opt(tag ttlv.Tag) ttlv.Item {
	if f.err != nil {
		return ttlv.Item{}
	}
	f.ask(tag)
	it, _ := f.r.Take(tag)
	return it
}

// since is opt for a field that came with a version.
func (f *fields) since(v Version, tag ttlv.Tag) ttlv.Item {
	if f.v.AtLeast(v) {
		return f.opt(tag)
	}
	if _, early := f.more(tag); early {
		f.fail(f.unknown(tag))
	}
	return ttlv.Item{}
}

func (f *fields) unknown(tag ttlv.Tag) *Error {
	return invalidField("%v is no field of this structure in KMIP %v", tag, f.v)
}

// more is opt for the second and later ones of a field that may repeat.
func (f *fields) more(tag ttlv.Tag) (ttlv.Item, bool) {
	if f.err != nil {
		return ttlv.Item{}, false
	}
	return f.r.Take(tag)
}

// must returns the field, or fails with Missing Data.
func (f *fields) must(tag ttlv.Tag) ttlv.Item {
	it := f.opt(tag)
	if it.IsZero() && f.err == nil {
		f.fail(f.missing(tag))
	}
	return it
}

// missing tells a field that is absent from one that stands in another place.
func (f *fields) missing(tag ttlv.Tag) *Error {
	next := f.r
	if it, ok := next.Next(); ok && f.wasAsked(it.Tag()) {
		return invalidMessage("%v is repeated or out of order", it.Tag())
	}
	for rest := f.r; ; {
		it, ok := rest.Next()
		if !ok {
			return missingData("%v is missing", tag)
		}
		if it.Tag() == tag {
			return invalidMessage("%v is out of order", tag)
		}
	}
}

// wasAsked tells whether the tag was asked for before now. The one asked for
// last does not count.
func (f *fields) wasAsked(tag ttlv.Tag) bool {
	return f.n > 0 && slices.Contains(f.asked[:f.n-1], tag)
}

// done returns the first error, or what is wrong with what was left over.
func (f *fields) done() error {
	if f.err != nil || f.r.Done() {
		return f.err
	}
	it, ok := f.r.Next()
	switch {
	case !ok:
		return invalidMessage("a field is cut short")
	case slices.Contains(f.asked[:f.n], it.Tag()):
		return invalidMessage("%v is repeated or out of order", it.Tag())
	}
	return f.unknown(it.Tag())
}

// The readers below give zero for the zero Item, and fail on a wrong type.

func (f *fields) text(it ttlv.Item) []byte {
	if it.IsZero() {
		return nil
	}
	v, err := it.Text()
	if err != nil {
		f.fail(typeError(it, ttlv.TextString))
	}
	return v
}

func (f *fields) bytes(it ttlv.Item) []byte {
	if it.IsZero() {
		return nil
	}
	v, err := it.Bytes()
	if err != nil {
		f.fail(typeError(it, ttlv.ByteString))
	}
	return v
}

func (f *fields) integer(it ttlv.Item) int32 {
	if it.IsZero() {
		return 0
	}
	v, err := it.Integer()
	if err != nil {
		f.fail(typeError(it, ttlv.Integer))
	}
	return v
}

func (f *fields) long(it ttlv.Item) int64 {
	if it.IsZero() {
		return 0
	}
	v, err := it.LongInteger()
	if err != nil {
		f.fail(typeError(it, ttlv.LongInteger))
	}
	return v
}

func (f *fields) interval(it ttlv.Item) uint32 {
	if it.IsZero() {
		return 0
	}
	v, err := it.Interval()
	if err != nil {
		f.fail(typeError(it, ttlv.Interval))
	}
	return v
}

// positive is integer for a field in which 0 stands for not sent.
func (f *fields) positive(it ttlv.Item) int32 {
	v := f.integer(it)
	if v <= 0 && !it.IsZero() {
		f.fail(invalidField("%v is %d", it.Tag(), v))
	}
	return v
}

func (f *fields) boolean(it ttlv.Item) bool {
	if it.IsZero() {
		return false
	}
	v, err := it.Boolean()
	if err != nil {
		f.fail(typeError(it, ttlv.Boolean))
	}
	return v
}

func (f *fields) date(it ttlv.Item) int64 {
	if it.IsZero() {
		return 0
	}
	v, err := it.DateTime()
	if err != nil {
		f.fail(typeError(it, ttlv.DateTime))
	}
	return v
}

// enum also holds the value to the table of enumerations.
func (f *fields) enum(it ttlv.Item) uint32 {
	if it.IsZero() {
		return 0
	}
	v, err := it.Enumeration()
	if err != nil {
		f.fail(typeError(it, ttlv.Enumeration))
		return 0
	}
	if !enumKnown(it.Tag(), v) {
		f.fail(invalidField("0x%08X is no value of %v", v, it.Tag()))
		return 0
	}
	return v
}

func (f *fields) structure(it ttlv.Item) ttlv.Item {
	if !it.IsZero() && it.Type() != ttlv.Structure {
		f.fail(typeError(it, ttlv.Structure))
	}
	return it
}

// texts appends the text of every field with the tag to into.
func (f *fields) texts(tag ttlv.Tag, into [][]byte) [][]byte {
	into = into[:0]
	for it := f.opt(tag); !it.IsZero(); it, _ = f.more(tag) {
		into = append(into, f.text(it))
	}
	return into
}

// version reads a Protocol Version structure (section 6.1).
func version(it ttlv.Item) (Version, error) {
	f := open(it, Version{})
	v := Version{
		Major: f.integer(f.must(kmip14.TagProtocolVersionMajor)),
		Minor: f.integer(f.must(kmip14.TagProtocolVersionMinor)),
	}
	return v, f.done()
}
