package vspheretest

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// The simulator's own WaitForUpdatesEx collects every object of every filter
// again for every single event, and a task is several: with 10,000 machines a
// change shows after many seconds, and some never do, since they are not told
// of. Ours reads only what was touched, and compares it with what the client
// has seen (updates_diff.go).

// gather is how long updates are collected once there is one, as the
// simulator's own does.
const gather = 20 * time.Millisecond

// mostUpdates is how many objects one answer has at most.
const mostUpdates = 100

// watches are the property collectors that somebody waits for.
type watches struct {
	mu   sync.Mutex
	list map[watchKey]*watch
}

// A watchKey names a collector: the default one has the same reference in every
// session.
type watchKey struct {
	session   string
	collector types.ManagedObjectReference
}

// A watch is what a client has seen of its filters' objects, and what was
// touched since.
type watch struct {
	calling sync.Mutex // held over a call: one at a time; guards seen, pending, version
	seen    map[types.ManagedObjectReference]objects
	pending []pendingUpdate
	version int

	mu      sync.Mutex
	touched map[types.ManagedObjectReference]bool
	cancel  context.CancelFunc // of the call that waits
	poke    chan struct{}      // there is something to look at
}

func (s *watches) get(ctx *simulator.Context, collector types.ManagedObjectReference) *watch {
	key := watchKey{ctx.Session.Key, collector}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.list[key]
	if w == nil {
		w = &watch{poke: make(chan struct{}, 1), touched: map[types.ManagedObjectReference]bool{}}
		if s.list == nil {
			s.list = map[watchKey]*watch{}
		}
		s.list[key] = w
	}
	return w
}

// find is get where there need be none: nil then.
func (s *watches) find(ctx *simulator.Context, collector types.ManagedObjectReference) *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[watchKey{ctx.Session.Key, collector}]
}

// end forgets a watch, and ends the call that waits for it.
func (s *watches) end(ctx *simulator.Context, collector types.ManagedObjectReference) {
	key := watchKey{ctx.Session.Key, collector}
	s.mu.Lock()
	w := s.list[key]
	delete(s.list, key)
	s.mu.Unlock()
	if w != nil {
		w.stop()
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}

// touch notes an object in every watch.
func (s *watches) touch(ref types.ManagedObjectReference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.list {
		w.mu.Lock()
		w.touched[ref] = true
		w.mu.Unlock()
		w.wake()
	}
}

// wake has the call that waits look again.
func (w *watch) wake() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// take returns what was touched since it was last called.
func (w *watch) take() map[types.ManagedObjectReference]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.touched
	w.touched = map[types.ManagedObjectReference]bool{}
	return out
}

// listener is told by the simulator of every object that comes, changes or goes.
type listener struct {
	Self    types.ManagedObjectReference
	watches *watches
}

func (l *listener) Reference() types.ManagedObjectReference { return l.Self }

func (l *listener) PutObject(_ *simulator.Context, o mo.Reference) { l.watches.touch(o.Reference()) }

func (l *listener) UpdateObject(_ *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	l.watches.touch(o.Reference())
}

func (l *listener) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	l.watches.touch(ref)
}

// collectors answers for PropertyCollector, as far as waiting goes.
type collectors struct{ overlay }

func collectorOf(ctx *simulator.Context, ref types.ManagedObjectReference) (*simulator.PropertyCollector, *failure) {
	if pc, ok := ctx.Session.Get(ref).(*simulator.PropertyCollector); ok {
		return pc, nil
	}
	return nil, notFound(ref)
}

// WaitForUpdatesEx answers with all there is to a first call, and to later ones
// with what has changed, once something has.
func (c *collectors) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	body := new(methods.WaitForUpdatesExBody)
	set, f := c.wait(ctx, req)
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	body.Res = &types.WaitForUpdatesExResponse{Returnval: set}
	return body
}

// WaitForUpdates is the older form, without options.
func (c *collectors) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	set, f := c.wait(ctx, &types.WaitForUpdatesEx{This: req.This, Version: req.Version})
	if f != nil {
		return &methods.WaitForUpdatesBody{Fault_: soapFault(f)}
	}
	return &methods.WaitForUpdatesBody{Res: &types.WaitForUpdatesResponse{Returnval: *set}}
}

// CreateFilter adds a filter, which a call that waits sees at once.
func (c *collectors) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) (answer soap.HasFault) {
	pc, f := collectorOf(ctx, req.This)
	if f != nil {
		return &methods.CreateFilterBody{Fault_: soapFault(f)}
	}
	ctx.WithLock(pc, func() { answer = pc.CreateFilter(ctx, req) })
	if w := c.vcenter.watches.find(ctx, req.This); w != nil {
		w.wake()
	}
	return answer
}

// CancelWaitForUpdates ends the call that waits.
func (c *collectors) CancelWaitForUpdates(ctx *simulator.Context, req *types.CancelWaitForUpdates) soap.HasFault {
	if w := c.vcenter.watches.find(ctx, req.This); w != nil {
		w.stop()
	}
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// DestroyPropertyCollector forgets what the client has seen.
func (c *collectors) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) soap.HasFault {
	c.vcenter.watches.end(ctx, req.This)
	pc, f := collectorOf(ctx, req.This)
	if f != nil {
		return &methods.DestroyPropertyCollectorBody{Fault_: soapFault(f)}
	}
	return pc.DestroyPropertyCollector(ctx, req)
}

func (c *collectors) wait(ctx *simulator.Context, req *types.WaitForUpdatesEx) (*types.UpdateSet, *failure) {
	pc, f := collectorOf(ctx, req.This)
	if f != nil {
		return nil, f
	}
	w := c.vcenter.watches.get(ctx, req.This)
	w.calling.Lock()
	defer w.calling.Unlock()
	most, limit := waitOptions(req.Options)
	if req.Version == "" {
		w.take()
		w.seen, w.pending = map[types.ManagedObjectReference]objects{}, nil
		if f := w.update(ctx, pc, nil); f != nil {
			return nil, f
		}
		return w.page(most), nil
	}
	if len(w.pending) > 0 {
		return w.page(most), nil
	}
	return w.next(ctx, c.vcenter.ctx, pc, most, limit)
}

// waitOptions are how many objects an answer may have, and how long to wait
// for it: 0 not at all, less for ever.
func waitOptions(o *types.WaitOptions) (most int, limit time.Duration) {
	most, limit = mostUpdates, -1
	if o == nil {
		return most, limit
	}
	if o.MaxObjectUpdates > 0 {
		most = min(most, int(o.MaxObjectUpdates))
	}
	if o.MaxWaitSeconds != nil {
		limit = time.Duration(*o.MaxWaitSeconds) * time.Second
	}
	return most, limit
}

// next waits until something that the client watches has changed. Nil means
// that nothing has in that time.
func (w *watch) next(ctx *simulator.Context, life context.Context, pc *simulator.PropertyCollector, most int, limit time.Duration) (*types.UpdateSet, *failure) {
	canceled, cancel := context.WithCancel(life)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	timeout := (<-chan time.Time)(nil)
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timeout = t.C
	}
	for {
		if f := w.update(ctx, pc, w.take()); f != nil {
			return nil, f
		}
		if len(w.pending) > 0 {
			return w.page(most), nil
		}
		if limit == 0 {
			return nil, nil
		}
		select {
		case <-w.poke:
			_ = ctxtime.Sleep(canceled, gather)
		case <-timeout:
			return nil, nil
		case <-canceled.Done():
			return nil, fail(&types.RequestCanceled{}, "The wait was canceled")
		}
	}
}

// page takes the next updates as one answer.
func (w *watch) page(most int) *types.UpdateSet {
	w.version++
	n := min(most, len(w.pending))
	set := &types.UpdateSet{Version: strconv.Itoa(w.version), Truncated: types.NewBool(n < len(w.pending))}
	for _, u := range w.pending[:n] {
		if last := len(set.FilterSet) - 1; last < 0 || set.FilterSet[last].Filter != u.filter {
			set.FilterSet = append(set.FilterSet, types.PropertyFilterUpdate{Filter: u.filter})
		}
		f := &set.FilterSet[len(set.FilterSet)-1]
		f.ObjectSet = append(f.ObjectSet, u.update)
	}
	w.pending = w.pending[n:]
	return set
}
