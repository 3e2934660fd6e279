package keystore

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/keyreeve/keyreeve/audit"
)

// A Batch is a message on its way through the store. It is used by one
// goroutine, and valid until Run returns.
type Batch struct {
	tx      Tx
	work    Work
	message uint64 // number of the message, for the journal
	item    uint32
	full    bool // the disk is: only urgent changes
	viewFn  func(kv KV) error

	events  []audit.Event
	durable bool // there is a release or a change among the events
	intent  bool // there is a change among the events
	urgent  bool
	start   mark
}

// Now is the store's clock for this message, in seconds.
func (b *Batch) Now() int64 { return b.tx.now }

// begin makes b ready to run the message's work on kv. h is nil in a view.
func (b *Batch) begin(kv KV, h *head, now int64) {
	b.tx.kv, b.tx.head, b.tx.now = kv, h, now
	b.tx.promote, b.tx.fatal = false, nil
	b.tx.undo, b.tx.wrote = b.tx.undo[:0], 0
	b.item, b.durable, b.intent, b.urgent = 0, false, false, false
	b.events = b.events[:0]
	b.start = b.tx.mark()
}

// run runs the work. Whatever happens to it, nothing of it is left if it fails.
func (b *Batch) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = b.tx.store.panicked(p)
		}
		if err != nil {
			b.tx.end()
			b.tx.rollback(b.start)
			b.drop(err)
		}
	}()
	return b.work.Run(b)
}

// drop turns what was recorded as done into what was not.
func (b *Batch) drop(err error) {
	for i := range b.events {
		if e := &b.events[i]; e.Outcome == audit.Success {
			e.Outcome, e.Reason = audit.Failure, "dropped with its message: "+publicReason(err)
		}
	}
	b.durable, b.intent = false, false
}

// Do runs one item: it stages what Apply writes, and records it. If Apply
// fails, what it wrote is dropped, the failure or denial is recorded, and
// Apply's error is returned. A panic in Apply becomes ErrInternal.
//
// A change that is not urgent gets ErrDiskFull while the disk is too full, and
// so does a release that makes an object.
func (b *Batch) Do(op *Op, a Action) error {
	tx := &b.tx
	b.item++
	if tx.promote { // this run does not count
		return ErrReadOnly
	}
	if tx.fatal != nil {
		return tx.fatal
	}
	before := tx.mark()
	tx.op = op
	err := b.apply(op, a)
	if err == nil && b.grown(op, before) {
		err = tx.store.diskFull()
	}
	if tx.promote {
		tx.end()
		return ErrReadOnly
	}
	if err != nil {
		tx.rollback(before)
	}
	b.record(op, err)
	tx.end()
	return err
}

// grown tells whether an item has made an object although the disk is full. Not
// only changes can: a Locate may make the key that it finds, again and again,
// and would so use up what is held back for Revoke. A release that only notes
// that it was one goes on: a machine may wait for its key.
func (b *Batch) grown(op *Op, before mark) bool {
	return b.full && !op.Urgent && b.tx.head != nil && b.tx.head.objects > before.head.objects
}

func (b *Batch) apply(op *Op, a Action) (err error) {
	if b.full && op.Class == OpChange && !op.Urgent {
		return b.tx.store.diskFull()
	}
	defer func() {
		if p := recover(); p != nil {
			err = b.tx.store.panicked(p)
		}
	}()
	if err := a.Apply(&b.tx); err != nil {
		return err
	}
	return b.tx.fatal // an Apply that swallows a failed write does not make it good
}

// panicked turns a panic into an error. What was thrown stays out of the log:
// it could be an object.
func (s *Store) panicked(p any) error {
	if fault, ok := p.(interface{ Addr() uintptr }); ok { // a mapped file became unreadable
		return fmt.Errorf("%w: reading at address %#x failed", ErrCorrupt, fault.Addr())
	}
	s.cfg.Logger.Error("keystore: panic in an operation", slog.String("type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
	return ErrInternal
}

// record notes the item's outcome for the journal: one event for each object
// that was changed, or else read; one without object if there was none.
func (b *Batch) record(op *Op, err error) {
	tx := &b.tx
	outcome := outcomeOf(err, tx.refused)
	tx.store.cfg.Metrics.item(op.Name, outcome)
	if op.Class == OpNone && len(tx.changed) == 0 {
		return
	}
	e := audit.Event{
		Time: b.eventTime(), Class: classOf(op, tx.principal, outcome), Outcome: outcome,
		Message: b.message, Item: b.item, Operation: op.Name,
		Client: tx.principal.Client, User: tx.principal.User, Group: tx.principal.Group, Remote: tx.principal.Remote,
		Reason: tx.reason,
	}
	if err != nil {
		e.Reason = publicReason(err)
		if tx.refused != "" {
			e.Reason = tx.refused
		}
	}
	about := tx.touched
	if len(tx.changed) > 0 && err == nil {
		about = tx.changed
	}
	if len(about) == 0 {
		b.events = append(b.events, e)
	}
	for i, uid := range about {
		if contains(about[:i], uid) {
			continue
		}
		e.HasObject, e.Object = true, uid
		b.events = append(b.events, e)
	}
	if err == nil {
		b.durable = b.durable || op.Class >= OpRelease || len(tx.changed) > 0
		b.intent = b.intent || op.Class == OpChange
		b.urgent = b.urgent || op.Urgent
	}
}

func contains(uids []UID, uid UID) bool {
	for _, u := range uids {
		if u == uid {
			return true
		}
	}
	return false
}

// eventTime is the store's clock with the nanoseconds of now: what the journal
// has seen raises the clock at the next Open.
func (b *Batch) eventTime() int64 {
	return max(b.tx.now*1e9, b.tx.store.cfg.Now().UnixNano())
}

func outcomeOf(err error, refused string) audit.Outcome {
	switch {
	case err == nil:
		return audit.Success
	case refused != "" || errors.Is(err, ErrPermission):
		return audit.Denied
	}
	return audit.Failure
}

func classOf(op *Op, p *Principal, outcome audit.Outcome) audit.Class {
	switch {
	case outcome == audit.Denied:
		return audit.Denial
	case op.Class == OpChange && p.Admin:
		return audit.Admin
	case op.Class == OpChange:
		return audit.Change
	case op.Class == OpRelease:
		return audit.Release
	}
	return audit.Observation
}

// known are the errors whose text is ours: words and states, never material.
var known = [...]error{
	ErrNotFound, ErrPermission, ErrNameTaken, ErrDestroyed, ErrState, ErrInvalid, ErrStale,
	ErrInUse, ErrReport, ErrInternal, ErrReadOnly, ErrCorrupt, ErrDiskFull, ErrAudit, ErrClosed,
}

// publicReason is what the journal says of an error. Errors of others are not
// quoted: P3 must not hang on every parser's choice of words.
func publicReason(err error) string {
	for _, k := range known {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	return "the operation failed"
}
