package audit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := newDisk()
	cfg := large(d)
	cfg.Metrics = audit.NewMetrics(reg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, "a", "b")
	mustAppend(t, j, "c")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j.Buffer(event("too late"))
	p := takeApart(d.snapshot()[first])
	size := 0
	for _, g := range p.groups {
		size += len(g)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	want := map[string]float64{
		"keyreeve_audit_groups_total": 3, "keyreeve_audit_events_total": 4, "keyreeve_audit_bytes_total": float64(size),
		"keyreeve_audit_dropped_events_total": 1, "keyreeve_audit_sync_seconds": 3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
