package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// A sight is what was seen of the machines last, and judged.
type sight struct {
	snapshot *inventory.Snapshot
	facts    policy.Facts
}

// settling is how long run waits, once it has seen that something is to be
// done, for the rest of what somebody is doing.
const settling = 2 * time.Second

// actEvery is how often a pass is made before its time. Each may change as many
// machines as the policy's limit says, and reads the whole vCenter.
const actEvery = time.Minute

// errActNow ends the watch: a pass is to be made before its time.
var errActNow = errors.New("something is to be done")

// follow waits for the next pass, and compares meanwhile each machine that
// changes with the policy: a drift is seen at once, without reading the others
// again. Where it can be mended, the pass is made now. It returns when the pass is
// to be made, or ctx has ended.
func (w *watch) follow(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if w.link.seen != nil {
		err := w.watchMachines(ctx)
		if errors.Is(err, errActNow) {
			d = w.actAfter(w.link.app.now())
		} else if ctx.Err() == nil {
			w.link.logger.Warn("the machines are not watched until the next pass", "err", err)
		}
	}
	_ = ctxtime.Sleep(ctx, d) // whether it was stopped, the caller sees
}

// actAfter is how long to wait with a pass before its time.
func (w *watch) actAfter(now time.Time) time.Duration {
	d := max(settling, w.acted.Add(actEvery).Sub(now))
	w.acted = now.Add(d)
	return d
}

func (w *watch) watchMachines(ctx context.Context) error {
	r, done, err := w.link.reader(ctx)
	if err != nil {
		return err
	}
	defer done()
	return r.Watch(ctx, w.link.seen.snapshot, func(c inventory.Change) error { return w.changed(ctx, c) })
}

// changed judges the machines anew after a change of some.
func (w *watch) changed(ctx context.Context, c inventory.Change) error {
	l := w.link
	if c.Full {
		return errActNow
	}
	before, err := l.judgeSeen(ctx)
	if err != nil {
		return err
	}
	l.seen.snapshot = l.seen.snapshot.With(c)
	now, err := l.judgeSeen(ctx)
	if err != nil {
		return err
	}
	w.tally(now)
	fresh := drift(before, now)
	for _, a := range fresh {
		l.logger.Info("a machine is not as the policy wants it", "machine", program.Printable(a.Path), "op", a.Op, "why", a.Why)
	}
	if len(fresh) > 0 && l.config.Mode == session.Enforce {
		return errActNow
	}
	return nil
}

// judgeSeen compares what was seen last with the policy, and asks nobody.
func (l *link) judgeSeen(ctx context.Context) (*policy.Plan, error) {
	e, err := l.looking()
	if err != nil {
		return nil, err
	}
	e.Look = func(context.Context) (*inventory.Snapshot, policy.Facts, error) {
		f := l.seen.facts
		f.Now = l.app.now()
		return l.seen.snapshot, f, nil
	}
	return e.Plan(ctx)
}

// drift are the actions of a plan that the one before did not have, not even for
// a later run: whom a limit lets through first may change with every event.
func drift(before, now *policy.Plan) (list []policy.Action) {
	had := map[string]bool{}
	name := func(a *policy.Action) string { return fmt.Sprint(a.Ref, " ", a.Op) }
	for i := range before.Actions {
		had[name(&before.Actions[i])] = true
	}
	for i := range before.Held {
		if limited := before.Held[i].Because; len(limited) == 1 && limited[0].Reason == policy.Limit {
			had[name(&before.Held[i].Action)] = true
		}
	}
	for i := range now.Actions {
		if !had[name(&now.Actions[i])] {
			list = append(list, now.Actions[i])
		}
	}
	return list
}
