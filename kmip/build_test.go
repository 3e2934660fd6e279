package kmip_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The builders below write single items, so that tests can put together what
// the package itself would never write.

type item = []byte

func built(write func(w *ttlv.Writer)) item {
	var w ttlv.Writer
	write(&w)
	return w.Bytes()
}

func st(tag ttlv.Tag, kids ...item) item {
	return built(func(w *ttlv.Writer) {
		m := w.Begin(tag)
		w.Raw(bytes.Join(kids, nil))
		w.End(m)
	})
}

func in(tag ttlv.Tag, v int32) item  { return built(func(w *ttlv.Writer) { w.Integer(tag, v) }) }
func li(tag ttlv.Tag, v int64) item  { return built(func(w *ttlv.Writer) { w.LongInteger(tag, v) }) }
func en(tag ttlv.Tag, v uint32) item { return built(func(w *ttlv.Writer) { w.Enumeration(tag, v) }) }
func tx(tag ttlv.Tag, v string) item { return built(func(w *ttlv.Writer) { w.TextString(tag, v) }) }
func bs(tag ttlv.Tag, v string) item {
	return built(func(w *ttlv.Writer) { w.ByteString(tag, []byte(v)) })
}
func bo(tag ttlv.Tag, v bool) item   { return built(func(w *ttlv.Writer) { w.Boolean(tag, v) }) }
func da(tag ttlv.Tag, v int64) item  { return built(func(w *ttlv.Writer) { w.DateTime(tag, v) }) }
func iv(tag ttlv.Tag, v uint32) item { return built(func(w *ttlv.Writer) { w.Interval(tag, v) }) }

func protocol(major, minor int32) item {
	return st(kmip14.TagProtocolVersion, in(kmip14.TagProtocolVersionMajor, major), in(kmip14.TagProtocolVersionMinor, minor))
}

// parsed returns the item that raw holds, which must pass Check.
func parsed(t testing.TB, raw []byte) ttlv.Item {
	t.Helper()
	if err := ttlv.Check(raw, ttlv.Limits{}); err != nil {
		t.Fatalf("the test's own bytes: %v", err)
	}
	it, err := ttlv.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// sameValue compares by what is on the wire; a slice that was emptied and kept
// is the same as none.
var sameValue = cmp.Options{
	cmp.Comparer(func(a, b ttlv.Item) bool { return bytes.Equal(a.Raw(), b.Raw()) }),
	cmpopts.EquateEmpty(),
}

// wantError holds an error to the reason that the peer would be told.
func wantError(t *testing.T, err error, reason kmip14.ResultReason, text string) {
	t.Helper()
	var e *kmip.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *kmip.Error with %v", err, err, reason)
	}
	if e.Reason != reason || !strings.Contains(e.Message, text) {
		t.Errorf("error %v %q, want %v with %q", e.Reason, e.Message, reason, text)
	}
}

const (
	invalidMessage = kmip14.ResultReasonInvalidMessage
	invalidField   = kmip14.ResultReasonInvalidField
	missingData    = kmip14.ResultReasonMissingData
)
