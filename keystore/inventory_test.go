package keystore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// newSite returns a store with keys, each used by a machine of a vCenter that
// has reported once.
func newSite(t testing.TB, keys int, configure func(*keystore.Config)) (*kt.Rig, *kt.Site, []keystore.UID) {
	t.Helper()
	r := newRig(t, configure)
	s, err := r.NewSite(1)
	must(t, err)
	var uids []keystore.UID
	for i := range keys {
		uids = append(uids, newKey(t, r, ""))
		s.Uses[uids[i]] = []string{fmt.Sprintf("vm-%d", i)}
	}
	send(t, s)
	return r, s, uids
}

func send(t testing.TB, s *kt.Site, partial ...string) keystore.Taken {
	t.Helper()
	taken, err := s.Send(partial...)
	must(t, err)
	return taken
}

func inUse(t testing.TB, r *kt.Rig, key keystore.UID, want bool) {
	t.Helper()
	used, err := r.InUse(key)
	must(t, err)
	if used != want {
		t.Errorf("in use: %v, want %v", used, want)
	}
}

// Reports, one after the other, and when each leaves a key in use that only the
// first of them names. The other keys are named by all.
func TestReleaseOfAKey(t *testing.T) {
	type step struct {
		what string
		do   func(t *testing.T, s *kt.Site, key keystore.UID)
		used bool
	}
	complete := step{"complete", func(t *testing.T, s *kt.Site, _ keystore.UID) { send(t, s) }, true}
	last := step{"complete", complete.do, false}
	partial := step{"partial", func(t *testing.T, s *kt.Site, _ keystore.UID) { send(t, s, "VM locked: vm-7") }, true}
	doubted := func(what string, change func(s *kt.Site, r *keystore.InventoryReport)) step {
		return step{what, func(t *testing.T, s *kt.Site, _ keystore.UID) {
			r := s.Report()
			change(s, r)
			taken, err := s.Take(kt.Sum(r))
			must(t, err)
			if len(taken.Reasons) == 0 {
				t.Errorf("%s: taken as complete", what)
			}
		}, true}
	}
	gap := step{"a number left out", func(t *testing.T, s *kt.Site, _ keystore.UID) { s.Number++; send(t, s) }, true}
	ahead := doubted("a clock ahead", func(s *kt.Site, r *keystore.InventoryReport) { r.Time += 3600 })
	old := doubted("an old look", func(s *kt.Site, r *keystore.InventoryReport) { r.Time -= 2 * 3600 })
	again := doubted("one look sent twice", func(s *kt.Site, r *keystore.InventoryReport) { r.Time -= 60 })
	reinstalled := step{"another installation", func(t *testing.T, s *kt.Site, _ keystore.UID) { s.Instance[1]++; s.Number = 0; send(t, s) }, true}
	restart := step{"a restart", func(t *testing.T, s *kt.Site, _ keystore.UID) { must(t, s.Rig.Reopen()) }, true}
	names := step{"names it again", func(t *testing.T, s *kt.Site, key keystore.UID) {
		r := s.Report()
		r.Entries = append(r.Entries, kt.Entry(key.String(), "vm-0"))
		_, err := s.Take(kt.Sum(r))
		must(t, err)
	}, true}
	refused := step{"refused", func(t *testing.T, s *kt.Site, _ keystore.UID) {
		r := s.Report()
		s.Number--
		r.Agent = "agent-9"
		_, err := s.Take(kt.Sum(r))
		wants(t, "another agent's report", err, keystore.ErrReport)
	}, true}
	repeated := step{"repeated", func(t *testing.T, s *kt.Site, _ keystore.UID) {
		r := s.Report()
		for range 4 {
			_, err := s.Take(r)
			must(t, err)
		}
	}, true}
	for _, steps := range [][]step{
		{complete, last},
		{restart, complete, restart, last},
		{partial, partial, partial, partial},
		{complete, partial, complete, last},
		{complete, gap, last},
		{gap, last},
		{complete, ahead, complete, last},
		{complete, old, complete, last},
		{complete, again, complete, last},
		{complete, reinstalled, last},
		{reinstalled, last},
		{complete, names, complete, last},
		{complete, refused, last},
		{repeated, last},
		{complete, restart, partial, restart, complete, restart, last},
	} {
		var whole []string
		for _, s := range steps {
			whole = append(whole, s.what)
		}
		t.Run(strings.Join(whole, ", "), func(t *testing.T) {
			r, s, keys := newSite(t, 4, nil)
			delete(s.Uses, keys[0])
			for i, step := range steps {
				step.do(t, s, keys[0])
				used, err := r.InUse(keys[0])
				must(t, err)
				if used != step.used {
					t.Fatalf("after %q: in use %v, want %v", whole[:i+1], used, step.used)
				}
			}
			for _, key := range keys[1:] {
				inUse(t, r, key, true)
			}
		})
	}
}

// What cannot be believed is refused as a whole: neither does it keep a key nor
// is it counted.
func TestRefusedReports(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *kt.Site, r *keystore.InventoryReport)
		says   string
	}{
		{"another agent", func(s *kt.Site, r *keystore.InventoryReport) { r.Agent = "agent-2" }, `reported by agent "agent-1", not by "agent-2"`},
		{"no agent", func(s *kt.Site, r *keystore.InventoryReport) { r.Agent = "" }, "reported by agent"},
		{"another vCenter", func(s *kt.Site, r *keystore.InventoryReport) { r.VCenter[0] = 7 }, "nobody has assigned"},
		{"no vCenter", func(s *kt.Site, r *keystore.InventoryReport) { r.VCenter = keystore.VCenterID{} }, "nobody has assigned"},
		{"number 0", func(s *kt.Site, r *keystore.InventoryReport) { r.Number = 0 }, "number 0"},
		{"too large a number", func(s *kt.Site, r *keystore.InventoryReport) { r.Number = 1 << 60 }, "is not between"},
		{"an earlier number", func(s *kt.Site, r *keystore.InventoryReport) { r.Number = 1 }, "not after 2"},
		{"the same number, other content", func(s *kt.Site, r *keystore.InventoryReport) { r.Number = 2 }, "with other content"},
		{"no installation", func(s *kt.Site, r *keystore.InventoryReport) { r.Instance = keystore.UID{} }, "which installation"},
		{"too many entries", func(s *kt.Site, r *keystore.InventoryReport) {
			r.Entries = make([]keystore.ReportEntry, 500_001)
		}, "at most 500000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s, keys := newSite(t, 4, nil)
			send(t, s)
			before, err := s.Look()
			must(t, err)
			other := newKey(t, r, "")
			s.Uses = map[keystore.UID][]string{other: {"new"}}
			report := s.Report()
			c.change(s, report)
			_, err = s.Take(kt.Sum(report))
			wants(t, "TakeInventory", err, keystore.ErrReport)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %q, want %q", err, c.says)
			}
			after, err := s.Look()
			must(t, err)
			if after.Number != before.Number || after.Keys != before.Keys {
				t.Errorf("the store has taken it: %+v", after)
			}
			inUse(t, r, other, false)
			inUse(t, r, keys[0], true)
			must(t, r.Journal.Flush())
			if !slices.ContainsFunc(r.Tape.Events(), refusedReport) {
				t.Error("the journal has no refusal")
			}
		})
	}
}

// Who is no administrator can neither report nor look.
func TestInventoriesAreForAdministrators(t *testing.T) {
	r, s, keys := newSite(t, 2, nil)
	_, err := r.Store.TakeInventory(ctx, kt.Alice, s.Report())
	wants(t, "a client's report", err, keystore.ErrPermission)
	_, err = r.Store.AssignVCenter(ctx, kt.Alice, keystore.VCenterInfo{ID: s.ID, Agent: "x", Groups: []string{"vcenter"}})
	wants(t, "a client's assignment", err, keystore.ErrPermission)
	_, err = r.Store.ConfirmInventory(ctx, kt.Alice, s.ID, 1, 1, "why")
	wants(t, "a client's confirmation", err, keystore.ErrPermission)
	wants(t, "a client's removal", r.Store.RemoveVCenter(ctx, kt.Alice, s.ID, 2, "why"), keystore.ErrPermission)
	wants(t, "a client's look", r.Do(kt.Alice, kt.ObserveOp, func(tx *keystore.Tx) error {
		_, err1 := tx.Uses(keys[0])
		_, err2 := tx.InUse(keys[0])
		_, err3 := tx.VCenters()
		_, err4 := tx.VCenter(s.ID)
		err5 := tx.UsedKeys(s.ID, keystore.UID{}, func(keystore.UsedKey) bool { return true })
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, keystore.ErrPermission) {
				return fmt.Errorf("a look was allowed: %w", err)
			}
		}
		return err1
	}), keystore.ErrPermission)
}

// An installation that another has taken over from is refused for good, so two
// that run side by side are noticed.
func TestTwoInstallations(t *testing.T) {
	_, s, _ := newSite(t, 2, nil)
	other := *s
	other.Instance[1], other.Number = 1, 0
	send(t, &other)
	_, err := s.Send()
	wants(t, "the first installation", err, keystore.ErrReport)
	send(t, &other)
	for n := range 20 {
		other.Instance[2], other.Number = byte(n+1), 0
		send(t, &other)
	}
	info, err := other.Look()
	must(t, err)
	if info.Number != 1 || len(info.Reasons) != 0 {
		t.Errorf("%+v", info)
	}
}

// A shrink beyond a few keys waits for a person, who must have seen it.
func TestShrink(t *testing.T) {
	for _, c := range []struct {
		name            string
		keys, drop      int
		rounds          int // of drop keys each, followed by two reports
		waiting, remain uint64
	}{
		{"two of ten", 10, 2, 1, 0, 8},
		{"three of ten", 10, 3, 1, 3, 10},
		{"a tenth of fifty", 50, 5, 1, 0, 45},
		{"more than a tenth of fifty", 50, 6, 1, 6, 50},
		{"in slices", 50, 2, 3, 2, 46},
		{"the only key", 1, 1, 1, 1, 1},
		{"both of two", 2, 2, 1, 2, 2},
		{"all: an empty report", 20, 20, 1, 20, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, s, keys := newSite(t, c.keys, nil)
			for round := range c.rounds {
				for _, key := range keys[round*c.drop : (round+1)*c.drop] {
					delete(s.Uses, key)
				}
				send(t, s)
				send(t, s)
			}
			info, err := s.Look()
			must(t, err)
			if info.Waiting != c.waiting || info.Keys != c.remain {
				t.Errorf("%d wait and %d remain, want %d and %d", info.Waiting, info.Keys, c.waiting, c.remain)
			}
			if c.waiting == 0 {
				return
			}
			_, err = r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number, info.Waiting, "")
			wants(t, "without a reason", err, keystore.ErrInvalid)
			_, err = r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number, info.Waiting+1, "sold")
			wants(t, "another number of keys", err, keystore.ErrConfirm)
			_, err = r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number-1, info.Waiting, "sold")
			wants(t, "an earlier report", err, keystore.ErrConfirm)
			must(t, r.Reopen())
			after, err := r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number, info.Waiting, "sold")
			must(t, err)
			if after.Waiting != 0 || after.Keys != c.remain-c.waiting {
				t.Errorf("after confirming: %+v", after)
			}
			_, err = r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number, info.Waiting, "sold")
			wants(t, "a second time", err, keystore.ErrConfirm)
			for _, key := range keys {
				_, named := s.Uses[key]
				inUse(t, r, key, named)
			}
		})
	}
}

// An agent that lies names keys that nobody has: they buy no releases.
func TestShrinkBesideInventedKeys(t *testing.T) {
	r, s, keys := newSite(t, 10, nil)
	for range 200 {
		s.Uses[r.Store.NewUID()] = s.Uses[keys[0]]
	}
	send(t, s)
	r.Clock.Add(25 * 3600)
	send(t, s) // a window that begins with the invented ones
	for _, key := range keys[:5] {
		delete(s.Uses, key)
	}
	send(t, s)
	send(t, s)
	info, err := s.Look()
	must(t, err)
	if info.Waiting != 5 {
		t.Errorf("%d keys wait for a person, want 5", info.Waiting)
	}
}

// The slices of a shrink add up over a day, not for ever.
func TestShrinkOverDays(t *testing.T) {
	r, s, keys := newSite(t, 12, nil)
	for day := range 4 {
		delete(s.Uses, keys[2*day])
		delete(s.Uses, keys[2*day+1])
		send(t, s)
		send(t, s)
		info, err := s.Look()
		must(t, err)
		if want := uint64(12 - 2*(day+1)); info.Keys != want || info.Waiting != 0 {
			t.Errorf("day %d: %d keys, %d wait, want %d", day, info.Keys, info.Waiting, want)
		}
		r.Clock.Add(24 * 3600)
	}
}

// An empty report, and one that names no key that could be ours, releases
// nothing without a person, not even what was absent before.
func TestEmptyReport(t *testing.T) {
	for _, entries := range [][]keystore.ReportEntry{nil, {kt.Entry("4711", "odd")}} {
		_, s, keys := newSite(t, 30, nil)
		delete(s.Uses, keys[0])
		send(t, s)
		r := s.Report()
		r.Entries = entries
		_, err := s.Take(kt.Sum(r))
		must(t, err)
		info, err := s.Look()
		must(t, err)
		if info.Waiting != 1 || info.Keys != 30 {
			t.Errorf("%d entries: %d wait, %d in use", len(entries), info.Waiting, info.Keys)
		}
	}
}

// A partial report ends the row, and with it what waits.
func TestNothingToConfirmAfterAPartialReport(t *testing.T) {
	r, s, keys := newSite(t, 10, nil)
	for _, key := range keys[:8] {
		delete(s.Uses, key)
	}
	send(t, s)
	send(t, s)
	send(t, s, "a host did not answer")
	info, err := s.Look()
	must(t, err)
	if info.Waiting != 0 || info.Keys != 10 {
		t.Errorf("%+v", info)
	}
	_, err = r.Store.ConfirmInventory(ctx, kt.Admin, s.ID, info.Number, 8, "sold")
	wants(t, "confirming", err, keystore.ErrConfirm)
	inUse(t, r, keys[0], true)
}

// A vCenter that is gone is removed by who knows how much it uses, when it has
// been silent for a day.
func TestRemoveVCenter(t *testing.T) {
	r, s, keys := newSite(t, 250, nil)
	remove := func(keys uint64, reason string) error {
		return r.Store.RemoveVCenter(ctx, kt.Admin, s.ID, keys, reason)
	}
	wants(t, "one that reports", remove(250, "burnt"), keystore.ErrConfirm)
	r.Clock.Add(24*3600 - 1)
	wants(t, "one that was silent for less than a day", remove(250, "burnt"), keystore.ErrConfirm)
	r.Clock.Add(1)
	wants(t, "without a reason", remove(250, ""), keystore.ErrInvalid)
	wants(t, "another number of keys", remove(249, "burnt"), keystore.ErrConfirm)
	inUse(t, r, keys[0], true)
	other, err := r.NewSite(2)
	must(t, err)
	other.Uses[keys[1]] = []string{"elsewhere"}
	send(t, other)
	must(t, remove(250, "burnt"))
	_, err = s.Look()
	wants(t, "looking at it", err, keystore.ErrNotFound)
	inUse(t, r, keys[0], false)
	inUse(t, r, keys[1], true)
	_, err = s.Send()
	wants(t, "its report", err, keystore.ErrReport)
}

// Uses of one key by many machines are kept whole, and what Destroy opens of
// them stays small.
func TestOneKeyForManyMachines(t *testing.T) {
	r, s, keys := newSite(t, 1, nil)
	for n := 120; n >= 0; n -= 20 {
		var names []string
		for i := range max(n, 1) {
			names = append(names, fmt.Sprintf("vm-%03d", i))
		}
		s.Uses[keys[0]] = names
		send(t, s)
		must(t, r.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
			uses, err := tx.Uses(keys[0])
			if err != nil || len(uses) != 1 || uses[0].Total != uint64(len(names)) || len(uses[0].Uses) != min(len(names), 50) {
				return fmt.Errorf("%d machines: %+v, %w", n, uses, err)
			}
			return nil
		}))
		kt.MustCheck(t, r.Store)
	}
}

func refusedReport(e audit.Event) bool {
	return e.Outcome == audit.Denied && e.Operation == "Receive Inventory" && e.Reason != ""
}
