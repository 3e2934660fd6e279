package forward

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what is passed on, by sink. A nil *Metrics counts nothing.
type Metrics struct {
	sent     *prometheus.CounterVec
	failures *prometheus.CounterVec
	entries  *prometheus.GaugeVec
	seconds  *prometheus.GaugeVec
}

// NewMetrics registers the metrics with reg and panics when they are registered already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	sink := []string{"sink"}
	m := &Metrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "audit_export", Name: "lines_total",
			Help: "Lines of the audit journal handed to a sink, repeated ones among them."}, sink),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "audit_export", Name: "failures_total",
			Help: "Times that a sink could not be reached or took nothing."}, sink),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "audit_export", Name: "lag_entries",
			Help: "Entries of the audit journal that were not handed to a sink yet."}, sink),
		seconds: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "audit_export", Name: "lag_seconds",
			Help: "Time since a sink had everything; 0 while it has."}, sink),
	}
	reg.MustRegister(m.sent, m.failures, m.entries, m.seconds)
	return m
}

func (m *Metrics) took(sink string, lines int) {
	if m != nil {
		m.sent.WithLabelValues(sink).Add(float64(lines))
	}
}

func (m *Metrics) failed(sink string) {
	if m != nil {
		m.failures.WithLabelValues(sink).Inc()
	}
}

func (m *Metrics) lag(sink string, entries uint64, seconds float64) {
	if m != nil {
		m.entries.WithLabelValues(sink).Set(float64(entries))
		m.seconds.WithLabelValues(sink).Set(seconds)
	}
}
