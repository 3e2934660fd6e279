package policy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A rig is a vCenter with a key server, and an agent's ledger.
type rig struct {
	*testing.T
	ctx    context.Context
	vim    *govmomi.Client
	kmip   *kmipclient.Client // that sees vCenter's keys
	path   string
	policy *Policy
	last   []Result
}

func newRig(t *testing.T, vms int) *rig {
	t.Helper()
	r := &rig{T: t, ctx: t.Context(), path: filepath.Join(t.TempDir(), "ledger")}
	kms, _ := kmiptest.NewServer(t, kmiptest.Options{})
	vc, err := vspheretest.New(vspheretest.Options{VMs: vms})
	r.must(err)
	t.Cleanup(func() { r.must(vc.Close()) })
	r.vim, err = vc.Client(r.ctx)
	r.must(err)
	host, port, err := net.SplitHostPort(kms.Addr())
	r.must(err)
	n, err := strconv.Atoi(port)
	r.must(err)
	r.must(vspheretest.Connect(r.ctx, r.vim.Client, "keyreeve", types.KmipServerInfo{Name: "kms-1", Address: host, Port: int32(n)},
		func(csr []byte) ([]byte, error) { return kms.SignCSR("vcenter", csr) }))
	conf, err := kms.ClientIn("agent", "vcenter")
	r.must(err)
	r.kmip, err = kmipclient.Dial(r.ctx, kms.Addr(), kmipclient.Config{TLS: conf})
	r.must(err)
	t.Cleanup(func() { _ = r.kmip.Close() })
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// rule encrypts the machines whose names fit.
func (r *rig) rule(names ...string) {
	r.Helper()
	p, err := Read([]byte("policy:\n  rules:\n    - name: r\n      match: {name: ['" + strings.Join(names, "', '") + "']}\n      encrypt: {provider: keyreeve}\n" +
		"  backup: waived\n  keyPath: {server: outside, vcenter: outside}\n  limits: {canary: 0, workers: 2, perDatastore: 2, perHost: 2}\n"))
	r.must(err)
	r.policy = p
}

func (r *rig) snapshot() *inventory.Snapshot {
	r.Helper()
	s, err := inventory.NewReader(inventory.Options{Client: r.vim.Client}).Read(r.ctx)
	r.must(err)
	return s
}

// run is one life of an agent: ledger, plan, apply. step may kill it.
func (r *rig) run(demand []string, step func(string) error) (Plan, error) {
	r.Helper()
	l, err := OpenLedger(durable.OS, r.path)
	r.must(err)
	defer func() { r.must(l.Close()) }()
	s := r.snapshot()
	r.must(l.Settle(s, now))
	plan := Make(r.policy, s, Facts{Now: now, Providers: []string{"keyreeve"}, Demand: demand})
	r.last = nil
	a := &Applier{Client: r.vim.Client, Ledger: l, Limits: r.policy.Limits, Now: time.Now, FindKey: r.find, step: step,
		Report: func(res Result) { r.last = append(r.last, res) }}
	err = a.Apply(r.ctx, &plan)
	return plan, err
}

var finding sync.Mutex // a client does one request at a time

func (r *rig) find(ctx context.Context, job string) (string, error) {
	finding.Lock()
	defer finding.Unlock()
	ids, err := r.kmip.Locate(ctx, kmip.TextAttribute(JobAttribute, job))
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// converge runs until the plan is in sync, as an agent that is started again.
func (r *rig) converge() {
	r.Helper()
	for range 100 {
		p, err := r.run(nil, nil)
		r.must(err)
		for _, res := range r.last {
			late := errors.Is(res.Err, ErrChanged) || res.Err != nil && strings.Contains(res.Err.Error(), "not allowed in the current state")
			if !late { // a task of the life before was faster
				r.must(res.Err)
			}
		}
		if p.State() == InSync {
			return
		}
		time.Sleep(10 * time.Millisecond) // a task of the life before is still at work
	}
	r.Fatal("it does not converge")
}

// orphans are keys of the key server that nothing in vCenter uses.
func (r *rig) orphans() (list []string) {
	r.Helper()
	all, err := r.kmip.Locate(r.ctx)
	r.must(err)
	used := map[string]bool{}
	for _, e := range r.snapshot().Entries() {
		used[e.Key] = true
	}
	for _, id := range all {
		if !used[id] {
			list = append(list, id)
		}
	}
	return list
}

var errKilled = errors.New("killed")

// Killed at each step, at the first machine and at the second: the next run
// completes, and no key is left that nobody uses or knows.
func TestKilledAtEveryStep(t *testing.T) {
	steps := []string{stepIntent, "generated", stepKey, "submitted", stepTask, stepDone}
	r := newRig(t, 4*len(steps))
	n := 0
	for _, step := range steps {
		for _, nth := range []int{1, 2} {
			r.rule("*_VM"+strconv.Itoa(2*n), "*_VM"+strconv.Itoa(2*n+1))
			n++
			var mu sync.Mutex
			seen, dead := 0, false
			_, err := r.run(nil, func(at string) error {
				mu.Lock()
				defer mu.Unlock()
				if at == step {
					seen++
				}
				if dead = dead || seen == nth; dead {
					return errKilled
				}
				return nil
			})
			if !errors.Is(err, errKilled) {
				t.Fatalf("%s %d: it was not killed: %v", step, nth, err)
			}
			r.converge()
			if list := r.orphans(); len(list) > 0 {
				t.Errorf("killed at %s %d: nobody uses %v", step, nth, list)
			}
		}
	}
	l, err := OpenLedger(durable.OS, r.path)
	r.must(err)
	defer func() { r.must(l.Close()) }()
	if open := l.Unfinished(r.snapshot().VCenter); len(open) > 0 {
		t.Errorf("not closed: %+v", open)
	}
}

// A key that was made for a try that failed is used by the next try.
func TestKeyOfAFailedTryIsUsed(t *testing.T) {
	r := newRig(t, 1)
	r.rule("*_VM0")
	vm := object.NewVirtualMachine(r.vim.Client, types.ManagedObjectReference{Type: "VirtualMachine", Value: r.snapshot().VMs[0].Ref})
	power := func(fn func(context.Context) (*object.Task, error)) {
		task, err := fn(r.ctx)
		r.must(err)
		r.must(task.Wait(r.ctx))
	}
	_, err := r.run(nil, func(at string) error {
		if at == stepKey {
			power(vm.PowerOn) // somebody starts it meanwhile
		}
		return nil
	})
	r.must(err)
	if len(r.last) != 1 || r.last[0].Err == nil {
		t.Fatalf("%+v", r.last)
	}
	kept := r.orphans()
	power(vm.PowerOff)
	r.converge()
	if v := r.snapshot().VMs[0]; len(kept) != 1 || v.Key.ID != kept[0] || len(r.orphans()) != 0 {
		t.Errorf("kept %v, it has %v, orphans %v", kept, v.Key, r.orphans())
	}
}

func TestRekeyOnDemand(t *testing.T) {
	r := newRig(t, 1)
	r.rule("*_VM0")
	r.converge()
	before := r.snapshot().VMs[0]
	_, err := r.run([]string{before.Ref}, nil)
	r.must(err)
	after := r.snapshot().VMs[0]
	if after.Key == before.Key || after.Disks[0].Key != after.Key || len(r.last) != 1 || r.last[0].Key != after.Key {
		t.Errorf("from %v to %v, %+v", before.Key, after.Key, r.last)
	}
	if list := r.orphans(); !slices.Equal(list, []string{before.Key.ID}) { // its old key is for a person to judge
		t.Errorf("orphans %v", list)
	}
}

// The answer to GenerateKey is lost: the key that was made is found by its job.
func TestKeyOfALostAnswerIsFound(t *testing.T) {
	r := newRig(t, 1)
	r.rule("*_VM0")
	lost := errors.New("connection reset")
	_, err := r.run(nil, func(at string) error {
		if at == "generated" {
			return lost
		}
		return nil
	})
	if !errors.Is(err, lost) {
		t.Fatal(err)
	}
	made := r.orphans()
	r.converge()
	if v := r.snapshot().VMs[0]; len(made) != 1 || v.Key.ID != made[0] || len(r.orphans()) != 0 {
		t.Errorf("made %v, it has %v, orphans %v", made, v.Key, r.orphans())
	}
}

// A machine that somebody changed since the plan is left alone, and gets no key.
func TestChangedSinceThePlan(t *testing.T) {
	r := newRig(t, 1)
	v := r.snapshot().VMs[0]
	l, err := OpenLedger(durable.OS, r.path)
	r.must(err)
	defer func() { r.must(l.Close()) }()
	a := &Applier{Client: r.vim.Client, Ledger: l, Now: time.Now, Limits: Limits{Failures: 2}, Report: func(res Result) { r.last = append(r.last, res) }}
	r.must(a.Apply(r.ctx, &Plan{Actions: []Action{{Ref: v.Ref, Op: EncryptOp, Provider: "keyreeve", Home: true, ChangeVersion: v.ChangeVersion + "0"}}}))
	if len(r.last) != 1 || !errors.Is(r.last[0].Err, ErrChanged) || len(r.orphans()) != 0 {
		t.Errorf("%+v, orphans %v", r.last, r.orphans())
	}
}

func TestUnhealthyEndsTheRun(t *testing.T) {
	l, err := OpenLedger(durable.OS, filepath.Join(t.TempDir(), "l"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	red := errors.New("red")
	a := &Applier{Ledger: l, Now: time.Now, Healthy: func(context.Context) error { return red }}
	if err := a.Apply(t.Context(), &Plan{Actions: make([]Action, 5)}); !errors.Is(err, red) {
		t.Errorf("%v", err)
	}
}

func TestPace(t *testing.T) {
	r := &run{Applier: &Applier{Limits: Limits{PerHost: 2, PerDatastore: 1, Failures: 3}}, hosts: map[string]int{}, stores: map[string]int{}}
	r.free = sync.NewCond(&r.mu)
	one := Action{Op: EncryptOp, Host: "h", Datastores: []string{"a"}}
	r.count(one, 1)
	for _, tc := range []struct {
		a    Action
		want bool
	}{
		{one, false}, {Action{Op: EncryptOp, Host: "h", Datastores: []string{"b"}}, true}, {Action{Op: EncryptOp, Host: "i", Datastores: []string{"b", "a"}}, false},
		{Action{Op: ShallowOp, Host: "h", Datastores: []string{"a"}}, true}, {Action{Op: VMotionOp, Host: "h"}, true},
	} {
		if r.fits(tc.a) != tc.want {
			t.Errorf("%+v fits: %v", tc.a, !tc.want)
		}
	}
	bad := errors.New("bad")
	for i, err := range []error{bad, bad, nil, bad, bad, bad} {
		r.ended(Action{Op: VMotionOp}, inventory.Key{}, err)
		if (r.stop != nil) != (i == 5) {
			t.Errorf("after %d: %v", i, r.stop)
		}
	}
	if !errors.Is(r.stop, ErrTooManyFailures) || !errors.Is(r.stop, bad) {
		t.Errorf("%v", r.stop)
	}
}

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	open := func() *Ledger {
		l, err := OpenLedger(durable.OS, path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	for _, e := range []Entry{
		{VCenter: "v", Ref: "a", Op: EncryptOp, Step: stepIntent}, {VCenter: "v", Ref: "a", Op: EncryptOp, Step: stepKey, Key: "k"},
		{VCenter: "v", Ref: "b", Op: EncryptOp, Step: stepKey, Key: "l"}, {VCenter: "v", Ref: "b", Op: EncryptOp, Step: stepDone, Key: "l"},
		{VCenter: "v", Ref: "c", Op: EncryptOp, Step: stepFailed}, {VCenter: "v", Ref: "d", Op: EncryptOp, Step: stepFailed, Key: "m"},
	} {
		if err := l.add(e); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(data); cut > len(data)-20; cut-- { // the last line is torn
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open()
		want := 2
		if cut < len(data) {
			want = 1
		}
		if got := l.Unfinished("v"); len(got) != want || got[0].Ref != "a" || got[0].Key != "k" {
			t.Errorf("cut at %d: %+v", cut, got)
		}
		if err := l.add(Entry{VCenter: "v", Ref: "e", Op: EncryptOp, Step: stepKey, Key: "n"}); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		l = open()
		if got := l.Unfinished("v"); len(got) != want+1 {
			t.Errorf("cut at %d, and one more: %+v", cut, got)
		}
		_ = l.Close()
	}
	if err := os.WriteFile(path, append([]byte("{\n"), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(durable.OS, path); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged line passes: %v", err)
	}
}

// A ledger that has become long keeps what is not done, at whatever step that is,
// and the rest lies beside it.
func TestLedgerIsShortened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := OpenLedger(durable.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Entry{
		{VCenter: "v", Ref: "a", Op: EncryptOp, Step: stepTask, Key: "k", Task: "task-1"}, {VCenter: "v", Ref: "b", Op: EncryptOp, Step: stepDone, Key: "l"},
		{VCenter: "w", Ref: "a", Op: ShallowOp, Step: stepFailed, Key: "m", Problem: "no"}, {VCenter: "v", Ref: "c", Op: EncryptOp, Step: stepIntent, Job: "j"},
	} {
		if err := l.add(e); err != nil {
			t.Fatal(err)
		}
	}
	before := [][]Entry{l.Unfinished("v"), l.Unfinished("w")}
	_ = l.Close()
	long, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func(was int64) { maxLedger = was }(maxLedger)
	maxLedger = int64(len(long)) - 1
	if l, err = OpenLedger(durable.OS, path); err != nil {
		t.Fatal(err)
	}
	if err := l.add(Entry{VCenter: "v", Ref: "c", Op: EncryptOp, Step: stepKey, Job: "j", Key: "n"}); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	maxLedger = 1 << 20
	if l, err = OpenLedger(durable.OS, path); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	after := [][]Entry{l.Unfinished("v"), l.Unfinished("w")}
	before[0][1].Step, before[0][1].Key = stepKey, "n"
	if !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if old, err := os.ReadFile(path + ".old"); err != nil || !slices.Equal(old, long) {
		t.Errorf("beside it lies %q, %v", old, err)
	}
	if short, err := os.ReadFile(path); err != nil || strings.Contains(string(short), `"ref":"b"`) {
		t.Errorf("it has what is done: %s, %v", short, err)
	}
}

// A key that was made for a machine stays known when the machine's next job is of
// another provider, or needs no key at all.
func TestAnotherJobForgetsNoKey(t *testing.T) {
	l, err := OpenLedger(durable.OS, filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, e := range []Entry{
		{VCenter: "v", Ref: "a", Op: EncryptOp, Provider: "p", Step: stepFailed, Key: "k"},
		{VCenter: "v", Ref: "a", Op: EncryptOp, Provider: "q", Step: stepKey, Key: "l"}, {VCenter: "v", Ref: "a", Op: EncryptOp, Provider: "q", Step: stepDone, Key: "l"},
		{VCenter: "v", Ref: "a", Op: VMotionOp, Step: stepIntent}, {VCenter: "v", Ref: "a", Op: VMotionOp, Step: stepDone},
	} {
		if err := l.add(e); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Unfinished("v"); len(got) != 1 || got[0].Key != "k" {
		t.Errorf("known are %+v", got)
	}
}

// older is a vCenter of before 8.0.1, which does not know attributes of keys.
type older struct{ soap.RoundTripper }

func (o older) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	if body, ok := req.(*methods.GenerateKeyBody); ok && body.Req.Spec != nil {
		f := &soap.Fault{Code: "ClientFaultCode", String: "Unexpected element tag \"spec\" seen"}
		f.Detail.Fault = types.InvalidRequest{}
		return soap.WrapSoapFault(f)
	}
	return o.RoundTripper.RoundTrip(ctx, req, res)
}

func TestKeyOfAnOlderVCenter(t *testing.T) {
	r := newRig(t, 1)
	r.rule("*_VM0")
	r.vim.Client.RoundTripper = older{r.vim.Client.RoundTripper}
	if _, err := r.run(nil, nil); err != nil || len(r.last) != 1 || r.last[0].Err != nil {
		t.Errorf("%v, %+v", err, r.last)
	}
}

// A key that vCenter had made and the key server does not have is not used.
func TestKeyOfAnotherServerIsNotUsed(t *testing.T) {
	r := newRig(t, 1)
	r.limits("{canary: 0}")
	e, end := r.enforcer()
	defer end()
	absent := errors.New("there is no such key")
	asked := ""
	e.Applier.HasKey = func(_ context.Context, id string) error {
		asked = id
		return absent
	}
	_, err := e.Run(r.ctx)
	open := e.Applier.Ledger.Unfinished(r.snapshot().VCenter)
	if err == nil || len(r.last) != 1 || !errors.Is(r.last[0].Err, absent) || r.snapshot().VMs[0].Encrypted() || len(open) != 1 || open[0].Key != asked || asked == "" {
		t.Errorf("%v, %+v, known %+v", err, r.last, open)
	}
}
