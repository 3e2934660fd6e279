package ttlv_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	gemalto "github.com/gemalto/kmip-go/ttlv"
	"github.com/google/go-cmp/cmp"
	ovh "github.com/ovh/kmip-go/ttlv"
	"pgregory.net/rapid"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A node is an item as the generator draws it: what all three codecs are asked
// to write and must read back.
type node struct {
	tag   ttlv.Tag
	value any // int32, int64, *big.Int, enum, bool, string, []byte, time.Time, time.Duration, []node
}

type enum uint32

// The depth stays well below what makes gemalto's decoder slow (its time
// doubles with each level), the size below 16 KiB.
func drawNode(t *rapid.T, depth int) node {
	n := node{tag: drawTag(t)}
	kinds := 9
	if depth > 0 {
		kinds = 12 // structures more often
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		n.value = rapid.Int32().Draw(t, "integer")
	case 1:
		n.value = rapid.Int64().Draw(t, "long")
	case 2:
		n.value = drawBig(t)
	case 3:
		n.value = enum(rapid.Uint32().Draw(t, "enumeration"))
	case 4:
		n.value = rapid.Bool().Draw(t, "boolean")
	case 5:
		n.value = rapid.StringN(0, 20, 60).Draw(t, "text")
	case 6:
		n.value = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
	case 7:
		n.value = time.Unix(rapid.Int64Range(-1<<36, 1<<36).Draw(t, "date"), 0).UTC()
	case 8:
		n.value = time.Duration(rapid.Uint32().Draw(t, "interval")) * time.Second
	default:
		kids := make([]node, rapid.IntRange(0, 4).Draw(t, "kids"))
		for i := range kids {
			kids[i] = drawNode(t, depth-1)
		}
		n.value = kids
	}
	return n
}

func drawTag(t *rapid.T) ttlv.Tag {
	if rapid.IntRange(0, 9).Draw(t, "extension") == 0 {
		return ttlv.Tag(rapid.Uint32Range(0x540000, 0x54FFFF).Draw(t, "tag"))
	}
	return ttlv.Tag(rapid.Uint32Range(0x420001, 0x420124).Draw(t, "tag"))
}

func drawBig(t *rapid.T) *big.Int {
	n := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 24).Draw(t, "big"))
	if rapid.Bool().Draw(t, "negative") {
		n.Neg(n)
	}
	return n
}

// twos returns the shortest two's complement form.
func twos(n *big.Int) []byte {
	if n.Sign() >= 0 {
		return append([]byte{0}, n.Bytes()...)
	}
	bits := uint(8 * (len(n.Bytes()) + 1))
	return new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), bits)).Bytes()
}

// shortest drops leading bytes that only repeat the sign, so that the Writer
// decides the length.
func shortest(b []byte) []byte {
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

func (n node) write(w *ttlv.Writer) {
	switch v := n.value.(type) {
	case int32:
		w.Integer(n.tag, v)
	case int64:
		w.LongInteger(n.tag, v)
	case *big.Int:
		w.BigInteger(n.tag, shortest(twos(v)))
	case enum:
		w.Enumeration(n.tag, uint32(v))
	case bool:
		w.Boolean(n.tag, v)
	case string:
		w.TextString(n.tag, v)
	case []byte:
		w.ByteString(n.tag, v)
	case time.Time:
		w.DateTime(n.tag, v.Unix())
	case time.Duration:
		w.Interval(n.tag, uint32(v/time.Second))
	case []node:
		m := w.Begin(n.tag)
		for _, kid := range v {
			kid.write(w)
		}
		w.End(m)
	}
}

// read is the mirror of write.
func read(it ttlv.Item) (node, error) {
	n := node{tag: it.Tag()}
	var err error
	switch it.Type() {
	case ttlv.Integer:
		n.value, err = it.Integer()
	case ttlv.LongInteger:
		n.value, err = it.LongInteger()
	case ttlv.BigInteger:
		var b []byte
		b, err = it.BigInteger()
		v := new(big.Int).SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		n.value = v
	case ttlv.Enumeration:
		var v uint32
		v, err = it.Enumeration()
		n.value = enum(v)
	case ttlv.Boolean:
		n.value, err = it.Boolean()
	case ttlv.TextString:
		var b []byte
		b, err = it.Text()
		n.value = string(b)
	case ttlv.ByteString:
		n.value, err = it.Bytes()
	case ttlv.DateTime:
		var s int64
		s, err = it.DateTime()
		n.value = time.Unix(s, 0).UTC()
	case ttlv.Interval:
		var s uint32
		s, err = it.Interval()
		n.value = time.Duration(s) * time.Second
	case ttlv.Structure:
		kids := []node{}
		r, _ := it.Items()
		for kid, ok := r.Next(); ok && err == nil; kid, ok = r.Next() {
			var k node
			k, err = read(kid)
			kids = append(kids, k)
		}
		n.value = kids
	}
	return n, err
}

// toGemalto uses the low-level writers: the others take the type of some tags
// from a registry instead of from the value.
func (n node) toGemalto(e *gemalto.Encoder) error {
	switch v := n.value.(type) {
	case int32:
		e.EncodeInteger(n.tag, v)
	case int64:
		e.EncodeLongInteger(n.tag, v)
	case *big.Int:
		e.EncodeBigInteger(n.tag, v)
	case enum:
		e.EncodeEnumeration(n.tag, uint32(v))
	case bool:
		e.EncodeBoolean(n.tag, v)
	case string:
		e.EncodeTextString(n.tag, v)
	case []byte:
		e.EncodeByteString(n.tag, v)
	case time.Time:
		e.EncodeDateTime(n.tag, v)
	case time.Duration:
		e.EncodeInterval(n.tag, v)
	case []node:
		return e.EncodeStructure(n.tag, func(e *gemalto.Encoder) error {
			for _, kid := range v {
				if err := kid.toGemalto(e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return nil
}

func fromGemalto(t gemalto.TTLV) node {
	n := node{tag: t.Tag()}
	switch t.Type() {
	case gemalto.TypeEnumeration:
		n.value = enum(t.ValueEnumeration())
	case gemalto.TypeDateTime:
		n.value = t.ValueDateTime().UTC()
	case gemalto.TypeStructure:
		kids := []node{}
		for kid := t.ValueStructure(); len(kid) > 0; kid = kid.Next() {
			kids = append(kids, fromGemalto(kid))
		}
		n.value = kids
	default:
		n.value = t.Value()
	}
	return n
}

func (n node) toOVH() ovh.Value {
	v := ovh.Value{Tag: int(n.tag), Value: n.value}
	switch x := n.value.(type) {
	case enum:
		v.Value = ovh.Enum(x)
	case []node:
		s := ovh.Struct{}
		for _, kid := range x {
			s = append(s, kid.toOVH())
		}
		v.Value = s
	}
	return v
}

func fromOVH(v ovh.Value) node {
	n := node{tag: ttlv.Tag(v.Tag), value: v.Value}
	switch x := v.Value.(type) {
	case ovh.Enum:
		n.value = enum(x)
	case big.Int:
		n.value = &x
	case time.Time:
		n.value = x.UTC()
	case ovh.Struct:
		kids := []node{}
		for _, kid := range x {
			kids = append(kids, fromOVH(kid))
		}
		n.value = kids
	}
	return n
}

// ovhRead guards against the panics of that decoder.
func ovhRead(b []byte) (v ovh.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	d, err := ovh.NewTTLVDecoder(b)
	if err != nil {
		return v, err
	}
	return v, v.DecodeTTLV(&d)
}

var sameNode = cmp.Options{
	cmp.AllowUnexported(node{}),
	cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
	cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) }),
}

// Three codecs that know nothing of each other write the same bytes and read
// the same values.
func TestAgreesWithOtherCodecs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawNode(t, 6)
		var w ttlv.Writer
		want.write(&w)
		ours := w.Bytes()
		if len(ours) > 16<<10 {
			return // larger than gemalto's codec is trusted with
		}
		if err := ttlv.Check(ours, ttlv.Limits{}); err != nil {
			t.Fatalf("Check: %v", err)
		}
		it, _ := ttlv.Parse(ours)
		got, err := read(it)
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		if diff := cmp.Diff(want, got, sameNode); diff != "" {
			t.Fatalf("reading back (-want +got):\n%s", diff)
		}
		agreeGemalto(t, want, ours)
		agreeOVH(t, want, ours)
	})
}

func agreeGemalto(t *rapid.T, want node, ours []byte) {
	var theirs bytes.Buffer
	e := gemalto.NewEncoder(&theirs)
	if err := errors.Join(want.toGemalto(e), e.Flush()); err != nil {
		t.Fatalf("gemalto: %v", err)
	}
	if !bytes.Equal(theirs.Bytes(), ours) {
		t.Fatalf("gemalto writes\n%x, we write\n%x", theirs.Bytes(), ours)
	}
	if err := gemalto.TTLV(ours).Valid(); err != nil {
		t.Fatalf("gemalto refuses ours: %v", err)
	}
	if diff := cmp.Diff(want, fromGemalto(gemalto.TTLV(ours)), sameNode); diff != "" {
		t.Fatalf("gemalto reads (-want +got):\n%s", diff)
	}
}

func agreeOVH(t *rapid.T, want node, ours []byte) {
	e := ovh.NewTTLVEncoder()
	v := want.toOVH()
	e.Any(&v)
	if !bytes.Equal(e.Bytes(), ours) {
		t.Fatalf("ovh writes\n%x, we write\n%x", e.Bytes(), ours)
	}
	read, err := ovhRead(ours)
	if err != nil {
		t.Fatalf("ovh refuses ours: %v", err)
	}
	if diff := cmp.Diff(want, fromOVH(read), sameNode); diff != "" {
		t.Fatalf("ovh reads (-want +got):\n%s", diff)
	}
}
