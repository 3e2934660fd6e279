package ovhcloud

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the calls to OVHcloud. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	retries  prometheus.Counter
	tasks    *prometheus.CounterVec
	seconds  prometheus.Histogram
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "agent_ovhcloud", Name: "requests_total",
			Help: "Requests to OVHcloud's API, by method and HTTP status; none is one without an answer."}, []string{"method", "status"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "agent_ovhcloud", Name: "retries_total",
			Help: "Requests to OVHcloud's API that were made again."}),
		tasks: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "agent_ovhcloud", Name: "tasks_total",
			Help: "Tasks of OVHcloud's that were followed, by how they ended: done, canceled, error or lost."}, []string{"state"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "keyreeve", Subsystem: "agent_ovhcloud", Name: "task_seconds",
			Help: "Time from the begin of a task of OVHcloud's to its end.", Buckets: prometheus.ExponentialBuckets(1, 2, 12)}),
	}
	reg.MustRegister(m.requests, m.retries, m.tasks, m.seconds)
	return m
}

func (m *Metrics) request(method string, err error) {
	if m == nil {
		return
	}
	status := "none"
	if code, ok := statusOf(err); ok {
		status = strconv.Itoa(code)
	} else if err == nil {
		status = strconv.Itoa(http.StatusOK)
	}
	m.requests.WithLabelValues(method, status).Inc()
}

func (m *Metrics) retry() {
	if m != nil {
		m.retries.Inc()
	}
}

func (m *Metrics) task(state string, seconds float64) {
	if m != nil {
		m.tasks.WithLabelValues(state).Inc()
		m.seconds.Observe(seconds)
	}
}
