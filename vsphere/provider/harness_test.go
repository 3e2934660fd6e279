package provider_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A keyServer is a key server with a CA of its own, and its admin API as a
// Manager sees it. refuse makes calls of the API fail by their name.
type keyServer struct {
	*kmiptest.Server
	ca       *certs.CA
	dir      string
	reloader *certs.Reloader
	refuse   map[string]error
	calls    []string
	current  *certs.Server
	staged   *certs.Server
	says     *x509.Certificate // of which the API speaks; nil: the one that is shown
	record   *certs.Client     // that the API tells; nil: the one that lets in
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	k := &keyServer{dir: t.TempDir(), refuse: map[string]error{}}
	var err error
	if k.ca, err = certs.NewCA(time.Now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if k.current, err = k.issue(); err != nil {
		t.Fatal(err)
	}
	if err := certs.WriteServer(k.dir, k.current); err != nil {
		t.Fatal(err)
	}
	if k.reloader, err = certs.NewReloader(k.dir, time.Now); err != nil {
		t.Fatal(err)
	}
	registry, err := certs.NewRegistry(k.ca.Certificate(), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	authority := &kmiptest.Authority{Registry: registry, Server: certs.ServerConfig(k.reloader, registry, certs.Options{})}
	k.Server = kmiptest.Start(t, kmiptest.NewStore(t).Operations, kmiptest.Options{Authority: authority})
	return k
}

func (k *keyServer) issue() (*certs.Server, error) {
	return k.ca.IssueServer(certs.ServerRequest{Hosts: []string{"127.0.0.1"}, KeyType: certs.P256})
}

func (k *keyServer) call(name string) error {
	k.calls = append(k.calls, name)
	return k.refuse[name]
}

func (k *keyServer) Status(context.Context) (st admin.Status, err error) {
	leaf := k.reloader.Leaf()
	if k.says != nil {
		leaf = k.says
	}
	st.Certificate = admin.Thumbprints{SHA1: certs.SHA1(leaf), SHA256: certs.SHA256(leaf)}
	return st, k.call("status")
}

func (k *keyServer) Client(_ context.Context, name string) (r admin.ClientRecord, err error) {
	if err := k.call("client"); err != nil {
		return r, err
	}
	c, ok := k.Registry.Get(name)
	if k.record != nil {
		c = *k.record
	}
	if !ok {
		return r, &admin.Error{Code: admin.CodeNotFound, Message: "no such client"}
	}
	r = admin.ClientRecord{Name: c.Name, Group: c.Group, Kind: string(c.Kind), Subject: c.Subject}
	if c.Revoked != nil {
		r.Revoked = &admin.Revocation{Time: c.Revoked.Time, Reason: c.Revoked.Reason}
	}
	if c.CAPEM != "" {
		ca, err := certs.ParseCertificate([]byte(c.CAPEM))
		if err != nil {
			return r, err
		}
		r.CA = &admin.Thumbprints{SHA256: certs.SHA256(ca)}
	}
	for _, a := range c.Certificates {
		r.Certificates = append(r.Certificates, admin.Certificate{SHA256: a.SHA256, NotAfter: a.NotAfter})
	}
	return r, nil
}

func (k *keyServer) Enrol(_ context.Context, req admin.EnrolRequest) (out admin.Enrolled, err error) {
	if err := k.call("enrol"); err != nil {
		return out, err
	}
	who := certs.ClientRequest{Name: req.Name, Group: req.Group}
	if who.Group == "" {
		who.Group = who.Name
	}
	var record certs.Client
	switch req.Kind {
	case admin.KindPinned:
		record, err = certs.Pin(who, req.Certificate, false, time.Now())
	case string(certs.KindForeignCA):
		record, err = certs.TrustForeignCA(who, req.CA, req.Subject, time.Now())
	default:
		issued, signErr := k.ca.SignCSR(who, req.CSR)
		if signErr != nil {
			return out, signErr
		}
		record, out.Certificate = issued.Client, issued.CertificatePEM()
	}
	if err != nil {
		return out, err
	}
	return out, k.Registry.Put(record)
}

func (k *keyServer) Renew(_ context.Context, name string, req admin.RenewRequest) (out admin.Enrolled, err error) {
	if err := k.call("renew"); err != nil {
		return out, err
	}
	c, ok := k.Registry.Get(name)
	if !ok {
		return out, errors.New("no such client")
	}
	text := req.Certificate
	if req.Kind != admin.KindPinned {
		issued, err := k.ca.SignCSR(certs.ClientRequest{Name: name, Group: c.Group}, req.CSR)
		if err != nil {
			return out, err
		}
		text, out.Certificate = issued.CertificatePEM(), issued.CertificatePEM()
	}
	leaf, err := certs.ParseCertificate(text)
	if err == nil {
		c, err = c.WithCertificate(leaf, time.Now(), c.Expires())
	}
	if err != nil {
		return out, err
	}
	return out, k.Registry.Put(c)
}

// Stage, Switch, Rollback and Finish make it a provider.Stager.
func (k *keyServer) Stage(context.Context) (text []byte, err error) {
	if err := k.call("stage"); err != nil {
		return nil, err
	}
	if k.staged, err = k.issue(); err != nil {
		return nil, err
	}
	return k.staged.Certificate.Raw, nil
}

func (k *keyServer) Switch(context.Context) error {
	if err := k.call("switch"); err != nil {
		return err
	}
	return k.show(k.staged)
}

func (k *keyServer) show(s *certs.Server) error {
	return errors.Join(certs.WriteServer(k.dir, s), k.reloader.Reload())
}

func (k *keyServer) Rollback(ctx context.Context) error {
	if err := errors.Join(k.call("rollback"), ctx.Err()); err != nil {
		return err
	}
	return k.show(k.current)
}

func (k *keyServer) Finish(context.Context) error {
	k.current = k.staged
	return k.call("finish")
}

// kmip is the configuration of a KMIP client with a record of its own.
func (k *keyServer) kmip(t *testing.T, name string) kmipclient.Config {
	t.Helper()
	issued, err := k.ca.IssueClient(certs.ClientRequest{Name: name, Group: name, KeyType: certs.P256})
	if err != nil {
		t.Fatal(err)
	}
	defer issued.Clear()
	key := issued.KeyPEM()
	defer key.Clear()
	cert, err := tls.X509KeyPair(issued.CertificatePEM(), key.Expose())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Registry.Put(issued.Client); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(k.ca.Certificate())
	return kmipclient.Config{TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}}
}

// A rig is a vCenter, a key server, and a Manager between them.
type rig struct {
	*testing.T
	kms *keyServer
	vc  *vspheretest.VCenter
	vim *govmomi.Client
	m   *provider.Manager
	reg *prometheus.Registry
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return rigOf(t, 2)
}

func rigOf(t *testing.T, machines int) *rig {
	t.Helper()
	r := &rig{T: t, kms: newKeyServer(t), reg: prometheus.NewRegistry()}
	var err error
	if r.vc, err = vspheretest.New(vspheretest.Options{VMs: machines, Timeout: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.vc.Close(); err != nil {
			t.Error(err)
		}
	})
	if r.vim, err = r.vc.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.m = r.manager(provider.NewMetrics(r.reg), time.Now)
	return r
}

func (r *rig) manager(metrics *provider.Metrics, now func() time.Time) *provider.Manager {
	r.Helper()
	m, err := provider.New(provider.Config{VIM: r.vim.Client, KMS: map[string]provider.KMS{"": r.kms}, Metrics: metrics, Now: now,
		StatusTimeout: 2 * time.Second, StatusEvery: 20 * time.Millisecond})
	if err != nil {
		r.Fatal(err)
	}
	return m
}

const name = "keyreeve"

// server is the key server as a provider has it.
func (r *rig) server(alias string) provider.Server {
	r.Helper()
	host, text, err := net.SplitHostPort(r.kms.Addr())
	if err != nil {
		r.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		r.Fatal(err)
	}
	return provider.Server{Name: alias, Address: host, Port: int32(port)}
}

func (r *rig) desired(method provider.Method) provider.Desired {
	r.Helper()
	return provider.Desired{Default: name, Providers: []provider.Provider{{
		Name: name, Servers: []provider.Server{r.server("kms-1")}, Server: provider.ServerTrust{CA: []*x509.Certificate{r.kms.ca.Certificate()}},
		Client: provider.ClientTrust{Method: method, Client: "vcenter"},
	}}}
}

func (r *rig) reconcile(d provider.Desired) string {
	r.Helper()
	changed, err := r.m.Reconcile(r.Context(), d)
	if err != nil {
		r.Fatal(err)
	}
	return words(provider.Plan{Steps: changed})
}
