package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// An Enforcer brings a vCenter to its policy, in rounds: each looks afresh,
// plans, and does what the plan lets through, so that the canaries are verified
// before the others follow, and what somebody changes meanwhile counts. A round
// begins nothing more when it has lasted for roundTime, the window is over, or
// the pause file is there. All fields but Confirm, Changes and Only are needed.
type Enforcer struct {
	Policy  *Policy
	Applier *Applier
	Memory  *Memory
	// Look reads the vCenter, and what else is known. Of the Facts, what is
	// remembered or counted here is filled in.
	Look func(context.Context) (*inventory.Snapshot, Facts, error)

	Confirm string // the Digest of a Selection that a person confirms
	Changes int    // that a person allows for this run; 0: as the policy says
	Only    bool   // what is demanded, and nothing else
}

// A tally is what a run has done so far.
type tally struct {
	mu     sync.Mutex
	tried  int
	proven int               // since the last round
	failed map[string]string // by Ref: why
	done   map[string]int    // by Ref and operation: how often
	stale  map[string]int    // by Ref: how often somebody had changed it since the plan
}

// staleTries is how often a machine is planned anew in one run because somebody
// changes it.
const staleTries = 3

// doneTries is after how many changes of one kind that went well a machine is
// left alone for the rest of the run: they have not had the effect that is wanted.
const doneTries = 3

// roundTime is how long a plan may be acted upon: meanwhile a machine may be
// protected, and a backup lost.
const roundTime = 5 * time.Minute

// Plan compares, and changes nothing, not even what is remembered.
func (e *Enforcer) Plan(ctx context.Context) (*Plan, error) {
	p, _, err := e.plan(ctx, &tally{})
	return p, err
}

// Run enforces the policy until the plan has nothing that may be done now, and
// returns that plan. A machine at which something fails is left alone for the
// rest of the run; the error names how many those are. Run it again to go on.
func (e *Enforcer) Run(ctx context.Context) (*Plan, error) {
	t := &tally{failed: map[string]string{}, stale: map[string]int{}, done: map[string]int{}}
	for first, idle := true, false; ; first = false {
		p, s, err := e.plan(ctx, t)
		if err != nil {
			return nil, err
		}
		if first {
			if err := e.restart(ctx, p, s, t); err != nil {
				return p, err
			}
		}
		if err := e.remember(p, s, t); err != nil {
			return p, err
		}
		if len(p.Actions) == 0 || idle {
			return p, t.problem()
		}
		tried := t.tried
		err = e.round(ctx, p, t)
		idle = t.tried == tried
		if err = errors.Join(err, e.remember(p, s, t)); err != nil {
			return p, err
		}
		if e.Memory.Of(p.VCenter).Proven < e.Policy.Limits.Canary && len(t.failed) > 0 {
			return p, t.problem() // a canary: nobody follows it
		}
	}
}

// plan looks and plans.
func (e *Enforcer) plan(ctx context.Context, t *tally) (*Plan, *inventory.Snapshot, error) {
	s, f, err := e.Look(ctx)
	if err != nil {
		return nil, nil, err
	}
	known := e.Memory.Of(s.VCenter)
	f.Last, f.Confirmed, f.Changes, f.Changed, f.Failed = known.Selection, e.Confirm, e.Changes, t.tried, t.failed
	if known.Policy == e.Policy.Digest {
		f.Proven = known.Proven
	}
	if known.Demand != nil {
		f.Demand, f.DemandDeep = known.Demand.left(s), known.Demand.Deep
	}
	p := Make(e.Policy, s, f)
	if e.Only {
		p.only(f.Demand)
	}
	p.jumped, p.keys = jump(e.Policy, &p, &f) != "" || e.Policy.blind(s), f.Keys
	return &p, s, nil
}

// only keeps of a plan what is about these machines.
func (p *Plan) only(refs []string) {
	wanted := setOf(refs)
	p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool { return !wanted[a.Ref] })
	p.Held = slices.DeleteFunc(p.Held, func(h Held) bool { return !wanted[h.Ref] })
	p.Alarms = nil
}

// round does what the plan lets through.
func (e *Enforcer) round(ctx context.Context, p *Plan, t *tally) error {
	a, began := *e.Applier, e.Applier.Now()
	a.keys = p.keys
	a.over = func() bool {
		now := a.Now()
		return now.Sub(began) >= roundTime || !e.Policy.inWindow(now) || e.Policy.Paused() != ""
	}
	a.Report = func(r Result) {
		t.add(r)
		if e.Applier.Report != nil {
			e.Applier.Report(r)
		}
	}
	return a.Apply(ctx, p)
}

// restart starts the machines that an earlier run shut down, and did not live to
// start, also outside of windows: they were on. What is to be changed now is
// started after that.
func (e *Enforcer) restart(ctx context.Context, p *Plan, s *inventory.Snapshot, t *tally) error {
	if e.Policy.Paused() != "" {
		return nil
	}
	for _, job := range e.Applier.Ledger.Unfinished(s.VCenter) {
		if !job.Off {
			continue
		}
		i := slices.IndexFunc(s.VMs, func(v inventory.VM) bool { return v.Ref == job.Ref })
		if i < 0 || slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Ref == job.Ref }) {
			continue
		}
		v, err := &s.VMs[i], ctx.Err()
		switch {
		case err != nil:
		case v.Power == "poweredOff" && v.Busy == "":
			err = e.Applier.start(ctx, &job)
		case v.Power == "poweredOn" && e.Applier.Now().Sub(job.Time) > guestTime:
			job.Off = false
			err = e.Applier.note(&job, job.Step, job.Problem)
		}
		switch {
		case err != nil && (errors.Is(err, errEnd) || ctx.Err() != nil):
			return err
		case err != nil:
			t.failed[job.Ref] = fmt.Sprintf("%s, which was shut down for %s: %v", job.Path, job.Op, err)
		}
	}
	return nil
}

// guestTime is after how long a machine that is on is not one any more whose guest
// was told to shut down and is still at it.
const guestTime = time.Hour

// Paused says why nothing is to be done, by the pause file; empty: there is none.
// A file that cannot be read pauses too: somebody wanted something.
func (p *Policy) Paused() string {
	if p.PauseFile == "" {
		return ""
	}
	data, err := os.ReadFile(p.PauseFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if text := strings.TrimSpace(string(data[:min(len(data), 200)])); text != "" {
		return text
	}
	return p.PauseFile + " is there"
}

func (t *tally) add(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried++
	if errors.Is(r.Err, ErrChanged) {
		if t.stale[r.Action.Ref]++; t.stale[r.Action.Ref] < staleTries {
			return
		}
	}
	if r.Err != nil {
		t.failed[r.Action.Ref] = r.Err.Error()
		return
	}
	if r.Action.Op.usesKeys() {
		t.proven++
	}
	what := r.Action.Ref + " " + string(r.Action.Op)
	if t.done[what]++; t.done[what] == doneTries { // or it would get keys until the limit
		t.failed[r.Action.Ref] = fmt.Sprintf("%s of %s was done %d times, and was asked for again each time", r.Action.Op, r.Action.Path, doneTries)
	}
}

// problem says that something failed.
func (t *tally) problem() error {
	if len(t.failed) == 0 {
		return nil
	}
	first := slices.Sorted(maps.Values(t.failed))[0]
	return fmt.Errorf("changes of machines that failed: %d of %d; one of them: %s", len(t.failed), t.tried, first)
}

// remember keeps what the next run needs. A selection that jumped is not kept:
// it would be the measure of the next one.
func (e *Enforcer) remember(p *Plan, s *inventory.Snapshot, t *tally) error {
	known := e.Memory.Of(p.VCenter)
	if known.Policy != e.Policy.Digest {
		known.Policy, known.Proven = e.Policy.Digest, 0
	}
	known.Proven += t.proven
	t.proven = 0
	if !p.jumped {
		known.Selection = &p.Selection
	}
	if known.Demand != nil {
		known.Demand.keep(known.Demand.left(s))
		if len(known.Demand.Machines) == 0 {
			known.Demand = nil
		}
	}
	return e.Memory.Save()
}
