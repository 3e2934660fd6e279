package recovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// ErrStillLocked is wrapped when vCenter says that it has unlocked a machine,
// and the machine is locked.
var ErrStillLocked = errors.New("the machine is still locked")

// An Unlocker unlocks machines. Client alone is needed.
type Unlocker struct {
	Client  *vim25.Client
	Workers int // machines at a time; 0: 4
	// Healthy is asked after a machine that could not be unlocked: an error ends
	// the run, since the others would fail for the same reason.
	Healthy func(context.Context) error
	// Report is told of each machine, one at a time.
	Report func(Result)
}

// A Result says how it went with a machine.
type Result struct {
	Machine Machine
	Err     error
}

// Unlock unlocks the machines. It returns what could not be unlocked, and why it
// ended before the end. A machine that is not locked any more is done.
func (u *Unlocker) Unlock(ctx context.Context, list []Machine) (failed []Result, err error) {
	further, cancel := context.WithCancelCause(ctx) // what has begun is waited for all the same
	defer cancel(nil)
	work := make(chan Machine)
	var mu sync.Mutex
	var wg sync.WaitGroup
	workers := u.Workers
	if workers <= 0 {
		workers = 4
	}
	for range min(workers, len(list)) {
		wg.Go(func() {
			for m := range work {
				r := Result{m, u.one(ctx, m)}
				mu.Lock()
				if u.Report != nil {
					u.Report(r)
				}
				if r.Err != nil {
					failed = append(failed, r)
					u.look(ctx, cancel)
				}
				mu.Unlock()
			}
		})
	}
	err = feed(further, work, list)
	wg.Wait()
	return failed, err
}

// feed hands the machines out until ctx ends.
func feed(ctx context.Context, work chan<- Machine, list []Machine) error {
	defer close(work)
	for _, m := range list {
		select {
		case <-ctx.Done(): // of two that are ready, select takes any
			return context.Cause(ctx)
		default:
		}
		select {
		case work <- m:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// look ends the run when the key provider does not work any more.
func (u *Unlocker) look(ctx context.Context, cancel context.CancelCauseFunc) {
	if u.Healthy == nil || ctx.Err() != nil {
		return
	}
	if err := u.Healthy(ctx); err != nil {
		cancel(fmt.Errorf("no further machine is tried: %w", err))
	}
}

// one unlocks a machine, and looks whether it is. Each has a property collector
// of its own: two waits on a shared one hang.
func (u *Unlocker) one(ctx context.Context, m Machine) error {
	pc, err := property.DefaultCollector(u.Client).Create(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = pc.Destroy(ctx) // it goes with the session
	}()
	ref := types.ManagedObjectReference{Type: "VirtualMachine", Value: m.Ref}
	if locked, err := isLocked(ctx, pc, ref); err != nil || !locked {
		return err
	}
	res, err := methods.CryptoUnlock_Task(ctx, u.Client, &types.CryptoUnlock_Task{This: ref})
	if err != nil {
		return err
	}
	if _, err := task.WaitEx(ctx, res.Returnval, pc, nil); err != nil {
		return err
	}
	locked, err := isLocked(ctx, pc, ref)
	if err == nil && locked {
		err = fmt.Errorf("%w, although vCenter says that it was unlocked", ErrStillLocked)
	}
	return err
}

func isLocked(ctx context.Context, pc *property.Collector, ref types.ManagedObjectReference) (bool, error) {
	var vm mo.VirtualMachine
	if err := pc.RetrieveOne(ctx, ref, []string{"runtime.cryptoState"}, &vm); err != nil {
		return false, fmt.Errorf("reading whether it is locked: %w", err)
	}
	return vm.Runtime.CryptoState == string(types.VirtualMachineCryptoStateLocked), nil
}
