package claim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func written(agent, host string, until time.Time) string {
	return Holder{Agent: agent, Host: host, Until: until}.text()
}

func TestJudge(t *testing.T) {
	later, past := noon.Add(time.Minute), noon.Add(-time.Minute)
	for _, tc := range []struct {
		name   string
		defs   []def
		waited []int32
		over   bool
		taken  string
		wait   []int32
		remove []int32
	}{
		{name: "nobody"},
		{name: "another", defs: []def{{1, written("b", "h", later)}}, taken: "h (agent b)"},
		{name: "another's has ended", defs: []def{{1, written("b", "h", past)}}, remove: []int32{1}},
		{name: "another's ends now", defs: []def{{1, written("b", "h", noon)}}, remove: []int32{1}},
		{name: "ours, of before", defs: []def{{1, written("a", "me", later)}}, remove: []int32{1}},
		{name: "a copy of ours elsewhere", defs: []def{{1, written("a", "h", later)}}, taken: "h (agent a)"},
		{name: "without a word", defs: []def{{key: 1}}, wait: []int32{1}},
		{name: "still without", defs: []def{{key: 1}}, waited: []int32{1}, remove: []int32{1}},
		{name: "another without a word", defs: []def{{key: 2}}, waited: []int32{1}, wait: []int32{2}},
		{name: "a person's word", defs: []def{{1, "leave it alone"}}, taken: `whoever wrote "leave it alone"`},
		{name: "ours without an end", defs: []def{{1, `{"agent":"a","host":"me"}`}}, taken: `whoever wrote "{\"agent\":\"a\",\"host\":\"me\"}"`},
		{name: "taken over", defs: []def{{1, written("b", "h", later)}, {2, "word"}, {key: 3}}, over: true, remove: []int32{1, 2, 3}},
		{name: "two, one of which has ended", defs: []def{{1, written("b", "h", past)}, {2, written("c", "h", later)}}, taken: "h (agent c)", remove: []int32{1}},
	} {
		d := judge(tc.defs, Holder{Agent: "a", Host: "me"}, noon, tc.waited, tc.over)
		taken := ""
		if d.taken != nil {
			taken = d.taken.String()
		}
		if taken != tc.taken || !slices.Equal(d.wait, tc.wait) || !slices.Equal(d.remove, tc.remove) {
			t.Errorf("%s: taken by %q, wait %v, remove %v", tc.name, taken, d.wait, d.remove)
		}
	}
}

// vCenter refuses values of more than 255 characters; an agent with a long host
// name would never be active.
func TestValuesAreShort(t *testing.T) {
	c := New(Config{Agent: "01234567-89ab-cdef-0123-456789abcdef", Host: strings.Repeat("é", 200)})
	h := c.self()
	h.Until = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	if text := h.text(); len(text) > 255 || !c.Is(*def{1, text}.holder()) {
		t.Errorf("%d: %s", len(text), text)
	}
}
