package vspheretest

import (
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// aliasPrefix begins the type of the references under which the overlay's
// objects are registered. The simulator's own objects keep theirs.
const aliasPrefix = "Keyreeve:"

// An overlay answers some of the calls to all objects of one type. The
// reference of the one that is meant is in the request. Its lock is none: the
// simulator would hold it over the whole call, and so over an exchange with a
// key server. It begins with one of the API's objects, since parts of the
// simulator walk over all that are registered and take them for such.
type overlay struct {
	mo.ExtensibleManagedObject
	vcenter *VCenter
}

func (v *VCenter) overlay(kind string) overlay {
	return overlay{mo.ExtensibleManagedObject{Self: v.alias(kind)}, v}
}

// Lock and Unlock keep the simulator from locking.
func (o *overlay) Lock()   {}
func (o *overlay) Unlock() {}

// overlays are the types of objects with calls of ours.
func (v *VCenter) overlays() map[string]mo.Reference {
	return map[string]mo.Reference{
		"ClusterComputeResource": &clusters{v.overlay("ClusterComputeResource")},
		"CryptoManagerKmip":      &manager{v.overlay("CryptoManagerKmip")},
		"VirtualMachine":         &machines{v.overlay("VirtualMachine")},
		"HostSystem":             &hosts{v.overlay("HostSystem")},
		"Folder":                 &folders{v.overlay("Folder")},
		"Datacenter":             &datacenters{v.overlay("Datacenter")},
		"VirtualApp":             &apps{v.overlay("VirtualApp")},
		"PropertyCollector":      &collectors{v.overlay("PropertyCollector")},
	}
}

func (v *VCenter) alias(kind string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: aliasPrefix + kind, Value: "overlay"}
}

// install registers the overlay's objects, and points their calls to them.
// The handler only rewrites the reference: what it returns itself is ignored
// in a session, and an object that wraps one of the simulator's ends the
// process where that is cast.
func (v *VCenter) install(reg *simulator.Registry) {
	reg.AddHandler(&listener{v.alias("Listener"), &v.watches})
	v.answers = map[string]map[string]bool{}
	for kind, o := range v.overlays() {
		reg.Put(o)
		v.answers[kind] = methodsOf(o)
	}
	reg.Handler = v.route
}

// route points a call of ours to the overlay, unless there is nothing of that
// reference: what to say then the simulator knows. And it refuses what would be
// done to a machine whose configuration is hidden: the simulator would end the
// process.
func (v *VCenter) route(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if v.answers[m.This.Type][m.Name] {
		if ctx.Session != nil && ctx.Session.Get(m.This) != nil {
			m.This = v.alias(m.This.Type)
		}
		return nil, nil
	}
	if seen, ok := v.machine(ctx, m.This); ok && seen.hidden {
		return nil, seen.visible().fault
	}
	return nil, nil
}

// methodsOf lists the calls that an object answers, by their name in the API.
func methodsOf(o mo.Reference) map[string]bool {
	names := map[string]bool{}
	t := reflect.TypeOf(o)
	for i := range t.NumMethod() {
		name := t.Method(i).Name
		names[name] = true
		if task, ok := strings.CutSuffix(name, "Task"); ok {
			names[task+"_Task"] = true
		}
	}
	return names
}
