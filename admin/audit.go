package admin

import (
	"context"
	"net/http"
	"time"
)

// AuditQuery asks for a page of the journal.
type AuditQuery struct {
	After uint64 `json:"after,omitempty"` // the last sequence that is known already; 0: from the oldest on
	Limit int    `json:"limit,omitempty"` // events at most, 1 to 10,000; 0 means 1,000
}

// AuditEvent is one event of the journal; docs/audit.md says what the fields
// mean.
type AuditEvent struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Class     string    `json:"class"`
	Operation string    `json:"operation"`
	Outcome   string    `json:"outcome"`
	Object    string    `json:"object,omitempty"`
	Client    string    `json:"client,omitempty"`
	User      string    `json:"user,omitempty"`
	Group     string    `json:"group,omitempty"`
	Remote    string    `json:"remote,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Message   string    `json:"message,omitempty"`
	Item      uint32    `json:"item,omitempty"`
}

// AuditPage is a page of the journal, oldest event first.
type AuditPage struct {
	Events []AuditEvent `json:"events"`
	Next   uint64       `json:"next"`   // what to ask for next as After; the same as before when there is nothing new
	Begins uint64       `json:"begins"` // events up to this one are archived
	End    uint64       `json:"end"`    // the newest sequence
	Hash   string       `json:"hash"`   // of the chain after End
	Signed uint64       `json:"signed"` // the sequence of the newest checkpoint
}

// Audit returns a page of the journal.
func (c *Client) Audit(ctx context.Context, query AuditQuery) (page AuditPage, err error) {
	path, err := withQuery("/v1/audit", query)
	if err != nil {
		return page, err
	}
	return call[AuditPage](ctx, c, http.MethodGet, path, nil)
}
