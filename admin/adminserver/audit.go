package adminserver

import (
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
)

const (
	auditPage    = 1000
	maxAuditPage = 10000
)

// Reading the journal is itself worth a record: whoever follows it with pages
// leaves one for each.
var opReadJournal = keystore.Op{Name: "Read Journal", Class: keystore.OpObserve}

// readJournal answers with events that are durable, and no others.
func (s *Server) readJournal(c *call, q admin.AuditQuery) (page admin.AuditPage, err error) {
	limit := q.Limit
	if limit == 0 {
		limit = auditPage
	}
	if limit < 1 || limit > maxAuditPage {
		return page, badRequest("limit %d is not between 1 and %d", limit, maxAuditPage)
	}
	j := s.cfg.Journal
	end := j.End()
	page = admin.AuditPage{
		Events: []admin.AuditEvent{}, Next: q.After, Begins: j.Base().Seq,
		End: end.Seq, Hash: hex.EncodeToString(end.Hash[:]), Signed: j.Signed().Seq,
	}
	err = j.Since(q.After, func(seq uint64, e audit.Event) error {
		if len(page.Events) == limit || seq > end.Seq {
			return errPageFull
		}
		page.Events, page.Next = append(page.Events, auditEvent(seq, &e)), seq
		return nil
	})
	switch {
	case errors.Is(err, audit.ErrArchived):
		return page, badRequest("events up to sequence %d are archived; ask for what is after that, or read the archive", page.Begins)
	case err != nil && !errors.Is(err, errPageFull):
		return page, err
	}
	return page, do(c.context(), s.cfg.Store, c.by, &opReadJournal, func(*keystore.Tx) error { return nil })
}

var errPageFull = errors.New("the page is full")

func auditEvent(seq uint64, e *audit.Event) admin.AuditEvent {
	l := audit.EventLine(seq, e)
	out := admin.AuditEvent{
		Seq: seq, Time: *l.Time, Class: l.Class, Operation: l.Operation, Outcome: l.Outcome, Object: l.Object,
		Client: l.Client, User: l.User, Group: l.Group, Remote: l.Remote, Reason: l.Reason, Item: l.Item,
	}
	if l.Message != 0 {
		out.Message = strconv.FormatUint(l.Message, 10)
	}
	return out
}
