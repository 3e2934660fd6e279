//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/admin"
)

// A borough is a lab in processes of its own: the agent in it can be killed as a
// power cut does.
type borough struct {
	*testing.T
	dir     string // of the programs
	environ []string
}

// newBorough starts keyreeve-lab with the flags.
func newBorough(t *testing.T, flags ...string) *borough {
	t.Helper()
	b := &borough{T: t, dir: programs.Dir(t)}
	ready := filepath.Join(t.TempDir(), "ready")
	lab := exec.Command(filepath.Join(b.dir, "keyreeve-lab"), append(flags, "--ready-file", ready)...)
	lab.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	lab.Stderr = os.Stderr
	b.must(lab.Start())
	t.Cleanup(func() {
		_ = lab.Process.Signal(os.Interrupt)
		_ = lab.Wait()
	})
	var exports []byte
	for end := time.Now().Add(2 * time.Minute); len(exports) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lab does not come up")
		}
		exports, _ = os.ReadFile(ready) // it is not there yet
	}
	b.environ = os.Environ()
	for line := range strings.Lines(string(exports)) {
		if pairs, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			b.environ = append(b.environ, strings.Fields(pairs)...)
		}
	}
	return b
}

func (b *borough) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// value is one of the lab's variables.
func (b *borough) value(name string) string {
	for _, pair := range slices.Backward(b.environ) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	b.Fatalf("the lab exports no %s", name)
	return ""
}

// agent is a command of the agent, in a process of its own, with the example
// that is shipped.
func (b *borough) agent(args ...string) (c *exec.Cmd, out, problems *bytes.Buffer) {
	self, err := os.Executable()
	b.must(err)
	out, problems = &bytes.Buffer{}, &bytes.Buffer{}
	c = exec.Command(self, append(args, "-f", "../../deploy/example.yaml")...)
	c.Args[0] = "keyreeve-agent" // by which the test's binary knows what it is
	c.Env = append(b.environ, "KEYREEVE_AGENT_VCENTER_REQUESTS_PER_SECOND=10000")
	c.Stdout, c.Stderr = out, problems
	return c, out, problems
}

// runs runs a command of the agent that must end with one of the codes.
func (b *borough) runs(codes []int, args ...string) (out, problems string) {
	b.Helper()
	c, o, p := b.agent(args...)
	err := c.Run()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		b.must(err)
	}
	if !slices.Contains(codes, code) {
		b.Fatalf("%v: exit code %d\n%s%s", args, code, o, p)
	}
	return o.String(), p.String()
}

// used reads from vCenter itself which keys its machines name, and whether all
// are encrypted as a whole.
func (b *borough) used() (keys map[string]bool, plain []string) {
	b.Helper()
	u, err := url.Parse(b.value("GOVC_URL"))
	b.must(err)
	u.User = url.UserPassword(b.value("GOVC_USERNAME"), b.value("GOVC_PASSWORD"))
	ctx := context.Background()
	c, err := govmomi.NewClient(ctx, u, true)
	b.must(err)
	defer func() { _ = c.Logout(ctx) }()
	v, err := view.NewManager(c.Client).CreateContainerView(ctx, c.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	b.must(err)
	var vms []mo.VirtualMachine
	b.must(v.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "config.keyId", "config.hardware.device"}, &vms))
	keys = map[string]bool{}
	for _, vm := range vms {
		whole := vm.Config.KeyId != nil
		if whole {
			keys[vm.Config.KeyId.KeyId] = true
		}
		for _, d := range vm.Config.Hardware.Device {
			disk, ok := d.(*types.VirtualDisk)
			if !ok {
				continue
			}
			key := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).KeyId
			if whole = whole && key != nil; key != nil {
				keys[key.KeyId] = true
			}
		}
		if !whole {
			plain = append(plain, vm.Name)
		}
	}
	return keys, plain
}

// held are the keys of the key server, by its own word, that are not destroyed.
func (b *borough) held() map[string]admin.Key {
	b.Helper()
	c := exec.Command(filepath.Join(b.dir, "keyreeve"), "key", "list", "-o", "json")
	c.Env = b.environ
	out, err := c.Output()
	b.must(err)
	var list []admin.Key
	b.must(json.Unmarshal(out, &list))
	keys := map[string]admin.Key{}
	for _, k := range list {
		if !strings.HasPrefix(k.State, "Destroyed") {
			keys[k.UniqueIdentifier] = k
		}
	}
	return keys
}

// From a bare vCenter behind a closed firewall, 200 machines are brought to the
// policy by the example as it is shipped, with the agent killed 50 times at any
// moment: no machine has a key that the key server does not have, and no key is
// left that nobody uses or knows.
func TestKilledFiftyTimes(t *testing.T) {
	const machines, kills = 200, 50
	b := newBorough(t, "--vms", "200", "--hosts", "4")
	last := 0
	for n := range kills {
		c, _, problems := b.agent("apply")
		b.must(c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(1800 * time.Millisecond)))):
			b.must(c.Process.Kill())
			<-ended
		case err := <-ended:
			t.Logf("life %d ended by itself: %v", n, err)
		}
		last += strings.Count(problems.String(), "done: machine:")
		if keys, _ := b.used(); n%5 == 0 {
			allHeld(t, keys, b.held())
		}
	}
	t.Logf("machines that were done, as the %d lives have told: %d", kills, last)
	for end := 0; ; end++ {
		if _, plain := b.used(); len(plain) == 0 {
			break
		} else if end == 10 {
			t.Fatalf("still plain: %v", plain)
		}
		b.runs([]int{exitDone, exitOther, exitDrift, exitBlocked}, "apply") // what was under way when it was killed may be in the way
	}
	b.runs([]int{exitDone}, "apply")
	if _, problems := b.runs([]int{exitDone}, "apply"); strings.Contains(problems, "done:") {
		t.Errorf("the next run changes something:\n%s", problems)
	}
	keys, plain := b.used()
	if len(plain) > 0 || len(keys) != machines {
		t.Errorf("%d keys are used, and plain are %v", len(keys), plain)
	}
	allHeld(t, keys, b.held())
	b.unknown()
}

func allHeld(t *testing.T, used map[string]bool, held map[string]admin.Key) {
	t.Helper()
	for key := range used {
		if _, ok := held[key]; !ok {
			t.Errorf("a machine has the key %s, which the key server does not have", key)
		}
	}
}

// unknown looks for keys that nobody uses, and that no job of the agent's has
// for its next try.
func (b *borough) unknown() {
	b.Helper()
	out, _ := b.runs([]int{exitDone}, "inventory", "-o", "json")
	var view inventoryView
	b.must(json.Unmarshal([]byte(out), &view))
	for _, o := range view.Usage.Orphans {
		if !strings.Contains(o.Was, "which is not done yet") {
			b.Errorf("nobody uses the key %s (%s), and nobody knows it", o.ID, o.Was)
		}
	}
}
