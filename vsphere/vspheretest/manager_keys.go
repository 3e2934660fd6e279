package vspheretest

import (
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// GenerateKey makes a key and does not activate it. What goes wrong with the
// key server is said in the result; the call itself succeeds.
func (m *manager) GenerateKey(ctx *simulator.Context, req *types.GenerateKey) soap.HasFault {
	v, own := m.vcenter, m.vcenter.background(ctx)
	provider := ""
	if req.KeyProvider != nil {
		provider = req.KeyProvider.Id
	}
	var result types.CryptoKeyResult
	var r keyRef
	f := rawKey(req.KeySpec)
	if f == nil {
		r, f = v.generate(own, provider)
	}
	if f != nil {
		result.Reason, result.Fault = f.text, f.localized()
		result.KeyId.ProviderId = req.KeyProvider
	} else {
		result.Success, result.KeyId = true, *r.key()
		if req.Spec != nil {
			v.tag(v.ctx, r.provider, r.id, customAttributes(req.Spec))
		}
	}
	return &methods.GenerateKeyBody{Res: &types.GenerateKeyResponse{Returnval: result}}
}

// rawKey refuses wrapped keys: nobody knows what vCenter 9 says to a key server
// then.
func rawKey(spec *types.CryptoManagerKmipGenerateKeySpec) *failure {
	if spec == nil || spec.KeyType == "" || spec.KeyType == string(types.KmipClusterInfoKeyTypeRawKey) {
		return nil
	}
	return fail(&types.NotSupported{}, "Cannot generate key: this simulator has no keys of type %q", spec.KeyType)
}

// customAttributes are what the caller wants on the key. Names get KMIP's mark
// of a client's own attribute where it is missing.
func customAttributes(spec *types.CryptoManagerKmipCustomAttributeSpec) (out []Attribute) {
	for _, a := range spec.Attributes {
		name := a.Key
		if len(name) < 2 || name[:2] != "x-" {
			name = "x-" + name
		}
		out = append(out, Attribute{name, a.Value})
	}
	return out
}

// SetKeyCustomAttributes puts attributes on a key of a provider.
func (m *manager) SetKeyCustomAttributes(_ *simulator.Context, req *types.SetKeyCustomAttributes) soap.HasFault {
	v, r := m.vcenter, refOf(req.KeyId)
	result := types.CryptoKeyResult{KeyId: req.KeyId, Success: true}
	if _, err := v.keyState(v.ctx, r.provider, r.id); err != nil {
		f := unusable(r, err)
		result.Success, result.Reason, result.Fault = false, f.text, f.localized()
	} else {
		v.tag(v.ctx, r.provider, r.id, customAttributes(&req.Spec))
	}
	return &methods.SetKeyCustomAttributesBody{Res: &types.SetKeyCustomAttributesResponse{Returnval: result}}
}

// ListKeys lists the keys that vCenter knows.
func (m *manager) ListKeys(_ *simulator.Context, req *types.ListKeys) soap.HasFault {
	list := m.vcenter.keys.list()
	if req.Limit != nil && *req.Limit >= 0 {
		list = list[:min(len(list), int(*req.Limit))]
	}
	var out []types.CryptoKeyId
	for _, r := range list {
		out = append(out, *r.key())
	}
	return &methods.ListKeysBody{Res: &types.ListKeysResponse{Returnval: out}}
}

// RemoveKey makes vCenter forget a key; the key server keeps it. A key in use
// goes only by force, from the hosts too.
func (m *manager) RemoveKey(ctx *simulator.Context, req *types.RemoveKey) soap.HasFault {
	if f := m.forget(m.vcenter.usersOfKeys(ctx), refOf(req.Key), req.Force); f != nil {
		return &methods.RemoveKeyBody{Fault_: soapFault(f)}
	}
	return &methods.RemoveKeyBody{Res: new(types.RemoveKeyResponse)}
}

// RemoveKeys is RemoveKey for several, each with a result of its own.
func (m *manager) RemoveKeys(ctx *simulator.Context, req *types.RemoveKeys) soap.HasFault {
	var out []types.CryptoKeyResult
	users := m.vcenter.usersOfKeys(ctx)
	for _, k := range req.Keys {
		result := types.CryptoKeyResult{KeyId: k, Success: true}
		if f := m.forget(users, refOf(k), req.Force); f != nil {
			result.Success, result.Reason, result.Fault = false, f.text, f.localized()
		}
		out = append(out, result)
	}
	return &methods.RemoveKeysBody{Res: &types.RemoveKeysResponse{Returnval: out}}
}

func (m *manager) forget(users map[keyRef]keyUsers, r keyRef, force bool) *failure {
	v, by := m.vcenter, users[r]
	if len(by.vms)+len(by.hosts) > 0 && !force {
		return fail(&types.ResourceInUse{Type: "CryptoKey", Name: r.id}, "The key %s is in use by %d machines and %d hosts", r.id, len(by.vms), len(by.hosts))
	}
	v.keys.remove(r)
	if force {
		v.hosts.forgetKey(r)
	}
	return nil
}

// QueryCryptoKeyStatus tells of each key whether the key server has it ready,
// and who uses it.
func (m *manager) QueryCryptoKeyStatus(ctx *simulator.Context, req *types.QueryCryptoKeyStatus) soap.HasFault {
	v, own := m.vcenter, m.vcenter.background(ctx)
	var out []types.CryptoManagerKmipCryptoKeyStatus
	var users map[keyRef]keyUsers
	if req.CheckKeyBitMap&(crypto.CheckKeyUsedByVms|crypto.CheckKeyUsedByHosts) != 0 {
		users = v.usersOfKeys(own)
	}
	for _, k := range req.KeyIds {
		r, s := refOf(k), types.CryptoManagerKmipCryptoKeyStatus{KeyId: k}
		if req.CheckKeyBitMap&crypto.CheckKeyAvailable != 0 {
			state, err := v.keyState(v.ctx, r.provider, r.id)
			s.Reason = string(unavailable(state, err))
			s.KeyAvailable = types.NewBool(s.Reason == "")
		}
		if req.CheckKeyBitMap&crypto.CheckKeyUsedByVms != 0 {
			s.EncryptedVMs = users[r].vms
		}
		if req.CheckKeyBitMap&crypto.CheckKeyUsedByHosts != 0 {
			s.AffectedHosts = users[r].hosts
		}
		out = append(out, s)
	}
	return &methods.QueryCryptoKeyStatusBody{Res: &types.QueryCryptoKeyStatusResponse{Returnval: out}}
}
