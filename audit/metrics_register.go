//go:build keyreeve_metrics

package audit

import "github.com/prometheus/client_golang/prometheus"

// NewMetrics registers the journal's metrics with reg and panics when they are registered already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "audit", Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "keyreeve", Subsystem: "audit", Name: "sync_seconds",
		Help:    "Time to write and sync one group of the audit journal.",
		Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
	})
	reg.MustRegister(seconds)
	return &Metrics{
		groups:  counter("groups_total", "Groups written to the audit journal, each with one sync."),
		events:  counter("events_total", "Events written to the audit journal."),
		bytes:   counter("bytes_total", "Bytes written to the audit journal, without preallocation."),
		dropped: counter("dropped_events_total", "Buffered events (observations, denials) that found no room."),
		sync:    seconds,
	}
}
