//go:build lab && unix

package policy

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

func init() { sizes = append(sizes, 10_000) }

// cost is what something takes of the processor, collecting garbage included,
// when it is cheapest.
func cost(do func()) float64 {
	best := math.Inf(1)
	for range 5 {
		began := seconds(usage())
		do()
		best = min(best, seconds(usage())-began)
	}
	return best
}

// Many more machines take about as many times longer, and not the square of it:
// that would be minutes where there are many.
func TestMakeIsLinear(t *testing.T) {
	p1, s1, f1 := large(2000)
	p2, s2, f2 := large(40_000)
	few, many := cost(func() { Make(p1, s1, f1) }), cost(func() { Make(p2, s2, f2) })
	t.Logf("2,000: %.0f ms, 40,000: %.0f ms", few*1e3, many*1e3)
	if many > 60*few {
		t.Errorf("20 times as many machines take %.0f times as long", many/few)
	}
}

// A person changes one machine among 10,000: it is in a new plan within a second
// or so, and nothing but that machine was read for it.
func TestDriftReachesThePlan(t *testing.T) {
	vc, reader, calls, p := simulated(t, 10_000)
	s, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole := calls.take()
	ctx, cancel := context.WithCancel(t.Context())
	done, plans := make(chan error, 1), make(chan Plan, 10)
	go func() {
		done <- reader.Watch(ctx, s, func(c inventory.Change) error {
			if c.Full {
				return errors.New("a whole read is asked for")
			}
			s = s.With(c)
			plans <- Make(p, s, Facts{Now: now})
			return nil
		})
	}()
	person, err := vc.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	change(t, person, "DC0_C0_RP0_VM0")
	await(t, plans, done, 1, 5*time.Minute) // the watch begins by telling of all machines
	calls.take()
	began := change(t, person, "DC0_C3_RP0_VM2499")
	await(t, plans, done, 2, 10*time.Second)
	took, read := time.Since(began), calls.take()
	t.Logf("in a plan after %v, by %v; a whole read is %v", took, read, whole)
	if read["ContinueRetrievePropertiesEx"] > 0 || read["RetrievePropertiesEx"] >= whole["RetrievePropertiesEx"] || read["WaitForUpdatesEx"] > 10 {
		t.Errorf("more than the machine was read: %v", read)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// change does what a person does, as one, and tells when: to find a machine by
// its name takes the simulator long.
func change(t *testing.T, person *govmomi.Client, name string) (began time.Time) {
	t.Helper()
	vm, err := find.NewFinder(person.Client).VirtualMachine(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if _, err := vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{MigrateEncryption: "required"}); err != nil {
		t.Fatal(err)
	}
	return began
}

// await waits for a plan by which so many machines are as they should be.
func await(t *testing.T, plans <-chan Plan, done <-chan error, inSync int, limit time.Duration) {
	t.Helper()
	end := time.After(limit)
	for {
		select {
		case plan := <-plans:
			if plan.Machines != 10_000 {
				t.Fatalf("%d machines", plan.Machines)
			}
			if plan.InSync == inSync { // else something else of the machine came first
				return
			}
		case err := <-done:
			t.Fatal(err)
		case <-end:
			t.Fatal("the change is in no plan")
		}
	}
}
