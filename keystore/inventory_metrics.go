package keystore

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// vcenterGauge is a gauge of each vCenter.
type vcenterGauge struct {
	desc  *prometheus.Desc
	value func(v *VCenterInfo, now int64) float64
}

func newVCenterGauge(name, help string, value func(v *VCenterInfo, now int64) float64) vcenterGauge {
	return vcenterGauge{prometheus.NewDesc("keyreeve_inventory_"+name, help, []string{"vcenter"}, nil), value}
}

// inventoryCollector reads the vCenters' records when it is asked: they are few.
type inventoryCollector struct {
	store  *Store
	gauges []vcenterGauge
}

// InventoryCollector returns gauges of all vCenters that were assigned, by their
// instance UUID.
func InventoryCollector(s *Store) prometheus.Collector {
	return &inventoryCollector{s, []vcenterGauge{
		newVCenterGauge("complete_age_seconds", "Time since the last complete report was received, or since the vCenter was assigned if there was none.", func(v *VCenterInfo, now int64) float64 { return since(now, v.Complete, v.Assigned) }),
		newVCenterGauge("report_age_seconds", "Time since the last report was received, or since the vCenter was assigned if there was none.", func(v *VCenterInfo, now int64) float64 { return since(now, v.Received, v.Assigned) }),
		newVCenterGauge("keys", "Keys in use.", func(v *VCenterInfo, _ int64) float64 { return float64(v.Keys) }),
		newVCenterGauge("keys_waiting", "Keys that stay in use until a person confirms that they are not.", func(v *VCenterInfo, _ int64) float64 { return float64(v.Waiting) }),
		newVCenterGauge("keys_missing", "Keys that the last report named and the store does not have.", func(v *VCenterInfo, _ int64) float64 { return float64(v.Missing) }),
		newVCenterGauge("keys_destroyed", "Keys that the last report named and that were destroyed.", func(v *VCenterInfo, _ int64) float64 { return float64(v.Destroyed) }),
		newVCenterGauge("keys_foreign", "Keys that the last report named and that belong to groups that are not the vCenter's.", func(v *VCenterInfo, _ int64) float64 { return float64(v.Foreign) }),
	}}
}

// Describe implements prometheus.Collector.
func (c *inventoryCollector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector. A store that cannot be read has no
// gauges; keyreeve_ready says so.
func (c *inventoryCollector) Collect(out chan<- prometheus.Metric) {
	all, err := c.store.Inventories(context.Background())
	if err != nil {
		return
	}
	now := c.store.now()
	for i := range all {
		for _, g := range c.gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&all[i], now), all[i].ID.String())
		}
	}
}

func since(now, when, orElse int64) float64 {
	if when == 0 {
		when = orElse
	}
	return float64(now - when)
}
