package vspheretest

import (
	"encoding/base64"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// clusters answers for ClusterComputeResource.
type clusters struct{ overlay }

// SetCryptoMode sets when hosts of a cluster get their host keys. By
// forceEnable all do at once, and the same one.
func (c *clusters) SetCryptoMode(ctx *simulator.Context, req *types.SetCryptoMode) soap.HasFault {
	v, own := c.vcenter, c.vcenter.background(ctx)
	mode := req.CryptoMode
	if mode == "" {
		mode = string(types.ClusterCryptoConfigInfoCryptoModeOnDemand)
	}
	f := invalid("cryptoMode")
	switch types.ClusterCryptoConfigInfoCryptoMode(mode) {
	case types.ClusterCryptoConfigInfoCryptoModeOnDemand:
		f = nil
	case types.ClusterCryptoConfigInfoCryptoModeForceEnable:
		f = v.forceHostKeys(own, req.This, req.Policy)
	}
	if f != nil {
		return &methods.SetCryptoModeBody{Fault_: soapFault(f)}
	}
	cluster := own.Map.Get(req.This).(*simulator.ClusterComputeResource)
	own.WithLock(cluster, func() {
		config := *cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
		config.CryptoConfig = &types.ClusterCryptoConfigInfo{CryptoMode: mode, Policy: req.Policy}
		own.Update(cluster, []types.PropertyChange{{Name: "configurationEx", Val: &config}})
	})
	return &methods.SetCryptoModeBody{Res: new(types.SetCryptoModeResponse)}
}

// forceHostKeys gives every host of the cluster that has none the same key.
func (v *VCenter) forceHostKeys(ctx *simulator.Context, ref types.ManagedObjectReference, policy *types.ClusterComputeResourceCryptoModePolicy) *failure {
	cluster, ok := ctx.Map.Get(ref).(*simulator.ClusterComputeResource)
	if !ok {
		return notFound(ref)
	}
	v.hosting.Lock()
	defer v.hosting.Unlock()
	r, f := v.clusterKey(ctx, ref, policy)
	if f != nil {
		return f
	}
	h := &hosts{overlay{vcenter: v}}
	for _, host := range cluster.Host {
		object, who := h.get(ctx, host)
		if isSafe(ctx, object) {
			continue
		}
		if f := v.useHostKey(ctx, object, r, who); f != nil {
			return f
		}
	}
	return nil
}

// clusterKey is the key that the policy names, or a new one of its provider.
func (v *VCenter) clusterKey(ctx *simulator.Context, cluster types.ManagedObjectReference, policy *types.ClusterComputeResourceCryptoModePolicy) (keyRef, *failure) {
	switch {
	case policy == nil:
		return v.generate(ctx, v.defaultOf(ctx, &cluster, true))
	case policy.KeyId != nil && policy.ProviderId != nil:
		return keyRef{}, invalid("policy")
	case policy.KeyId != nil:
		return refOf(*policy.KeyId), nil
	case policy.ProviderId != nil:
		return v.generate(ctx, policy.ProviderId.Id)
	}
	return v.generate(ctx, v.defaultOf(ctx, &cluster, true))
}

// EnableCrypto gives a host that is prepared a host key in clear.
func (h *hosts) EnableCrypto(ctx *simulator.Context, req *types.EnableCrypto) soap.HasFault {
	body := new(methods.EnableCryptoBody)
	host, who := h.get(ctx, req.This)
	prepared := false
	ctx.WithLock(host, func() { prepared = host.Runtime.CryptoState == string(types.HostCryptoStatePrepared) })
	key, f := plainKey(req.KeyPlain)
	switch {
	case f == nil && !prepared:
		f = fail(&types.InvalidState{}, "The host %s is not prepared for encryption", who.name)
	case f == nil:
		h.vcenter.hosts.put(req.This, refOf(req.KeyPlain.KeyId), key)
	}
	key.Clear()
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	ctx.Map.AtomicUpdate(ctx, host, []types.PropertyChange{
		{Name: "runtime.cryptoState", Val: string(types.HostCryptoStateSafe)},
		{Name: "runtime.cryptoKeyId", Val: req.KeyPlain.KeyId},
	})
	h.vcenter.event(ctx, eventHostEnabled, "Host encryption mode is enabled on "+who.name, req.This)
	body.Res = new(types.EnableCryptoResponse)
	return body
}

// plainKey reads an AES-256 key in Base64. The caller clears it.
func plainKey(k types.CryptoKeyPlain) (*secret.Bytes, *failure) {
	data, err := base64.StdEncoding.DecodeString(k.KeyData)
	if k.KeyId.KeyId == "" || err != nil || len(data) != 32 || (k.Algorithm != "AES-256" && k.Algorithm != "AES256") {
		clear(data)
		return nil, invalid("key")
	}
	return secret.Own(data), nil
}

// AddKey gives a key in clear to every host.
func (m *manager) AddKey(ctx *simulator.Context, req *types.AddKey) soap.HasFault {
	if f := m.addPlain(ctx, req.Key); f != nil {
		return &methods.AddKeyBody{Fault_: soapFault(f)}
	}
	return &methods.AddKeyBody{Res: new(types.AddKeyResponse)}
}

// AddKeys is AddKey for several, each with a result of its own.
func (m *manager) AddKeys(ctx *simulator.Context, req *types.AddKeys) soap.HasFault {
	var out []types.CryptoKeyResult
	for _, k := range req.Keys {
		result := types.CryptoKeyResult{KeyId: k.KeyId, Success: true}
		if f := m.addPlain(ctx, k); f != nil {
			result.Success, result.Reason, result.Fault = false, f.text, f.localized()
		}
		out = append(out, result)
	}
	return &methods.AddKeysBody{Res: &types.AddKeysResponse{Returnval: out}}
}

func (m *manager) addPlain(ctx *simulator.Context, k types.CryptoKeyPlain) *failure {
	key, f := plainKey(k)
	if f != nil {
		return f
	}
	defer key.Clear()
	for _, host := range ctx.Map.All("HostSystem") {
		m.vcenter.hosts.put(host.Reference(), refOf(k.KeyId), key)
	}
	m.vcenter.keys.add(refOf(k.KeyId))
	return nil
}
