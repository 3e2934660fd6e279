package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/secret"
)

const planted = "planted-key-material-0123456789a"

// forms are the shapes in which the planted material could show up in output.
var forms = []string{
	planted,
	planted[:8],
	hex.EncodeToString([]byte(planted))[:16],
	strings.ToUpper(hex.EncodeToString([]byte(planted))[:16]),
	base64.StdEncoding.EncodeToString([]byte(planted))[:12],
	strings.Trim(fmt.Sprint([]byte(planted[:6])), "[]"),
	strings.Trim(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(planted[:4])), "[]byte{"), "}"),
}

func mustNotLeak(t *testing.T, where, out string) {
	t.Helper()
	for _, f := range forms {
		if strings.Contains(out, f) {
			t.Errorf("%s shows the material: %q", where, out)
		}
	}
}

type holder struct {
	Exported   *secret.Bytes
	Value      secret.Bytes
	unexported *secret.Bytes
	value      secret.Bytes
}

func newHolder() holder {
	b := func() *secret.Bytes { return secret.Own([]byte(planted)) }
	return holder{Exported: b(), Value: *b(), unexported: b(), value: *b()}
}

func TestFmtVerbsRedact(t *testing.T) {
	b := secret.Own([]byte(planted))
	for _, verb := range strings.Split("v +v #v s q x X #x d b o c U e f g t p T 40v -3s", " ") {
		for name, arg := range map[string]any{"pointer": b, "value": *b} {
			out := fmt.Sprintf("%"+verb, arg)
			mustNotLeak(t, name+" %"+verb, out)
			if verb != "p" && verb != "T" && out != secret.Redacted {
				t.Errorf("%s %%%s = %q, want %q", name, verb, out, secret.Redacted)
			}
		}
	}
}

func TestStructsAroundItRedact(t *testing.T) {
	h := newHolder()
	for _, verb := range []string{"v", "+v", "#v", "s", "x", "q", "d"} {
		for name, arg := range map[string]any{
			"struct": h, "pointer": &h, "slice": []holder{h}, "map": map[string]holder{"k": h}, "any": []any{h.Value, h.Exported},
		} {
			mustNotLeak(t, name+" %"+verb, fmt.Sprintf("%"+verb, arg))
		}
	}
	mustNotLeak(t, "error", fmt.Errorf("opening: %v %w", h, errors.New("x")).Error())
	if h.unexported.Len() != len(planted) || h.value.Len() != len(planted) {
		t.Error("the holder lost its material: the test proves nothing")
	}
}

func TestEncodersRedact(t *testing.T) {
	h := newHolder()
	type public struct {
		Exported *secret.Bytes
		Value    secret.Bytes
	}
	p := public{h.Exported, h.Value}
	for name, marshal := range map[string]func(any) ([]byte, error){"json": json.Marshal, "xml": xml.Marshal, "yaml": yaml.Marshal} {
		out, err := marshal(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustNotLeak(t, name, string(out))
		if n := strings.Count(string(out), secret.Redacted); n != 2 {
			t.Errorf("%s shows %q %d times, want 2: %s", name, secret.Redacted, n, out)
		}
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(p); !errors.Is(err, secret.ErrNotEncodable) {
		t.Errorf("gob: got error %v, want ErrNotEncodable", err)
	}
	mustNotLeak(t, "gob", buf.String())
	if _, err := p.Exported.MarshalBinary(); !errors.Is(err, secret.ErrNotEncodable) {
		t.Errorf("binary: got error %v, want ErrNotEncodable", err)
	}
}

func TestSlogRedacts(t *testing.T) {
	b := secret.Own([]byte(planted))
	var buf bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
		slog.New(h).Info("m", "pointer", b, "value", *b, "group", slog.GroupValue(slog.Any("k", b)), "struct", newHolder())
	}
	mustNotLeak(t, "slog", buf.String())
	if n := strings.Count(buf.String(), secret.Redacted); n < 6 {
		t.Errorf("slog shows %q %d times, want at least 6: %s", secret.Redacted, n, buf.String())
	}
}

func TestClearZeroesAllThatIsOwned(t *testing.T) {
	raw := append(make([]byte, 0, 64), planted...)
	tail := raw[:cap(raw)]
	copy(tail[len(raw):], planted)
	b := secret.Own(raw)
	clone := b.Clone()
	b.Clear()
	b.Clear()
	if diff := cmp.Diff(make([]byte, 64), tail); diff != "" {
		t.Errorf("after Clear (-want +got):\n%s", diff)
	}
	if got := b.Expose(); got != nil {
		t.Errorf("Expose after Clear = %d bytes, want nil", len(got))
	}
	if string(clone.Expose()) != planted {
		t.Error("Clear reached the clone")
	}
}

func TestNilAndZeroValue(t *testing.T) {
	for name, b := range map[string]*secret.Bytes{"nil": nil, "zero": {}} {
		b.Clear()
		if b.Expose() != nil || b.Len() != 0 {
			t.Errorf("%s: not empty", name)
		}
		if c := b.Clone(); c.Len() != 0 {
			t.Errorf("%s: clone not empty", name)
		}
		if !b.Equal(secret.New(0)) {
			t.Errorf("%s: not equal to empty", name)
		}
	}
}

func TestEqual(t *testing.T) {
	a := secret.Own([]byte(planted))
	for _, tc := range []struct {
		other string
		want  bool
	}{{planted, true}, {planted[1:], false}, {"", false}, {"Q" + planted[1:], false}} {
		if got := a.Equal(secret.Own([]byte(tc.other))); got != tc.want {
			t.Errorf("Equal(%q) = %v, want %v", tc.other, got, tc.want)
		}
	}
}

func TestClearSliceLeavesNeighbours(t *testing.T) {
	b := []byte("abcdef")
	secret.Clear(b[1:3])
	if diff := cmp.Diff([]byte("a\x00\x00def"), b); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
