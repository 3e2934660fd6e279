package backup

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of backups. A nil *Metrics counts nothing.
type Metrics struct {
	total   *prometheus.CounterVec
	seconds prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "backup", Name: "attempts_total",
			Help: "Backups that were begun, by how they ended: verified or failed."}, []string{"outcome"}),
		seconds: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "backup", Name: "last_duration_seconds",
			Help: "How long the last verified backup took, its verification included."}),
	}
	reg.MustRegister(m.total, m.seconds)
	m.total.WithLabelValues("verified")
	m.total.WithLabelValues("failed")
	return m
}

func (m *Metrics) made(err error, took time.Duration) {
	if m == nil {
		return
	}
	if err != nil {
		m.total.WithLabelValues("failed").Inc()
		return
	}
	m.total.WithLabelValues("verified").Inc()
	m.seconds.Set(took.Seconds())
}
