package claim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// A store is what a claim needs of a vCenter. Every call is carried out as one.
type store interface {
	// look returns the definitions of the name, and vCenter's time from before.
	look(ctx context.Context) ([]def, time.Time, error)
	// add makes a definition without a value, whose key no other ever had or
	// will have; errTaken: there is one of the name.
	add(ctx context.Context) (key int32, err error)
	// set and remove return errGone when there is no such definition any more.
	set(ctx context.Context, key int32, value string) error
	remove(ctx context.Context, key int32) error
}

var (
	errTaken = errors.New("there is such a definition")
	errGone  = errors.New("there is no such definition any more")
)

type vcenter struct{ client *vim25.Client }

func (v *vcenter) manager() (ref types.ManagedObjectReference, err error) {
	m := v.client.ServiceContent.CustomFieldsManager
	if m == nil {
		return ref, errors.New("this vCenter has no custom attributes")
	}
	return *m, nil
}

func (v *vcenter) look(ctx context.Context) ([]def, time.Time, error) {
	manager, err := v.manager()
	if err != nil {
		return nil, time.Time{}, err
	}
	now, err := methods.GetCurrentTime(ctx, v.client)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("asking for vCenter's time: %w", err)
	}
	content := v.client.ServiceContent
	res, err := methods.RetrievePropertiesEx(ctx, v.client, &types.RetrievePropertiesEx{This: content.PropertyCollector, SpecSet: []types.PropertyFilterSpec{{
		ObjectSet: []types.ObjectSpec{{Obj: manager}, {Obj: content.RootFolder}},
		PropSet:   []types.PropertySpec{{Type: manager.Type, PathSet: []string{"field"}}, {Type: content.RootFolder.Type, PathSet: []string{"customValue"}}},
	}}})
	if err != nil {
		return nil, time.Time{}, denied("System.Read", err)
	}
	if res.Returnval == nil {
		return nil, *now, nil
	}
	defs, err := definitions(res.Returnval.Objects)
	return defs, *now, err
}

// definitions joins names and values. What is hidden from us is an error: an
// attribute without a value that we may see looks like one that nobody holds.
func definitions(objects []types.ObjectContent) (defs []def, err error) {
	values := map[int32]string{}
	for _, o := range objects {
		for _, m := range o.MissingSet {
			return nil, fmt.Errorf("%s of %s cannot be read: %w: System.Read at the root of the vCenter", m.Path, o.Obj.Value, ErrPrivilege)
		}
		for _, p := range o.PropSet {
			switch list := p.Val.(type) {
			case types.ArrayOfCustomFieldDef:
				for _, f := range list.CustomFieldDef {
					if f.Name == Attribute {
						defs = append(defs, def{key: f.Key})
					}
				}
			case types.ArrayOfCustomFieldValue:
				for _, value := range list.CustomFieldValue {
					if s, ok := value.(*types.CustomFieldStringValue); ok {
						values[s.Key] = s.Value
					}
				}
			}
		}
	}
	for i := range defs {
		defs[i].value = values[defs[i].key]
	}
	return defs, nil
}

func (v *vcenter) add(ctx context.Context) (int32, error) {
	manager, err := v.manager()
	if err != nil {
		return 0, err
	}
	res, err := methods.AddCustomFieldDef(ctx, v.client, &types.AddCustomFieldDef{This: manager, Name: Attribute, MoType: v.client.ServiceContent.RootFolder.Type})
	switch {
	case err != nil && fault.Is(err, &types.DuplicateName{}):
		return 0, errTaken
	case err != nil:
		return 0, denied("Global.ManageCustomFields", err)
	}
	return res.Returnval.Key, nil
}

func (v *vcenter) set(ctx context.Context, key int32, value string) error {
	manager, err := v.manager()
	if err != nil {
		return err
	}
	_, err = methods.SetField(ctx, v.client, &types.SetField{This: manager, Entity: v.client.ServiceContent.RootFolder, Key: key, Value: value})
	return gone("Global.SetCustomField", err)
}

func (v *vcenter) remove(ctx context.Context, key int32) error {
	manager, err := v.manager()
	if err != nil {
		return err
	}
	_, err = methods.RemoveCustomFieldDef(ctx, v.client, &types.RemoveCustomFieldDef{This: manager, Key: key})
	return gone("Global.ManageCustomFields", err)
}

// gone tells faults that say that a key is unknown from others. Which of them
// vCenter gives is not written down for each call.
func gone(privilege string, err error) error {
	if err != nil && (fault.Is(err, &types.InvalidArgument{}) || fault.Is(err, &types.NotFound{}) || fault.Is(err, &types.ManagedObjectNotFound{})) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return denied(privilege, err)
}

// denied names the privilege that a call lacks.
func denied(privilege string, err error) error {
	if err == nil || !fault.Is(err, &types.NoPermission{}) {
		return err
	}
	var f *types.NoPermission
	if _, ok := fault.As(err, &f); ok && f.PrivilegeId != "" {
		privilege = f.PrivilegeId
	}
	return fmt.Errorf("%w: %s at the root of the vCenter", ErrPrivilege, privilege)
}
