package kmipserver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what the server does. Label values come from tables in the
// code, never from a peer, so that nobody can make the number of series grow.
// Every counter on the way of a request is resolved once and then costs an
// atomic load and an addition.
type Metrics struct {
	connections prometheus.Gauge
	accepted    prometheus.Counter
	handshakes  *prometheus.CounterVec
	operations  *prometheus.CounterVec
	limits      *prometheus.CounterVec
	panics      prometheus.Counter
	malformed   prometheus.Counter
	received    prometheus.Counter
	sent        prometheus.Counter
	seconds     prometheus.Histogram
	deferred    prometheus.Gauge

	resolved   [operationSlots][resultCount]atomic.Pointer[prometheus.Counter]
	handshaken sync.Map // outcome → prometheus.Counter
}

// operationSlots has one slot an operation of KMIP 1.4, and slot 0 for what is
// none of them.
const operationSlots = int(kmip14.OperationExport) + 1

// outcome is the result label of an operation.
type outcome uint8

const (
	outcomeSuccess outcome = iota
	outcomeFailure         // the client asked for what cannot be
	outcomeDenied          // Permission Denied, which KMIP also says of a wrong State
	outcomeError           // the server failed
	outcomeUndone
	resultCount
)

var outcomeNames = [resultCount]string{"success", "failure", "denied", "error", "undone"}

// Names of the limits in the limits counter.
const (
	limitConnections = "connections"
	limitPerAddress  = "per-address"
	limitPending     = "pending"
	limitFirstByte   = "first-byte"
	limitRequestTime = "request-time"
	limitMessageSize = "message-size"
	limitComplexity  = "complexity"
	limitBatchItems  = "batch-items"
	limitWriteTime   = "write-time"
)

// NewMetrics makes the metrics and registers them; with a nil Registerer they
// count for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "kmip", Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve", Subsystem: "kmip", Name: name, Help: help}, labels)
	}
	return &Metrics{
		connections: f.NewGauge(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "kmip", Name: "connections",
			Help: "Connections that are open, those in the handshake included."}),
		accepted:   counter("connections_total", "Connections accepted from the network."),
		handshakes: vector("handshakes_total", "TLS handshakes by outcome.", "outcome"),
		operations: vector("operations_total", "Batch items answered, by operation and result.", "operation", "result"),
		limits:     vector("limits_total", "Connections and requests ended by a limit.", "limit"),
		panics:     counter("panics_total", "Requests and connections ended by a defect in the server."),
		malformed:  counter("malformed_total", "Messages that could not be read."),
		received:   counter("received_bytes_total", "Bytes of requests."),
		sent:       counter("sent_bytes_total", "Bytes of responses."),
		deferred: f.NewGauge(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "kmip", Name: "asynchronous_operations",
			Help: "Operations that were answered with Operation Pending and are kept to be polled."}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{Namespace: "keyreeve", Subsystem: "kmip", Name: "request_seconds",
			Help:    "Time from a request's last byte to its answer being ready.",
			Buckets: []float64{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1, 5}}),
	}
}

// operation counts a batch item.
func (m *Metrics) operation(op kmip14.Operation, o outcome) {
	slot := int(op)
	if slot <= 0 || slot >= operationSlots {
		slot = 0
	}
	at := &m.resolved[slot][o]
	c := at.Load()
	if c == nil {
		name := "other"
		if slot != 0 {
			name = op.String()
		}
		made := m.operations.WithLabelValues(name, outcomeNames[o])
		c = &made
		at.Store(c)
	}
	(*c).Inc()
}

func (m *Metrics) handshake(outcome string) {
	c, ok := m.handshaken.Load(outcome)
	if !ok {
		c, _ = m.handshaken.LoadOrStore(outcome, m.handshakes.WithLabelValues(outcome))
	}
	c.(prometheus.Counter).Inc()
}

func (m *Metrics) limit(name string) { m.limits.WithLabelValues(name).Inc() }

func (m *Metrics) answered(received, sent int, took time.Duration) {
	m.received.Add(float64(received))
	m.sent.Add(float64(sent))
	m.seconds.Observe(took.Seconds())
}
