//go:build lab

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/crypto"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// Traffic is one kind of it, again and again.
type traffic struct {
	name    string
	once    func(context.Context) error
	good    atomic.Int64
	longest time.Duration // from the beginning of the first failure to the next success
	last    error
}

func (f *traffic) run(ctx context.Context) {
	var since time.Time
	for ctx.Err() == nil {
		began := time.Now()
		err := f.once(ctx)
		if ctx.Err() != nil {
			err = nil // it was cut off
		}
		switch {
		case err != nil && since.IsZero():
			since, f.last = began, err
		case err == nil:
			f.good.Add(1)
		}
		if !since.IsZero() {
			f.longest = max(f.longest, time.Since(since))
		}
		if err == nil {
			since = time.Time{}
		}
		time.Sleep(10 * time.Millisecond) // two processors have more to do
	}
}

// more waits until each kind has gone well five times more.
func more(t *testing.T, all []*traffic) {
	t.Helper()
	for _, f := range all {
		want := f.good.Load() + 5
		for end := time.Now().Add(time.Minute); f.good.Load() < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not go on", f.name)
			}
		}
	}
}

// kmip connects, makes a key and gets it, as a client that trusts the server's
// CA and knows nothing of any change. seen are the certificates it was shown.
func (n *town) kmip(seen map[string]bool) *traffic {
	n.Helper()
	bundle := filepath.Join(n.dir, "client")
	_, err := n.w.KMS.Run(n.Context(), "client", "add", "traffic", "--out", bundle)
	n.must(err)
	config, err := certs.ClientConfig(bundle)
	n.must(err)
	return &traffic{name: "a KMIP client", once: func(ctx context.Context) error {
		c, err := kmipclient.Dial(ctx, n.w.KMS.Addr(), kmipclient.Config{TLS: config, Timeout: 5 * time.Second})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		seen[certs.SHA256(c.ConnectionState().PeerCertificates[0])] = true
		uid, err := c.Create(ctx, kmipclient.CreateOptions{})
		if err != nil {
			return err
		}
		key, err := c.Get(ctx, uid)
		key.Clear()
		return err
	}}
}

// encrypting has vCenter make keys, and encrypts a machine with one as long as
// there are any left.
func (n *town) encrypting(vim *govmomi.Client, vms []*object.VirtualMachine) *traffic {
	n.Helper()
	return &traffic{name: "vCenter's keys", once: func(ctx context.Context) error {
		made, err := methods.GenerateKey(ctx, vim, &types.GenerateKey{This: *vim.ServiceContent.CryptoManager, KeyProvider: &types.KeyProviderId{Id: "keyreeve"}})
		if err != nil {
			return err
		}
		if !made.Returnval.Success {
			return errors.New(made.Returnval.Reason)
		}
		if len(vms) == 0 {
			return nil
		}
		var m mo.VirtualMachine
		if err := vms[0].Properties(ctx, vms[0].Reference(), []string{"config"}, &m); err != nil {
			return err
		}
		task, err := vms[0].Reconfigure(ctx, vspheretest.EncryptSpec(m.Config, vspheretest.EncryptionPolicyID, made.Returnval.KeyId))
		if err == nil {
			err = task.Wait(ctx)
		}
		if err == nil {
			vms = vms[1:]
		}
		return err
	}}
}

// status has vCenter look at its key provider.
func (n *town) status(vim *govmomi.Client) *traffic {
	n.Helper()
	keys, err := crypto.GetManagerKmip(vim.Client)
	n.must(err)
	return &traffic{name: "vCenter's status", once: func(ctx context.Context) error {
		list, err := keys.GetStatus(ctx, types.KmipClusterInfo{ClusterId: types.KeyProviderId{Id: "keyreeve"}})
		if err == nil && (len(list) != 1 || list[0].OverallStatus != types.ManagedEntityStatusGreen) {
			err = fmt.Errorf("%+v", list)
		}
		return err
	}}
}

// The certificate is renewed by an agent that runs, without a person, while
// everybody works: OVHcloud's entry and vCenter follow, and nobody waits for ten
// seconds.
func TestRenewalUnderTraffic(t *testing.T) {
	inTown(t, vspheretest.WorldOptions{VCenter: vspheretest.Options{VMs: 20, PollEvery: 200 * time.Millisecond}}, func(n *town) {
		before, _ := n.sides()
		seen := map[string]bool{}
		client := func() *govmomi.Client {
			c, err := n.w.VCenters[0].Client(t.Context())
			n.must(err)
			return c
		}
		worker := client()
		vms, err := find.NewFinder(worker.Client).VirtualMachineList(t.Context(), "/...")
		n.must(err)
		all := []*traffic{n.kmip(seen), n.encrypting(worker, vms), n.status(client())}

		working, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, f := range all {
			wg.Go(func() { f.run(working) })
		}
		more(t, all)
		g, began := new(log), time.Now()
		running, end := context.WithCancel(t.Context())
		due, code, ended := n.due(), -1, make(chan struct{})
		go func() {
			defer close(ended)
			code = n.app(g).run(running, []string{"run", "-f", due})
		}()
		for !strings.Contains(g.String(), "the key server's certificate was changed") && time.Since(began) < 2*time.Minute {
			time.Sleep(20 * time.Millisecond)
		}
		took := time.Since(began)
		end()
		<-ended
		more(t, all) // work goes on with the new one
		stop()
		wg.Wait()

		after, _ := n.sides()
		if after == before || code != exitDone || !seen[before] || !seen[after] || len(seen) != 2 {
			t.Errorf("before %s, after %s, the client saw %v; the agent ended with %d\n%s", before, after, seen, code, g)
		}
		for _, f := range all {
			if f.longest >= 10*time.Second {
				t.Errorf("%s failed for %s: %v", f.name, f.longest, f.last)
			}
			t.Logf("%s: went well %d times, longest failure %s (%v)", f.name, f.good.Load(), f.longest, f.last)
		}
		t.Logf("the agent began, and had renewed the certificate after %s", took)
		n.agent(exitDone, "plan", "-f", n.settings)
	})
}
