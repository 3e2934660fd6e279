//go:build lab

package vspheretest_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A ward is a world with a machine that is encrypted, and one that is not.
type ward struct {
	*testing.T
	ctx   context.Context
	w     *vspheretest.World
	c     *govmomi.Client
	keys  *crypto.ManagerKmip
	vm    *object.VirtualMachine // encrypted
	plain []mo.VirtualMachine
	relay net.Listener // a second way to the server: another node of the provider
}

func (d *ward) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// status is the provider's, and what is said of its first server.
func (d *ward) status() (types.ManagedEntityStatus, string) {
	d.Helper()
	list, err := d.keys.GetStatus(d.ctx, types.KmipClusterInfo{ClusterId: types.KeyProviderId{Id: "keyreeve"}})
	d.must(err)
	return list[0].OverallStatus, list[0].Servers[0].ConnectionStatus
}

func (d *ward) power(on bool) error {
	change := d.vm.PowerOff
	if on {
		change = d.vm.PowerOn
	}
	task, err := change(d.ctx)
	if err == nil {
		err = task.Wait(d.ctx)
	}
	return err
}

// encryptNext encrypts a machine that is not yet.
func (d *ward) encryptNext() error {
	err := encryptOne(d.ctx, d.c, d.keys.Reference(), d.plain[0])
	if err == nil {
		d.plain = d.plain[1:]
	}
	return err
}

func (d *ward) reboot() {
	d.Helper()
	var m mo.VirtualMachine
	d.must(d.vm.Properties(d.ctx, d.vm.Reference(), []string{"runtime"}, &m))
	res, err := methods.RebootHost_Task(d.ctx, d.c, &types.RebootHost_Task{This: *m.Runtime.Host, Force: true})
	d.must(err)
	d.must(object.NewTask(d.c.Client, res.Returnval).Wait(d.ctx))
}

// An outage is one way in which the key server is not there for vCenter.
type outage struct {
	breaks, fixes func(d *ward)
	color         types.ManagedEntityStatus
	says          string // of the first server, while it is broken
	works         bool   // keys are made all the same
}

func restart(env ...string) func(d *ward) {
	return func(d *ward) {
		d.Helper()
		d.must(d.w.KMS.Stop())
		d.w.KMS.Env = env
		d.must(d.w.KMS.Start(d.ctx))
	}
}

func outages() map[string]outage {
	return map[string]outage{
		"stopped": {
			func(d *ward) { d.must(d.w.KMS.Stop()) }, func(d *ward) { d.must(d.w.KMS.Start(d.ctx)) }, "red", "refused", false,
		},
		"killed": {
			func(d *ward) { d.must(d.w.KMS.Kill()) }, func(d *ward) { d.must(d.w.KMS.Start(d.ctx)) }, "red", "refused", false,
		},
		"distrusts vCenter": {func(d *ward) {
			_, err := d.w.KMS.Run(d.ctx, "client", "revoke", "vcenter", "--reason", "test")
			d.must(err)
		}, (*ward).enrolAgain, "red", "Not connected", false},
		"is not trusted": {
			func(d *ward) {
				d.w.Network.SetFault(d.w.KMS.Addr(), vspheretest.Fault{Kind: vspheretest.WrongCertificate})
			}, func(d *ward) { d.w.Network.ClearFault(d.w.KMS.Addr()) }, "red", "not trusted", false,
		},
		"certificate expired": {
			func(d *ward) { d.w.VCenters[0].SetClock(func() time.Time { return time.Now().AddDate(30, 0, 0) }) },
			func(d *ward) { d.w.VCenters[0].SetClock(time.Now) }, "red", "not valid now", false,
		},
		"slow": {
			func(d *ward) {
				d.w.Network.SetFault(d.w.KMS.Addr(), vspheretest.Fault{Kind: vspheretest.Delay, Delay: time.Minute})
			}, func(d *ward) { d.w.Network.ClearFault(d.w.KMS.Addr()) }, "red", "in time", false,
		},
		// Discover Versions is answered: green, and no key is to be had (KB 435158).
		"disk full": {restart("KEYREEVE_MIN_FREE=1000000GiB"), restart(), "green", "Connected", false},
		"second node lost": {
			func(d *ward) { d.must(d.relay.Close()) }, (*ward).secondNode, "yellow", "Connected", true,
		},
	}
}

// enrolAgain makes trust anew, as a person would: with a new request.
func (d *ward) enrolAgain() {
	d.Helper()
	cluster := types.KeyProviderId{Id: "keyreeve"}
	csr, err := methods.GenerateClientCsr(d.ctx, d.c, &types.GenerateClientCsr{This: d.keys.Reference(), Cluster: cluster})
	d.must(err)
	enrolled, err := d.w.KMS.Admin.Enrol(d.ctx, admin.EnrolRequest{Name: "vcenter-again", Group: "vcenter", Kind: admin.KindCSR, CSR: []byte(csr.Returnval)})
	d.must(err)
	_, err = methods.UpdateKmsSignedCsrClientCert(d.ctx, d.c, &types.UpdateKmsSignedCsrClientCert{This: d.keys.Reference(), Cluster: cluster, Certificate: string(enrolled.Certificate)})
	d.must(err)
}

// secondNode is another address of the same server, in the provider as a server
// of its own.
func (d *ward) secondNode() {
	d.Helper()
	// Not a port that the system gives away: it must be free when the node is back.
	address, err := vspheretest.FreeAddress(vspheretest.KMIPPort)
	d.must(err)
	if d.relay != nil {
		address = d.relay.Addr().String()
	}
	l, err := net.Listen("tcp", address)
	d.must(err)
	go relay(l, d.w.KMS.Addr())
	if d.relay == nil {
		host, port := hostPort(d, l.Addr().String())
		d.must(d.keys.RegisterKmipServer(d.ctx, types.KmipServerSpec{ClusterId: types.KeyProviderId{Id: "keyreeve"}, Info: types.KmipServerInfo{Name: "kms-2", Address: host, Port: port}}))
	}
	d.relay = l
}

func relay(l net.Listener, to string) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = near.Close() }()
			far, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
			_, _ = io.Copy(near, far)
		}()
	}
}

// Whatever is wrong with the key server, vCenter shows it, makes no keys,
// encrypts nothing, starts what its hosts have keys for, and recovers.
func TestOutages(t *testing.T) {
	for name, o := range outages() {
		t.Run(name, func(t *testing.T) {
			inWorldWith(t, vspheretest.Options{VMs: 4, Hosts: 1, Timeout: 3 * time.Second}, func(ctx context.Context, w *vspheretest.World, c *govmomi.Client) {
				w.Network.SetFirewall(nil)
				d := &ward{T: t, ctx: ctx, w: w, c: c, plain: machines(t, ctx, c)}
				var err error
				d.keys, err = crypto.GetManagerKmip(c.Client)
				d.must(err)
				if o.works {
					d.secondNode()
					defer func() { _ = d.relay.Close() }()
				}
				d.vm = object.NewVirtualMachine(c.Client, d.plain[0].Self)
				d.must(d.encryptNext())
				o.breaks(d)
				d.broken(o)
				o.fixes(d)
				d.recovered(o)
			})
		})
	}
}

func (d *ward) broken(o outage) {
	d.Helper()
	if color, says := d.status(); color != o.color || !strings.Contains(says, o.says) {
		d.Errorf("the status is %s %q, want %s %q", color, says, o.color, o.says)
	}
	made, err := methods.GenerateKey(d.ctx, d.c, &types.GenerateKey{This: d.keys.Reference()})
	d.must(err)
	if made.Returnval.Success != o.works || !o.works && !strings.HasPrefix(made.Returnval.Reason, "Cannot generate key: ") {
		d.Errorf("a key: %+v", made.Returnval)
	}
	if err := d.encryptNext(); (err == nil) != o.works {
		d.Errorf("encrypting: %v", err)
	}
	d.must(d.power(true)) // its host has the key
	d.must(d.power(false))
}

func (d *ward) recovered(o outage) {
	d.Helper()
	if color, says := d.status(); color != types.ManagedEntityStatusGreen {
		d.Errorf("afterwards the status is %s %q", color, says)
	}
	d.must(d.encryptNext())
	d.reboot() // its host has forgotten the key
	d.must(d.power(true))
}

// A user of the server's whose password is wrong gets nothing; with the right
// one, keys are that user's.
func TestUserOfTheProvider(t *testing.T) {
	inWorldWith(t, vspheretest.Options{VMs: 2, Hosts: 1}, func(ctx context.Context, w *vspheretest.World, c *govmomi.Client) {
		d := &ward{T: t, ctx: ctx, w: w, c: c, plain: machines(t, ctx, c)}
		var err error
		d.keys, err = crypto.GetManagerKmip(c.Client)
		d.must(err)
		out, err := w.KMS.Run(ctx, "user", "add", "vsphere", "--client", "vcenter", "--generate")
		d.must(err)
		_, rest, _ := strings.Cut(out, "password: ")
		password, _, _ := strings.Cut(rest, "\n")
		host, port := hostPort(t, w.KMS.Addr())
		spec := types.KmipServerSpec{
			ClusterId: types.KeyProviderId{Id: "keyreeve"}, Password: "wrong",
			Info: types.KmipServerInfo{Name: "kms-1", Address: host, Port: port, UserName: "vsphere"},
		}
		d.must(d.keys.UpdateKmipServer(ctx, spec))
		if color, says := d.status(); color != types.ManagedEntityStatusRed {
			t.Errorf("with a wrong password the status is %s %q", color, says)
		}
		if d.encryptNext() == nil {
			t.Error("a machine was encrypted with a wrong password")
		}
		spec.Password = password
		d.must(d.keys.UpdateKmipServer(ctx, spec))
		if color, says := d.status(); color != types.ManagedEntityStatusGreen {
			t.Errorf("with the password the status is %s %q", color, says)
		}
		d.must(d.encryptNext())
	})
}

// Two vCenters of one lab, each with keys that the other does not get.
func TestTwoVCenters(t *testing.T) {
	o := vspheretest.WorldOptions{Keyreeve: programs.Path(t, "keyreeve"), VCenters: 2, OpenFirewall: true, VCenter: vspheretest.Options{VMs: 1, Hosts: 1}}
	vspheretest.Run(t, o, func(ctx context.Context, w *vspheretest.World) {
		var made [2]string
		for i, vc := range w.VCenters {
			g, err := vspheretest.NewGuide(ctx, w, vc)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range g.Trust() {
				if _, err := s.Do(ctx); err != nil && !strings.Contains(s.Title, "OVHcloud") {
					t.Fatalf("vCenter %d: %s: %v", i+1, s.Title, err)
				}
			}
			c, err := vc.Client(ctx)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := crypto.GetManagerKmip(c.Client)
			if err != nil {
				t.Fatal(err)
			}
			vm := machines(t, ctx, c)[0]
			if err := encryptOne(ctx, c, keys.Reference(), vm); err != nil {
				t.Fatal(err)
			}
			made[i] = machines(t, ctx, c)[0].Config.KeyId.KeyId
			other := types.CryptoKeyId{KeyId: made[0], ProviderId: &types.KeyProviderId{Id: "keyreeve"}}
			status, err := keys.QueryCryptoKeyStatus(ctx, []types.CryptoKeyId{other}, crypto.CheckKeyAvailable)
			if err != nil {
				t.Fatal(err)
			}
			if want := i == 0; *status[0].KeyAvailable != want {
				t.Errorf("vCenter %d has the first one's key: %v", i+1, *status[0].KeyAvailable)
			}
		}
	})
}
