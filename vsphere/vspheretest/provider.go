package vspheretest

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// providers are the key providers of a vCenter (the API calls them KMS
// clusters), in the order in which they were made. mu is never held while a
// key server is asked.
type providers struct {
	mu   sync.Mutex
	list []*provider
}

// A provider is several servers that hold the same keys, and the identity that
// vCenter shows to them. providers.mu guards its fields.
type provider struct {
	id             string
	management     string
	keyType        string
	servers        []*keyServer
	isDefault      bool
	entityDefaults []types.ManagedObjectReference

	identity   *tls.Certificate // what we show; nil: nothing yet
	request    crypto.Signer    // key of the last CSR; a new CSR overwrites it
	csr        []byte           // PEM
	selfSigned *tls.Certificate // made and not yet in use
	trusted    []*x509.Certificate
}

// A keyServer is one server of a provider.
type keyServer struct {
	info     types.KmipServerInfo
	password *secret.Bytes
}

func (s *keyServer) address() string {
	return net.JoinHostPort(s.info.Address, strconv.Itoa(int(s.info.Port)))
}

// find returns the provider of that name. The caller holds mu.
func (p *providers) find(id string) *provider {
	for _, c := range p.list {
		if c.id == id {
			return c
		}
	}
	return nil
}

// with calls fn with the provider, under the lock, and tells whether there is one.
func (p *providers) with(id string, fn func(*provider)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(id)
	if c == nil {
		return false
	}
	fn(c)
	return true
}

func (p *providers) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.list {
		for _, s := range c.servers {
			s.password.Clear()
		}
	}
	p.list = nil
}

func (c *provider) server(name string) *keyServer {
	i := slices.IndexFunc(c.servers, func(s *keyServer) bool { return s.info.Name == name })
	if i < 0 {
		return nil
	}
	return c.servers[i]
}

// info is what the API says of the provider.
func (c *provider) info() types.KmipClusterInfo {
	out := types.KmipClusterInfo{
		ClusterId: types.KeyProviderId{Id: c.id}, UseAsDefault: c.isDefault, ManagementType: c.management,
		UseAsEntityDefault: slices.Clone(c.entityDefaults), DefaultKeyType: c.keyType,
	}
	for _, s := range c.servers {
		out.Servers = append(out.Servers, s.info)
	}
	return out
}

// A target is a server with all that is needed to speak to it, taken under the
// lock and good without it.
type target struct {
	name     string
	endpoint Endpoint
	trusted  []*x509.Certificate
	identity *tls.Certificate
}

// targets are the provider's servers, in the order in which vCenter tries them.
func (v *VCenter) targets(id string) (list []target, known bool) {
	known = v.providers.with(id, func(c *provider) {
		for _, s := range c.servers {
			list = append(list, v.target(c, s))
		}
	})
	return list, known
}

func (v *VCenter) target(c *provider, s *keyServer) target {
	t := target{name: s.info.Name, trusted: slices.Clone(c.trusted), identity: c.identity}
	t.endpoint = Endpoint{
		Address: s.address(), TLS: t.config(v.options.Now), Username: s.info.UserName,
		Password: s.password.Clone(), Dial: v.Network.Dial, ItemID: v.itemIDs(),
	}
	return t
}

// itemIDs names the items of one connection as vCenter's library does: the
// first not at all, later ones with its mark and a counter of four bytes.
func (v *VCenter) itemIDs() func() []byte {
	first := true
	return func() []byte {
		if first {
			first = false
			return nil
		}
		n := v.itemID.Add(1)
		return []byte{'Q', 'L', 'K', 'C', byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	}
}
