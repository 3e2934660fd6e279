package keystore

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
)

// Metrics counts what a store does. A nil *Metrics counts nothing.
type Metrics struct {
	items   *prometheus.CounterVec
	group   prometheus.Histogram
	seconds prometheus.Histogram
	failed  prometheus.Gauge
	reports *prometheus.CounterVec
	kept    *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg, and panics when they are
// registered already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "keyreeve", Subsystem: "store", Name: "items_total",
			Help: "Batch items that the store has run, by operation and outcome.",
		}, []string{"operation", "outcome"}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "keyreeve", Subsystem: "store", Name: "group_messages",
			Help: "Messages that were committed together.", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "keyreeve", Subsystem: "store", Name: "commit_seconds",
			Help: "Time to run, journal and commit one group.", Buckets: prometheus.ExponentialBuckets(100e-6, 2, 16),
		}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "keyreeve", Subsystem: "store", Name: "failed",
			Help: "1 when the store has stopped taking changes after a failed write.",
		}),
	}
	m.reports = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "keyreeve", Subsystem: "inventory", Name: "reports_total",
		Help: "Inventory reports, by how they were taken: complete, partial or refused.",
	}, []string{"taken"})
	m.kept = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "keyreeve", Subsystem: "inventory", Name: "refusals_total",
		Help: "Operations that would have destroyed a key in use, and were refused.",
	}, []string{"operation"})
	reg.MustRegister(m.items, m.group, m.seconds, m.failed, m.reports, m.kept)
	return m
}

func (m *Metrics) item(operation string, o audit.Outcome) {
	if m != nil {
		m.items.WithLabelValues(operation, o.String()).Inc()
	}
}

func (m *Metrics) committed(messages int, seconds float64) {
	if m != nil {
		m.group.Observe(float64(messages))
		m.seconds.Observe(seconds)
	}
}

func (m *Metrics) stopped() {
	if m != nil {
		m.failed.Set(1)
	}
}

func (m *Metrics) report(taken string) {
	if m != nil {
		m.reports.WithLabelValues(taken).Inc()
	}
}

func (m *Metrics) inventoryRefused(operation string) {
	if m != nil {
		m.kept.WithLabelValues(operation).Inc()
	}
}
