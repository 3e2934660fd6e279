package provider

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// chunk bounds the keys of one question to vCenter.
const chunk = 500

// Uses finds who uses keys of a provider: by vCenter's own account of each key
// that it knows, and by what machines and hosts say of themselves, since either
// may be incomplete. It errs on the side of use.
func (m *Manager) Uses(ctx context.Context, provider string) (Uses, error) {
	s, err := m.owners(ctx)
	if err != nil {
		return Uses{}, err
	}
	return m.uses(ctx, provider, s)
}

// owners reads what machines and hosts say of themselves: homes, disks with all
// that they are built on, snapshots, hosts.
func (m *Manager) owners(ctx context.Context) (*inventory.Snapshot, error) {
	s, err := inventory.NewReader(inventory.Options{Client: m.cfg.VIM, Now: m.cfg.Now}).Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which machines and hosts use keys: %w", err)
	}
	return s, nil
}

func (m *Manager) uses(ctx context.Context, provider string, s *inventory.Snapshot) (u Uses, err error) {
	users := map[string]string{} // name by reference
	keys := map[string]bool{}
	u.Unseen = s.Partial
	switch err := m.usesByKey(ctx, provider, keys, users); {
	case unknown(err):
		u.Unseen = append(slices.Clone(u.Unseen), "this vCenter does not tell who uses a key: 6.7.2 and later do")
	case err != nil:
		return u, fmt.Errorf("asking vCenter who uses keys of provider %s: %w", provider, err)
	}
	usesByOwner(provider, s, keys, users)
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

func usesByOwner(provider string, s *inventory.Snapshot, keys map[string]bool, users map[string]string) {
	note := func(kind, ref, name string, list ...inventory.Key) {
		for _, k := range list {
			if k.ID != "" && k.Provider == provider {
				keys[k.ID], users[types.ManagedObjectReference{Type: kind, Value: ref}.String()] = true, name
			}
		}
	}
	for i := range s.VMs {
		note("VirtualMachine", s.VMs[i].Ref, s.VMs[i].Name, s.VMs[i].Keys()...)
	}
	for _, h := range s.Hosts {
		note("HostSystem", h.Ref, h.Name, h.Key)
	}
}
