package vspheretest

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// manager answers for CryptoManagerKmip. Its exported methods are the API's
// calls; the vendor's reference is their documentation.
type manager struct{ overlay }

func soapFault(f *failure) *soap.Fault { return simulator.Fault(f.text, f.fault) }

func invalid(property string) *failure {
	return fail(&types.InvalidArgument{InvalidProperty: property}, "A specified parameter was not correct: %s", property)
}

func noProvider(id string) *failure {
	return fail(&types.InvalidArgument{InvalidProperty: "clusterId"}, "There is no key provider %q", id)
}

// RegisterKmipServer adds a server, and the provider if it is new.
func (m *manager) RegisterKmipServer(ctx *simulator.Context, req *types.RegisterKmipServer) soap.HasFault {
	body := new(methods.RegisterKmipServerBody)
	if f := m.register(req.Server); f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.RegisterKmipServerResponse)
	return body
}

func checkServer(spec types.KmipServerSpec) *failure {
	switch {
	case spec.ClusterId.Id == "":
		return invalid("server.clusterId")
	case spec.Info.Name == "":
		return invalid("server.info.name")
	case spec.Info.Address == "":
		return invalid("server.info.address")
	case spec.Info.Port < 1 || spec.Info.Port > 65535:
		return invalid("server.info.port")
	}
	return nil
}

func (m *manager) register(spec types.KmipServerSpec) *failure {
	if f := checkServer(spec); f != nil {
		return f
	}
	p := &m.vcenter.providers
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(spec.ClusterId.Id)
	if c == nil {
		c = &provider{id: spec.ClusterId.Id, management: string(types.KmipClusterInfoKmsManagementTypeVCenter), keyType: spec.DefaultKeyType}
		p.list = append(p.list, c)
	}
	if spec.DefaultKeyType != c.keyType {
		return fail(&types.InvalidArgument{InvalidProperty: "server.defaultKeyType"}, "All servers of a key provider have the same type of key; here it is %q", c.keyType)
	}
	if c.server(spec.Info.Name) != nil {
		return fail(&types.AlreadyExists{Name: spec.Info.Name}, "The key server %q is in the provider already", spec.Info.Name)
	}
	c.servers = append(c.servers, &keyServer{info: spec.Info, password: password(spec.Password)})
	return nil
}

func password(text string) *secret.Bytes {
	if text == "" {
		return nil
	}
	return secret.Own([]byte(text))
}

// UpdateKmipServer replaces what is known of a server. The API cannot tell a
// password that was left out from an empty one; what is left out stays.
func (m *manager) UpdateKmipServer(ctx *simulator.Context, req *types.UpdateKmipServer) soap.HasFault {
	body := new(methods.UpdateKmipServerBody)
	f := checkServer(req.Server)
	known := f != nil || m.vcenter.providers.with(req.Server.ClusterId.Id, func(c *provider) {
		s := c.server(req.Server.Info.Name)
		if s == nil {
			f = invalid("server.info.name")
			return
		}
		s.info = req.Server.Info
		if req.Server.Password != "" {
			s.password.Clear()
			s.password = password(req.Server.Password)
		}
	})
	if !known {
		f = noProvider(req.Server.ClusterId.Id)
	}
	if f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.UpdateKmipServerResponse)
	return body
}

// RemoveKmipServer removes a server; the provider goes with its last one. That
// is refused while machines or hosts use keys of it, and while it is the
// default: a successor has to be named first.
func (m *manager) RemoveKmipServer(ctx *simulator.Context, req *types.RemoveKmipServer) soap.HasFault {
	body := new(methods.RemoveKmipServerBody)
	users := m.vcenter.usersOfProvider(ctx, req.ClusterId.Id)
	if f := m.removeServer(req.ClusterId.Id, req.ServerName, users); f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.RemoveKmipServerResponse)
	return body
}

func (m *manager) removeServer(id, name string, users int) *failure {
	p := &m.vcenter.providers
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(id)
	switch {
	case c == nil:
		return noProvider(id)
	case c.server(name) == nil:
		return invalid("serverName")
	case len(c.servers) == 1:
		if f := p.mayGo(c, users); f != nil {
			return f
		}
	}
	c.server(name).password.Clear()
	c.servers = slices.DeleteFunc(c.servers, func(s *keyServer) bool { return s.info.Name == name })
	if len(c.servers) == 0 {
		p.list = slices.DeleteFunc(p.list, func(o *provider) bool { return o == c })
	}
	return nil
}

// publish shows the providers as a property, for the property collector and
// for the parts of the simulator that look there.
func (v *VCenter) publish(ctx *simulator.Context) {
	base := ctx.Map.CryptoManager()
	ctx.WithLock(base, func() {
		ctx.Update(base, []types.PropertyChange{{Name: "kmipServers", Val: v.clusterInfos()}})
	})
}

func (v *VCenter) clusterInfos() []types.KmipClusterInfo {
	v.providers.mu.Lock()
	defer v.providers.mu.Unlock()
	out := make([]types.KmipClusterInfo, 0, len(v.providers.list))
	for _, c := range v.providers.list {
		out = append(out, c.info())
	}
	return out
}

// ListKmipServers lists providers with their servers.
func (m *manager) ListKmipServers(_ *simulator.Context, req *types.ListKmipServers) soap.HasFault {
	list := m.vcenter.clusterInfos()
	if req.Limit != nil && *req.Limit >= 0 {
		list = list[:min(len(list), int(*req.Limit))]
	}
	return &methods.ListKmipServersBody{Res: &types.ListKmipServersResponse{Returnval: list}}
}

// Bits of ListKmsClusters' management type filter.
const (
	filterVCenter    = 1
	filterTrusted    = 2 | 4
	filterNative     = 8
	filterEverything = filterVCenter | filterTrusted | filterNative
)

// ListKmsClusters lists providers by type and status.
func (m *manager) ListKmsClusters(ctx *simulator.Context, req *types.ListKmsClusters) soap.HasFault {
	want := req.ManagementTypeFilter
	if want == 0 {
		want = filterEverything
	}
	var list []types.KmipClusterInfo
	for _, c := range m.vcenter.clusterInfos() {
		if managementBit(c.ManagementType)&want == 0 || !m.hasStatus(ctx, c.ClusterId.Id, req.StatusFilter) {
			continue
		}
		if req.IncludeKmsServers != nil && !*req.IncludeKmsServers {
			c.Servers = nil
		}
		list = append(list, c)
	}
	return &methods.ListKmsClustersBody{Res: &types.ListKmsClustersResponse{Returnval: list}}
}

func managementBit(kind string) int32 {
	switch types.KmipClusterInfoKmsManagementType(kind) {
	case types.KmipClusterInfoKmsManagementTypeVCenter:
		return filterVCenter
	case types.KmipClusterInfoKmsManagementTypeNativeProvider:
		return filterNative
	}
	return filterTrusted
}

// hasStatus compares with the bits of the status filter: green, yellow, red,
// gray, from the lowest.
func (m *manager) hasStatus(_ *simulator.Context, id string, filter int32) bool {
	if filter == 0 {
		return true
	}
	status, _ := m.vcenter.clusterStatus(m.vcenter.ctx, id)
	bit := map[types.ManagedEntityStatus]int32{
		types.ManagedEntityStatusGreen: 1, types.ManagedEntityStatusYellow: 2, types.ManagedEntityStatusRed: 4, types.ManagedEntityStatusGray: 8,
	}
	return bit[status.OverallStatus]&filter != 0
}

// RegisterKmsCluster takes trusted providers only, as vCenter does; and those
// the simulator has none of.
func (m *manager) RegisterKmsCluster(_ *simulator.Context, req *types.RegisterKmsCluster) soap.HasFault {
	f := invalid("managementType")
	if req.ManagementType == string(types.KmipClusterInfoKmsManagementTypeTrustAuthority) {
		f = fail(&types.NotSupported{}, "This simulator has no trusted key providers")
	}
	return &methods.RegisterKmsClusterBody{Fault_: soapFault(f)}
}

// UnregisterKmsCluster removes a provider with all its servers, under the rules
// of RemoveKmipServer.
func (m *manager) UnregisterKmsCluster(ctx *simulator.Context, req *types.UnregisterKmsCluster) soap.HasFault {
	body, id := new(methods.UnregisterKmsClusterBody), req.ClusterId.Id
	users := m.vcenter.usersOfProvider(ctx, id)
	if f := m.unregister(id, users); f != nil {
		body.Fault_ = soapFault(f)
		return body
	}
	m.vcenter.publish(ctx)
	body.Res = new(types.UnregisterKmsClusterResponse)
	return body
}

func (m *manager) unregister(id string, users int) *failure {
	p := &m.vcenter.providers
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(id)
	if c == nil {
		return noProvider(id)
	}
	if f := p.mayGo(c, users); f != nil {
		return f
	}
	for _, s := range c.servers {
		s.password.Clear()
	}
	p.list = slices.DeleteFunc(p.list, func(o *provider) bool { return o == c })
	return nil
}

// mayGo tells why a provider cannot be removed. The caller holds mu.
func (p *providers) mayGo(c *provider, users int) *failure {
	switch {
	case users > 0:
		return fail(&types.ResourceInUse{Type: "KeyProvider", Name: c.id}, "The key provider %q has keys in use by %d machines and hosts", c.id, users)
	case c.isDefault && len(p.list) > 1:
		return fail(&types.InvalidState{}, "The key provider %q is the default; name another default first", c.id)
	}
	return nil
}

// RetrieveKmipServersStatusTask probes the servers asked for, or all.
func (m *manager) RetrieveKmipServersStatusTask(ctx *simulator.Context, req *types.RetrieveKmipServersStatus_Task) soap.HasFault {
	v := m.vcenter
	var ids []string
	for _, c := range req.Clusters {
		ids = append(ids, c.ClusterId.Id)
	}
	if len(ids) == 0 {
		ids = v.providerIDs()
	}
	about := ctx.Map.CryptoManager().Self
	ref := v.run(ctx, about, "retrieveKmipServersStatusTask", func(*simulator.Context, func(int32)) (types.AnyType, *failure) {
		var out types.ArrayOfCryptoManagerKmipClusterStatus
		for _, id := range ids {
			if status, known := v.clusterStatus(v.ctx, id); known {
				out.CryptoManagerKmipClusterStatus = append(out.CryptoManagerKmipClusterStatus, status)
			}
		}
		return out, nil
	})
	return &methods.RetrieveKmipServersStatus_TaskBody{Res: &types.RetrieveKmipServersStatus_TaskResponse{Returnval: ref}}
}

// IsKmsClusterActive tells whether the provider, or the default one, answers.
func (m *manager) IsKmsClusterActive(_ *simulator.Context, req *types.IsKmsClusterActive) soap.HasFault {
	id := m.vcenter.globalDefault()
	if req.Cluster != nil {
		id = req.Cluster.Id
	}
	status, known := m.vcenter.clusterStatus(m.vcenter.ctx, id)
	if !known {
		return &methods.IsKmsClusterActiveBody{Fault_: soapFault(noProvider(id))}
	}
	active := status.OverallStatus != types.ManagedEntityStatusRed
	return &methods.IsKmsClusterActiveBody{Res: &types.IsKmsClusterActiveResponse{Returnval: active}}
}
