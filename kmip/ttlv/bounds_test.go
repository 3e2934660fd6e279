package ttlv_test

import (
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// message returns a well-formed structure of about n bytes: attributes, the
// kind of thing of which there is most in a real message.
func message(n int) []byte {
	var w ttlv.Writer
	m := w.Begin(kmip14.TagTemplateAttribute)
	for w.Len() < n {
		a := w.Begin(kmip14.TagAttribute)
		w.TextString(kmip14.TagAttributeName, "Cryptographic Algorithm")
		w.Enumeration(kmip14.TagAttributeValue, 3)
		w.End(a)
	}
	w.End(m)
	return w.Bytes()
}

// best returns the shortest of several runs, which is what the machine can do
// when nobody disturbs it.
func best(run func()) time.Duration {
	shortest := time.Duration(1<<63 - 1)
	for range 7 {
		start := time.Now()
		run()
		shortest = min(shortest, time.Since(start))
	}
	return shortest
}

// Sixteen messages, and one of sixteen times the bytes, should take as long. A
// walk that is quadratic takes sixteen times as long for the one. Both are timed
// over as long a time, so that a busy machine disturbs them alike.
func TestCheckIsLinear(t *testing.T) {
	small, large := message(64<<10), message(1<<20)
	lim := ttlv.Limits{Items: 1 << 20}
	check := func(b []byte, times int) func() {
		return func() {
			for range times {
				if err := ttlv.Check(b, lim); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if many, one := best(check(small, 16)), best(check(large, 1)); one > 4*many {
		t.Errorf("16 times 64 KiB took %v, 1 MiB %v", many, one)
	}
}

// Thirty empty structures inside each other cost the library that others use
// minutes, and a length claim of 1 GiB costs it the memory.
func TestBombsAreRefusedAtOnce(t *testing.T) {
	deep := nested(30)
	if len(deep) != 240 {
		t.Fatalf("the bomb has %d bytes", len(deep))
	}
	claim := []byte{0x42, 0, 0x78, 1, 0x40, 0, 0, 0, 0x42, 0, 0x77, 1, 0x3f, 0xff, 0xff, 0xf0}
	if d := best(func() { _ = ttlv.Check(deep, ttlv.Limits{}) }); d > 10*time.Millisecond {
		t.Errorf("the nested bomb took %v", d)
	}
	if d := best(func() {
		if ttlv.Check(claim, ttlv.Limits{}) == nil {
			t.Fatal("a claim of 1 GiB was accepted")
		}
	}); d > 10*time.Millisecond {
		t.Errorf("the claim of 1 GiB took %v", d)
	}
	if n := testing.AllocsPerRun(20, func() { _ = ttlv.Check(claim, ttlv.Limits{}) }); n > 8 {
		t.Errorf("refusing a claim of 1 GiB took %v allocations", n)
	}
}

func TestReadingAndWritingAllocateNothing(t *testing.T) {
	b := message(4 << 10)
	buf := make([]byte, 0, len(b)+64)
	var w ttlv.Writer
	if n := testing.AllocsPerRun(100, func() {
		if err := ttlv.Check(b, ttlv.Limits{}); err != nil {
			t.Fatal(err)
		}
		it, _ := ttlv.Parse(b)
		r, _ := it.Items()
		w.Reset(buf)
		m := w.Begin(it.Tag())
		for a, ok := r.Next(); ok; a, ok = r.Next() {
			w.Item(a)
		}
		w.End(m)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if string(w.Bytes()) != string(b) {
		t.Error("the copy differs")
	}
}

func BenchmarkCheck(b *testing.B) {
	msg := message(1 << 10)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ttlv.Check(msg, ttlv.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
