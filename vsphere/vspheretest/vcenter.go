package vspheretest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	_ "github.com/vmware/govmomi/vapi/simulator" // the REST endpoint: tags
)

// Options say what a VCenter is like. The zero value is a small one that
// behaves as vCenter 7.0.3 does.
type Options struct {
	Clusters int // 0: 1
	Hosts    int // in each cluster; 0: 2
	VMs      int // in each cluster, powered off; 0: none

	Listen string // address of the API; "": a free port of 127.0.0.1
	User   *url.Userinfo

	Connector Connector // nil: Keyreeve{}
	Network   *Network  // nil: one that lets everything through
	// Timeout bounds one exchange with a key server, the handshake included;
	// 0: 10 seconds. vCenter's own is not known.
	Timeout time.Duration
	// PollEvery is how often the status of every provider is probed, as vCenter
	// does every 300 seconds; 0: only when somebody asks.
	PollEvery time.Duration
	// EncryptTime is how long encrypting or decrypting one disk, and the home,
	// takes; 0: no time.
	EncryptTime time.Duration
	// MinimumHardware is the lowest hardware version that can be encrypted, as
	// in 13 for vmx-13; 0: any.
	MinimumHardware int
	// Build is what keys are tagged with as x-Product_Version; "": "7.0.3
	// build-19480866".
	Build  string
	Logger *slog.Logger // nil discards
	Now    func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Clusters == 0 {
		o.Clusters = 1
	}
	if o.Hosts == 0 {
		o.Hosts = 2
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Connector == nil {
		o.Connector = Keyreeve{}
	}
	if o.Network == nil {
		o.Network = new(Network)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Build == "" {
		o.Build = "7.0.3 build-19480866"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// A VCenter is one simulated vCenter that serves its API over HTTPS. Its
// methods may be called from several goroutines.
type VCenter struct {
	Network *Network
	URL     *url.URL // with user and password

	options Options
	model   *simulator.Model
	server  *simulator.Server
	reg     *simulator.Registry

	providers providers
	keys      keys
	hosts     hostKeys
	policies  policies
	watches   watches
	files     files
	sealed    sealed
	answers   map[string]map[string]bool // calls of the overlay's, by type; fixed once it is installed

	ctx     context.Context // of work in the background; ends with Close
	cancel  context.CancelFunc
	working sync.WaitGroup
	base    sync.Mutex // held over a reconfiguration by the simulator itself
	hosting sync.Mutex // held while a host gets its host key, from the key server too
	clock   atomic.Pointer[func() time.Time]
	itemID  atomic.Uint32 // of Unique Batch Item IDs, over all connections
}

// New starts a VCenter; Close ends it. govmomi's simulator keeps some state in
// globals, so that a program had better not make two at the same moment; having
// two is no problem.
func New(o Options) (*VCenter, error) {
	o = o.withDefaults()
	v := &VCenter{Network: o.Network, options: o}
	v.SetClock(o.Now)
	v.options.Now = func() time.Time { return (*v.clock.Load())() }
	v.ctx, v.cancel = context.WithCancel(context.Background())
	if err := v.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the simulator: %w", err), v.Close())
	}
	return v, nil
}

// creating guards the simulator's globals.
var creating sync.Mutex

func (v *VCenter) create() error {
	creating.Lock()
	defer creating.Unlock()
	o := &v.options
	v.model = simulator.VPX()
	v.model.Host, v.model.Cluster, v.model.ClusterHost, v.model.Machine = 0, o.Clusters, o.Hosts, 0
	v.model.Autostart = false
	v.model.ServiceContent.About.InstanceUuid = instanceUUID() // the simulator's is the same for all
	if err := v.model.Create(); err != nil {
		return err
	}
	s := v.model.Service
	s.TLS = new(tls.Config)
	s.Listen = &url.URL{Host: o.Listen, User: o.User}
	s.RegisterEndpoints = true
	v.reg = s.Context.Map
	tasks := v.reg.Get(*v.model.ServiceContent.TaskManager).(*simulator.TaskManager)
	v.reg.AddHandler(&recentTasks{TaskManager: tasks}) // in place of the simulator's own, by its reference
	v.server = s.NewServer()
	v.URL = v.server.URL
	if err := v.populate(); err != nil {
		return err
	}
	v.install(v.reg)
	v.installPolicies(s)
	if o.PollEvery > 0 {
		v.working.Add(1)
		go v.poll()
	}
	return nil
}

// instanceUUID names a vCenter for good.
func instanceUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Close ends the API, waits for what is under way, and forgets all keys.
func (v *VCenter) Close() error {
	v.cancel()
	if v.server != nil {
		v.server.Close()
	}
	v.working.Wait()
	if v.model != nil && v.model.Service != nil {
		v.model.Remove()
	}
	v.hosts.clear()
	v.providers.clear()
	return nil
}

// SetClock has the vCenter take the time from now on from the function.
func (v *VCenter) SetClock(now func() time.Time) { v.clock.Store(&now) }

// Client logs in with the user of URL.
func (v *VCenter) Client(ctx context.Context) (*govmomi.Client, error) {
	return govmomi.NewClient(ctx, v.URL, true)
}

// Thumbprint is the SHA-256 thumbprint of the API's certificate, as vSphere's
// clients write it.
func (v *VCenter) Thumbprint() string { return soap.ThumbprintSHA256(v.server.Certificate()) }

// own is a context of the simulator's for work that nobody asked for.
func (v *VCenter) own() *simulator.Context {
	ctx := *v.model.Service.Context
	ctx.Context = v.ctx
	ctx.Session = &simulator.Session{
		UserSession: types.UserSession{Key: "vpxd", UserName: "vpxd-extension"}, Registry: simulator.NewRegistry(),
	}
	return &ctx
}

var _ io.Closer = (*VCenter)(nil)
