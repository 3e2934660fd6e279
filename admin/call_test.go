package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

type filter struct {
	Text  string    `json:"text,omitempty"`
	N     uint64    `json:"n,omitempty"`
	Yes   bool      `json:"yes,omitempty"`
	After time.Time `json:"after,omitzero"`
	Many  []string  `json:"many,omitempty"`
}

func TestWithQuery(t *testing.T) {
	for want, q := range map[string]filter{
		"/p":                                {},
		"/p?text=a%26b%3D%C3%A9":            {Text: "a&b=é"},
		"/p?n=18446744073709551615":         {N: 1<<64 - 1}, // a float would round it
		"/p?many=x&many=y%2Cz&yes=true":     {Many: []string{"x", "y,z"}, Yes: true},
		"/p?after=2026-11-26T14%3A00%3A00Z": {After: time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC)},
	} {
		if got, err := withQuery("/p", q); err != nil || got != want {
			t.Errorf("%+v: %s, %v; want %s", q, got, err, want)
		}
	}
}

// Lines come one by one; an error at the end is an error, and so is a cut.
func TestLines(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []int
		err  bool
		code Code
	}{
		"none":   {"", nil, false, ""},
		"two":    {"{\"n\":1}\n{\"n\":2}\n", []int{1, 2}, false, ""},
		"failed": {"{\"n\":1}\n{\"error\":{\"code\":\"damaged\",\"message\":\"gone\"}}\n", []int{1}, true, CodeDamaged},
		"cut":    {"{\"n\":1}\n{\"n\":", []int{1}, true, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tc.body) }))
		var got []int
		err := lines(t.Context(), &Client{http: server.Client(), base: server.URL}, "/", func(v struct{ N int }) error {
			got = append(got, v.N)
			return nil
		})
		var e *Error
		if errors.As(err, &e) != (tc.code != "") || e != nil && e.Code != tc.code || (err != nil) != tc.err || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		server.Close()
	}
}
