package vspheretest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// A job is the work of a task of ours. It runs without any of the simulator's
// locks; progress takes per cent. The failure, if any, is the task's error.
type job func(ctx *simulator.Context, progress func(percent int32)) (result types.AnyType, failed *failure)

// A failure is a fault with the words that vCenter would show.
type failure struct {
	fault types.BaseMethodFault
	text  string
}

func fail(fault types.BaseMethodFault, format string, args ...any) *failure {
	return &failure{fault, fmt.Sprintf(format, args...)}
}

func (f *failure) Error() string { return f.text }

func (f *failure) localized() *types.LocalizedMethodFault {
	return &types.LocalizedMethodFault{Fault: f.fault, LocalizedMessage: f.text}
}

var taskNumber atomic.Uint64

// run starts a task on the object and returns its reference. The simulator's
// own runner would hold the object's lock until the task ends.
func (v *VCenter) run(ctx *simulator.Context, about types.ManagedObjectReference, name string, work job) types.ManagedObjectReference {
	task := simulator.CreateTask(about, name, nil)
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-crypto-%d", taskNumber.Add(1))}
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	started := time.Now()
	task.Info.State, task.Info.StartTime = types.TaskInfoStateRunning, &started
	ctx.Map.Put(task)
	own := v.background(ctx)
	v.working.Add(1)
	go func() {
		defer v.working.Done()
		result, failed := work(own, func(percent int32) {
			own.Map.AtomicUpdate(own, task, []types.PropertyChange{{Name: "info.progress", Val: percent}})
		})
		finish(own, task, result, failed)
	}()
	return task.Self
}

func finish(ctx *simulator.Context, task *simulator.Task, result types.AnyType, failed *failure) {
	changes := []types.PropertyChange{
		{Name: "info.completeTime", Val: time.Now()},
		{Name: "info.state", Val: types.TaskInfoStateSuccess},
		{Name: "info.result", Val: result},
	}
	if failed != nil {
		changes[1].Val = types.TaskInfoStateError
		changes[2] = types.PropertyChange{Name: "info.error", Val: *failed.localized()}
	}
	ctx.Map.AtomicUpdate(ctx, task, changes)
}

// background is a context for work that outlives its request. Each goroutine
// needs one of its own: the simulator tells who holds a lock by it.
func (v *VCenter) background(ctx *simulator.Context) *simulator.Context {
	own := *ctx
	own.Context = v.ctx
	return &own
}

// await waits for one of the simulator's own tasks.
func await(ctx *simulator.Context, ref types.ManagedObjectReference) (types.AnyType, *failure) {
	task, ok := ctx.Map.Get(ref).(*simulator.Task)
	if !ok {
		return nil, fail(&types.ManagedObjectNotFound{Obj: ref}, "the task %s is gone", ref.Value)
	}
	task.Wait()
	var info types.TaskInfo
	ctx.Map.WithLock(ctx, task, func() { info = task.Info })
	if info.Error != nil {
		return nil, &failure{info.Error.Fault, info.Error.LocalizedMessage}
	}
	return info.Result, nil
}

// recentTasks is the simulator's list of recent tasks, which it changes without
// a lock: many tasks begin at once here.
type recentTasks struct {
	*simulator.TaskManager
	mu sync.Mutex
}

// PutObject is the simulator's, one at a time.
func (t *recentTasks) PutObject(ctx *simulator.Context, o mo.Reference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.TaskManager.PutObject(ctx, o)
}

// reference makes a mo.Reference of a plain reference.
var _ mo.Reference = types.ManagedObjectReference{}
