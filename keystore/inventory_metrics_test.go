package keystore_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/keystore"
)

// The gauges say of each vCenter what is to be worried about.
func TestInventoryGauges(t *testing.T) {
	r, s, keys := newSite(t, 8, nil)
	gone := newKey(t, r, "")
	must(t, r.Edit(gone, destroy))
	for range 2 {
		s.Uses = map[keystore.UID][]string{keys[0]: {"vm"}, gone: {"vm"}, {1}: {"lost"}}
		send(t, s)
	}
	r.Clock.Add(100)
	send(t, s, "a host did not answer")
	send(t, s)
	send(t, s)
	r.Clock.Add(30)
	reg := prometheus.NewRegistry()
	reg.MustRegister(keystore.InventoryCollector(r.Store))
	families, err := reg.Gather()
	must(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == s.ID.String() {
				got[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	want := map[string]float64{
		"keyreeve_inventory_complete_age_seconds": 30, "keyreeve_inventory_report_age_seconds": 30,
		"keyreeve_inventory_keys": 10, "keyreeve_inventory_keys_waiting": 7, "keyreeve_inventory_keys_missing": 1,
		"keyreeve_inventory_keys_destroyed": 1, "keyreeve_inventory_keys_foreign": 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
