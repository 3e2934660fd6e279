package vspheretest

import (
	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbm "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// PbmUpdate changes a policy. What it is set on stays as it is; compliance
// tells of the difference.
func (p *profileManager) PbmUpdate(req *pbm.PbmUpdate) soap.HasFault {
	id := req.ProfileId.UniqueId
	profile := p.profile(req.ProfileId)
	if profile == nil {
		return &pbmmethods.PbmUpdateBody{Fault_: soapFault(fail(&types.InvalidArgument{InvalidProperty: "profileId"}, "There is no storage policy %q", id))}
	}
	edited := *profile // the simulator's own are shared by all its vCenters
	if req.UpdateSpec.Name != "" {
		edited.Name = req.UpdateSpec.Name
	}
	if req.UpdateSpec.Description != "" {
		edited.Description = req.UpdateSpec.Description
	}
	if req.UpdateSpec.Constraints != nil {
		edited.Constraints = req.UpdateSpec.Constraints
		p.note(id, capabilityEncrypts(req.UpdateSpec.Constraints))
	}
	p.vcenter.policies.mu.Lock()
	defer p.vcenter.policies.mu.Unlock()
	if p.vcenter.policies.edited == nil {
		p.vcenter.policies.edited = map[string]*pbm.PbmCapabilityProfile{}
	}
	p.vcenter.policies.edited[id] = &edited
	return &pbmmethods.PbmUpdateBody{Res: new(pbm.PbmUpdateResponse)}
}

// profile finds a policy; nil if there is none.
func (p *profileManager) profile(id pbm.PbmProfileId) *pbm.PbmCapabilityProfile {
	body := p.PbmRetrieveContent(&pbm.PbmRetrieveContent{ProfileIds: []pbm.PbmProfileId{id}}).(*pbmmethods.PbmRetrieveContentBody)
	if body.Res == nil || len(body.Res.Returnval) != 1 {
		return nil
	}
	found, _ := body.Res.Returnval[0].(*pbm.PbmCapabilityProfile)
	return found
}

// PbmRetrieveContent shows policies as they were last changed.
func (p *profileManager) PbmRetrieveContent(req *pbm.PbmRetrieveContent) soap.HasFault {
	body := p.ProfileManager.PbmRetrieveContent(req).(*pbmmethods.PbmRetrieveContentBody)
	if body.Res == nil {
		return body
	}
	p.vcenter.policies.mu.Lock()
	defer p.vcenter.policies.mu.Unlock()
	for i, profile := range body.Res.Returnval {
		if edited := p.vcenter.policies.edited[profile.GetPbmProfile().ProfileId.UniqueId]; edited != nil {
			body.Res.Returnval[i] = edited
		}
	}
	return body
}

// PbmFetchCapabilityMetadata names the one capability that is about encryption.
func (p *profileManager) PbmFetchCapabilityMetadata(*pbm.PbmFetchCapabilityMetadata) soap.HasFault {
	capability := pbm.PbmCapabilityMetadata{
		Id:      pbm.PbmCapabilityMetadataUniqueId{Namespace: encryptionNamespace, Id: encryptionCapability},
		Summary: pbm.PbmExtendedElementDescription{Label: "VMware VM Encryption", Summary: "encrypts the home and the disks of a virtual machine", Key: encryptionCapability},
		Hint:    types.NewBool(false), Mandatory: types.NewBool(false), AllowMultipleConstraints: types.NewBool(false),
	}
	return &pbmmethods.PbmFetchCapabilityMetadataBody{Res: &pbm.PbmFetchCapabilityMetadataResponse{
		Returnval: []pbm.PbmCapabilityMetadataPerCategory{{SubCategory: "encryption", CapabilityMetadata: []pbm.PbmCapabilityMetadata{capability}}},
	}}
}
