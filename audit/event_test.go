package audit_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/audit"
)

var entries = map[string]audit.Event{
	"zero":           {},
	"full":           full(1),
	"negative time":  {Time: -1, Class: audit.Note},
	"item only":      {Item: 1},
	"message only":   {Message: 1<<64 - 1},
	"zero object":    {HasObject: true},
	"empty, invalid": {Client: "\xff\x00\x80", Reason: "\n"},
	"longest":        {Operation: long, Client: long, User: long, Group: long, Remote: long, Reason: long, HasObject: true, Message: 1 << 63, Item: 1<<32 - 1},
	"unknown class":  {Class: 200, Outcome: 200},
}

var long = strings.Repeat("x", audit.MaxString)

func TestEntryRoundTrip(t *testing.T) {
	for name, want := range entries {
		b := audit.AppendEntry([]byte("before"), &want)[len("before"):]
		got, rest, err := audit.DecodeEntry(append(b, "after"...))
		if err != nil || string(rest) != "after" {
			t.Errorf("%s: rest %q, %v", name, rest, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A field that is added to Event and not to the entry would be lost without a word.
func TestEveryFieldIsStored(t *testing.T) {
	typ := reflect.TypeFor[audit.Event]()
	for i := range typ.NumField() {
		var e audit.Event
		e.HasObject = true // Object counts only with it
		v := reflect.ValueOf(&e).Elem().Field(i)
		switch v.Kind() {
		case reflect.String:
			v.SetString("s")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Array:
			v.Index(0).SetUint(1)
		case reflect.Int64:
			v.SetInt(1)
		default:
			v.SetUint(1)
		}
		got, _, err := audit.DecodeEntry(audit.AppendEntry(nil, &e))
		if err != nil || got != e {
			t.Errorf("%s: %+v, %v; want %+v", typ.Field(i).Name, got, err, e)
		}
	}
}

func TestLongStringsAreCutAtACharacter(t *testing.T) {
	for name, s := range map[string]string{
		"ascii":   strings.Repeat("a", audit.MaxString+1),
		"umlauts": "a" + strings.Repeat("ü", audit.MaxString),
		"emoji":   "ab" + strings.Repeat("🗝", audit.MaxString),
		"invalid": strings.Repeat("\x80", 2*audit.MaxString),
	} {
		e := audit.Event{User: s}
		got, _, err := audit.DecodeEntry(audit.AppendEntry(nil, &e))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(got.User); n > audit.MaxString || n < audit.MaxString-utf8.UTFMax || !strings.HasPrefix(s, got.User) {
			t.Errorf("%s: cut to %d bytes", name, n)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got.User) {
			t.Errorf("%s: a character was split", name)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		audit.Change.String(): "change", audit.Note.String(): "note", audit.Class(0).String(): "class(0)", audit.Class(77).String(): "class(77)",
		audit.Denied.String(): "denied", audit.Outcome(0).String(): "outcome(0)", audit.Outcome(9).String(): "outcome(9)",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The decoder takes what the encoder writes and nothing else, and never panics.
func FuzzEntry(f *testing.F) {
	for _, e := range entries {
		b := audit.AppendEntry(nil, &e)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, 0))
	}
	f.Add([]byte{0, 20, 1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0x00, 1, 0, 0, 0, 0, 0}) // a number in a longer form
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := audit.DecodeEntry(b)
		if err != nil {
			return
		}
		if again := audit.AppendEntry(nil, &e); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Errorf("%x decodes to what encodes as %x", b[:len(b)-len(rest)], again)
		}
	})
}
