package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/ctxtime"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// KMS is what is asked of a key server's admin API. *admin.Client is one.
type KMS interface {
	Status(ctx context.Context) (admin.Status, error)
	Client(ctx context.Context, name string) (admin.ClientRecord, error)
	Enrol(ctx context.Context, req admin.EnrolRequest) (admin.Enrolled, error)
	Renew(ctx context.Context, name string, req admin.RenewRequest) (admin.Enrolled, error)
}

// Config of a Manager.
type Config struct {
	VIM *vim25.Client // logged in; its session is the caller's
	// KMS are the admin APIs of key servers, by the servers' names in the
	// desired state. "" is the one that enrols vCenter, and that of each server
	// which has none of its own.
	KMS map[string]KMS
	// StatusTimeout is how long a provider may take to become Normal; 0: two minutes.
	StatusTimeout time.Duration
	StatusEvery   time.Duration // 0: two seconds

	Now     func() time.Time
	Logger  *slog.Logger // nil discards
	Metrics *Metrics     // nil counts nothing
}

// A Manager looks after the key providers of one vCenter. Its methods may be
// called from several goroutines; changes had better come from one.
type Manager struct {
	cfg  Config
	keys *crypto.ManagerKmip
}

// New looks whether vCenter has key providers at all.
func New(cfg Config) (*Manager, error) {
	if cfg.StatusTimeout <= 0 {
		cfg.StatusTimeout = 2 * time.Minute
	}
	if cfg.StatusEvery <= 0 {
		cfg.StatusEvery = 2 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	keys, err := crypto.GetManagerKmip(cfg.VIM)
	if err != nil {
		return nil, fmt.Errorf("this vCenter has no key providers: want vCenter 6.5 or later: %w", err)
	}
	return &Manager{cfg: cfg, keys: keys}, nil
}

func (m *Manager) kms(server string) KMS {
	if k := m.cfg.KMS[server]; k != nil {
		return k
	}
	return m.cfg.KMS[""]
}

// Observe reads all providers with their status, and of those that might go
// because of the desired state, who uses their keys.
func (m *Manager) Observe(ctx context.Context, d Desired) (State, error) {
	s := State{Time: m.cfg.Now(), EntityDefaults: map[types.ManagedObjectReference]string{}, Paths: map[types.ManagedObjectReference]string{}, Uses: map[string]Uses{}}
	infos, err := m.keys.ListKmipServers(ctx, nil)
	if err != nil {
		return s, fmt.Errorf("listing vCenter's key providers: %w", err)
	}
	status, err := m.status(ctx, infos)
	if err != nil {
		return s, fmt.Errorf("reading the status of vCenter's key providers: %w", err)
	}
	m.cfg.Metrics.forget("")
	var owners *inventory.Snapshot // read once, and only when it is asked for
	for _, info := range infos {
		o := observed(info, status)
		s.Providers = append(s.Providers, o)
		for _, e := range info.UseAsEntityDefault {
			s.EntityDefaults[e], s.Paths[e] = o.Name, m.path(ctx, e)
		}
		m.cfg.Metrics.observed(o)
		if !d.mayGo(o) {
			continue
		}
		if owners == nil {
			if owners, err = m.owners(ctx); err != nil {
				return s, err
			}
		}
		if s.Uses[o.Name], err = m.uses(ctx, o.Name, owners); err != nil {
			return s, err
		}
	}
	return s, nil
}

// collect runs fn with a property collector of its own: the one that a session
// has by default is not safe for two waits at once, which then hang.
func (m *Manager) collect(ctx context.Context, fn func(*property.Collector) error) error {
	pc, err := property.DefaultCollector(m.cfg.VIM).Create(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = pc.Destroy(ctx) // it goes with the session
	}()
	return fn(pc)
}

// status has vCenter probe the servers of the providers.
func (m *Manager) status(ctx context.Context, infos []types.KmipClusterInfo) (list []types.CryptoManagerKmipClusterStatus, err error) {
	if len(infos) == 0 {
		return nil, nil
	}
	res, err := methods.RetrieveKmipServersStatus_Task(ctx, m.cfg.VIM, &types.RetrieveKmipServersStatus_Task{This: m.keys.Reference(), Clusters: infos})
	if err != nil {
		return nil, err
	}
	err = m.collect(ctx, func(pc *property.Collector) error {
		info, err := task.WaitEx(ctx, res.Returnval, pc, nil)
		if err == nil {
			err = context.Cause(ctx) // it ends without an error, and without an answer, when ctx does
		}
		if err != nil {
			return err
		}
		result, ok := info.Result.(types.ArrayOfCryptoManagerKmipClusterStatus)
		if !ok {
			return fmt.Errorf("vCenter's answer is a %T", info.Result)
		}
		list = result.CryptoManagerKmipClusterStatus
		return nil
	})
	return list, err
}

func observed(info types.KmipClusterInfo, status []types.CryptoManagerKmipClusterStatus) Observed {
	o := Observed{Name: info.ClusterId.Id, Type: info.ManagementType, Default: info.UseAsDefault}
	for _, s := range info.Servers {
		o.Servers = append(o.Servers, ServerState{Name: s.Name, Address: s.Address, Port: s.Port, ProxyAddress: s.ProxyAddress, ProxyPort: s.ProxyPort, User: s.UserName})
	}
	i := slices.IndexFunc(status, func(c types.CryptoManagerKmipClusterStatus) bool { return c.ClusterId.Id == o.Name })
	if i < 0 {
		return o
	}
	o.Overall, o.Client = string(status[i].OverallStatus), cert(status[i].ClientCertInfo)
	for _, st := range status[i].Servers {
		for j := range o.Servers {
			if s := &o.Servers[j]; s.Name == st.Name {
				s.Status, s.Connection, s.Cert = string(st.Status), st.ConnectionStatus, cert(st.CertInfo)
				s.TrustsServer, s.TrustsClient = st.ClientTrustServer, st.ServerTrustClient
			}
		}
	}
	return o
}

func cert(c *types.CryptoManagerKmipCertificateInfo) *Cert {
	if c == nil {
		return nil
	}
	return &Cert{Subject: clean(c.Subject), SHA1: clean(c.Fingerprint), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
}

// Look reads one provider; nil: vCenter has none of that name.
func (m *Manager) Look(ctx context.Context, name string) (*Observed, error) {
	infos, err := m.keys.ListKmipServers(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing vCenter's key providers: %w", err)
	}
	infos = slices.DeleteFunc(infos, func(i types.KmipClusterInfo) bool { return i.ClusterId.Id != name })
	if len(infos) == 0 {
		m.cfg.Metrics.forget(name)
		return nil, nil
	}
	status, err := m.status(ctx, infos)
	if err != nil {
		return nil, fmt.Errorf("reading the status of key provider %s: %w", name, err)
	}
	o := observed(infos[0], status)
	m.cfg.Metrics.forget(name)
	m.cfg.Metrics.observed(o)
	return &o, nil
}

// ErrNotNormal is wrapped by WaitNormal's error.
var ErrNotNormal = errors.New("the key provider is not connected")

// WaitNormal waits until all servers of the provider are connected and both
// sides trust each other. The error says in words what is missing. Green does
// not mean that keys can be read: Canary.Prove tells that.
func (m *Manager) WaitNormal(ctx context.Context, name string) (*Observed, error) {
	limit, cancel := context.WithTimeout(ctx, m.cfg.StatusTimeout)
	defer cancel()
	var last *Observed // what the time-out's error tells of: the last look may be cut off by it
	for {
		o, err := m.Look(limit, name)
		switch {
		case err == nil && o == nil:
			return nil, fmt.Errorf("%w: vCenter has no key provider %q", ErrNotNormal, name)
		case err == nil && len(o.Reasons(m.cfg.Now())) == 0:
			return o, nil
		case err == nil:
			last = o
		}
		if ctxtime.Sleep(limit, m.cfg.StatusEvery) == nil {
			continue
		}
		switch {
		case ctx.Err() != nil:
			return last, context.Cause(ctx)
		case last == nil:
			return nil, fmt.Errorf("%w after %s: %w", ErrNotNormal, m.cfg.StatusTimeout, err)
		}
		return last, fmt.Errorf("%w after %s: %s: %s", ErrNotNormal, m.cfg.StatusTimeout, name, strings.Join(last.Reasons(m.cfg.Now()), "; "))
	}
}

// Sees reads the certificate that a server shows vCenter. Nothing vouches for it.
func (m *Manager) Sees(ctx context.Context, provider, server string) (leaf *x509.Certificate, trusted bool, err error) {
	res, err := methods.RetrieveKmipServerCert(ctx, m.cfg.VIM, &types.RetrieveKmipServerCert{
		This: m.keys.Reference(), KeyProvider: types.KeyProviderId{Id: provider}, Server: types.KmipServerInfo{Name: server},
	})
	if err != nil {
		return nil, false, fmt.Errorf("having vCenter read the certificate of server %s: %w", server, err)
	}
	leaf, err = certs.ParseCertificate([]byte(res.Returnval.Certificate))
	if err != nil {
		return nil, false, fmt.Errorf("the certificate of server %s as vCenter read it: %w", server, err)
	}
	return leaf, is(res.Returnval.ClientTrustServer), nil
}
