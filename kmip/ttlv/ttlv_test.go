package ttlv_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// compromise is the tag that section 9.1.2 uses in its examples.
const compromise = kmip14.TagCompromiseDate

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "").Replace(s))
	if err != nil {
		t.Fatalf("bad test data: %v", err)
	}
	return b
}

// The encodings that section 9.1.2 gives as examples, and edges of each type.
func TestWriterWritesTheExamplesOfTheSpecification(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(w *ttlv.Writer)
		want  string
	}{
		{"integer", func(w *ttlv.Writer) { w.Integer(compromise, 8) }, "420020|02|00000004|0000000800000000"},
		{"negative integer", func(w *ttlv.Writer) { w.Integer(compromise, -2) }, "420020|02|00000004|fffffffe00000000"},
		{"long integer", func(w *ttlv.Writer) { w.LongInteger(compromise, 123456789000000000) }, "420020|03|00000008|01b69b4ba5749200"},
		{"big integer", func(w *ttlv.Writer) { w.BigInteger(compromise, unhex(t, "03fd35eb6bc2df4618080000")) },
			"420020|04|00000010|0000000003fd35eb6bc2df4618080000"},
		{"negative big integer", func(w *ttlv.Writer) { w.BigInteger(compromise, []byte{0xff}) }, "420020|04|00000008|ffffffffffffffff"},
		{"big integer of no bytes", func(w *ttlv.Writer) { w.BigInteger(compromise, nil) }, "420020|04|00000008|0000000000000000"},
		{"enumeration", func(w *ttlv.Writer) { w.Enumeration(compromise, 255) }, "420020|05|00000004|000000ff00000000"},
		{"true", func(w *ttlv.Writer) { w.Boolean(compromise, true) }, "420020|06|00000008|0000000000000001"},
		{"false", func(w *ttlv.Writer) { w.Boolean(compromise, false) }, "420020|06|00000008|0000000000000000"},
		{"text", func(w *ttlv.Writer) { w.TextString(compromise, "Hello World") }, "420020|07|0000000b|48656c6c6f20576f726c640000000000"},
		{"text from bytes", func(w *ttlv.Writer) { w.Text(compromise, []byte("Hello World")) }, "420020|07|0000000b|48656c6c6f20576f726c640000000000"},
		{"text of no bytes", func(w *ttlv.Writer) { w.TextString(compromise, "") }, "420020|07|00000000"},
		{"text of eight", func(w *ttlv.Writer) { w.TextString(compromise, "12345678") }, "420020|07|00000008|3132333435363738"},
		{"bytes", func(w *ttlv.Writer) { w.ByteString(compromise, []byte{1, 2, 3}) }, "420020|08|00000003|0102030000000000"},
		{"date", func(w *ttlv.Writer) { w.DateTime(compromise, 0x47DA67F8) }, "420020|09|00000008|0000000047da67f8"},
		{"interval", func(w *ttlv.Writer) { w.Interval(compromise, 864000) }, "420020|0a|00000004|000d2f0000000000"},
		{"structure", func(w *ttlv.Writer) {
			m := w.Begin(compromise)
			w.Enumeration(kmip14.TagApplicationSpecificInformation, 254)
			w.Integer(kmip14.TagArchiveDate, 255)
			w.End(m)
		}, "420020|01|00000020|420004|05|00000004|000000fe00000000|420005|02|00000004|000000ff00000000"},
		{"empty structure", func(w *ttlv.Writer) { w.End(w.Begin(compromise)) }, "420020|01|00000000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w ttlv.Writer
			tc.write(&w)
			want := unhex(t, tc.want)
			if diff := cmp.Diff(want, w.Bytes()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := ttlv.Check(want, ttlv.Limits{}); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     error
		text     string
	}{
		{"nothing", "", ttlv.ErrMalformed, "cut short"},
		{"half a header", "42002002", ttlv.ErrMalformed, "cut short"},
		{"foreign tag", "410020|02|00000004|0000000800000000", ttlv.ErrMalformed, "no KMIP tag"},
		{"type 0", "420020|00|00000004|0000000800000000", ttlv.ErrMalformed, "unknown type 0x00"},
		{"type of KMIP 2", "420020|0b|00000008|0000000000000001", ttlv.ErrMalformed, "unknown type 0x0b"},
		{"value missing", "420020|02|00000004", ttlv.ErrMalformed, "claims 4 bytes, 0 are there"},
		{"padding missing", "420020|02|00000004|00000008", ttlv.ErrMalformed, "claims 4 bytes, 4 are there"},
		{"integer of 8", "420020|02|00000008|0000000800000000", ttlv.ErrMalformed, "no valid Integer of 8 bytes"},
		{"long of 4", "420020|03|00000004|0000000800000000", ttlv.ErrMalformed, "no valid Long Integer"},
		{"big integer of none", "420020|04|00000000", ttlv.ErrMalformed, "no valid Big Integer"},
		{"big integer of 4", "420020|04|00000004|0000000800000000", ttlv.ErrMalformed, "no valid Big Integer"},
		{"enumeration of 8", "420020|05|00000008|0000000800000000", ttlv.ErrMalformed, "no valid Enumeration"},
		{"boolean of 2", "420020|06|00000008|0000000000000002", ttlv.ErrMalformed, "no valid Boolean"},
		{"boolean high bit", "420020|06|00000008|8000000000000001", ttlv.ErrMalformed, "no valid Boolean"},
		{"boolean of 4", "420020|06|00000004|0000000100000000", ttlv.ErrMalformed, "no valid Boolean"},
		{"text not UTF-8", "420020|07|00000002|c328000000000000", ttlv.ErrMalformed, "no valid Text String"},
		{"date of 4", "420020|09|00000004|0000000100000000", ttlv.ErrMalformed, "no valid Date-Time"},
		{"interval of 8", "420020|0a|00000008|0000000100000000", ttlv.ErrMalformed, "no valid Interval"},
		{"padding not zero", "420020|08|00000003|0102030000000001", ttlv.ErrMalformed, "padding"},
		{"integer padding not zero", "420020|02|00000004|0000000800000001", ttlv.ErrMalformed, "padding"},
		{"structure of 4", "420020|01|00000004|0000000000000000", ttlv.ErrMalformed, "no valid Structure"},
		{"bytes after it", "420020|02|00000004|0000000800000000|00", ttlv.ErrMalformed, "1 bytes after"},
		{"second item", "420020|01|00000000|420020|01|00000000", ttlv.ErrMalformed, "8 bytes after"},
		{"child longer than parent", "420020|01|00000010|420020|08|00000010|00000000000000000000000000000000", ttlv.ErrMalformed, "claims 16 bytes, 8 are there"},
		{"child header cut", "420020|01|00000008|420020|08|00000010|0000000000000000", ttlv.ErrMalformed, "claims 16 bytes, 0 are there"},
		{"1 GiB claimed", "420020|08|40000000|00", ttlv.ErrMalformed, "claims 1073741824 bytes"},
		{"most that can be claimed", "420020|08|ffffffff|00", ttlv.ErrMalformed, "claims 4294967295 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := ttlv.Check(unhex(t, tc.in), ttlv.Limits{})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Check = %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

// nested returns structures n deep.
func nested(n int) []byte {
	var w ttlv.Writer
	marks := make([]int, n)
	for i := range marks {
		marks[i] = w.Begin(compromise)
	}
	for i := range marks {
		w.End(marks[n-1-i])
	}
	return w.Bytes()
}

func TestCheckLimits(t *testing.T) {
	many := func(n int) []byte {
		var w ttlv.Writer
		m := w.Begin(compromise)
		for range n - 1 {
			w.Integer(compromise, 1)
		}
		w.End(m)
		return w.Bytes()
	}
	for _, tc := range []struct {
		name string
		in   []byte
		lim  ttlv.Limits
		want error
	}{
		{"deepest by default", nested(ttlv.DefaultDepth), ttlv.Limits{}, nil},
		{"too deep by default", nested(ttlv.DefaultDepth + 1), ttlv.Limits{}, ttlv.ErrLimit},
		{"deepest asked for", nested(3), ttlv.Limits{Depth: 3}, nil},
		{"deeper than asked for", nested(4), ttlv.Limits{Depth: 3}, ttlv.ErrLimit},
		{"deeper than can be asked for", nested(65), ttlv.Limits{Depth: 1000}, ttlv.ErrLimit},
		{"deepest that can be asked for", nested(64), ttlv.Limits{Depth: 1000}, nil},
		{"the items asked for", many(10), ttlv.Limits{Items: 10}, nil},
		{"more items", many(11), ttlv.Limits{Items: 10}, ttlv.ErrLimit},
		{"items by default", many(ttlv.DefaultItems), ttlv.Limits{}, nil},
		{"more items by default", many(ttlv.DefaultItems + 1), ttlv.Limits{}, ttlv.ErrLimit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := ttlv.Check(tc.in, tc.lim); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("Check = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestGettersHoldToTheType(t *testing.T) {
	getters := map[ttlv.Type]func(ttlv.Item) error{
		ttlv.Integer:     func(i ttlv.Item) error { _, err := i.Integer(); return err },
		ttlv.LongInteger: func(i ttlv.Item) error { _, err := i.LongInteger(); return err },
		ttlv.BigInteger:  func(i ttlv.Item) error { _, err := i.BigInteger(); return err },
		ttlv.Enumeration: func(i ttlv.Item) error { _, err := i.Enumeration(); return err },
		ttlv.Boolean:     func(i ttlv.Item) error { _, err := i.Boolean(); return err },
		ttlv.TextString:  func(i ttlv.Item) error { _, err := i.Text(); return err },
		ttlv.ByteString:  func(i ttlv.Item) error { _, err := i.Bytes(); return err },
		ttlv.DateTime:    func(i ttlv.Item) error { _, err := i.DateTime(); return err },
		ttlv.Interval:    func(i ttlv.Item) error { _, err := i.Interval(); return err },
		ttlv.Structure:   func(i ttlv.Item) error { _, err := i.Items(); return err },
	}
	for typ := ttlv.Structure; typ <= ttlv.Interval; typ++ {
		raw := append(unhex(t, "420020|00|00000008|0000000000000000"), 0)[:16]
		raw[3] = byte(typ)
		it, err := ttlv.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for want, get := range getters {
			err := get(it)
			var te *ttlv.TypeError
			if want == typ && err != nil {
				t.Errorf("%v as %v: %v", typ, want, err)
			}
			if want != typ && (!errors.As(err, &te) || te.Got != typ || te.Want != want) {
				t.Errorf("%v as %v: %v, want a TypeError", typ, want, err)
			}
			if get(ttlv.Item{}) == nil {
				t.Errorf("the zero Item is a %v", want)
			}
		}
	}
}

// Items that were not checked must not be read past their end either.
func TestShortValuesFailWithoutCheck(t *testing.T) {
	for typ := ttlv.Integer; typ <= ttlv.Interval; typ++ {
		if typ == ttlv.TextString || typ == ttlv.ByteString {
			continue
		}
		it, err := ttlv.Parse([]byte{0x42, 0, 0x20, byte(typ), 0, 0, 0, 1, 7, 0, 0, 0, 0, 0, 0, 0})
		if err != nil {
			t.Fatal(err)
		}
		_, e1 := it.Integer()
		_, e2 := it.LongInteger()
		_, e3 := it.BigInteger()
		_, e4 := it.Enumeration()
		_, e5 := it.Boolean()
		_, e6 := it.DateTime()
		_, e7 := it.Interval()
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
			if err == nil {
				t.Errorf("getter %d read a %v of one byte", i, typ)
			}
		}
	}
}

func TestReaderWalks(t *testing.T) {
	var w ttlv.Writer
	m := w.Begin(kmip14.TagAttribute)
	w.TextString(kmip14.TagAttributeName, "State")
	w.Integer(kmip14.TagAttributeIndex, 3)
	w.Enumeration(kmip14.TagAttributeValue, 2)
	w.Integer(kmip14.TagAttributeIndex, 4)
	w.End(m)
	it, err := ttlv.Parse(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	r, err := it.Items()
	if err != nil {
		t.Fatal(err)
	}
	bookmark := r
	if _, ok := r.Take(kmip14.TagAttributeIndex); ok {
		t.Error("Take skipped an item")
	}
	if name, ok := r.Take(kmip14.TagAttributeName); !ok || string(name.Value()) != "State" {
		t.Errorf("Take(name) = %v, %v", name, ok)
	}
	n := 0
	for {
		if _, ok := r.Next(); !ok {
			break
		}
		n++
	}
	if n != 3 || !r.Done() || bookmark.Done() {
		t.Errorf("%d items left, done %v, bookmark done %v", n, r.Done(), bookmark.Done())
	}
	first, _ := it.Find(kmip14.TagAttributeIndex).Integer()
	if first != 3 {
		t.Errorf("Find = %d, want the first, 3", first)
	}
	if !it.Find(kmip14.TagState).IsZero() || !it.Find(kmip14.TagAttributeName).Find(kmip14.TagState).IsZero() {
		t.Error("Find found what is not there")
	}
	if v := (ttlv.Item{}); v.Tag() != 0 || v.Type() != 0 || v.Value() != nil || v.Raw() != nil {
		t.Error("the zero Item is something")
	}
	if r := ttlv.NewReader([]byte{1, 2, 3}); func() bool { _, ok := r.Next(); return ok }() || r.Done() {
		t.Error("a reader took or lost an item that is cut short")
	}
}

func TestItemAsChangesOnlyTheTag(t *testing.T) {
	var w ttlv.Writer
	w.TextString(kmip14.TagUniqueIdentifier, "abc")
	it, _ := ttlv.Parse(bytes.Clone(w.Bytes()))
	w.Reset(nil)
	w.ItemAs(kmip14.TagAttributeValue, it)
	w.ItemAs(kmip14.TagAttributeValue, ttlv.Item{})
	var want ttlv.Writer
	want.TextString(kmip14.TagAttributeValue, "abc")
	if diff := cmp.Diff(want.Bytes(), w.Bytes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if it.Tag() != kmip14.TagUniqueIdentifier {
		t.Error("ItemAs wrote to its source")
	}
}

// Memory that a Writer grows out of is out of its owner's reach, and may hold a
// key.
func TestWriterClearsWhatItGrowsOutOf(t *testing.T) {
	const planted = "planted-key-material"
	for name, more := range map[string]func(w *ttlv.Writer){
		"text":      func(w *ttlv.Writer) { w.TextString(compromise, strings.Repeat("x", 300)) },
		"integer":   func(w *ttlv.Writer) { w.Integer(compromise, 1) },
		"structure": func(w *ttlv.Writer) { w.End(w.Begin(compromise)) },
		"big":       func(w *ttlv.Writer) { w.BigInteger(compromise, []byte{0x80}) },
		"raw":       func(w *ttlv.Writer) { w.Raw(make([]byte, 16)) },
	} {
		old := make([]byte, 0, 32)
		w := ttlv.NewWriter(old)
		w.ByteString(compromise, []byte(planted))
		if got := old[:cap(old)]; !bytes.Contains(got, []byte(planted)) {
			t.Fatalf("%s: the test's buffer was not used", name)
		}
		more(w)
		if bytes.Contains(old[:cap(old)], []byte(planted[:4])) {
			t.Errorf("%s: the old memory still holds the material", name)
		}
		if it, err := ttlv.Parse(w.Bytes()); err != nil || string(it.Value()) != planted {
			t.Errorf("%s: the material was lost: %v", name, err)
		}
	}
}

func TestTypeNames(t *testing.T) {
	if got := ttlv.DateTime.String() + ", " + ttlv.Type(0).String() + ", " + ttlv.Type(11).String(); got != "Date-Time, type 0x00, type 0x0b" {
		t.Error(got)
	}
	err := (&ttlv.TypeError{Tag: kmip14.TagState, Got: ttlv.Integer, Want: ttlv.Enumeration}).Error()
	if err != "State is Integer, expected Enumeration" {
		t.Error(err)
	}
}
