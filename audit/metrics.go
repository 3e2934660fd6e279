package audit

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the journal does. A nil *Metrics counts nothing.
type Metrics struct {
	groups  prometheus.Counter
	events  prometheus.Counter
	bytes   prometheus.Counter
	dropped prometheus.Counter
	sync    prometheus.Histogram
}

// NewMetrics registers the journal's metrics with reg and panics when they are registered already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "audit", Name: name, Help: help})
	}
	m := &Metrics{
		groups:  counter("groups_total", "Groups written to the audit journal, each with one sync."),
		events:  counter("events_total", "Events written to the audit journal."),
		bytes:   counter("bytes_total", "Bytes written to the audit journal, without preallocation."),
		dropped: counter("dropped_events_total", "Buffered events (observations, denials) that found no room."),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "keyreeve", Subsystem: "audit", Name: "sync_seconds",
			Help:    "Time to write and sync one group of the audit journal.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16), // 50 µs to 1.6 s
		}),
	}
	reg.MustRegister(m.groups, m.events, m.bytes, m.dropped, m.sync)
	return m
}

func (m *Metrics) wrote(events, bytes int, seconds float64) {
	if m == nil {
		return
	}
	m.groups.Inc()
	m.events.Add(float64(events))
	m.bytes.Add(float64(bytes))
	m.sync.Observe(seconds)
}

func (m *Metrics) drop(n int) {
	if m != nil {
		m.dropped.Add(float64(n))
	}
}
