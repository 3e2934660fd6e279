package vspheretest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbmsim "github.com/vmware/govmomi/pbm/simulator"
	pbm "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// EncryptionPolicyID is the id of the bundled "VM Encryption Policy".
const EncryptionPolicyID = pbmsim.DefaultEncryptionProfileID

// The capability that makes a storage policy one that encrypts.
const (
	encryptionNamespace  = "com.vmware.storageprofile.dataservice"
	encryptionCapability = "ad5a249d-cbc2-43af-9366-694d7664fa52"
)

// policies are the storage policies, as far as encryption goes, and what they
// are set on.
type policies struct {
	mu      sync.Mutex
	known   map[string]bool   // by id: whether it encrypts
	applied map[string]string // entity → id
	edited  map[string]*pbm.PbmCapabilityProfile
}

// entity names a machine's home, or one of its disks.
func entity(vm types.ManagedObjectReference, device int32) string {
	if device == 0 {
		return vm.Value
	}
	return fmt.Sprintf("%s:%d", vm.Value, device)
}

// encrypts tells whether the profiles of a ConfigSpec say anything, and whether
// they encrypt. A policy that does not exist is refused.
func (p *policies) encrypts(profiles []types.BaseVirtualMachineProfileSpec) (encrypts, named bool, f *failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, spec := range profiles {
		defined, ok := spec.(*types.VirtualMachineDefinedProfileSpec)
		if !ok { // empty or default: a policy that does not encrypt
			named = true
			continue
		}
		does, known := p.known[defined.ProfileId]
		if !known {
			return false, false, fail(&types.InvalidArgument{InvalidProperty: "spec.vmProfile"}, "There is no storage policy %q", defined.ProfileId)
		}
		named, encrypts = true, encrypts || does
	}
	return encrypts, named, nil
}

// apply notes what policies a ConfigSpec has set.
func (p *policies) apply(vm types.ManagedObjectReference, disks []disk, spec *types.VirtualMachineConfigSpec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(entity(vm, 0), spec.VmProfile)
	added := 0
	for _, change := range spec.DeviceChange {
		c := change.GetVirtualDeviceConfigSpec()
		d, ok := c.Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		key := d.Key
		if c.Operation == types.VirtualDeviceConfigSpecOperationAdd { // its key came with the adding, at the end
			if at := len(disks) - countAdds(spec) + added; at >= 0 && at < len(disks) {
				key = disks[at].device
			}
			added++
		}
		p.set(entity(vm, key), c.Profile)
	}
}

func countAdds(spec *types.VirtualMachineConfigSpec) (n int) {
	for _, change := range spec.DeviceChange {
		c := change.GetVirtualDeviceConfigSpec()
		if _, ok := c.Device.(*types.VirtualDisk); ok && c.Operation == types.VirtualDeviceConfigSpecOperationAdd {
			n++
		}
	}
	return n
}

func (p *policies) set(entity string, profiles []types.BaseVirtualMachineProfileSpec) {
	if p.applied == nil {
		p.applied = map[string]string{}
	}
	for _, spec := range profiles {
		switch s := spec.(type) {
		case *types.VirtualMachineDefinedProfileSpec:
			p.applied[entity] = s.ProfileId
		default:
			delete(p.applied, entity)
		}
	}
}

func (p *policies) of(entity string) (id string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok = p.applied[entity]
	return id, ok
}

// on returns the entities that have the policy.
func (p *policies) on(id string) (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range slices.Sorted(maps.Keys(p.applied)) {
		if p.applied[e] == id {
			list = append(list, e)
		}
	}
	return list
}

// installPolicies puts ours over the simulator's own service, which NewServer
// has registered.
func (v *VCenter) installPolicies(s *simulator.Service) {
	reg := pbmsim.New()
	content := reg.Get(types.ManagedObjectReference{Type: "PbmServiceInstance", Value: "ServiceInstance"}).(*pbmsim.ServiceInstance).Content
	base := reg.Get(content.ProfileManager).(*pbmsim.ProfileManager)
	v.policies.known = map[string]bool{}
	for _, id := range base.PbmQueryProfile(&pbm.PbmQueryProfile{ResourceType: pbm.PbmProfileResourceType{ResourceType: "STORAGE"}}).(*pbmmethods.PbmQueryProfileBody).Res.Returnval {
		v.policies.known[id.UniqueId] = id.UniqueId == EncryptionPolicyID
	}
	reg.Put(&profileManager{ProfileManager: base, vcenter: v})
	reg.Put(&complianceManager{Self: content.ComplianceManager, vcenter: v})
	s.RegisterSDK(reg)
}

// profileManager adds to the simulator's what concerns encryption.
type profileManager struct {
	*pbmsim.ProfileManager
	vcenter *VCenter
}

func capabilityEncrypts(c pbm.BasePbmCapabilityConstraints) bool {
	constraints, ok := c.(*pbm.PbmCapabilitySubProfileConstraints)
	if !ok {
		return false
	}
	for _, sub := range constraints.SubProfiles {
		for _, capability := range sub.Capability {
			if capability.Id.Namespace == encryptionNamespace && capability.Id.Id == encryptionCapability {
				return true
			}
		}
	}
	return false
}

// PbmCreate notes whether the new policy encrypts.
func (p *profileManager) PbmCreate(ctx *simulator.Context, req *pbm.PbmCreate) soap.HasFault {
	body := p.ProfileManager.PbmCreate(ctx, req).(*pbmmethods.PbmCreateBody)
	p.note(body.Res.Returnval.UniqueId, capabilityEncrypts(req.CreateSpec.Constraints))
	return body
}

func (p *profileManager) note(id string, encrypts bool) {
	p.vcenter.policies.mu.Lock()
	defer p.vcenter.policies.mu.Unlock()
	p.vcenter.policies.known[id] = encrypts
}

// PbmDelete refuses the bundled policy and those that are in use.
func (p *profileManager) PbmDelete(req *pbm.PbmDelete) soap.HasFault {
	for _, id := range req.ProfileId {
		if id.UniqueId == EncryptionPolicyID || len(p.vcenter.policies.on(id.UniqueId)) > 0 {
			f := fail(&types.ResourceInUse{Type: "PbmProfile", Name: id.UniqueId}, "The storage policy %s is in use", id.UniqueId)
			return &pbmmethods.PbmDeleteBody{Fault_: soapFault(f)}
		}
	}
	for _, id := range req.ProfileId {
		p.vcenter.policies.mu.Lock()
		delete(p.vcenter.policies.known, id.UniqueId)
		p.vcenter.policies.mu.Unlock()
	}
	return p.ProfileManager.PbmDelete(req)
}

// PbmQueryIOFiltersFromProfileId names the encryption filter of every policy
// that has it.
func (p *profileManager) PbmQueryIOFiltersFromProfileId(req *pbm.PbmQueryIOFiltersFromProfileId) soap.HasFault {
	body := &pbmmethods.PbmQueryIOFiltersFromProfileIdBody{Res: new(pbm.PbmQueryIOFiltersFromProfileIdResponse)}
	p.vcenter.policies.mu.Lock()
	defer p.vcenter.policies.mu.Unlock()
	for _, id := range req.ProfileIds {
		encrypts, known := p.vcenter.policies.known[id.UniqueId]
		if !known {
			return &pbmmethods.PbmQueryIOFiltersFromProfileIdBody{Fault_: soapFault(fail(&types.InvalidArgument{InvalidProperty: "profileIds"}, "There is no storage policy %q", id.UniqueId))}
		}
		m := pbm.PbmProfileToIofilterMap{Key: id}
		if encrypts {
			m.Iofilters = []pbm.PbmIofilterInfo{{VibId: "VMW_bootbank_vmwarevmcrypt", FilterType: string(pbm.PbmIofilterInfoFilterTypeENCRYPTION)}}
		}
		body.Res.Returnval = append(body.Res.Returnval, m)
	}
	return body
}

// PbmQueryAssociatedProfile names the policy that is set on a machine or disk.
func (p *profileManager) PbmQueryAssociatedProfile(req *pbm.PbmQueryAssociatedProfile) soap.HasFault {
	body := &pbmmethods.PbmQueryAssociatedProfileBody{Res: new(pbm.PbmQueryAssociatedProfileResponse)}
	if id, ok := p.vcenter.policies.of(req.Entity.Key); ok {
		body.Res.Returnval = []pbm.PbmProfileId{{UniqueId: id}}
	}
	return body
}

// PbmQueryAssociatedProfiles is the same for several.
func (p *profileManager) PbmQueryAssociatedProfiles(req *pbm.PbmQueryAssociatedProfiles) soap.HasFault {
	body := &pbmmethods.PbmQueryAssociatedProfilesBody{Res: new(pbm.PbmQueryAssociatedProfilesResponse)}
	for _, e := range req.Entities {
		if id, ok := p.vcenter.policies.of(e.Key); ok {
			body.Res.Returnval = append(body.Res.Returnval, pbm.PbmQueryProfileResult{Object: e, ProfileId: []pbm.PbmProfileId{{UniqueId: id}}})
		}
	}
	return body
}

// PbmQueryAssociatedEntity lists what has a policy.
func (p *profileManager) PbmQueryAssociatedEntity(req *pbm.PbmQueryAssociatedEntity) soap.HasFault {
	body := &pbmmethods.PbmQueryAssociatedEntityBody{Res: new(pbm.PbmQueryAssociatedEntityResponse)}
	for _, e := range p.vcenter.policies.on(req.Profile.UniqueId) {
		if o := objectRef(e); req.EntityType == "" || req.EntityType == o.ObjectType {
			body.Res.Returnval = append(body.Res.Returnval, o)
		}
	}
	return body
}

// PbmQueryAssociatedEntities is the same for several policies.
func (p *profileManager) PbmQueryAssociatedEntities(req *pbm.PbmQueryAssociatedEntities) soap.HasFault {
	body := &pbmmethods.PbmQueryAssociatedEntitiesBody{Res: new(pbm.PbmQueryAssociatedEntitiesResponse)}
	for _, id := range req.Profiles {
		for _, e := range p.vcenter.policies.on(id.UniqueId) {
			body.Res.Returnval = append(body.Res.Returnval, pbm.PbmQueryProfileResult{Object: objectRef(e), ProfileId: []pbm.PbmProfileId{id}})
		}
	}
	return body
}

func objectRef(e string) pbm.PbmServerObjectRef {
	kind := pbm.PbmObjectTypeVirtualMachine
	if strings.Contains(e, ":") {
		kind = pbm.PbmObjectTypeVirtualDiskId
	}
	return pbm.PbmServerObjectRef{ObjectType: string(kind), Key: e}
}

// complianceManager compares policies with what is encrypted.
type complianceManager struct {
	Self    types.ManagedObjectReference
	vcenter *VCenter
}

func (c *complianceManager) Reference() types.ManagedObjectReference { return c.Self }

// PbmCheckCompliance compares now.
func (c *complianceManager) PbmCheckCompliance(ctx *simulator.Context, req *pbm.PbmCheckCompliance) soap.HasFault {
	return &pbmmethods.PbmCheckComplianceBody{Res: &pbm.PbmCheckComplianceResponse{Returnval: c.results(ctx, req.Entities)}}
}

// PbmFetchComplianceResult compares now too: nothing here gets out of date.
func (c *complianceManager) PbmFetchComplianceResult(ctx *simulator.Context, req *pbm.PbmFetchComplianceResult) soap.HasFault {
	return &pbmmethods.PbmFetchComplianceResultBody{Res: &pbm.PbmFetchComplianceResultResponse{Returnval: c.results(ctx, req.Entities)}}
}

func (c *complianceManager) results(_ *simulator.Context, entities []pbm.PbmServerObjectRef) (out []pbm.PbmComplianceResult) {
	v, own := c.vcenter, c.vcenter.own()
	for _, e := range entities {
		r := pbm.PbmComplianceResult{CheckTime: v.options.Now(), Entity: e, ComplianceStatus: string(pbm.PbmComplianceStatusNotApplicable)}
		if id, ok := v.policies.of(e.Key); ok {
			r.Profile = &pbm.PbmProfileId{UniqueId: id}
			r.ComplianceStatus = string(pbm.PbmComplianceStatusNonCompliant)
			v.policies.mu.Lock()
			want := v.policies.known[id]
			v.policies.mu.Unlock()
			if have, found := v.isEncrypted(own, e.Key); found && have == want {
				r.ComplianceStatus = string(pbm.PbmComplianceStatusCompliant)
			}
		}
		out = append(out, r)
	}
	return out
}

// isEncrypted looks at an entity as policies name it.
func (v *VCenter) isEncrypted(ctx *simulator.Context, e string) (encrypted, found bool) {
	value, _, isDisk := strings.Cut(e, ":")
	m, ok := v.machine(ctx, types.ManagedObjectReference{Type: "VirtualMachine", Value: value})
	if !ok || !isDisk {
		return m.home != nil, ok
	}
	for _, d := range m.disks {
		if entity(m.ref, d.device) == e {
			return d.key != nil, true
		}
	}
	return false, false
}
