package vspheretest

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// MarkDefault makes a provider the default of the whole vCenter.
func (m *manager) MarkDefault(ctx *simulator.Context, req *types.MarkDefault) soap.HasFault {
	body := new(methods.MarkDefaultBody)
	if f := m.vcenter.setDefault(nil, &req.ClusterId); f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.MarkDefaultResponse)
	return body
}

// SetDefaultKmsCluster sets or, without a provider, removes the default of the
// vCenter or of one entity.
func (m *manager) SetDefaultKmsCluster(ctx *simulator.Context, req *types.SetDefaultKmsCluster) soap.HasFault {
	body := new(methods.SetDefaultKmsClusterBody)
	f := checkEntity(ctx, req.Entity)
	if f == nil {
		f = m.vcenter.setDefault(req.Entity, req.ClusterId)
	}
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.SetDefaultKmsClusterResponse)
	return body
}

// checkEntity takes what the API's reference names: clusters and host folders.
func checkEntity(ctx *simulator.Context, entity *types.ManagedObjectReference) *failure {
	switch {
	case entity == nil:
		return nil
	case ctx.Map.Get(*entity) == nil:
		return fail(&types.ManagedObjectNotFound{Obj: *entity}, "There is no %s", entity)
	case entity.Type == "ClusterComputeResource", entity.Type == "ComputeResource", entity.Type == "Folder", entity.Type == "HostSystem":
		return nil
	}
	return invalid("entity")
}

func (v *VCenter) setDefault(entity *types.ManagedObjectReference, id *types.KeyProviderId) *failure {
	p := &v.providers
	p.mu.Lock()
	defer p.mu.Unlock()
	var chosen *provider
	if id != nil && id.Id != "" {
		if chosen = p.find(id.Id); chosen == nil {
			return noProvider(id.Id)
		}
	}
	for _, c := range p.list {
		if entity == nil {
			c.isDefault = c == chosen
			continue
		}
		c.entityDefaults = slices.DeleteFunc(c.entityDefaults, func(e types.ManagedObjectReference) bool { return e == *entity })
		if c == chosen {
			c.entityDefaults = append(c.entityDefaults, *entity)
		}
	}
	return nil
}

// GetDefaultKmsCluster names the default of the vCenter or of one entity.
func (m *manager) GetDefaultKmsCluster(ctx *simulator.Context, req *types.GetDefaultKmsCluster) soap.HasFault {
	body := new(methods.GetDefaultKmsClusterBody)
	f := checkEntity(ctx, req.Entity)
	id := ""
	if f == nil {
		id = m.vcenter.defaultOf(ctx, req.Entity, req.DefaultsToParent != nil && *req.DefaultsToParent)
	}
	switch {
	case f != nil:
		body.Fault_ = soapFault(f)
	case id == "":
		body.Res = new(types.GetDefaultKmsClusterResponse)
	default:
		body.Res = &types.GetDefaultKmsClusterResponse{Returnval: &types.KeyProviderId{Id: id}}
	}
	return body
}

func (v *VCenter) globalDefault() string {
	v.providers.mu.Lock()
	defer v.providers.mu.Unlock()
	for _, c := range v.providers.list {
		if c.isDefault {
			return c.id
		}
	}
	return ""
}

// defaultOf walks from the entity to the root, and then to the global default.
func (v *VCenter) defaultOf(ctx *simulator.Context, entity *types.ManagedObjectReference, parents bool) string {
	if entity == nil {
		return v.globalDefault()
	}
	for at := entity; at != nil; at = parentOf(ctx, *at) {
		if id := v.entityDefault(*at); id != "" || !parents {
			return id
		}
	}
	return v.globalDefault()
}

func parentOf(ctx *simulator.Context, ref types.ManagedObjectReference) *types.ManagedObjectReference {
	e, ok := ctx.Map.Get(ref).(mo.Entity)
	if !ok {
		return nil
	}
	return e.Entity().Parent
}

func (v *VCenter) entityDefault(entity types.ManagedObjectReference) string {
	v.providers.mu.Lock()
	defer v.providers.mu.Unlock()
	for _, c := range v.providers.list {
		if slices.Contains(c.entityDefaults, entity) {
			return c.id
		}
	}
	return ""
}
