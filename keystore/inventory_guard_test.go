package keystore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// Every way to destroy a key that a machine uses, from every state, by its
// owner and by an administrator, with a grace period and without: refused, and
// the key is still there.
func TestAKeyInUseIsNotDestroyed(t *testing.T) {
	day := int64(24 * 3600)
	type edit = func(tx *keystore.Tx, o *keystore.Object) error
	revoke := func(reason uint32) edit {
		return func(tx *keystore.Tx, o *keystore.Object) error { return tx.Revoke(o, reason, "", keystore.Date{}) }
	}
	dated := func(tx *keystore.Tx, o *keystore.Object) error {
		o.ActivationDate, o.DeactivationDate = keystore.At(tx.Now()-day), keystore.At(tx.Now()+day)
		return tx.Put(o)
	}
	past := func(tx *keystore.Tx, o *keystore.Object) error {
		o.ActivationDate, o.DeactivationDate = keystore.At(tx.Now()-2*day), keystore.At(tx.Now()-day)
		return tx.Put(o)
	}
	archived := func(tx *keystore.Tx, o *keystore.Object) error {
		o.ArchiveDate = keystore.At(tx.Now())
		return tx.Put(o)
	}
	recovered := func(tx *keystore.Tx, o *keystore.Object) error { o.ArchiveDate = keystore.Date{}; return tx.Put(o) }
	renamed := func(tx *keystore.Tx, o *keystore.Object) error {
		o.SetAttributes([]keystore.Attribute{{Name: "Name", Value: kt.NameItem("another")}})
		return tx.Put(o)
	}
	stateSet := func(tx *keystore.Tx, o *keystore.Object) error { o.State = keystore.Destroyed; return tx.Put(o) }
	for _, way := range []struct {
		name  string
		steps []edit
		wait  int64
	}{
		{"at once, Pre-Active", nil, 0},
		{"revoked", []edit{activate, revoke(1)}, 0},
		{"compromised", []edit{activate, revoke(2)}, 0},
		{"compromised while Pre-Active", []edit{revoke(2)}, 0},
		{"revoked and then compromised", []edit{activate, revoke(1), revoke(2)}, 0},
		{"deactivated by date", []edit{dated}, 2 * day},
		{"deactivated by a date in the past", []edit{past}, 0},
		{"archived", []edit{activate, revoke(1), archived}, 0},
		{"renamed", []edit{renamed}, 0},
		{"a State that was set", []edit{stateSet}, 0},
		{"months after the last report", nil, 90 * day},
	} {
		for _, by := range []*keystore.Principal{kt.Alice, kt.Admin} {
			for _, atOnce := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, by %s, purged at once %v", way.name, by.Client, atOnce), func(t *testing.T) {
					r, _, keys := newSite(t, 2, func(c *keystore.Config) { c.PurgeAtOnce = atOnce })
					want, _, err := r.Get(kt.Alice, keys[0])
					must(t, err)
					for _, step := range way.steps {
						must(t, r.Edit(keys[0], step))
					}
					r.Clock.Add(way.wait)
					for range 2 {
						wants(t, "Destroy", r.EditAs(by, kt.UrgentOp, keys[0], destroy), keystore.ErrInUse)
						must(t, r.Reopen())
					}
					if _, err := r.Store.Purge(ctx, 0); err != nil {
						t.Error(err)
					}
					must(t, r.Edit(keys[0], recovered))
					if got, state, err := r.Get(kt.Alice, keys[0]); err != nil || !bytes.Equal(got, want) || state == keystore.Destroyed {
						t.Errorf("the key: %x, %v, %v", got, state, err)
					}
				})
			}
		}
	}
}

// A key that is not in use, and one of a store without any inventory, is
// destroyed as ever; a state that forbids it comes before the inventory.
func TestGuardLeavesOthersAlone(t *testing.T) {
	r, _, keys := newSite(t, 2, nil)
	other := newKey(t, r, "")
	must(t, r.Edit(other, destroy))
	must(t, r.Edit(keys[0], activate))
	wants(t, "Destroy of an Active key", r.Edit(keys[0], destroy), keystore.ErrState)
	wants(t, "another user's", r.EditAs(kt.Bob, kt.ChangeOp, keys[1], destroy), keystore.ErrPermission)
	wants(t, "another group's", r.EditAs(kt.Mallory, kt.ChangeOp, keys[1], destroy), keystore.ErrNotFound)
}

// Who owns the key is told by what it is used; who does not is told nothing. A
// vCenter of another group is not named to the key's owner either.
func TestWhatARefusalSays(t *testing.T) {
	r, s, keys := newSite(t, 2, nil)
	err := r.Edit(keys[0], destroy)
	want := `the key is in use by VM "vm-0" (uuid of vm-0) of vCenter vc-1 (` + s.ID.String() + `)`
	if e := (*keystore.InUseError)(nil); !errors.As(err, &e) || e.Error() != want || e.Key != keys[0] {
		t.Errorf("Destroy = %v, want %s", err, want)
	}
	s.Uses[keys[0]] = []string{"vm-0", "vm-7", "evil\x1b[2J\u202evm"}
	send(t, s)
	if err := r.Edit(keys[0], destroy); !strings.HasSuffix(err.Error(), " and 2 more") || strings.ContainsAny(err.Error(), "\x1b\u202e") {
		t.Errorf("of three: %v", err)
	}
	for _, p := range []*keystore.Principal{kt.Bob, kt.Mallory} {
		if err := r.EditAs(p, kt.ChangeOp, keys[0], destroy); strings.Contains(err.Error(), "vm-") || errors.Is(err, keystore.ErrInUse) {
			t.Errorf("%s is told: %v", p.Client, err)
		}
	}
	must(t, s.Assign("nas"))
	if err := r.Edit(keys[0], destroy); !errors.Is(err, keystore.ErrInUse) || strings.Contains(err.Error(), "vm-") || strings.Contains(err.Error(), "vc-1") {
		t.Errorf("of another group's vCenter: %v", err)
	}
	send(t, s)
	info, err := s.Look()
	must(t, err)
	if info.Foreign != 2 || info.Keys != 2 {
		t.Errorf("foreign keys are not counted: %+v", info)
	}
	must(t, r.Journal.Flush())
	if !slices.ContainsFunc(r.Tape.Events(), func(e audit.Event) bool {
		return e.Outcome == audit.Denied && e.HasObject && e.Object == keys[0] && strings.Contains(e.Reason, `VM "vm-0"`)
	}) {
		t.Error("the journal does not say why it was refused")
	}
}

// A message with a Destroy of a key in use among other items: the item fails,
// the others do as the message says, and nothing is half done.
func TestGuardInABatch(t *testing.T) {
	for _, undo := range []bool{false, true} {
		t.Run(fmt.Sprintf("undo %v", undo), func(t *testing.T) {
			r, _, keys := newSite(t, 2, nil)
			must(t, r.Edit(keys[0], activate))
			free := newKey(t, r, "")
			made := r.Store.NewUID()
			edit := func(key keystore.UID, do func(tx *keystore.Tx, o *keystore.Object) error) acts {
				return func(tx *keystore.Tx) error {
					o, err := tx.Edit(key)
					if err != nil {
						return err
					}
					return do(tx, o)
				}
			}
			revoked := func(tx *keystore.Tx, o *keystore.Object) error { return tx.Revoke(o, 1, "", keystore.Date{}) }
			var errs []error
			err := r.Store.Do(ctx, kt.Alice, true, works(func(b *keystore.Batch) error {
				errs = nil
				for _, item := range []acts{
					func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(made, make([]byte, 32), "")) },
					edit(keys[0], revoked), edit(keys[0], destroy), edit(keys[1], destroy), edit(free, destroy),
					// an operation that swallows the refusal does not get around it
					edit(keys[1], func(tx *keystore.Tx, o *keystore.Object) error { _ = tx.Destroy(o); return nil }),
				} {
					errs = append(errs, b.Do(kt.ChangeOp, item))
				}
				if undo {
					return errs[2]
				}
				return nil
			}))
			if undo {
				wants(t, "the message", err, keystore.ErrInUse)
			} else {
				must(t, err)
			}
			for i, want := range []error{nil, nil, keystore.ErrInUse, keystore.ErrInUse, nil, nil} {
				wants(t, fmt.Sprintf("item %d", i), errs[i], want)
			}
			for i, state := range map[keystore.UID]keystore.State{keys[0]: keystore.Deactivated, keys[1]: pre, free: keystore.Destroyed, made: pre} {
				if undo {
					state = map[keystore.UID]keystore.State{keys[0]: keystore.Active, keys[1]: pre, free: pre}[i]
				}
				_, got, err := r.Get(kt.Alice, i)
				if got != state || (err != nil) != (state == 0) {
					t.Errorf("%s: %v, %v, want %v", i, got, err, state)
				}
			}
		})
	}
}

// A destroyed key that a later report names is not purged, however long ago it
// was destroyed, and the log, the metrics and the vCenter's record say so.
func TestDestroyedKeyIsNamed(t *testing.T) {
	var log bytes.Buffer
	r, s, _ := newSite(t, 2, func(c *keystore.Config) {
		c.GracePeriod = 100 * time.Second
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	gone, other := newKey(t, r, ""), newKey(t, r, "")
	must(t, errors.Join(r.Edit(gone, destroy), r.Edit(other, destroy)))
	s.Uses[gone] = []string{"copied-back"}
	send(t, s)
	info, err := s.Look()
	must(t, err)
	if info.Destroyed != 1 || info.Missing != 0 || !slices.Equal(info.Lost, []string{gone.String()}) {
		t.Errorf("%+v", info)
	}
	r.Clock.Add(200)
	n, err := r.Store.Purge(ctx, 1)
	must(t, err)
	if n != 1 { // the other one, although the first comes before it
		t.Errorf("%d were purged", n)
	}
	n, err = r.Store.Purge(ctx, 0)
	must(t, err)
	if n != 0 || r.Store.Info().Tombstones != 1 {
		t.Errorf("%d were purged, %+v", n, r.Store.Info())
	}
	wants(t, "PurgeObject", r.Do(kt.Admin, kt.UrgentOp, func(tx *keystore.Tx) error { return tx.PurgeObject(gone, "asked for") }), keystore.ErrInUse)
	for _, want := range []string{"level=ERROR", gone.String(), "use keys that were destroyed", "kept although their grace period is over"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, gone, undestroy))
	wants(t, "Destroy after that", r.Edit(gone, destroy), keystore.ErrInUse)
}

// Keys that the store never had, or not any more, are in use and missing.
func TestMissingKeys(t *testing.T) {
	var log bytes.Buffer
	_, s, _ := newSite(t, 2, func(c *keystore.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	lost := s.Rig.Store.NewUID()
	r := s.Report()
	foreign := kt.Entry("4711", "of another key server")
	foreign.Provider = "elsewhere"
	foreignUID := kt.Entry(s.Rig.Store.NewUID().String(), "of another key server")
	foreignUID.Provider = "elsewhere"
	r.Entries = append(r.Entries, kt.Entry(lost.String(), "orphan"), kt.Entry("4711", "odd"), foreign, foreignUID)
	_, err := s.Take(kt.Sum(r))
	must(t, err)
	info, err := s.Look()
	must(t, err)
	if info.Missing != 2 || !slices.Equal(info.Lost, []string{lost.String(), "4711"}) {
		t.Errorf("%+v", info)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), lost.String()) {
		t.Errorf("the log:\n%s", log.String())
	}
}

// An administrator can destroy one key that is in use, with a reason and the
// name of a machine that uses it. It can always be brought back.
func TestDestroyInUse(t *testing.T) {
	r, s, keys := newSite(t, 2, func(c *keystore.Config) { c.PurgeAtOnce = true })
	want, _, err := r.Get(kt.Alice, keys[0])
	must(t, err)
	as := func(p *keystore.Principal, reason, user string) error {
		return r.EditAs(p, kt.UrgentOp, keys[0], func(tx *keystore.Tx, o *keystore.Object) error { return tx.DestroyInUse(o, reason, user) })
	}
	wants(t, "a client's", as(kt.Alice, "why", "vm-0"), keystore.ErrPermission)
	wants(t, "without a reason", as(kt.Admin, "", "vm-0"), keystore.ErrInvalid)
	wants(t, "without a machine", as(kt.Admin, "why", ""), keystore.ErrConfirm)
	wants(t, "another machine", as(kt.Admin, "why", "vm-1"), keystore.ErrConfirm)
	must(t, as(kt.Admin, "the machine is a leftover", "vm-0"))
	if !slices.ContainsFunc(r.Tape.Events(), func(e audit.Event) bool {
		return e.Class == audit.Admin && e.Object == keys[0] && e.Reason == `although in use by "vm-0": the machine is a leftover`
	}) {
		t.Error("the journal does not say why")
	}
	send(t, s)
	r.Clock.Add(int64(keystore.DefaultGracePeriod/time.Second) + 1)
	if n, err := r.Store.Purge(ctx, 0); n != 0 || err != nil {
		t.Errorf("Purge = %d, %v", n, err)
	}
	must(t, r.EditAs(kt.Admin, kt.ChangeOp, keys[0], undestroy))
	if got, _, err := r.Get(kt.Alice, keys[0]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("brought back: %x, %v", got, err)
	}
}

// What guards a key cannot be written or removed as a record.
func TestInventoryRecordsAreGuarded(t *testing.T) {
	r, _, keys := newSite(t, 2, nil)
	var ids []string
	must(t, r.Do(kt.Admin, kt.ObserveOp, func(tx *keystore.Tx) error {
		return tx.Records(keystore.KindInventory, func(id string, _ []byte) error { ids = append(ids, id); return nil })
	}))
	if len(ids) != 3 {
		t.Fatalf("%d records", len(ids))
	}
	for _, id := range append(ids, "new") {
		wants(t, "PutRecord", r.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error {
			return tx.PutRecord(keystore.KindInventory, id, []byte("x"))
		}), keystore.ErrPermission)
		wants(t, "DeleteRecord", r.Do(kt.Admin, kt.ChangeOp, func(tx *keystore.Tx) error {
			return tx.DeleteRecord(keystore.KindInventory, id)
		}), keystore.ErrPermission)
	}
	wants(t, "Destroy", r.Edit(keys[0], destroy), keystore.ErrInUse)
}

// Counters of what was refused and taken.
func TestInventoryCounters(t *testing.T) {
	var m *keystore.Metrics
	reg := prometheus.NewRegistry()
	r, s, keys := newSite(t, 2, func(c *keystore.Config) {
		if m == nil {
			m = keystore.NewMetrics(reg)
		}
		c.Metrics = m
	})
	send(t, s, "locked")
	report := s.Report()
	report.Agent = "other"
	_, err := s.Take(report)
	wants(t, "a forged report", err, keystore.ErrReport)
	wants(t, "Destroy", r.Do(kt.Alice, &keystore.Op{Name: "Destroy", Class: keystore.OpChange}, func(tx *keystore.Tx) error {
		o, err := tx.Edit(keys[0])
		if err != nil {
			return err
		}
		return tx.Destroy(o)
	}), keystore.ErrInUse)
	families, err := reg.Gather()
	must(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		for _, c := range f.GetMetric() {
			if name := strings.TrimPrefix(f.GetName(), "keyreeve_inventory_"); name != f.GetName() {
				got[name+" "+c.GetLabel()[0].GetValue()] = c.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{"refusals_total Destroy": 1, "reports_total complete": 1, "reports_total partial": 1, "reports_total refused": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
