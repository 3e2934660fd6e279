package policy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/progress"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// JobAttribute is the custom attribute by which a key in the key server tells
// for which job it was made. It finds a key whose identifier never reached the
// ledger. vCenter takes it from 8.0.1 on; with an older one such a key is in
// nobody's ledger, and is listed among the unused.
const JobAttribute = "x-Keyreeve-Job"

// ErrChanged is wrapped when a machine is not as it was when the plan was made.
var ErrChanged = errors.New("the machine was changed since the plan was made")

// ErrNoKey is wrapped when vCenter could not make a key. It seldom says why.
var ErrNoKey = errors.New("vCenter made no key")

// ErrTooManyFailures ends a run.
var ErrTooManyFailures = errors.New("too many failures in a row")

// An Applier does what a plan says. All fields but Healthy, FindKey, HasKey,
// Report, Progress and Metrics are needed.
type Applier struct {
	Client *vim25.Client
	Ledger *Ledger
	Limits Limits
	Now    func() time.Time

	// Healthy is asked before each change that needs the key server; an error
	// ends the run.
	Healthy func(context.Context) error
	// FindKey finds the key that was made for a job, in the key server; "" if
	// there is none.
	FindKey func(ctx context.Context, job string) (id string, err error)
	// HasKey asks the key server itself for a key that vCenter has had made, before
	// it is used; an error leaves the machine as it is. A provider may have another
	// server, which is not ours and does not share its keys.
	HasKey func(ctx context.Context, id string) error
	// Report is told of each result, one at a time.
	Report func(Result)
	// Progress is told how far a long change is, in percent, by as many
	// goroutines as there are workers.
	Progress func(Action, int)
	Metrics  *Metrics

	keys map[string]KeyFact // that the key server has; nil: not known
	over func() bool        // tells that no more is to be begun; nil: never
	step func(string) error // tests end a run with it
}

// A Result says how an action ended.
type Result struct {
	Action Action
	Key    inventory.Key // that is in use now; none for vMotion
	Err    error
}

// Apply carries out the actions of a plan, as many at once as the limits say.
// It returns why it ended before the end; a single action that fails is in its
// Result, and has the machine planned anew the next time.
func (a *Applier) Apply(ctx context.Context, plan *Plan) error {
	r := &run{Applier: a, vcenter: plan.VCenter, left: slices.Clone(plan.Actions), hosts: map[string]int{}, stores: map[string]int{}}
	r.free = sync.NewCond(&r.mu)
	var wg sync.WaitGroup
	for range max(1, a.Limits.Workers) {
		wg.Go(func() { r.work(ctx) })
	}
	wg.Wait()
	return r.stop
}

// A run is one Apply.
type run struct {
	*Applier
	vcenter string

	mu            sync.Mutex
	free          *sync.Cond
	left          []Action
	hosts, stores map[string]int // encryptions under way
	failures      int            // in a row
	stop          error
}

func (r *run) work(ctx context.Context) {
	for {
		action, ok := r.next(ctx)
		if !ok {
			return
		}
		began := r.Now()
		key, err := r.do(ctx, action)
		r.Metrics.change(action.Op, r.Now().Sub(began), err)
		r.ended(action, key, err)
	}
}

// next waits for an action whose host and datastores are free.
func (r *run) next(ctx context.Context) (Action, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.stop == nil {
			r.stop = ctx.Err()
		}
		if r.stop != nil || len(r.left) == 0 || r.over != nil && r.over() {
			return Action{}, false
		}
		if i := slices.IndexFunc(r.left, r.fits); i >= 0 {
			action := r.left[i]
			r.left = slices.Delete(r.left, i, i+1)
			r.count(action, 1)
			return action, true
		}
		r.free.Wait()
	}
}

func (r *run) fits(a Action) bool {
	return !a.Op.rewrites() || r.hosts[a.Host] < max(1, r.Limits.PerHost) &&
		!slices.ContainsFunc(a.Datastores, func(s string) bool { return r.stores[s] >= max(1, r.Limits.PerDatastore) })
}

func (r *run) count(a Action, n int) {
	if !a.Op.rewrites() {
		return
	}
	r.hosts[a.Host] += n
	for _, s := range a.Datastores {
		r.stores[s] += n
	}
}

func (r *run) ended(action Action, key inventory.Key, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(action, -1)
	r.free.Broadcast()
	if r.Report != nil {
		r.Report(Result{action, key, err})
	}
	if err == nil {
		r.failures = 0
		return
	}
	r.failures++
	if r.stop == nil && errors.Is(err, errEnd) {
		r.stop = err
	}
	if r.stop == nil && r.failures >= max(1, r.Limits.Failures) {
		r.stop = fmt.Errorf("%w: %d; the last: %w", ErrTooManyFailures, r.failures, err)
	}
}

// errUnsure: the answer was lost, and a key may have been made.
var errUnsure = errors.New("it is not known whether one was made")

// errEnd ends the whole run.
var errEnd = errors.New("the run ended")

func (a *Applier) at(step string) error {
	if a.step == nil {
		return nil
	}
	if err := a.step(step); err != nil {
		return fmt.Errorf("%w: %w", errEnd, err)
	}
	return nil
}

// do carries out one action: every step is in the ledger before the next.
func (r *run) do(ctx context.Context, action Action) (key inventory.Key, err error) {
	if err := r.well(ctx, action.Op); err != nil {
		return key, err
	}
	before, again := r.Ledger.Open(r.vcenter, action.Ref, action.Provider)
	again = again && before.Step != stepDone // that was only to be started
	e, err := r.begin(action, before, again)
	if err != nil {
		return key, err
	}
	if done := again && before.Op == action.Op && r.adopt(ctx, &action, before); !done {
		err = r.carryOut(ctx, action, &e, again)
	}
	if e.Off && !errors.Is(err, errStillOn) {
		err = errors.Join(err, r.start(ctx, &e))
	}
	if errors.Is(err, errEnd) {
		return key, err
	}
	if err != nil {
		step := stepFailed
		if errors.Is(err, errUnsure) {
			step = stepIntent // the next try looks for the key
		}
		return key, errors.Join(fmt.Errorf("%s of %s: %w", action.Op, action.Path, err), r.note(&e, step, err.Error()))
	}
	return inventory.Key{ID: e.Key, Provider: e.Provider}, r.note(&e, stepDone, "")
}

// well asks whether the key server and its provider are, where keys are needed.
func (r *run) well(ctx context.Context, op Op) error {
	if !op.usesKeys() || r.Healthy == nil {
		return nil
	}
	if err := r.Healthy(ctx); err != nil {
		return fmt.Errorf("%w: the key server or its provider is not well: %w", errEnd, err)
	}
	return nil
}

// begin goes on with the job of the machine that was not done, if it is of the
// same provider: its key was made for this machine.
func (r *run) begin(action Action, before Entry, again bool) (e Entry, err error) {
	if e = before; !again {
		e = Entry{Job: rand.Text(), VCenter: r.vcenter, Ref: action.Ref, Provider: action.Provider, Off: before.Off}
	}
	e.Path, e.Op, e.Task = action.Path, action.Op, ""
	return e, r.note(&e, stepIntent, "")
}

// adopt waits for the task of a run that was killed, and tells whether it has
// done what is to be done.
func (r *run) adopt(ctx context.Context, action *Action, before Entry) bool {
	if before.Key == "" {
		return false
	}
	if before.Task != "" { // its error is of no interest: what counts is the machine
		_ = object.NewTask(r.Client, types.ManagedObjectReference{Type: "Task", Value: before.Task}).Wait(ctx)
	}
	m, err := read(ctx, object.NewVirtualMachine(r.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: action.Ref}))
	return err == nil && verify(action, m.Config, before.Key) == nil
}

func (a *Applier) note(e *Entry, step, problem string) error {
	e.Time, e.Step, e.Problem = a.Now(), step, problem
	if err := a.Ledger.add(*e); err != nil {
		return fmt.Errorf("%w: %w", errEnd, err)
	}
	return a.at(step)
}

func (r *run) carryOut(ctx context.Context, action Action, e *Entry, again bool) (err error) {
	vm := object.NewVirtualMachine(r.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: action.Ref})
	m, err := read(ctx, vm)
	if err != nil {
		return err
	}
	if action.ChangeVersion != "" && m.Config.ChangeVersion != action.ChangeVersion || action.Instance != "" && m.Config.InstanceUuid != action.Instance {
		return ErrChanged
	}
	if action.ShutDown {
		if err := r.shutDown(ctx, vm, e); err != nil {
			return err
		}
		if err := r.well(ctx, action.Op); err != nil { // that took its time
			return err
		}
		if m, err = read(ctx, vm); err != nil {
			return err
		}
	}
	if action.Op.usesKeys() {
		if err := r.key(ctx, e, m.Config, again); err != nil {
			return err
		}
	}
	task, err := vm.Reconfigure(ctx, specOf(&action, m.Config, types.CryptoKeyId{KeyId: e.Key, ProviderId: &types.KeyProviderId{Id: e.Provider}}))
	if err != nil {
		return fmt.Errorf("reconfiguring: %w", err)
	}
	if err := r.at("submitted"); err != nil {
		return err
	}
	e.Task = task.Reference().Value
	if err := r.note(e, stepTask, ""); err != nil {
		return err
	}
	if _, err := task.WaitForResult(ctx, r.progress(action)); err != nil { // makes a collector of its own
		return fmt.Errorf("vCenter: %w", err)
	}
	if m, err = read(ctx, vm); err != nil {
		return err
	}
	return verify(&action, m.Config, e.Key)
}

// progress passes on how far the task of an action is. The one who waits for the
// task closes the channel.
func (r *run) progress(action Action) progress.SinkFunc {
	return func() chan<- progress.Report {
		reports := make(chan progress.Report)
		go func() {
			last := 0
			for p := range reports {
				if now := int(p.Percentage()); now != last && r.Progress != nil {
					last = now
					r.Progress(action, now)
				}
			}
		}()
		return reports
	}
}

// key sees to it that the job has a key: the one that it had, the one that was
// made and not noted, or a new one. One that the machine has already is none to
// recrypt it with, and one that the key server has lost or does not give out is
// none for any machine: a host may still have it, and encrypt with it.
func (r *run) key(ctx context.Context, e *Entry, config *types.VirtualMachineConfigInfo, again bool) (err error) {
	now := inventory.Configured(config)
	if again && e.Key == "" && r.FindKey != nil {
		if e.Key, err = r.FindKey(ctx, e.Job); err != nil {
			return fmt.Errorf("looking for the key of an earlier try: %w", err)
		}
	}
	if slices.Contains(now.Keys(), inventory.Key{ID: e.Key, Provider: e.Provider}) || e.Key != "" && r.spoilt(e.Key) {
		e.Job, e.Key = rand.Text(), ""
		if err := r.note(e, stepIntent, ""); err != nil {
			return err
		}
	}
	if e.Key == "" {
		if e.Key, err = r.generate(ctx, e); err != nil {
			return err
		}
	}
	if err := r.note(e, stepKey, ""); err != nil || r.HasKey == nil {
		return err
	}
	if err := r.HasKey(ctx, e.Key); err != nil {
		return fmt.Errorf("asking the key server for the key %s, which vCenter says is made: %w", e.Key, err)
	}
	return nil
}

// spoilt tells whether a key that was made in an earlier run is of no use any
// more: the key server was asked since.
func (r *run) spoilt(key string) bool {
	fact, known := r.keys[key]
	return r.keys != nil && (!known || fact.State != "Active" && fact.State != "Pre-Active")
}

func (r *run) generate(ctx context.Context, e *Entry) (string, error) {
	if r.Client.ServiceContent.CryptoManager == nil {
		return "", errors.New("this vCenter has no key manager")
	}
	req := &types.GenerateKey{
		This: *r.Client.ServiceContent.CryptoManager, KeyProvider: &types.KeyProviderId{Id: e.Provider},
		Spec: &types.CryptoManagerKmipCustomAttributeSpec{Attributes: []types.KeyValue{{Key: JobAttribute, Value: e.Job}}},
	}
	res, err := methods.GenerateKey(ctx, r.Client, req)
	if err != nil && fault.Is(err, &types.InvalidRequest{}) { // it has not understood it: no key was made
		req.Spec = nil
		res, err = methods.GenerateKey(ctx, r.Client, req)
	}
	if err != nil {
		return "", fmt.Errorf("making a key: %w: %w", errUnsure, err)
	}
	if !res.Returnval.Success {
		return "", fmt.Errorf("%w: %s", ErrNoKey, res.Returnval.Reason)
	}
	return res.Returnval.KeyId.KeyId, r.at("generated")
}

// shutDown has the guest shut down. That it is to be started again is in the
// ledger before: whoever is killed meanwhile leaves no machine off for ever.
func (r *run) shutDown(ctx context.Context, vm *object.VirtualMachine, e *Entry) error {
	e.Off = true
	if err := r.note(e, stepIntent, ""); err != nil {
		return err
	}
	if err := vm.ShutdownGuest(ctx); soap.IsSoapFault(err) {
		e.Off = false // it was not begun
		return fmt.Errorf("shutting down: %w", err)
	} else if err != nil {
		return fmt.Errorf("shutting down: %w: %w", errStillOn, err)
	}
	limited, cancel := context.WithTimeout(ctx, shutDownTime)
	defer cancel()
	if err := vm.WaitForPowerState(limited, types.VirtualMachinePowerStatePoweredOff); err != nil {
		return fmt.Errorf("waiting until it is shut down: %w: %w", errStillOn, err)
	}
	return nil
}

// start starts a machine that was shut down for a job, unless it is on.
func (a *Applier) start(ctx context.Context, e *Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTime)
	defer cancel()
	task, err := object.NewVirtualMachine(a.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: e.Ref}).PowerOn(ctx)
	if err == nil {
		err = task.Wait(ctx)
	}
	var state *types.InvalidPowerState
	if _, ok := fault.As(err, &state); err != nil && (!ok || state.ExistingState != types.VirtualMachinePowerStatePoweredOn) {
		return fmt.Errorf("starting it again: %w", err)
	}
	e.Off = false
	return a.note(e, e.Step, e.Problem)
}

// errStillOn: a guest was told to shut down, and has not done so yet. To start it
// is for later.
var errStillOn = errors.New("it is not off yet")

const (
	shutDownTime = 10 * time.Minute // that a guest may take to shut down
	startTime    = 5 * time.Minute  // that vCenter may take to power a machine on
)

func read(ctx context.Context, vm *object.VirtualMachine) (m mo.VirtualMachine, err error) {
	err = property.DefaultCollector(vm.Client()).RetrieveOne(ctx, vm.Reference(), []string{"config"}, &m)
	if err == nil && m.Config == nil {
		err = errors.New("its configuration cannot be read")
	}
	if err != nil {
		return m, fmt.Errorf("reading the machine: %w", err)
	}
	return m, nil
}
