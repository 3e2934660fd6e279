package provider

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of key providers. A nil *Metrics counts nothing.
type Metrics struct {
	up      *prometheus.GaugeVec
	ends    *prometheus.GaugeVec
	steps   *prometheus.CounterVec
	canary  *prometheus.CounterVec
	seconds prometheus.Histogram
	gap     prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "keyreeve", Subsystem: "agent_provider", Name: name, Help: help}
	}
	m := &Metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("server_up", "1 when vCenter shows the key server as connected.")), []string{"provider", "server"}),
		ends: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("certificate_end_timestamp_seconds",
			"When a certificate ends that vCenter sees: a server's, or with no server vCenter's own.")), []string{"provider", "server"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts(opts("steps_total", "Changes of key providers, by kind and outcome.")), []string{"step", "outcome"}),
		canary: prometheus.NewCounterVec(prometheus.CounterOpts(opts("canary_total",
			"Proofs with a real key, by the stage at which they ended; done is a success.")), []string{"stage"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "keyreeve", Subsystem: "agent_provider", Name: "canary_seconds",
			Help: "Time of a proof with a real key that succeeded.", Buckets: prometheus.ExponentialBuckets(1e-3, 2, 16)}),
		gap: prometheus.NewGauge(prometheus.GaugeOpts(opts("rotation_gap_seconds",
			"From the switch to the key server's new certificate until vCenter was connected again, the last time."))),
	}
	reg.MustRegister(m.up, m.ends, m.steps, m.canary, m.seconds, m.gap)
	return m
}

// forget is called before a look: what is not there any more is not told of.
// provider "" is all of them.
func (m *Metrics) forget(provider string) {
	if m == nil {
		return
	}
	if provider == "" {
		m.up.Reset()
		m.ends.Reset()
		return
	}
	m.up.DeletePartialMatch(prometheus.Labels{"provider": provider})
	m.ends.DeletePartialMatch(prometheus.Labels{"provider": provider})
}

func (m *Metrics) observed(o Observed) {
	if m == nil {
		return
	}
	for _, s := range o.Servers {
		up := 0.0
		if s.Status == "green" {
			up = 1
		}
		m.up.WithLabelValues(o.Name, s.Name).Set(up)
		if s.Cert != nil {
			m.ends.WithLabelValues(o.Name, s.Name).Set(float64(s.Cert.NotAfter.Unix()))
		}
	}
	if o.Client != nil {
		m.ends.WithLabelValues(o.Name, "").Set(float64(o.Client.NotAfter.Unix()))
	}
}

func (m *Metrics) step(kind StepKind, err error) {
	if m == nil {
		return
	}
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.steps.WithLabelValues(string(kind), outcome).Inc()
}

func (m *Metrics) proof(stage Stage, took time.Duration) {
	if m == nil {
		return
	}
	m.canary.WithLabelValues(string(stage)).Inc()
	if stage == StageDone {
		m.seconds.Observe(took.Seconds())
	}
}

func (m *Metrics) rotated(gap time.Duration) {
	if m != nil {
		m.gap.Set(gap.Seconds())
	}
}
