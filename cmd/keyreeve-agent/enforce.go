package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// Files of the state folder.
const (
	ledgerFile = "ledger"        // see policy.Ledger
	memoryFile = "machines.json" // see policy.Memory
)

// How often the key server is asked while machines are changed. A proof leaves
// the record of a destroyed key in the server.
const (
	statusEvery = 5 * time.Second
	proofEvery  = time.Minute
)

// A person's word at the command line, about one run.
type word struct {
	confirm string // the digest of a selection that jumped
	changes int    // machines; 0: as the policy says
	only    bool   // what is demanded, and nothing else
	// demand says whose keys are to be exchanged; nil: as was demanded before.
	demand asking
}

// An asking is a demand, of a vCenter as it is now; nil for what was demanded
// before.
type asking func(*inventory.Snapshot, policy.Facts) (*policy.Demand, error)

// enforcement is one run of changes, or one look.
type enforcement struct {
	*policy.Enforcer
	link   *link
	ledger *policy.Ledger // nil: only looking
	demand asking         // to be taken up at the first look; nil: none

	mu        sync.Mutex
	done      int // machines
	keys      int // that were made for them
	explained time.Time
	told      map[string]time.Time // by Ref: when its progress was, or its task began
}

// looking is for plans: it reads what earlier runs have left, and writes nothing.
func (l *link) looking() (*enforcement, error) {
	memory, err := policy.ReadMemory(durable.OS, filepath.Join(l.config.StateDir, memoryFile))
	if err != nil {
		return nil, err
	}
	e := &enforcement{link: l, told: map[string]time.Time{}}
	e.Enforcer = &policy.Enforcer{Policy: l.config.policy, Memory: memory, Look: e.read}
	return e, nil
}

// enforcement is for changes. The state folder is locked already.
func (l *link) enforcement(w word) (*enforcement, error) {
	e, err := l.looking()
	if err != nil {
		return nil, err
	}
	if e.ledger, err = policy.OpenLedger(durable.OS, filepath.Join(l.config.StateDir, ledgerFile)); err != nil {
		return nil, err
	}
	e.Confirm, e.Changes, e.Only = w.confirm, w.changes, w.only
	e.Applier = &policy.Applier{
		Ledger: e.ledger, Limits: l.config.policy.Limits, Now: l.app.now,
		Healthy: func(ctx context.Context) error { return l.healthy(ctx, proofEvery) }, FindKey: l.findKey, HasKey: l.hasKey, Report: e.report, Progress: e.progress, Metrics: l.policyMetrics,
	}
	return e, nil
}

func (e *enforcement) close() {
	if e.ledger != nil {
		_ = e.ledger.Close() // every line of it was synced
	}
}

// read is what the enforcer judges by, and where a demand is taken up. The proof
// with a real key is part of it when machines are to be changed; a plan changes
// nothing.
func (e *enforcement) read(ctx context.Context) (*inventory.Snapshot, policy.Facts, error) {
	s, err := e.link.read(ctx)
	if err != nil {
		return nil, policy.Facts{}, err
	}
	if e.ledger != nil {
		if err := e.ledger.Settle(s, e.link.app.now()); err != nil {
			return nil, policy.Facts{}, err
		}
	}
	f, err := e.link.facts(ctx, s)
	if err != nil {
		return nil, f, err
	}
	if e.ledger != nil {
		if err := e.link.healthy(ctx, e.link.proofLasts()); err != nil {
			f.Probe = err.Error()
		}
	}
	if e.demand != nil {
		d, err := e.demand(s, f)
		if err != nil {
			return nil, f, err
		}
		if e.demand = nil; d != nil {
			known := e.Memory.Of(s.VCenter)
			if n := d.Drops(known.Demand); n > 0 {
				e.link.say("note: of what was asked for before, %d machines are left; that is not gone on with: ask for them again", n)
			}
			known.Demand = d
		}
	}
	e.link.seen = &sight{s, f}
	return s, f, nil
}

// run changes machines until nothing is left that may be changed now.
func (e *enforcement) run(ctx context.Context) (*policy.Plan, error) {
	s, err := e.link.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	e.Applier.Client = s.Client()
	return e.Enforcer.Run(ctx)
}

// healthy asks the server and the provider often, and proves it with a real key
// when the last proof that went well is older than that.
func (l *link) healthy(ctx context.Context, proof time.Duration) error {
	now := l.app.now()
	if err := l.status.check(ctx, now, statusEvery, statusEvery, l.ready); err != nil {
		return err
	}
	return l.proof.check(ctx, now, proofEvery, proof, l.proveKeys)
}

// proofLasts is how long a proof is good for a plan: in run as long as its passes
// are apart, since passes after a failure come often and each proof leaves a
// record. Before a change there is a newer one.
func (l *link) proofLasts() time.Duration {
	if l.unattended {
		return l.config.Run.Every
	}
	return proofEvery
}

// ready asks the key server, and vCenter for the status of the providers that
// rules name.
func (l *link) ready(ctx context.Context) error {
	server, err := l.keyServer()
	if err != nil {
		return err
	}
	status, err := server.Status(ctx)
	if err != nil {
		return err
	}
	if !status.Ready {
		return fmt.Errorf("the key server is not ready: %s", status.Problem)
	}
	m, err := l.watcher(ctx)
	if err != nil {
		return err
	}
	for _, name := range l.config.policy.Providers() {
		seen, err := m.Look(ctx, name)
		if err != nil {
			return err
		}
		if seen == nil {
			continue // the plan says so
		}
		if reasons := seen.Reasons(l.app.now()); len(reasons) > 0 {
			return fmt.Errorf("key provider %s: %s", name, strings.Join(reasons, "; "))
		}
	}
	return nil
}

// findKey finds the key that was made for a job whose answer was lost.
func (l *link) findKey(ctx context.Context, job string) (string, error) {
	server, err := l.keyServer()
	if err != nil {
		return "", err
	}
	for query := (admin.KeyQuery{Attributes: []string{policy.JobAttribute + "=" + job}}); ; {
		page, err := server.Keys(ctx, query)
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(page.Keys, usable); i >= 0 {
			return page.Keys[i].UniqueIdentifier, nil
		}
		if query.After = page.Next; page.Next == "" {
			return "", nil
		}
	}
}

// hasKey asks for a key that vCenter has had made: another server of the provider
// may have made it, which is not ours.
func (l *link) hasKey(ctx context.Context, id string) error {
	server, err := l.keyServer()
	if err != nil {
		return err
	}
	k, err := server.Key(ctx, id)
	if err == nil && !usable(k) {
		err = fmt.Errorf("it is %s", k.State)
	}
	return err
}

// usable tells that a machine may be encrypted with a key.
func usable(k admin.Key) bool { return k.State == "Active" || k.State == "Pre-Active" }

// report tells one result. The policy calls it for one at a time.
func (e *enforcement) report(r policy.Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path := program.Printable(r.Action.Path)
	if r.Err != nil {
		e.link.say("FAILED: machine: %s", program.Printable(r.Err.Error()))
		e.explain(r)
		return
	}
	e.done++
	text := fmt.Sprintf("done: machine: %s %s", r.Action.Op, path)
	if r.Key.ID != "" {
		e.keys++
		text += ", key " + r.Key.ID
	}
	e.link.say("%s (%d so far)", text, e.done)
}

// explainEvery keeps a run in which all fail from explaining each.
const explainEvery = time.Minute

// explain says why vCenter made no key, by what it shows of the provider and
// what a proof of our own finds: it tells no reason itself.
func (e *enforcement) explain(r policy.Result) {
	l := e.link
	if !errors.Is(r.Err, policy.ErrNoKey) || l.app.now().Sub(e.explained) < explainEvery {
		return
	}
	e.explained = l.app.now()
	ctx, cancel := context.WithTimeout(context.Background(), reachTime)
	defer cancel()
	m, err := l.watcher(ctx)
	if err != nil {
		return
	}
	seen, err := m.Look(ctx, r.Action.Provider)
	if err != nil {
		return
	}
	l.say("hint: %s", provider.ExplainGenerate(seen, l.app.now(), l.proveKeys(ctx)))
}

// tellEvery is how often a change that takes long is told of.
const tellEvery = 10 * time.Second

// progress tells how far a change is that takes long.
func (e *enforcement) progress(a policy.Action, percent int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.link.app.now()
	if last, began := e.told[a.Ref]; began && now.Sub(last) < tellEvery {
		return
	} else if began {
		e.link.say("working: machine: %s %s: %d %%", a.Op, program.Printable(a.Path), percent)
	}
	e.told[a.Ref] = now
}

// say tells a person at a terminal, or the log of a service.
func (l *link) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if l.unattended {
		l.logger.Info(text)
		return
	}
	_, _ = fmt.Fprintln(l.app.err, text)
}

// changeMachines brings the machines to the policy, with a backup of the key
// server before the first key and after the last. It does nothing without a
// policy or outside of the mode enforce.
func (l *link) changeMachines(ctx context.Context, w word) (*policy.Plan, error) {
	if l.config.policy == nil || l.config.Mode != session.Enforce {
		return nil, nil
	}
	if err := l.firstBackup(ctx); err != nil {
		return nil, err
	}
	e, err := l.enforcement(w)
	if err != nil {
		return nil, err
	}
	defer e.close()
	e.demand = w.demand
	p, err := e.run(ctx)
	if n := max(e.keys, l.seen.unsaved()); n > 0 && !l.config.policy.BackupWaived {
		err = errors.Join(err, l.backUp(ctx, fmt.Sprintf("%s: %d", unsavedKeys, n)))
	}
	return p, err
}

// heldKeys are the keys that unfinished jobs hold, and for which machine: they
// are no orphans.
func (l *link) heldKeys(vcenter string) (map[string]string, error) {
	jobs, err := policy.ReadUnfinished(filepath.Join(l.config.StateDir, ledgerFile), vcenter)
	held := make(map[string]string, len(jobs))
	for _, job := range jobs {
		held[job.Key] = job.Path
	}
	return held, err
}
