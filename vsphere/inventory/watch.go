package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// watched are light: devices in a filter are read and compared by vCenter at
// every change of any machine. A change of a disk changes changeVersion.
var watched = []string{
	"name", "parent", "parentVApp", "customValue", "config.changeVersion", "config.keyId", "config.migrateEncryption", "config.version",
	"runtime.powerState", "runtime.cryptoState", "runtime.connectionState", "runtime.host", "snapshot",
}

// A Change is what happened to machines since the snapshot, or the Change
// before.
type Change struct {
	VMs  []VM     // that changed or came, read anew
	Gone []string // Refs of those that are not there any more
	// Full asks for a whole Read: something lies where the snapshot knows
	// nothing, or what it has read could not be read of these.
	Full bool

	unseen []string
}

// Watch calls fn with what changes from the snapshot on, until ctx ends or fn
// fails. What happened between the snapshot and the start of the watch comes
// first. Tags, policies and hosts are not watched; read everything again from
// time to time.
func (r *Reader) Watch(ctx context.Context, s *Snapshot, fn func(Change) error) error {
	c, err := r.open(ctx)
	if err != nil {
		return fmt.Errorf("watching the vCenter %s: %w", r.o.Client.URL().Host, err)
	}
	defer c.close(ctx)
	w := &watcher{r: r, c: c, s: s, fn: fn}
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("watching the vCenter %s: %w", r.o.Client.URL().Host, err)
	}
	return nil
}

type watcher struct {
	r  *Reader
	c  *collecting
	s  *Snapshot
	fn func(Change) error

	first   map[string]bool // machines of the snapshot that the watch has not shown yet; nil: it has shown all
	pending map[string]bool // refs that changed
	gone    map[string]bool
}

func (w *watcher) run(ctx context.Context) error {
	v, spec, err := containerView(ctx, w.c.client, map[string][]string{"VirtualMachine": watched})
	if err != nil {
		return err
	}
	defer func() { _ = v.Destroy(context.WithoutCancel(ctx)) }() // the session's end destroys it too
	if _, err := w.c.pc.CreateFilter(ctx, types.CreateFilter{Spec: spec}); err != nil {
		return fmt.Errorf("making a filter: %w", err)
	}
	w.pending, w.gone, w.first = map[string]bool{}, map[string]bool{}, map[string]bool{}
	known := make(map[string]*VM, len(w.s.VMs))
	for i := range w.s.VMs {
		known[w.s.VMs[i].Ref], w.first[w.s.VMs[i].Ref] = &w.s.VMs[i], true
	}
	for version := ""; ; {
		res, err := methods.WaitForUpdatesEx(ctx, w.c.client, &types.WaitForUpdatesEx{This: w.c.pc.Reference(), Version: version, Options: &types.WaitOptions{}})
		if err != nil {
			return err
		}
		if res.Returnval == nil {
			continue
		}
		version = res.Returnval.Version
		for _, f := range res.Returnval.FilterSet {
			for _, u := range f.ObjectSet {
				w.note(u, known)
			}
		}
		if res.Returnval.Truncated != nil && *res.Returnval.Truncated {
			continue
		}
		if err := w.tell(ctx); err != nil {
			return err
		}
	}
}

// note takes one update. Those of the first round tell of every machine: only
// what differs from the snapshot is news.
func (w *watcher) note(u types.ObjectUpdate, known map[string]*VM) {
	ref := u.Obj.Value
	delete(w.first, ref)
	switch {
	case u.Kind == types.ObjectUpdateKindLeave:
		delete(w.pending, ref)
		w.gone[ref] = true
	case u.Kind == types.ObjectUpdateKindEnter && known[ref] != nil && known[ref].is(u, w.s.tree):
	default:
		w.pending[ref] = true
	}
}

// is tells whether a machine is as an update has it.
func (v *VM) is(u types.ObjectUpdate, t *tree) bool {
	p := props{}
	for _, c := range u.ChangeSet {
		if c.Val != nil {
			p[c.Name] = c.Val
		}
	}
	key := get[types.CryptoKeyId](p, "config.keyId")
	var now VM
	now.snapshots(get[types.VirtualMachineSnapshotInfo](p, "snapshot"))
	return slices.Equal(v.snapshotRefs, now.snapshotRefs) && v.Path == t.vmPath(p) &&
		maps.Equal(v.Attributes, t.attributes(get[types.ArrayOfCustomFieldValue](p, "customValue").CustomFieldValue)) && v.Name == get[string](p, "name") && v.ChangeVersion == get[string](p, "config.changeVersion") && v.Key == keyOf(&key) &&
		v.MigrateEncrypted == get[string](p, "config.migrateEncryption") &&
		v.Power == string(get[types.VirtualMachinePowerState](p, "runtime.powerState")) &&
		v.Connection == string(get[types.VirtualMachineConnectionState](p, "runtime.connectionState")) &&
		v.Locked == (get[string](p, "runtime.cryptoState") == string(types.VirtualMachineCryptoStateLocked)) &&
		v.Host == p.ref("runtime.host")
}

// tell reads what changed, and passes it on.
func (w *watcher) tell(ctx context.Context) error {
	for ref := range w.first { // the snapshot has it, and the vCenter no longer
		w.gone[ref] = true
	}
	w.first = nil
	if len(w.pending)+len(w.gone) == 0 {
		return nil
	}
	vms, err := w.c.some(ctx, slices.Sorted(maps.Keys(w.pending)), w.s.tree)
	if err != nil {
		return err
	}
	facts := &Snapshot{Unread: map[Facts]string{}, Policies: w.s.Policies}
	w.r.fill(ctx, facts, vms)
	c := Change{VMs: vms, Gone: slices.Sorted(maps.Keys(w.gone)), Full: blinder(facts, w.s), unseen: w.c.unseen}
	w.c.unseen = nil
	clear(w.pending)
	clear(w.gone)
	return w.fn(c)
}

// blinder tells whether something was not read that was read before.
func blinder(now, before *Snapshot) bool {
	for facts := range now.Unread {
		if before.Unread[facts] == "" {
			return true
		}
	}
	return false
}

// With returns the snapshot as it is after a change. Its Time stays: nothing
// but machines was looked at again.
func (s *Snapshot) With(c Change) *Snapshot {
	out := *s
	replaced := map[string]bool{}
	for _, v := range c.VMs {
		replaced[v.Ref] = true
	}
	for _, ref := range c.Gone {
		replaced[ref] = true
	}
	out.VMs = slices.DeleteFunc(slices.Clone(s.VMs), func(v VM) bool { return replaced[v.Ref] })
	out.VMs = append(out.VMs, c.VMs...)
	slices.SortFunc(out.VMs, byPath)
	out.unseen = append(slices.Clone(s.unseen), c.unseen...)
	out.judge()
	return &out
}
