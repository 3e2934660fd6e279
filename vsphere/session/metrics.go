package session

import (
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmware/govmomi/vim25/soap"
)

// Metrics of the calls to vCenter. A nil *Metrics counts nothing.
type Metrics struct {
	duration *prometheus.HistogramVec
	logins   prometheus.Counter
	isUp     prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "keyreeve_agent", Name: "vcenter_request_duration_seconds",
			Help: "Calls of vCenter's API, by method and result.", Buckets: []float64{.005, .02, .1, .5, 2, 10, 60}}, []string{"method", "result"}),
		logins: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "keyreeve_agent", Name: "vcenter_logins_total", Help: "Logins to vCenter."}),
		isUp:   prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "keyreeve_agent", Name: "vcenter_up", Help: "1 when the last call of vCenter was answered."}),
	}
	reg.MustRegister(m.duration, m.logins, m.isUp)
	return m
}

// begin starts the clock of a call.
func (m *Metrics) begin(req soap.HasFault) (done func(error)) {
	if m == nil {
		return func(error) {}
	}
	began := time.Now()
	method := strings.TrimSuffix(reflect.TypeOf(req).Elem().Name(), "Body")
	return func(err error) {
		result := "done"
		switch {
		case err != nil && soap.IsSoapFault(err):
			result = "fault"
		case err != nil:
			result = "failed"
		}
		m.duration.WithLabelValues(method, result).Observe(time.Since(began).Seconds())
	}
}

func (m *Metrics) login() {
	if m != nil {
		m.logins.Inc()
	}
}

func (m *Metrics) up(is bool) {
	if m == nil {
		return
	}
	m.isUp.Set(0)
	if is {
		m.isUp.Set(1)
	}
}
