package policy

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/vmware/govmomi/vim25/soap"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// large is a vCenter with n machines on hosts of 25 and datastores of 50, of
// which a third is encrypted, a third is to be, and a third has other rules. Its
// policy asks whatever a policy can ask; every machine's key is wanted anew.
func large(n int) (*Policy, *inventory.Snapshot, Facts) {
	w := newWorld()
	w.policy += `    - name: tagged
      match: {tag: "encrypt:yes", any: [{name: "web-*"}, {cluster: C0}], not: {address: 10.9.0.0/16}}
      encrypt: {provider: keyreeve}
  protect:
    - {uuid: 42-none}
  keyPath:
    server: [10.0.0.5, 10.0.0.7]
`
	p, err := Read([]byte(w.policy))
	if err != nil {
		panic(err)
	}
	for i := range n / 25 {
		w.s.Hosts = append(w.s.Hosts, inventory.Host{Ref: fmt.Sprintf("esx-%d", i), Name: fmt.Sprint("esx-", i), Connection: "connected", Crypto: "safe"})
	}
	for i := range n / 50 {
		w.s.Datastores = append(w.s.Datastores, inventory.Datastore{Ref: fmt.Sprint("store-", i), Name: fmt.Sprint("ds-", i), Free: 1 << 50, Accessible: true})
	}
	for i := range n {
		ref := fmt.Sprint("many-", i)
		v := machine(ref, fmt.Sprintf("/DC0/vm/%s/web-%05d", []string{"finance", "plain", "other"}[i%3], i))
		v.Host, v.Datastore = fmt.Sprintf("esx-%d", i/25), fmt.Sprint("ds-", i/50)
		v.Disks[0].Datastore, v.Addresses, v.Tags = v.Datastore, []string{fmt.Sprintf("10.%d.%d.9", 1+i/250, i%250)}, []string{"encrypt:yes"}
		if i%2 == 0 {
			v.Key = w.key(fmt.Sprint("key-", i), "Active", 400*day)
			v.Disks[0].Key = v.Key
		}
		w.s.VMs = append(w.s.VMs, v)
		w.f.Demand = append(w.f.Demand, ref)
	}
	return p, w.s.With(inventory.Change{}), w.f // in order, as it is read
}

func BenchmarkMake(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, s, f := large(n)
			b.ReportAllocs()
			for b.Loop() {
				Make(p, s, f)
			}
		})
	}
}

// A change of one machine among many: what a watch makes of it.
func BenchmarkWith(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, s, _ := large(n)
			b.ReportAllocs()
			for b.Loop() {
				s = s.With(inventory.Change{VMs: s.VMs[n/2 : n/2+1]})
			}
		})
	}
}

// A counter counts calls of the vSphere API by method; storage policies are
// another API.
type counter struct {
	soap.RoundTripper
	mu    sync.Mutex
	calls map[string]int
}

func (c *counter) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	method := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", req), "*methods."), "Body")
	c.mu.Lock()
	c.calls[method]++
	c.mu.Unlock()
	return c.RoundTripper.RoundTrip(ctx, req, res)
}

// take returns what was called since it was last asked.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.calls
	c.calls = map[string]int{}
	return was
}

// simulated is a vCenter with n machines that nothing encrypts, by whose reader
// calls are counted, and a policy by which each lacks its encrypted vMotion.
func simulated(tb testing.TB, n int) (*vspheretest.VCenter, *inventory.Reader, *counter, *Policy) {
	tb.Helper()
	clusters := min(4, n)
	vc, err := vspheretest.New(vspheretest.Options{Clusters: clusters, Hosts: 8, VMs: n / clusters})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := vc.Close(); err != nil {
			tb.Error(err)
		}
	})
	vim, err := vc.Client(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	calls := &counter{RoundTripper: vim.Client.RoundTripper, calls: map[string]int{}}
	vim.Client.RoundTripper = calls
	p, err := Read([]byte(`policy: {rules: [{name: all, match: {folder: "/DC0/vm/**"}, vMotion: required}], limits: {changes: 100000}}`))
	if err != nil {
		tb.Fatal(err)
	}
	return vc, inventory.NewReader(inventory.Options{Client: vim.Client}), calls, p
}

// A plan is made of one pass, whose calls do not grow with the machines but for
// the pages in which they come.
func TestOnePass(t *testing.T) {
	count := func(n int) map[string]int {
		_, reader, calls, p := simulated(t, n)
		calls.take()
		s, err := reader.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if plan := Make(p, s, Facts{Now: now}); plan.Machines != n || len(plan.Actions)+len(plan.Held) != n {
			t.Fatalf("%d machines, %d actions, %d held, want %d", plan.Machines, len(plan.Actions), len(plan.Held), n)
		}
		return calls.take()
	}
	few, many := count(4), count(600)
	t.Logf("calls for 4 machines: %v", few)
	if few["RetrievePropertiesEx"] == 0 || few["ContinueRetrievePropertiesEx"] != 0 {
		t.Errorf("calls for 4 machines: %v", few)
	}
	few["ContinueRetrievePropertiesEx"] = 1 // the second page of 500
	if fmt.Sprint(few) != fmt.Sprint(many) {
		t.Errorf("calls for 600 machines: %v, want %v", many, few)
	}
}
