package policy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of changes of machines. A nil *Metrics counts nothing.
type Metrics struct {
	changes *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve_agent", Name: "changes_total",
			Help: "Changes of machines, by operation and result: done or failed."}, []string{"op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "keyreeve_agent", Name: "change_seconds",
			Help: "Time of a change of a machine that was done and verified.", Buckets: prometheus.ExponentialBuckets(0.1, 3, 12)}, []string{"op"}),
	}
	reg.MustRegister(m.changes, m.seconds)
	return m
}

func (m *Metrics) change(op Op, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.changes.WithLabelValues(string(op), "failed").Inc()
		return
	}
	m.changes.WithLabelValues(string(op), "done").Inc()
	m.seconds.WithLabelValues(string(op)).Observe(took.Seconds())
}
