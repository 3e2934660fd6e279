package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// pageSize is how many objects come in an answer.
const pageSize = 500

// Options say what a Reader reads. Client alone is needed.
type Options struct {
	Client *vim25.Client
	// REST is logged in to the same vCenter, for the tags; nil: they are Unread.
	REST *rest.Client
	// KeyStatus asks vCenter for the status of every key that something has.
	// vCenter asks the key server for each of them.
	KeyStatus bool
	Now       func() time.Time // nil: time.Now
}

// A Reader reads snapshots of one vCenter. It must not be used by two
// goroutines at once; a Watch is one use.
type Reader struct {
	o Options
}

// NewReader returns a Reader of the vCenter that the client is logged in to.
func NewReader(o Options) *Reader {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reader{o}
}

// Read reads everything. An error means that there is no snapshot; what a
// single object kept from being read is in the snapshot.
func (r *Reader) Read(ctx context.Context) (*Snapshot, error) {
	about := r.o.Client.ServiceContent.About
	s := &Snapshot{VCenter: about.InstanceUuid, Version: about.Version + " build-" + about.Build, Time: r.o.Now(), Unread: map[Facts]string{}}
	c, err := r.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the vCenter %s: %w", r.o.Client.URL().Host, err)
	}
	defer c.close(ctx)
	for _, step := range []func(context.Context, *Snapshot) error{c.attributes, c.tree, c.machines, c.snapshotKeys} {
		if err := step(ctx, s); err != nil {
			return nil, fmt.Errorf("reading the vCenter %s: %w", r.o.Client.URL().Host, err)
		}
	}
	r.providers(ctx, s)
	r.fill(ctx, s, s.VMs)
	slices.SortFunc(s.VMs, byPath)
	slices.SortFunc(s.Hosts, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Datastores, func(a, b Datastore) int { return strings.Compare(a.Name, b.Name) })
	r.keyStatus(ctx, s)
	s.unseen = c.unseen
	s.judge()
	return s, nil
}

// fill adds to machines what is not in their properties.
func (r *Reader) fill(ctx context.Context, s *Snapshot, vms []VM) {
	r.tags(ctx, s, vms)
	r.storagePolicies(ctx, s, vms)
	r.tasks(ctx, s, vms)
	for i := range vms {
		if vms[i].Path == "" {
			s.Unread[Folders] = fmt.Sprintf("it is not known where %s is", vms[i].label())
		}
	}
}

// collecting is one pass with a property collector of its own. Two waits on a
// shared one hang.
type collecting struct {
	client *vim25.Client
	pc     *property.Collector
	unseen []string
}

func (r *Reader) open(ctx context.Context) (*collecting, error) {
	pc, err := property.DefaultCollector(r.o.Client).Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("making a property collector: %w", err)
	}
	return &collecting{client: r.o.Client, pc: pc}, nil
}

// close gives the collector back, also when ctx has ended.
func (c *collecting) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = c.pc.Destroy(ctx) // the session's end destroys it too
}

// each calls fn with every object that the filter selects, a page at a time,
// so that no more than a page of devices is in memory.
func (c *collecting) each(ctx context.Context, filter types.PropertyFilterSpec, fn func(types.ObjectContent, props)) error {
	res, err := methods.RetrievePropertiesEx(ctx, c.client, &types.RetrievePropertiesEx{
		This: c.pc.Reference(), SpecSet: []types.PropertyFilterSpec{filter}, Options: types.RetrieveOptions{MaxObjects: pageSize},
	})
	if err != nil || res.Returnval == nil {
		return err
	}
	page := *res.Returnval
	for {
		for _, o := range page.Objects {
			fn(o, propsOf(o))
		}
		if page.Token == "" {
			return nil
		}
		next, err := methods.ContinueRetrievePropertiesEx(ctx, c.client, &types.ContinueRetrievePropertiesEx{This: c.pc.Reference(), Token: page.Token})
		if err != nil {
			return err
		}
		page = next.Returnval
	}
}

// inView calls fn with all objects of some types that the account may see.
func (c *collecting) inView(ctx context.Context, kinds map[string][]string, fn func(types.ObjectContent, props)) error {
	v, spec, err := containerView(ctx, c.client, kinds)
	if err != nil {
		return err
	}
	return errors.Join(c.each(ctx, spec, fn), v.Destroy(context.WithoutCancel(ctx)))
}

// containerView makes a view of all objects of the types, and a filter of
// their properties.
func containerView(ctx context.Context, client *vim25.Client, kinds map[string][]string) (*view.ContainerView, types.PropertyFilterSpec, error) {
	names := make([]string, 0, len(kinds))
	spec := types.PropertyFilterSpec{ReportMissingObjectsInResults: types.NewBool(true)}
	for kind, properties := range kinds {
		names = append(names, kind)
		spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: kind, PathSet: properties})
	}
	v, err := view.NewManager(client).CreateContainerView(ctx, client.ServiceContent.RootFolder, names, true)
	if err != nil {
		return nil, spec, fmt.Errorf("making a view: %w", err)
	}
	spec.ObjectSet = []types.ObjectSpec{{Obj: v.Reference(), Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{v.TraversalSpec()}}}
	return v, spec, nil
}

// attributes reads the names of custom attributes.
func (c *collecting) attributes(ctx context.Context, s *Snapshot) error {
	s.tree = newTree(c.client.ServiceContent.RootFolder.Value)
	manager := c.client.ServiceContent.CustomFieldsManager
	if manager == nil {
		s.Unread[Attributes] = "this vCenter has none"
		return nil
	}
	return c.each(ctx, objects([]string{"field"}, *manager), func(_ types.ObjectContent, p props) {
		for _, f := range get[types.ArrayOfCustomFieldDef](p, "field").CustomFieldDef {
			s.tree.fields[f.Key] = f.Name
		}
	})
}

// objects is a filter of some properties of some objects of one type.
func objects(properties []string, refs ...types.ManagedObjectReference) (spec types.PropertyFilterSpec) {
	for _, ref := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
	}
	spec.PropSet = []types.PropertySpec{{Type: refs[0].Type, PathSet: properties}}
	spec.ReportMissingObjectsInResults = types.NewBool(true) // what has gone meanwhile is no error
	return spec
}

// tree reads all that machines are in, and on.
func (c *collecting) tree(ctx context.Context, s *Snapshot) error {
	var hosts []types.ObjectContent
	err := c.inView(ctx, treeProperties, func(o types.ObjectContent, p props) {
		s.tree.add(o, p)
		switch o.Obj.Type {
		case "HostSystem":
			hosts = append(hosts, o)
		case "Datastore":
			s.Datastores = append(s.Datastores, datastore(o, p))
		}
	})
	for _, o := range hosts { // clusters may come after their hosts
		s.Hosts = append(s.Hosts, hostOf(o, propsOf(o), s.tree))
	}
	return err
}

// machines reads all machines.
func (c *collecting) machines(ctx context.Context, s *Snapshot) error {
	return c.inView(ctx, map[string][]string{"VirtualMachine": vmProperties}, func(o types.ObjectContent, _ props) {
		s.VMs = append(s.VMs, vmOf(o, s.tree))
	})
}

// snapshotKeys reads the keys of snapshots: a key that a machine had when its
// snapshot was taken opens the snapshot, whatever the machine has now.
func (c *collecting) snapshotKeys(ctx context.Context, s *Snapshot) error {
	return c.snapshotsOf(ctx, s.VMs)
}

func (c *collecting) snapshotsOf(ctx context.Context, vms []VM) error {
	owner := map[string]*VM{}
	var refs []types.ManagedObjectReference
	for i := range vms {
		for _, ref := range vms[i].snapshotRefs {
			owner[ref] = &vms[i]
			refs = append(refs, types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: ref})
		}
	}
	for chunk := range slices.Chunk(refs, pageSize) {
		err := c.each(ctx, objects([]string{"config.keyId", "config.hardware.device"}, chunk...), func(o types.ObjectContent, p props) {
			if v := owner[o.Obj.Value]; v != nil && p.has("config.hardware.device") && !hidden(o, "config.keyId") {
				v.snapshotKeys(p)
				delete(owner, o.Obj.Value)
			}
		})
		if err != nil {
			return fmt.Errorf("reading snapshots: %w", err)
		}
	}
	for _, ref := range refs { // in order
		if v := owner[ref.Value]; v != nil {
			c.unseen = append(c.unseen, fmt.Sprintf("the snapshot %s of the machine %s cannot be read", ref.Value, v.label()))
		}
	}
	return nil
}

func (v *VM) snapshotKeys(p props) {
	key := get[types.CryptoKeyId](p, "config.keyId")
	was := VM{Key: keyOf(&key), Disks: disksOf(get[types.ArrayOfVirtualDevice](p, "config.hardware.device").VirtualDevice)}
	for _, k := range was.Keys() {
		if !slices.Contains(v.SnapshotKeys, k) {
			v.SnapshotKeys = append(v.SnapshotKeys, k)
		}
	}
}

// some reads some machines again.
func (c *collecting) some(ctx context.Context, refs []string, t *tree) (vms []VM, err error) {
	for chunk := range slices.Chunk(refs, pageSize) {
		list := make([]types.ManagedObjectReference, len(chunk))
		for i, ref := range chunk {
			list[i] = types.ManagedObjectReference{Type: "VirtualMachine", Value: ref}
		}
		err = c.each(ctx, objects(vmProperties, list...), func(o types.ObjectContent, _ props) {
			vms = append(vms, vmOf(o, t))
		})
		if err != nil {
			return nil, err
		}
	}
	return vms, c.snapshotsOf(ctx, vms)
}
