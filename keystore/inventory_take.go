package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The operations of an inventory. Taking one goes on when the disk is full:
// what it says keeps keys from being destroyed, which goes on too.
var (
	takeOp    = &Op{Name: "Take Inventory", Class: OpChange, Urgent: true}
	judgeOp   = &Op{Name: "Receive Inventory", Class: OpObserve}
	lookOp    = &Op{Name: "Look at Inventory"}
	releaseOp = &Op{Name: "Release Key", Class: OpChange, Urgent: true}
)

// takeBatch bounds the keys, and takeUses the uses, that are written in one
// transaction, so that nobody waits long for the one writer.
const (
	takeBatch = 200
	takeUses  = 2000
)

// TakeInventory takes in an agent's report. What it names is in use from here
// on; what it does not name any more is released only as judge and large say.
//
// All comparing is done on a snapshot; what has changed is then written in
// small transactions, marks that keep keys first, the report itself after them,
// releases last. So a crash in between leaves keys in use that a complete
// report has to release, and never the other way round.
//
// Errors: ErrReport says what is wrong with the report, and nothing was done.
func (s *Store) TakeInventory(ctx context.Context, p *Principal, r *InventoryReport) (Taken, error) {
	s.inventory.Lock()
	defer s.inventory.Unlock()
	t := &taking{store: s, ctx: ctx, p: p, r: r}
	taken, err := t.take()
	switch {
	case errors.Is(err, ErrReport):
		s.refusedReport(r, err)
	case err == nil && len(taken.Reasons) > 0:
		s.cfg.Metrics.report("partial")
	case err == nil:
		s.cfg.Metrics.report("complete")
	}
	return taken, err
}

// CheckInventory says whether a report with that header would be refused. Its
// entries do not matter.
func (s *Store) CheckInventory(ctx context.Context, p *Principal, r *InventoryReport) error {
	t := &taking{store: s, ctx: ctx, p: p, r: r}
	err := t.judge()
	if errors.Is(err, ErrReport) {
		s.refusedReport(r, err)
	}
	return err
}

func (s *Store) refusedReport(r *InventoryReport, err error) {
	s.cfg.Metrics.report("refused")
	s.cfg.Logger.Warn("keystore: an inventory report was refused", "vcenter", r.VCenter.String(), "agent", r.Agent, "number", r.Number, "err", err)
}

// taking is one report under way.
type taking struct {
	store *Store
	ctx   context.Context
	p     *Principal
	r     *InventoryReport

	v       vcenter // as of the last transaction
	d       verdict
	named   map[UID]*namedKey
	strange []string // named, and no identifier that a key of ours can have
	dirty   []UID    // to be written: new, or used otherwise than before
	vanish  []UID    // not named any more, and not marked yet
	ripe    []UID    // not named in two complete reports in a row
}

// namedKey is what the report says of a key.
type namedKey struct {
	uses   []KeyUse
	stored int  // pages that the store has
	same   int  // of those, pages that are as they should be
	ours   bool // of a key provider for which this store answers
}

func (t *taking) take() (taken Taken, err error) {
	if err := t.judge(); err != nil {
		return taken, err
	}
	if t.d.again {
		return Taken{Again: true, Reasons: t.v.Reasons, VCenter: t.v.VCenterInfo}, nil
	}
	t.sort()
	for _, step := range []func() error{t.compare, t.keep, t.mark, t.verify, t.accept, t.release} {
		if err := step(); err != nil {
			return taken, fmt.Errorf("taking report %d of vCenter %s: %w", t.r.Number, t.r.VCenter, err)
		}
	}
	return Taken{Reasons: t.d.reasons, VCenter: t.v.VCenterInfo}, nil
}

// sort gathers the entries by key.
func (t *taking) sort() {
	t.named = make(map[UID]*namedKey)
	for i := range t.r.Entries {
		e := &t.r.Entries[i]
		ours := slices.Contains(t.r.Providers, e.Provider)
		uid, ok := ParseUID([]byte(e.Key))
		if !ok {
			if ours && len(t.strange) < maxReportEntries {
				t.strange = append(t.strange, clean(e.Key))
			}
			continue
		}
		n := t.named[uid]
		if n == nil {
			n = &namedKey{}
			t.named[uid] = n
		}
		use := e.KeyUse
		use.clean()
		n.uses, n.ours = append(n.uses, use), n.ours || ours
	}
	for _, n := range t.named {
		slices.SortFunc(n.uses, compareUses)
		n.uses = slices.Compact(n.uses)
	}
}

func compareUses(a, b KeyUse) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	at, bt := a.texts(), b.texts()
	for i := range at {
		if c := strings.Compare(*at[i].value, *bt[i].value); c != 0 {
			return c
		}
	}
	return 0
}

// see runs fn on a snapshot.
func (t *taking) see(fn func(tx *Tx) error) error {
	return t.store.Do(t.ctx, t.p, false, workFunc(func(b *Batch) error { return b.Do(lookOp, actionFunc(fn)) }))
}

// change runs fn in a transaction that begins with the vCenter's record and
// ends with writing it; what fn leaves in v is kept if that is committed.
func (s *Store) changeVCenter(ctx context.Context, p *Principal, op *Op, id VCenterID, fn func(tx *Tx, v *vcenter) error) (kept vcenter, err error) {
	err = s.Do(ctx, p, true, workFunc(func(b *Batch) error {
		return b.Do(op, actionFunc(func(tx *Tx) error {
			if err := tx.admin(KindInventory, "-"); err != nil {
				return err
			}
			v, err := tx.vcenter(id)
			if err == nil && v == nil {
				err = unassigned(id)
			}
			if err != nil {
				return err
			}
			if err := fn(tx, v); err != nil {
				return err
			}
			kept = *v
			return tx.putVCenter(v)
		}))
	}))
	return kept, err
}

func unassigned(id VCenterID) error {
	return fmt.Errorf("%w: nobody has assigned vCenter %s to an agent; an operator does that with: keyreeve inventory assign %s --agent NAME --group GROUP", ErrReport, id, id)
}

func (t *taking) change(op *Op, fn func(tx *Tx, v *vcenter) error) (err error) {
	v, err := t.store.changeVCenter(t.ctx, t.p, op, t.r.VCenter, fn)
	if err == nil {
		t.v = v
	}
	return err
}

// judge looks at the header. A refusal is in the journal.
func (t *taking) judge() error {
	return t.store.Do(t.ctx, t.p, false, workFunc(func(b *Batch) error {
		return b.Do(judgeOp, actionFunc(func(tx *Tx) error {
			if err := tx.admin(KindInventory, "-"); err != nil {
				return err
			}
			v, err := tx.vcenter(t.r.VCenter)
			if err != nil {
				return err
			}
			if v == nil {
				err = unassigned(t.r.VCenter)
			} else {
				t.v = *v
				t.d, err = v.judge(t.r, tx.now)
			}
			if err != nil {
				tx.refused = err.Error()
			}
			return err
		}))
	}))
}

// compare finds out what has changed since the last report.
func (t *taking) compare() error { return t.see(t.walk) }

// walk goes over what the store has of this vCenter.
func (t *taking) walk(tx *Tx) error {
	run, epoch := t.v.run, t.v.epoch+1
	if t.d.broken || run == 0 {
		run = epoch
	}
	for _, n := range t.named { // a second try starts afresh
		n.stored, n.same = 0, 0
	}
	t.dirty, t.vanish, t.ripe = t.dirty[:0], t.vanish[:0], t.ripe[:0]
	var w ttlv.Writer
	err := tx.eachPage(t.r.VCenter, UID{}, func(key UID, page int, plain []byte) error {
		if n := t.named[key]; n != nil {
			n.stored++
			if w.Reset(w.Bytes()); page < pagesOf(len(n.uses)) {
				if encodeUses(&w, n.uses, page, 0); bytes.Equal(w.Bytes(), plain) {
					n.same++
				}
			}
			return nil
		}
		if page != 0 || len(t.d.reasons) > 0 { // a partial report says nothing of what it does not name
			return nil
		}
		p, err := decodeUses(plain)
		switch {
		case err != nil:
			return err
		case p.absent == 0:
			t.vanish = append(t.vanish, key)
		case released(p.absent, run, epoch):
			t.ripe = append(t.ripe, key)
		}
		return nil
	})
	for key, n := range t.named {
		if pages := pagesOf(len(n.uses)); n.same != pages || n.stored != pages {
			t.dirty = append(t.dirty, key)
		}
	}
	slices.SortFunc(t.dirty, compareUIDs) // the backend likes ascending keys
	return err
}

func compareUIDs(a, b UID) int { return bytes.Compare(a[:], b[:]) }

// inBatches calls fn with parts of the keys that fit one transaction.
func (t *taking) inBatches(keys []UID, fn func(part []UID) error) error {
	for len(keys) > 0 {
		n, uses := 0, 0
		for n < len(keys) && n < takeBatch && uses < takeUses {
			if named := t.named[keys[n]]; named != nil {
				uses += len(named.uses)
			}
			n++
		}
		if err := fn(keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// keep writes what the report names, and the store does not have so.
func (t *taking) keep() error {
	return t.inBatches(t.dirty, func(part []UID) error {
		return t.change(takeOp, func(tx *Tx, v *vcenter) error {
			for _, key := range part {
				n := t.named[key]
				added, err := tx.putUses(key, v.ID, n.uses, n.stored)
				if err != nil {
					return err
				}
				if added {
					v.Keys++
				}
			}
			return nil
		})
	})
}

// mark notes of what a complete report does not name any more with which one
// that began. A crash after this and before accept leaves marks of a report to
// come, and the next complete one counts as their first.
func (t *taking) mark() error {
	return t.inBatches(t.vanish, func(part []UID) error {
		return t.change(takeOp, func(tx *Tx, v *vcenter) error {
			for _, key := range part {
				if err := tx.markAbsent(useID(key, v.ID, 0), v.epoch+1); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// accept writes the report's header down: from here on it counts.
func (t *taking) accept() error {
	seen := t.v
	return t.change(takeOp, func(tx *Tx, v *vcenter) error {
		d, err := v.judge(t.r, tx.now)
		if err != nil {
			return err
		}
		if len(t.d.reasons) > 0 { // as it was compared
			d.reasons = t.d.reasons
		}
		t.alarm(v, &seen)
		v.Missing, v.Destroyed, v.Foreign, v.Lost = seen.Missing, seen.Destroyed, seen.Foreign, seen.Lost
		v.accept(t.r, d, tx.now)
		if v.large(len(t.ripe), len(t.named), tx.now) {
			v.Waiting = uint64(len(t.ripe))
		}
		t.d = d
		kind := "complete"
		if len(d.reasons) > 0 {
			kind = "partial: " + d.reasons[0]
		}
		tx.reason = fmt.Sprintf("report %d of vCenter %s, %d entries, %s", v.Number, v.ID, v.Entries, kind)
		return nil
	})
}

// release frees what is ripe, unless that needs a person.
func (t *taking) release() error {
	if len(t.d.reasons) > 0 {
		return nil
	}
	if t.v.Waiting > 0 {
		t.store.cfg.Logger.Warn("keystore: the vCenter stopped using more keys than is taken without a person; they stay in use until confirmed",
			"vcenter", t.v.ID.String(), "keys", t.v.Waiting, "of", t.v.Keys, "confirm", "keyreeve inventory confirm "+t.v.ID.String())
		return nil
	}
	return t.free(t.ripe, "two complete reports in a row do not name it")
}

// free releases keys. A key's last page goes first: while page 0 is there, so
// is the key in use.
func (t *taking) free(keys []UID, reason string) error {
	return t.inBatches(keys, func(part []UID) error {
		return t.change(releaseOp, func(tx *Tx, v *vcenter) error {
			tx.reason = fmt.Sprintf("vCenter %s uses it no more: %s", v.ID, reason)
			for _, key := range part {
				if err := tx.deleteUses(key, v.ID); err != nil {
					return err
				}
				v.Keys--
				v.freed++
				tx.changed = append(tx.changed, key)
			}
			return nil
		})
	})
}
