// Package metrics begins the metrics of our programs alike.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyreeve/keyreeve/internal/program"
)

// NewRegistry returns a registry with what every program of ours tells: the
// process, Go's runtime, and as NAMESPACE_build_info what was built.
func NewRegistry(namespace string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "1, with the version as label.",
		ConstLabels: prometheus.Labels{"version": program.Version()}}, func() float64 { return 1 }))
	return reg
}
