package adminserver_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/admin"
)

// The whole journal in pages: each event once, in order, and the read itself among what comes next.
func TestReadJournalInPages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		if _, err := w.client.Keys(t.Context(), admin.KeyQuery{}); err != nil {
			t.Fatal(err)
		}
	}
	must(t, w.journal.Flush())
	last := uint64(0)
	for {
		page, err := w.client.Audit(t.Context(), admin.AuditQuery{After: last, Limit: 3})
		must(t, err)
		if len(page.Events) > 3 || page.End < page.Next || page.Begins != 0 || len(page.Hash) != 64 {
			t.Fatalf("%+v", page)
		}
		for _, e := range page.Events {
			if last++; e.Seq != last || e.Time.IsZero() || e.Operation == "" || e.Outcome == "" {
				t.Errorf("after %d: %+v", last-1, e)
			}
		}
		if page.Next != last {
			t.Errorf("next is %d, the last event was %d", page.Next, last)
		}
		if len(page.Events) == 0 {
			break
		}
	}
	if last < 6 {
		t.Errorf("only %d events", last)
	}
	must(t, w.journal.Flush())
	page, err := w.client.Audit(t.Context(), admin.AuditQuery{After: last})
	must(t, err)
	if len(page.Events) == 0 || page.Events[0].Operation != "Read Journal" || page.Events[0].User == "" {
		t.Errorf("who has read it: %+v", page.Events)
	}
}

func TestReadJournalRefusesWhatItCannotAnswer(t *testing.T) {
	w := newWorld(t)
	for _, q := range []admin.AuditQuery{{Limit: -1}, {Limit: 10001}} {
		_, err := w.client.Audit(t.Context(), q)
		var e *admin.Error
		if !errors.As(err, &e) || e.Code != admin.CodeBadRequest || !strings.Contains(e.Message, "limit") {
			t.Errorf("%+v: got %v", q, err)
		}
	}
}
