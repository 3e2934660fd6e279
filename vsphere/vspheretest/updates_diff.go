package vspheretest

import (
	"maps"
	"reflect"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// objects are properties by name, by object: what a client has seen.
type objects map[types.ManagedObjectReference]map[string]types.AnyType

// A pendingUpdate is one that no answer had room for yet.
type pendingUpdate struct {
	filter types.ManagedObjectReference
	update types.ObjectUpdate
}

// update adds to pending what the touched objects mean for every filter. A
// filter that is new is read whole.
func (w *watch) update(ctx *simulator.Context, pc *simulator.PropertyCollector, touched map[types.ManagedObjectReference]bool) *failure {
	var filters []types.ManagedObjectReference
	ctx.WithLock(pc, func() { filters = slices.Clone(pc.Filter) })
	maps.DeleteFunc(w.seen, func(filter types.ManagedObjectReference, _ objects) bool { return !slices.Contains(filters, filter) })
	for _, ref := range filters {
		filter, ok := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		if !ok {
			continue
		}
		d := &differ{ctx: ctx, pc: pc, watch: w, filter: ref, spec: filter.Spec}
		if _, known := w.seen[ref]; !known {
			if f := d.whole(); f != nil {
				return f
			}
			continue
		}
		if f := d.changed(touched); f != nil {
			return f
		}
	}
	return nil
}

// A differ compares one filter's objects with what was seen of them.
type differ struct {
	ctx    *simulator.Context
	pc     *simulator.PropertyCollector
	watch  *watch
	filter types.ManagedObjectReference
	spec   types.PropertyFilterSpec
}

func (d *differ) seen() objects { return d.watch.seen[d.filter] }

// whole reads all objects of a filter.
func (d *differ) whole() *failure {
	list, f := d.read(d.spec)
	if f != nil {
		return f
	}
	d.watch.seen[d.filter] = objects{}
	for _, o := range list {
		d.compare(o)
	}
	return nil
}

// changed looks at the touched objects, and at which objects there are if one
// of them may decide on that.
func (d *differ) changed(touched map[types.ManagedObjectReference]bool) *failure {
	var again []types.ManagedObjectReference
	moved := false
	for ref := range touched {
		if _, ok := d.seen()[ref]; ok {
			again = append(again, ref)
		}
		moved = moved || d.leads(ref) || d.mayEnter(ref)
	}
	if moved {
		entered, f := d.members()
		if f != nil {
			return f
		}
		again = append(again, entered...)
	}
	return d.look(again)
}

// look reads some objects again. One that is not there any more has left.
func (d *differ) look(refs []types.ManagedObjectReference) *failure {
	if len(refs) == 0 {
		return nil
	}
	spec := types.PropertyFilterSpec{PropSet: d.spec.PropSet, ReportMissingObjectsInResults: types.NewBool(true)}
	for _, ref := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
	}
	list, f := d.read(spec)
	if f != nil {
		return f
	}
	here := map[types.ManagedObjectReference]bool{}
	for _, o := range list {
		here[o.Obj] = true
		d.compare(o)
	}
	for _, ref := range refs {
		if !here[ref] {
			d.left(ref)
		}
	}
	return nil
}

func (d *differ) left(ref types.ManagedObjectReference) {
	if _, ok := d.seen()[ref]; ok {
		delete(d.seen(), ref)
		d.tell(types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindLeave})
	}
}

// members finds out which objects the filter has now, tells of those that have
// left, and returns those that are new.
func (d *differ) members() (entered []types.ManagedObjectReference, f *failure) {
	names := types.PropertyFilterSpec{ObjectSet: d.spec.ObjectSet, ReportMissingObjectsInResults: types.NewBool(true)}
	for _, p := range d.spec.PropSet {
		names.PropSet = append(names.PropSet, types.PropertySpec{Type: p.Type})
	}
	list, f := d.read(names)
	if f != nil {
		return nil, f
	}
	now := map[types.ManagedObjectReference]bool{}
	for _, o := range list {
		now[o.Obj] = true
		if _, ok := d.seen()[o.Obj]; !ok {
			entered = append(entered, o.Obj)
		}
	}
	for ref := range d.seen() {
		if !now[ref] {
			d.left(ref)
		}
	}
	return entered, nil
}

// compare tells how an object differs from what was seen of it, and has it
// seen.
func (d *differ) compare(o types.ObjectContent) {
	before, known := d.seen()[o.Obj]
	now := map[string]types.AnyType{}
	update := types.ObjectUpdate{Obj: o.Obj, Kind: types.ObjectUpdateKindModify}
	for _, p := range o.PropSet {
		now[p.Name] = p.Val
		if old, ok := before[p.Name]; !ok || !reflect.DeepEqual(old, p.Val) {
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: p.Name, Op: types.PropertyChangeOpAssign, Val: p.Val})
		}
	}
	for name := range before {
		if _, ok := now[name]; !ok { // it has no value any more
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign})
		}
	}
	d.seen()[o.Obj] = now
	if !known {
		update.Kind = types.ObjectUpdateKindEnter
	}
	if !known || len(update.ChangeSet) > 0 {
		d.tell(update)
	}
}

func (d *differ) tell(u types.ObjectUpdate) {
	d.watch.pending = append(d.watch.pending, pendingUpdate{d.filter, u})
}

func (d *differ) read(spec types.PropertyFilterSpec) ([]types.ObjectContent, *failure) {
	body := d.pc.RetrievePropertiesEx(d.ctx, &types.RetrievePropertiesEx{SpecSet: []types.PropertyFilterSpec{spec}}).(*methods.RetrievePropertiesExBody)
	if body.Fault_ != nil {
		if missing, ok := body.Fault_.VimFault().(types.ManagedObjectNotFound); ok {
			return nil, notFound(missing.Obj)
		}
		return nil, fail(&types.InvalidArgument{}, "%s", body.Fault_.String)
	}
	return body.Res.Returnval.Objects, nil
}

// leads tells whether the filter finds other objects by way of this one.
func (d *differ) leads(ref types.ManagedObjectReference) bool {
	for _, o := range d.spec.ObjectSet {
		if len(o.SelectSet) > 0 && (o.Obj == ref || d.passes(o.SelectSet, ref)) {
			return true
		}
	}
	return false
}

func (d *differ) passes(set []types.BaseSelectionSpec, ref types.ManagedObjectReference) bool {
	for _, s := range set {
		if t, ok := s.(*types.TraversalSpec); ok && (d.isA(ref, t.Type) || d.passes(t.SelectSet, ref)) {
			return true
		}
	}
	return false
}

// mayEnter tells whether an object that was not seen could be one of the
// filter's.
func (d *differ) mayEnter(ref types.ManagedObjectReference) bool {
	if _, ok := d.seen()[ref]; ok || !d.travels() {
		return false
	}
	return slices.ContainsFunc(d.spec.PropSet, func(p types.PropertySpec) bool { return d.isA(ref, p.Type) })
}

func (d *differ) travels() bool {
	return slices.ContainsFunc(d.spec.ObjectSet, func(o types.ObjectSpec) bool { return len(o.SelectSet) > 0 })
}

// isA tells whether the object is of the type, or of one that extends it.
func (d *differ) isA(ref types.ManagedObjectReference, kind string) bool {
	if ref.Type == kind {
		return true
	}
	o := d.ctx.Session.Get(ref)
	if o == nil {
		return false
	}
	t := reflect.TypeOf(o)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	field, ok := t.FieldByName(kind)
	return ok && field.Anonymous
}
