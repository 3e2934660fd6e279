package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// ErrNoEntity is wrapped when there is nothing at a path that could have a
// default provider.
var ErrNoEntity = errors.New("no cluster or host folder")

// Entity finds the cluster or host folder at a path, as /DC0/host/C0. Others
// have no default of their own.
func (m *Manager) Entity(ctx context.Context, path string) (ref types.ManagedObjectReference, err error) {
	found, err := object.NewSearchIndex(m.cfg.VIM).FindByInventoryPath(ctx, path)
	if err != nil {
		return ref, fmt.Errorf("finding %s: %w", path, err)
	}
	if found == nil {
		return ref, fmt.Errorf("%w: vCenter has nothing at %s, or this account does not see it", ErrNoEntity, path)
	}
	ref = found.Reference()
	switch ref.Type {
	case "ClusterComputeResource":
		return ref, nil
	case "Folder":
		var f mo.Folder
		if err := property.DefaultCollector(m.cfg.VIM).RetrieveOne(ctx, ref, []string{"childType"}, &f); err != nil {
			return ref, fmt.Errorf("reading %s: %w", path, err)
		}
		if slices.Contains(f.ChildType, "ComputeResource") {
			return ref, nil
		}
	}
	return ref, fmt.Errorf("%w: %s is a %s of another kind", ErrNoEntity, path, ref.Type)
}

// path is where an entity is, for people; its reference if that cannot be told.
func (m *Manager) path(ctx context.Context, ref types.ManagedObjectReference) string {
	path, err := find.InventoryPath(ctx, m.cfg.VIM, ref)
	if err != nil {
		return ref.Value
	}
	return path
}
