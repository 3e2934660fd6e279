package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// chunkSize is how many objects are asked about at a time.
const chunkSize = 1000

// providers reads the key providers and their status. A vCenter that does not
// tell has nothing that policies may count on.
func (r *Reader) providers(ctx context.Context, s *Snapshot) {
	m, err := crypto.GetManagerKmip(r.o.Client)
	if err == nil {
		err = readProviders(ctx, m, s)
	}
	if err != nil {
		s.Unread[Providers] = err.Error()
	}
}

func readProviders(ctx context.Context, m *crypto.ManagerKmip, s *Snapshot) error {
	list, err := m.ListKmipServers(ctx, nil)
	if err != nil || len(list) == 0 {
		return err
	}
	status, err := m.GetStatus(ctx, list...)
	if err != nil {
		return err
	}
	for _, info := range list {
		p := Provider{Name: info.ClusterId.Id, Kind: info.ManagementType, Default: info.UseAsDefault, Status: string(types.ManagedEntityStatusGray)}
		for _, server := range info.Servers {
			p.Servers = append(p.Servers, net.JoinHostPort(server.Address, strconv.Itoa(int(server.Port))))
		}
		for _, st := range status {
			if st.ClusterId.Id == p.Name {
				p.status(st)
			}
		}
		s.Providers = append(s.Providers, p)
	}
	return nil
}

func (p *Provider) status(st types.CryptoManagerKmipClusterStatus) {
	p.Status = string(st.OverallStatus)
	if st.ManagementType != "" {
		p.Kind = st.ManagementType
	}
	if st.ClientCertInfo != nil {
		p.Expires = st.ClientCertInfo.NotAfter
	}
	worst := types.ManagedEntityStatusGreen
	for _, server := range st.Servers {
		if server.Status != types.ManagedEntityStatusGreen && p.Problem == "" {
			p.Problem, worst = server.Name+": "+server.ConnectionStatus, server.Status
		}
	}
	if p.Status == "" {
		p.Status = string(worst)
	}
}

// tags reads the tags of machines: which each has, and what those are called.
func (r *Reader) tags(ctx context.Context, s *Snapshot, vms []VM) {
	if r.o.REST == nil {
		s.Unread[Tags] = "there is no session to read them with"
		return
	}
	if err := readTags(ctx, tags.NewManager(r.o.REST), vms); err != nil {
		s.Unread[Tags] = err.Error()
	}
}

func readTags(ctx context.Context, m *tags.Manager, vms []VM) error {
	names, err := tagNames(ctx, m)
	if err != nil {
		return err
	}
	at := make(map[string]*VM, len(vms))
	for i := range vms {
		at[vms[i].Ref] = &vms[i]
	}
	for chunk := range slices.Chunk(vms, chunkSize) {
		refs := make([]mo.Reference, len(chunk))
		for i := range chunk {
			refs[i] = types.ManagedObjectReference{Type: "VirtualMachine", Value: chunk[i].Ref}
		}
		attached, err := m.ListAttachedTagsOnObjects(ctx, refs)
		if err != nil {
			return err
		}
		for _, a := range attached {
			v := at[a.ObjectID.Reference().Value]
			if v == nil {
				continue
			}
			for _, id := range a.TagIDs {
				name, ok := names[id]
				if !ok {
					return fmt.Errorf("a tag of %s has no name", v.label())
				}
				v.Tags = append(v.Tags, name)
			}
			slices.Sort(v.Tags)
		}
	}
	return nil
}

// tagNames returns category:name of every tag, by id.
func tagNames(ctx context.Context, m *tags.Manager) (map[string]string, error) {
	categories, err := m.GetCategories(ctx)
	if err != nil {
		return nil, err
	}
	list, err := m.GetTags(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(list))
	for _, tag := range list {
		for _, c := range categories {
			if c.ID == tag.CategoryID {
				names[tag.ID] = c.Name + ":" + tag.Name
			}
		}
	}
	return names, nil
}

// storagePolicies reads which policies encrypt, and which each machine and
// disk has.
func (r *Reader) storagePolicies(ctx context.Context, s *Snapshot, vms []VM) {
	c, err := pbm.NewClient(ctx, r.o.Client)
	if err == nil && s.Policies == nil {
		s.Policies, err = policies(ctx, c)
	}
	if err == nil {
		err = associate(ctx, c, vms)
	}
	if err != nil {
		s.Unread[Policies] = err.Error()
	}
}

func policies(ctx context.Context, c *pbm.Client) (list []Policy, err error) {
	ids, err := c.QueryProfile(ctx, pbmtypes.PbmProfileResourceType{ResourceType: string(pbmtypes.PbmProfileResourceTypeEnumSTORAGE)}, "")
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	contents, err := c.RetrieveContent(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, content := range contents {
		p := content.GetPbmProfile()
		encrypts, err := c.SupportsEncryption(ctx, p.ProfileId.UniqueId)
		if err != nil {
			return nil, fmt.Errorf("asking whether %s encrypts: %w", p.Name, err)
		}
		list = append(list, Policy{p.ProfileId.UniqueId, p.Name, encrypts})
	}
	return list, nil
}

func associate(ctx context.Context, c *pbm.Client, vms []VM) error {
	where := map[string]*string{} // to put the policy, by entity
	var entities []pbmtypes.PbmServerObjectRef
	add := func(kind pbmtypes.PbmObjectType, key string, to *string) {
		where[key] = to
		entities = append(entities, pbmtypes.PbmServerObjectRef{ObjectType: string(kind), Key: key})
	}
	for i := range vms {
		v := &vms[i]
		add(pbmtypes.PbmObjectTypeVirtualMachine, v.Ref, &v.StoragePolicy)
		for j := range v.Disks {
			d := &v.Disks[j]
			add(pbmtypes.PbmObjectTypeVirtualDiskId, v.Ref+":"+strconv.Itoa(int(d.Device)), &d.StoragePolicy)
		}
	}
	for chunk := range slices.Chunk(entities, chunkSize) {
		results, err := c.QueryAssociatedProfiles(ctx, chunk)
		if err != nil {
			return err
		}
		for _, result := range results {
			if to := where[result.Object.Key]; to != nil && len(result.ProfileId) > 0 {
				*to = result.ProfileId[0].UniqueId
			}
		}
	}
	return nil
}

// tasks notes which machines have work under way.
func (r *Reader) tasks(ctx context.Context, s *Snapshot, vms []VM) {
	if err := r.readTasks(ctx, vms); err != nil {
		s.Unread[Tasks] = err.Error()
	}
}

func (r *Reader) readTasks(ctx context.Context, vms []VM) error {
	manager := r.o.Client.ServiceContent.TaskManager
	if manager == nil {
		return errors.New("this vCenter tells of none")
	}
	c, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	at := make(map[string]*VM, len(vms))
	for i := range vms {
		at[vms[i].Ref] = &vms[i]
	}
	return c.each(ctx, types.PropertyFilterSpec{
		ObjectSet: []types.ObjectSpec{{Obj: *manager, Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: "TaskManager", Path: "recentTask"},
		}}},
		PropSet:                       []types.PropertySpec{{Type: "Task", PathSet: []string{"info.entity", "info.state", "info.descriptionId"}}},
		ReportMissingObjectsInResults: types.NewBool(true),
	}, func(_ types.ObjectContent, p props) {
		state := get[types.TaskInfoState](p, "info.state")
		if v := at[p.ref("info.entity")]; v != nil && (state == types.TaskInfoStateRunning || state == types.TaskInfoStateQueued) {
			v.Busy = cmp.Or(get[string](p, "info.descriptionId"), "a task")
		}
	})
}

// keyStatus asks about the keys that something has.
func (r *Reader) keyStatus(ctx context.Context, s *Snapshot) {
	if !r.o.KeyStatus {
		return
	}
	m, err := crypto.GetManagerKmip(r.o.Client)
	if err != nil {
		s.Unread[KeyStates] = err.Error()
		return
	}
	s.KeyStatus = map[Key]string{}
	for chunk := range slices.Chunk(s.keys(), chunkSize) {
		ids := make([]types.CryptoKeyId, len(chunk))
		for i, k := range chunk {
			ids[i] = types.CryptoKeyId{KeyId: k.ID, ProviderId: &types.KeyProviderId{Id: k.Provider}}
		}
		res, err := methods.QueryCryptoKeyStatus(ctx, r.o.Client, &types.QueryCryptoKeyStatus{
			This: m.Reference(), KeyIds: ids, CheckKeyBitMap: crypto.CheckKeyAvailable,
		})
		if err != nil {
			s.Unread[KeyStates] = err.Error()
			return
		}
		for _, st := range res.Returnval {
			s.KeyStatus[keyOf(&st.KeyId)] = st.Reason
		}
	}
}
