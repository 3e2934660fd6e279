package provider

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// chunk bounds the keys of one question to vCenter.
const chunk = 500

// Uses finds who uses keys of a provider: by vCenter's own account of each key
// that it knows, and by what machines and hosts say of themselves, since either
// may be incomplete. It errs on the side of use.
func (m *Manager) Uses(ctx context.Context, provider string) (u Uses, err error) {
	users := map[string]string{} // name by reference
	keys := map[string]bool{}
	if err := m.usesByKey(ctx, provider, keys, users); err != nil {
		return u, fmt.Errorf("asking vCenter who uses keys of provider %s: %w", provider, err)
	}
	if err := m.usesByOwner(ctx, provider, keys, users); err != nil {
		return u, fmt.Errorf("reading which machines and hosts use keys of provider %s: %w", provider, err)
	}
	u.Keys = len(keys)
	for ref, name := range users {
		if name == "" {
			name = ref
		}
		u.Names = append(u.Names, name)
	}
	slices.Sort(u.Names)
	u.Names = u.Names[:min(10, len(u.Names))]
	return u, nil
}

func (m *Manager) usesByKey(ctx context.Context, provider string, keys map[string]bool, users map[string]string) error {
	all, err := m.keys.ListKeys(ctx, nil)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(k types.CryptoKeyId) bool { return k.ProviderId == nil || k.ProviderId.Id != provider })
	for part := range slices.Chunk(all, chunk) {
		status, err := m.keys.QueryCryptoKeyStatus(ctx, part, crypto.CheckKeyUsedByVms|crypto.CheckKeyUsedByHosts|crypto.CheckKeyUsedByOther)
		if err != nil {
			return err
		}
		for _, s := range status {
			for _, ref := range slices.Concat(s.EncryptedVMs, s.AffectedHosts) {
				keys[s.KeyId.KeyId], users[ref.String()] = true, users[ref.String()]
			}
			for _, tag := range s.ReferencedByTags {
				keys[s.KeyId.KeyId], users[tag] = true, tag
			}
		}
	}
	return nil
}

// usesByOwner reads the keys of homes and hosts. A machine whose configuration
// cannot be read, as a locked one's, is not counted: usesByKey has it.
func (m *Manager) usesByOwner(ctx context.Context, provider string, keys map[string]bool, users map[string]string) error {
	kinds := []string{"VirtualMachine", "HostSystem"}
	v, err := view.NewManager(m.cfg.VIM).CreateContainerView(ctx, m.cfg.VIM.ServiceContent.RootFolder, kinds, true)
	if err != nil {
		return err
	}
	defer func() { _ = v.Destroy(context.WithoutCancel(ctx)) }()
	note := func(ref types.ManagedObjectReference, name string, k *types.CryptoKeyId) {
		if k != nil && k.ProviderId != nil && k.ProviderId.Id == provider {
			keys[k.KeyId], users[ref.String()] = true, name
		}
	}
	var vms []mo.VirtualMachine
	if err := v.Retrieve(ctx, kinds[:1], []string{"name", "config.keyId"}, &vms); err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Config != nil {
			note(vm.Self, vm.Name, vm.Config.KeyId)
		}
	}
	var hosts []mo.HostSystem
	if err := v.Retrieve(ctx, kinds[1:], []string{"name", "runtime.cryptoKeyId"}, &hosts); err != nil {
		return err
	}
	for _, h := range hosts {
		note(h.Self, h.Name, h.Runtime.CryptoKeyId)
	}
	return nil
}
