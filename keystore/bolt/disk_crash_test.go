//go:build diskmodel

package bolt_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// rounds is how often the tests of the disk model run their workloads: KEYREEVE_DISK_ROUNDS, 1 for the gate.
func rounds(t *testing.T) int {
	v := os.Getenv("KEYREEVE_DISK_ROUNDS")
	if v == "" {
		return 1
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("KEYREEVE_DISK_ROUNDS=%q is no number of rounds", v)
	}
	return n
}

// newSeed is drawn from the clock, or KEYREEVE_DISK_SEED to see a failure again. Clients run side by side, so a seed
// gives the same operations and cuts and not always the same log.
func newSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("KEYREEVE_DISK_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

var systems = map[string]system{"mini": mini{}, "store": store{}}

// A power cut between any two changes to the disk loses nothing that was answered.
func TestDiskPowerCut(t *testing.T) {
	for name, sys := range systems {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				seed := newSeed(t)
				r, err := record(t, sys, usual(seed))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				images, err := r.crashes(t, seed, 4)
				if err != nil {
					t.Error(err)
				}
				if !rotated(r.d) {
					t.Error("the journal was not rotated")
				}
				t.Logf("%d changes, %d images in %v", r.d.Len(), images, time.Since(start).Round(time.Millisecond))
				if images < 500 {
					t.Errorf("only %d images", images)
				}
			}
		})
	}
}

// rotated tells whether a new segment of the journal was begun.
func rotated(d *keystoretest.Disk) bool {
	return slices.ContainsFunc(d.Log(), func(c keystoretest.Change) bool {
		return c.Kind == keystoretest.Rename && c.To == filepath.Join("audit", "00000002.log")
	})
}

// inUse is a number of changes after which the store is made, open and used.
const inUse = 40

// The model notices the bugs that it is there for.
func TestDiskSeededBugs(t *testing.T) {
	lie := func(where string) func(int, keystoretest.Change) keystoretest.Fault {
		return func(n int, c keystoretest.Change) keystoretest.Fault {
			return keystoretest.Fault{Lie: n > inUse && c.Kind == keystoretest.Sync && strings.HasPrefix(c.Path, where)}
		}
	}
	lost := func(where string) func(int, keystoretest.Change) keystoretest.Fault {
		syncs := 0
		return func(n int, c keystoretest.Change) keystoretest.Fault {
			if n < inUse || c.Kind != keystoretest.Sync || !strings.HasPrefix(c.Path, where) {
				return keystoretest.Fault{}
			}
			syncs++
			return keystoretest.Fault{Lost: syncs%5 == 0}
		}
	}
	for bug, tc := range map[string]struct {
		bugs  bugs
		fault func(int, keystoretest.Change) keystoretest.Fault
	}{
		"bbolt opened with NoSync":           {bugs: bugs{noSync: true}},
		"journal appended after the commit":  {bugs: bugs{journalTwo: true}},
		"failed sync of the store ignored":   {fault: lost("store.db")},
		"failed sync of the journal ignored": {fault: lost("audit" + string(filepath.Separator))},
		"journal without sync":               {fault: lie("audit" + string(filepath.Separator))},
		"renames and new files without a sync": {fault: func(_ int, c keystoretest.Change) keystoretest.Fault {
			return keystoretest.Fault{Lie: c.Kind == keystoretest.SyncDir}
		}},
	} {
		for name, sys := range systems {
			t.Run(name+"/"+bug, func(t *testing.T) {
				seed := newSeed(t)
				w := usual(seed)
				w.bugs, w.fault = tc.bugs, tc.fault
				r, err := record(t, sys, w)
				if err != nil {
					t.Fatal(err)
				}
				images, err := r.crashes(t, seed, 2)
				if err == nil {
					t.Fatalf("%d images did not show it", images)
				}
				t.Logf("found after %d images: %v", images, err)
			})
		}
	}
}
