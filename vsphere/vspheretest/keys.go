package vspheretest

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// keys are the keys that a vCenter knows: their ids, never the keys.
type keys struct {
	mu    sync.Mutex
	known map[keyRef]bool
}

// A keyRef is a types.CryptoKeyId that can be compared.
type keyRef struct{ provider, id string }

func refOf(k types.CryptoKeyId) keyRef {
	r := keyRef{id: k.KeyId}
	if k.ProviderId != nil {
		r.provider = k.ProviderId.Id
	}
	return r
}

func (r keyRef) key() *types.CryptoKeyId {
	return &types.CryptoKeyId{KeyId: r.id, ProviderId: &types.KeyProviderId{Id: r.provider}}
}

func (k *keys) add(r keyRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[keyRef]bool{}
	}
	k.known[r] = true
}

func (k *keys) remove(r keyRef) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, r)
}

// list returns all, in an order that stays the same.
func (k *keys) list() []keyRef {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]keyRef, 0, len(k.known))
	for r := range k.known {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b keyRef) int {
		return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.id, b.id))
	})
	return out
}

// generate makes a key with the provider, "" for the default one.
func (v *VCenter) generate(ctx *simulator.Context, provider string) (keyRef, *failure) {
	if provider == "" {
		provider = v.globalDefault()
	}
	if provider == "" {
		return keyRef{}, fail(&types.RuntimeFault{}, "Cannot generate key: there is no default key provider")
	}
	id, err := v.createKey(v.ctx, provider)
	if err != nil {
		v.event(ctx, eventGenerateFail, "Cannot generate key on provider "+provider+": "+describe(err))
		return keyRef{}, fail(&types.RuntimeFault{}, "Cannot generate key: %s", describe(err))
	}
	r := keyRef{provider, id}
	v.keys.add(r)
	return r, nil
}

// unavailable is why a key cannot be used, by the API's name of the reason; ""
// when it can.
func unavailable(state KeyState, err error) types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReason {
	switch {
	case errors.Is(err, ErrNoKey):
		return types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateMissingInKMS
	case errors.Is(err, errNoServer):
		return types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateClusterInvalid
	case errors.Is(err, errNotActive):
		return types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateNotActiveOrEnabled
	case err != nil:
		return types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateClusterUnreachable
	case state != Active:
		return types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateNotActiveOrEnabled
	}
	return ""
}

// unusable is the fault of a call that needed the key.
func unusable(r keyRef, err error) *failure {
	required := types.EncryptionKeyRequired{RequiredKey: []types.CryptoKeyId{*r.key()}}
	switch unavailable(Active, err) {
	case types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateMissingInKMS:
		return fail(&required, "The operation is not allowed in the current state. Key %s/%s not found", r.id, r.provider)
	case types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateNotActiveOrEnabled:
		return fail(&required, "The operation is not allowed in the current state. Key %s/%s is not active or enabled", r.id, r.provider)
	case types.CryptoManagerKmipCryptoKeyStatusKeyUnavailableReasonKeyStateClusterInvalid:
		return fail(&required, "The operation is not allowed in the current state. There is no key provider %s for key %s", r.provider, r.id)
	}
	return fail(&required, "Cannot get key %s from key provider %s: %s", r.id, r.provider, describe(err))
}
