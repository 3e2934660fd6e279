package ttlv_test

import (
	"bytes"
	"testing"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// rewrite reads an item with the getters and writes what they gave.
func rewrite(t *testing.T, w *ttlv.Writer, it ttlv.Item) {
	t.Helper()
	tag := it.Tag()
	must := func(err error) {
		if err != nil {
			t.Fatalf("an item that passed Check: %v", err)
		}
	}
	switch it.Type() {
	case ttlv.Structure:
		r, err := it.Items()
		must(err)
		m := w.Begin(tag)
		for kid, ok := r.Next(); ok; kid, ok = r.Next() {
			rewrite(t, w, kid)
		}
		if !r.Done() {
			t.Fatal("the reader stopped before the end")
		}
		w.End(m)
	case ttlv.Integer:
		v, err := it.Integer()
		must(err)
		w.Integer(tag, v)
	case ttlv.LongInteger:
		v, err := it.LongInteger()
		must(err)
		w.LongInteger(tag, v)
	case ttlv.BigInteger:
		v, err := it.BigInteger()
		must(err)
		w.BigInteger(tag, v)
	case ttlv.Enumeration:
		v, err := it.Enumeration()
		must(err)
		w.Enumeration(tag, v)
	case ttlv.Boolean:
		v, err := it.Boolean()
		must(err)
		w.Boolean(tag, v)
	case ttlv.TextString:
		v, err := it.Text()
		must(err)
		w.TextString(tag, string(v))
	case ttlv.ByteString:
		v, err := it.Bytes()
		must(err)
		w.ByteString(tag, v)
	case ttlv.DateTime:
		v, err := it.DateTime()
		must(err)
		w.DateTime(tag, v)
	case ttlv.Interval:
		v, err := it.Interval()
		must(err)
		w.Interval(tag, v)
	default:
		t.Fatalf("Check let the type %v through", it.Type())
	}
}

// What Check lets through can be read, and reading and writing it back is the
// identity. What it refuses cannot make the reader panic either.
func FuzzCheck(f *testing.F) {
	f.Add([]byte{})
	f.Add(nested(5))
	f.Add(nested(40))
	f.Add(message(200))
	f.Add([]byte{0x42, 0, 0x78, 1, 0x40, 0, 0, 0})
	f.Add([]byte{0x42, 0, 0x20, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0x54, 0, 0x20, 7, 0, 0, 0, 2, 0xc3, 0xa9, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x42, 0, 0x20, 4, 0, 0, 0, 8, 0xff, 0xff, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		err := ttlv.Check(b, ttlv.Limits{})
		if !bytes.Equal(before, b) {
			t.Fatal("Check wrote to its input")
		}
		if err != nil {
			walk(b, 0)
			return
		}
		it, err := ttlv.Parse(b)
		if err != nil {
			t.Fatalf("Check let through what Parse refuses: %v", err)
		}
		var w ttlv.Writer
		rewrite(t, &w, it)
		if !bytes.Equal(b, w.Bytes()) {
			t.Fatalf("read and written back:\n%x\n%x", b, w.Bytes())
		}
	})
}

// walk calls everything on bytes that were refused.
func walk(b []byte, depth int) {
	r := ttlv.NewReader(b)
	for it, ok := r.Next(); ok; it, ok = r.Next() {
		_, _ = it.Integer()
		_, _ = it.LongInteger()
		_, _ = it.BigInteger()
		_, _ = it.Enumeration()
		_, _ = it.Boolean()
		_, _ = it.Text()
		_, _ = it.Bytes()
		_, _ = it.DateTime()
		_, _ = it.Interval()
		_ = it.Find(compromise)
		if depth < 8 {
			walk(it.Value(), depth+1)
		}
	}
}
