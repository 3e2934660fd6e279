package adminserver

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/admin"
)

// Every row says who may, what it does, and takes what can be read.
func TestRoutesAreWhole(t *testing.T) {
	for _, r := range routes() {
		where := r.method + " " + r.path
		if r.may&owners == 0 || r.summary == "" || !strings.HasPrefix(r.path, "/v1/") {
			t.Errorf("%s: the owner may everything, and a row has a summary and a version", where)
		}
		if r.request.Kind() != reflect.Struct {
			t.Errorf("%s takes a %s; want a struct", where, r.request)
			continue
		}
		for _, f := range fieldsOf(r.request) {
			if _, isTime := reflect.Zero(f.Type).Interface().(time.Time); r.method == "GET" && f.Type.Kind() == reflect.Struct && !isTime {
				t.Errorf("%s: %s cannot be given in a query", where, f.name)
			}
		}
	}
}

func TestAccess(t *testing.T) {
	for may, want := range map[access]string{
		owners: "owner", operators: "operator owner", viewers: "operator owner viewer",
		viewers | agents: "agent operator owner viewer", operators | agents: "agent operator owner",
	} {
		if got := strings.Join(rolesOf(may), " "); got != want {
			t.Errorf("%b: %s, want %s", may, got, want)
		}
	}
	if viewers.allows("") || viewers.allows("root") {
		t.Error("a role that is none may something")
	}
}

type question struct {
	Text  string    `json:"text,omitempty"`
	Yes   bool      `json:"yes,omitempty"`
	N     int       `json:"n,omitempty"`
	U     uint64    `json:"u,omitempty"`
	After time.Time `json:"after,omitzero"`
	Many  []string  `json:"many,omitempty"`
}

func TestQueryOf(t *testing.T) {
	got, err := queryOf[question](httptest.NewRequest("GET", "/?text=a%26b&yes=true&n=-3&u=7&after=2026-11-26T14:00:00Z&many=x&many=y", nil))
	if err != nil {
		t.Fatal(err)
	}
	want := question{"a&b", true, -3, 7, time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC), []string{"x", "y"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"surprise=1", "n=x", "n=99999999999999999999", "u=-1", "yes=perhaps", "after=yesterday", "text=a&text=b", "%zz", "a;b"} {
		_, err := queryOf[question](httptest.NewRequest("GET", "/?"+strings.ReplaceAll(bad, " ", "+"), nil))
		var e *admin.Error
		if !errors.As(err, &e) || e.Code != admin.CodeBadRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Each line leaves when it is told; an error after the first is the last line,
// and the context ends when the server stops.
func TestLinesRoute(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	s := &Server{stopping: stopping}
	after := 0
	row := lines("/v1/x", viewers, "x", func(_ *Server, ctx context.Context, _ *call, _ none, tell func(question) error) error {
		for n := range after {
			if err := tell(question{N: n + 1}); err != nil {
				return err
			}
		}
		stop()
		<-ctx.Done()
		return &admin.Error{Code: admin.CodeFailed, Message: "stopped"}
	})
	for want := range map[string]bool{"": true, "{\"n\":1}\n{\"n\":2}\n{\"error\":{\"code\":\"failed\",\"message\":\"stopped\"}}\n": true} {
		after = strings.Count(want, "n\":")
		w := httptest.NewRecorder()
		err := row.serve(s, w, &call{http: httptest.NewRequest("GET", "/v1/x", nil)})
		if got := w.Body.String(); got != want || (err != nil) != (after == 0) {
			t.Errorf("after %d lines: %q, %v", after, got, err)
		}
	}
}
