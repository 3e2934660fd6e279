package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// enforcer is one life of an agent that enforces; end closes its ledger.
func (r *rig) enforcer() (e *Enforcer, end func()) {
	r.Helper()
	l, err := OpenLedger(durable.OS, r.path)
	r.must(err)
	m, err := ReadMemory(durable.OS, r.path+".memory")
	r.must(err)
	r.last = nil
	e = &Enforcer{
		Policy: r.policy, Memory: m,
		Applier: &Applier{Client: r.vim.Client, Ledger: l, Limits: r.policy.Limits, Now: time.Now, FindKey: r.find,
			Report: func(res Result) { r.last = append(r.last, res) }},
		Look: func(context.Context) (*inventory.Snapshot, Facts, error) {
			s := r.snapshot()
			return s, Facts{Now: now, Providers: []string{"keyreeve"}}, l.Settle(s, now)
		},
	}
	return e, func() { r.must(l.Close()) }
}

// limits reads a policy of one rule for all machines.
func (r *rig) limits(limits string) {
	r.Helper()
	p, err := Read([]byte("policy:\n  rules:\n    - name: r\n      match: {name: '*'}\n      encrypt: {provider: keyreeve}\n" +
		"  backup: waived\n  keyPath: {server: outside, vcenter: outside}\n  limits: " + limits + "\n"))
	r.must(err)
	r.policy = p
}

// One run does the canary alone, verifies it, and then the others; the next one
// changes nothing.
func TestEnforce(t *testing.T) {
	r := newRig(t, 6)
	r.limits("{canary: 1, changes: 100, workers: 4, perDatastore: 4, perHost: 4}")
	e, end := r.enforcer()
	var rounds []int
	look := e.Look
	e.Look = func(ctx context.Context) (*inventory.Snapshot, Facts, error) {
		rounds = append(rounds, len(r.last))
		return look(ctx)
	}
	p, err := e.Run(r.ctx)
	r.must(err)
	if !slices.Equal(rounds, []int{0, 1, 6}) {
		t.Errorf("machines done before each round: %v", rounds)
	}
	if p.State() != InSync || len(r.last) != 6 || e.Memory.Of(p.VCenter).Proven != 6 {
		t.Errorf("%s, %d changes, %+v", p.Summary(), len(r.last), e.Memory.Of(p.VCenter))
	}
	end()
	e, end = r.enforcer()
	defer end()
	if p, err = e.Run(r.ctx); err != nil || p.State() != InSync || len(r.last) != 0 {
		t.Errorf("again: %v, %s, %d changes", err, p.Summary(), len(r.last))
	}
}

// The canary fails, and nobody follows.
func TestCanaryThatFails(t *testing.T) {
	r := newRig(t, 3)
	r.limits("{canary: 1, changes: 100}")
	e, end := r.enforcer()
	defer end()
	first := true
	e.Applier.step = func(at string) error {
		if at == stepKey && first {
			first = false
			r.power(r.snapshot().VMs[0].Ref, (*object.VirtualMachine).PowerOn) // somebody starts it meanwhile
		}
		return nil
	}
	if _, err := e.Run(r.ctx); err == nil || len(r.last) != 1 || r.last[0].Err == nil {
		t.Errorf("%v, %+v", err, r.last)
	}
}

// The limit of a run holds over its rounds, and the next run goes on.
func TestLimitOfARun(t *testing.T) {
	r := newRig(t, 5)
	r.limits("{canary: 1, changes: 3}")
	for _, want := range []string{"waiting encrypt: limit", ""} {
		e, end := r.enforcer()
		p, err := e.Run(r.ctx)
		r.must(err)
		end()
		if got := outcome(p); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A selection that jumped waits for a person, in every run until then, and only
// for the selection that was looked at.
func TestJumpedSelection(t *testing.T) {
	r := newRig(t, 8)
	r.rule("*_VM0", "*_VM1")
	e, end := r.enforcer()
	_, err := e.Run(r.ctx)
	r.must(err)
	end()
	r.limits("{canary: 0, changes: 100}")
	run := func(confirm string) *Plan {
		e, end := r.enforcer()
		defer end()
		e.Confirm = confirm
		p, err := e.Run(r.ctx)
		r.must(err)
		return p
	}
	p := run("")
	if got := outcome(p); got != "blocked encrypt: selection-jumped" {
		t.Fatal(got)
	}
	if got := outcome(run("other")); got != "blocked encrypt: selection-jumped" {
		t.Error(got)
	}
	if p = run(p.Selection.Digest); p.State() != InSync || len(r.last) != 6 {
		t.Errorf("%s, %d changes", p.Summary(), len(r.last))
	}
}

// What was demanded is done once, over runs that are broken off, and nothing
// else with it.
func TestDemandIsResumed(t *testing.T) {
	r := newRig(t, 4)
	r.rule("*_VM0", "*_VM1", "*_VM2")
	e, end := r.enforcer()
	_, err := e.Run(r.ctx)
	r.must(err)
	r.limits("{canary: 0, changes: 100, workers: 1}") // VM3 is plain, and to be encrypted
	before := r.snapshot()
	demand := NewDemand(before, false, func(*inventory.VM) bool { return true })
	if len(demand.Machines) != 3 {
		t.Fatalf("%+v", demand)
	}
	e.Memory.Of(before.VCenter).Demand = demand
	r.must(e.Memory.Save())
	end()

	run := func(step func(string) error) error {
		e, end := r.enforcer()
		defer end()
		e.Only, e.Applier.step = true, step
		_, err := e.Run(r.ctx)
		return err
	}
	done := 0
	err = run(func(at string) error {
		if at == stepDone {
			if done++; done == 2 {
				return errKilled
			}
		}
		return nil
	})
	if !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	r.must(run(nil))
	if len(r.last) != 1 || r.last[0].Action.Op != ShallowOp {
		t.Errorf("after the kill: %+v", r.last)
	}
	after := r.snapshot()
	for i, v := range after.VMs {
		if plain := !v.Encrypted(); plain != !before.VMs[i].Encrypted() || !plain && v.Key == before.VMs[i].Key {
			t.Errorf("%s: from %v to %v", v.Path, before.VMs[i].Key, v.Key)
		}
	}
	r.must(run(nil))
	if len(r.last) != 0 || len(r.orphans()) != 3 {
		t.Errorf("again: %+v, orphans %v", r.last, r.orphans())
	}
}

// Another policy begins with its own canary.
func TestAnotherPolicyProvesItself(t *testing.T) {
	m, err := ReadMemory(durable.OS, filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	p, err := Read([]byte(w.policy))
	if err != nil {
		t.Fatal(err)
	}
	*m.Of("vc") = Remembered{Policy: "another", Proven: 9}
	e := &Enforcer{Policy: p, Memory: m, Look: func(context.Context) (*inventory.Snapshot, Facts, error) {
		w.s.VMs = append(w.s.VMs, machine("vm-2", "/DC0/vm/finance/b"))
		return w.s, w.f, nil
	}}
	plan, err := e.Plan(t.Context())
	if got := outcome(plan); err != nil || got != "do encrypt; waiting encrypt: canary" {
		t.Errorf("%v, %s", err, got)
	}
}

// What the rules match by was not read: that is no selection to measure by.
func TestBlindSelectionIsNotKept(t *testing.T) {
	w := newWorld()
	w.replace("{folder: /DC0/vm/finance/**}", "{tag: 'a:b'}")
	w.s.Unread[inventory.Tags] = "no"
	p, err := Read([]byte(w.policy))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadMemory(durable.OS, filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	kept := &Selection{Refs: []string{"vm-1"}}
	m.Of("vc").Selection = kept
	l, err := OpenLedger(durable.OS, filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	e := &Enforcer{Policy: p, Memory: m, Applier: &Applier{Ledger: l}, Look: func(context.Context) (*inventory.Snapshot, Facts, error) { return w.s, w.f, nil }}
	if _, err := e.Run(t.Context()); err != nil || m.Of("vc").Selection != kept {
		t.Errorf("%v, %+v", err, m.Of("vc"))
	}
}

func (r *rig) power(ref string, fn func(*object.VirtualMachine, context.Context) (*object.Task, error)) {
	r.Helper()
	task, err := fn(object.NewVirtualMachine(r.vim.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: ref}), r.ctx)
	r.must(err)
	r.must(task.Wait(r.ctx))
}

// A key that was kept for the next try and is then destroyed, or lost with the key
// server's store, is not used: a host may still have it.
func TestSpoiltKeyIsNotUsed(t *testing.T) {
	for _, facts := range []map[string]KeyFact{{}, {"dead": {State: "Destroyed"}}, {"dead": {State: "Compromised"}}, {"dead": {State: "Deactivated"}}} {
		r := newRig(t, 1)
		r.limits("{canary: 0}")
		e, end := r.enforcer()
		vm := r.snapshot()
		r.must(e.Applier.Ledger.add(Entry{VCenter: vm.VCenter, Ref: vm.VMs[0].Ref, Op: EncryptOp, Provider: "keyreeve", Step: stepFailed, Job: "j", Key: "dead"}))
		look := e.Look
		e.Look = func(ctx context.Context) (*inventory.Snapshot, Facts, error) {
			s, f, err := look(ctx)
			f.Keys = facts
			if k := s.VMs[0].Key.ID; k != "" {
				f.Keys = map[string]KeyFact{k: {State: "Active"}}
			}
			return s, f, err
		}
		if _, err := e.Run(r.ctx); err != nil || len(r.last) != 1 || r.last[0].Key.ID == "dead" {
			t.Errorf("%v: %v, %+v", facts, err, r.last)
		}
		end()
	}
}

// No machine is begun once the window is over, or somebody has paused, or the plan
// is old: then it is planned anew.
func TestRoundEnds(t *testing.T) {
	pause := filepath.Join(t.TempDir(), "pause")
	r := newRig(t, 5)
	for _, tc := range []struct {
		name      string
		meanwhile func(clock *time.Time) // while the first machine is worked on
		done      int                    // machines in the run
		rounds    int
	}{
		{"the window is over", func(clock *time.Time) { *clock = clock.Add(2 * time.Hour) }, 1, 2},
		{"paused", func(*time.Time) { r.must(os.WriteFile(pause, nil, 0o600)) }, 1, 2},
		{"the plan is old", func(clock *time.Time) { *clock = clock.Add(roundTime) }, 3, 3},
	} {
		r.limits("{canary: 0, changes: 100, workers: 1}\n  windows: ['thu 12:00-13:00']\n  pauseFile: " + pause)
		clock := now
		e, end := r.enforcer()
		e.Applier.Now = func() time.Time { return clock }
		rounds, look := 0, e.Look
		e.Look = func(ctx context.Context) (*inventory.Snapshot, Facts, error) {
			s, f, err := look(ctx)
			rounds++
			if f.Now = clock; e.Policy.Paused() != "" {
				f.Paused = "yes"
			}
			return s, f, err
		}
		first := true
		e.Applier.step = func(at string) error {
			if first && at == stepTask {
				first = false
				tc.meanwhile(&clock)
			}
			return nil
		}
		p, err := e.Run(r.ctx)
		r.must(err)
		if len(r.last) != tc.done || rounds != tc.rounds {
			t.Errorf("%s: %d machines in %d rounds, want %d in %d: %s", tc.name, len(r.last), rounds, tc.done, tc.rounds, p.Summary())
		}
		end()
		_ = os.Remove(pause)
	}
}

// A change that has no effect is not made for ever.
func TestDoneAgainIsAFailure(t *testing.T) {
	ty := &tally{failed: map[string]string{}, stale: map[string]int{}, done: map[string]int{}}
	for i, op := range []Op{ShallowOp, ShallowOp, DeepOp, ShallowOp} {
		ty.add(Result{Action: Action{Ref: "vm-1", Op: op}})
		if (ty.failed["vm-1"] != "") != (i == 3) {
			t.Errorf("after %d: %v", i, ty.failed)
		}
	}
}

// shutting reads a policy that shuts machines down at any time of the day.
func (r *rig) shutting(name string) {
	r.Helper()
	r.rule(name)
	r.policy.ShutDown, r.policy.Windows = true, nil
}

func (r *rig) powers() (list []string) {
	for _, v := range r.snapshot().VMs {
		list = append(list, v.Power)
	}
	return list
}

// A machine that was shut down is started again: after the change, after a failure,
// and by the next run when this one is killed, whether there is still something to
// be done to it or not.
func TestShutDownIsStartedAgain(t *testing.T) {
	on := func(r *rig) {
		if got := r.powers(); !slices.Equal(got, []string{"poweredOn"}) {
			t.Errorf("afterwards it is %v", got)
		}
	}
	start := func(t *testing.T) *rig {
		r := newRig(t, 1)
		r.shutting("*_VM0")
		r.power(r.snapshot().VMs[0].Ref, (*object.VirtualMachine).PowerOn)
		return r
	}
	run := func(r *rig, step func(string) error) error {
		e, end := r.enforcer()
		defer end()
		e.Applier.step = step
		_, err := e.Run(r.ctx)
		return err
	}
	t.Run("done", func(t *testing.T) {
		r := start(t)
		r.must(run(r, nil))
		if on(r); !r.snapshot().VMs[0].Encrypted() {
			t.Error("it is plain")
		}
	})
	t.Run("failed", func(t *testing.T) {
		r := start(t)
		r.policy.Limits.Failures = 1
		err := run(r, func(at string) error {
			if at == stepKey { // somebody starts it meanwhile
				r.power(r.snapshot().VMs[0].Ref, (*object.VirtualMachine).PowerOn)
			}
			return nil
		})
		if on(r); err == nil {
			t.Error("that went well")
		}
	})
	for _, step := range []string{stepKey, stepTask, stepDone} {
		for _, rule := range []string{"*_VM0", "none"} {
			t.Run("killed at "+step+" and then the rule is for "+rule, func(t *testing.T) {
				r := start(t)
				vm := r.snapshot().VMs[0]
				err := run(r, func(at string) error {
					if at == step {
						r.vim.Client.RoundTripper = dead{r.vim.Client.RoundTripper}
						return errKilled
					}
					return nil
				})
				r.vim.Client.RoundTripper = r.vim.Client.RoundTripper.(dead).RoundTripper
				if step != stepDone {
					if got := r.powers(); !errors.Is(err, errKilled) || got[0] != "poweredOff" {
						t.Fatalf("%v, %v", err, got)
					}
				}
				r.shutting(rule)
				for range 3 {
					_ = run(r, nil) // its task may be under way
				}
				on(r)
				l, err := OpenLedger(durable.OS, r.path)
				r.must(err)
				defer func() { r.must(l.Close()) }()
				for _, e := range l.Unfinished(r.snapshot().VCenter) {
					if e.Off {
						t.Errorf("it is still to be started: %+v of %v", e, vm.Path)
					}
				}
			})
		}
	}
}

// dead is the connection of an agent that is no more.
type dead struct{ soap.RoundTripper }

func (dead) RoundTrip(context.Context, soap.HasFault, soap.HasFault) error { return errKilled }

// A guest that was told to shut down and is on still may go off any moment; an hour
// later it will not, and what a person then does is the person's.
func TestStillOnIsForgottenLater(t *testing.T) {
	r := newRig(t, 1)
	r.shutting("none")
	v := r.snapshot().VMs[0]
	r.power(v.Ref, (*object.VirtualMachine).PowerOn)
	for _, tc := range []struct {
		after time.Duration
		off   string
	}{{time.Minute, "poweredOn"}, {2 * time.Hour, "poweredOff"}} {
		e, end := r.enforcer()
		r.must(e.Applier.Ledger.add(Entry{VCenter: r.snapshot().VCenter, Ref: v.Ref, Op: EncryptOp, Provider: "keyreeve", Step: stepFailed, Off: true, Time: now}))
		e.Applier.Now = func() time.Time { return now.Add(tc.after) }
		_, err := e.Run(r.ctx)
		r.must(err)
		r.power(v.Ref, (*object.VirtualMachine).PowerOff)
		_, err = e.Run(r.ctx)
		r.must(err)
		if got := r.powers()[0]; got != tc.off {
			t.Errorf("after %v: %s", tc.after, got)
		}
		end()
	}
}

// What somebody changed since the plan is not shut down.
func TestChangedIsNotShutDown(t *testing.T) {
	r := newRig(t, 1)
	v := r.snapshot().VMs[0]
	r.power(v.Ref, (*object.VirtualMachine).PowerOn)
	r.policy = &Policy{Limits: Limits{Failures: 3}}
	e, end := r.enforcer()
	defer end()
	var got []error
	e.Applier.Report = func(res Result) { got = append(got, res.Err) }
	for _, a := range []Action{{ChangeVersion: "0"}, {Instance: "another"}} {
		a.Ref, a.Op, a.Provider, a.Home, a.ShutDown = v.Ref, EncryptOp, "keyreeve", true, true
		r.must(e.Applier.Apply(r.ctx, &Plan{Actions: []Action{a}}))
	}
	if len(got) != 2 || !errors.Is(got[0], ErrChanged) || !errors.Is(got[1], ErrChanged) || r.powers()[0] != "poweredOn" {
		t.Errorf("%v, %v", got, r.powers())
	}
}
