package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
)

// seenMetrics are what the last passes saw in the vCenter.
type seenMetrics struct {
	locked prometheus.Gauge
	oldest *prometheus.GaugeVec
	held   *prometheus.GaugeVec
}

func newSeenMetrics(reg prometheus.Registerer) *seenMetrics {
	opts := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "keyreeve_agent", Name: name, Help: help}
	}
	m := &seenMetrics{
		locked: prometheus.NewGauge(opts("locked_machines", "Machines that vCenter shows as locked: their keys were not there when they were needed.")),
		oldest: prometheus.NewGaugeVec(opts("oldest_key_timestamp_seconds", "When the oldest key was made that something in the vCenter uses, by key provider."), []string{"provider"}),
		held: prometheus.NewGaugeVec(opts("held_machines", "Machines of which the policy wants what is not done now, by each reason; and those, and hosts, with an alarm, by its."),
			[]string{"reason"}),
	}
	reg.MustRegister(m.locked, m.oldest, m.held)
	return m
}

// machines counts the locked ones.
func (m *seenMetrics) machines(s *inventory.Snapshot) {
	locked := 0
	for i := range s.VMs {
		if s.VMs[i].Locked {
			locked++
		}
	}
	m.locked.Set(float64(locked))
}

// keys finds each provider's oldest key.
func (m *seenMetrics) keys(u inventory.Usage) {
	oldest := map[string]time.Time{}
	for _, k := range u.Keys {
		if at, seen := oldest[k.Key.Provider]; !k.Made.IsZero() && (!seen || k.Made.Before(at)) {
			oldest[k.Key.Provider] = k.Made
		}
	}
	m.oldest.Reset() // a provider that is gone has no oldest key
	for provider, at := range oldest {
		m.oldest.WithLabelValues(provider).Set(float64(at.Unix()))
	}
}

// plan counts machines by reason: one with several counts under each, once.
func (m *seenMetrics) plan(p *policy.Plan) {
	counted := map[[2]string]bool{}
	m.held.Reset()
	count := func(path string, r policy.Reason) {
		if key := [2]string{path, string(r)}; !counted[key] {
			counted[key] = true
			m.held.WithLabelValues(string(r)).Inc()
		}
	}
	for _, h := range p.Held {
		for _, b := range h.Because {
			count(h.Path, b.Reason)
		}
	}
	for _, a := range p.Alarms {
		count(a.Path, a.Reason)
	}
}

// server asks the key server how it is. What it cannot do is a failure of this
// part: the parts that need it say only what they could not do.
func (w *watch) server(ctx context.Context) error {
	server, err := w.link.keyServer()
	if err != nil {
		return err
	}
	status, err := server.Status(ctx)
	if err != nil {
		return fmt.Errorf("asking the key server: %w", err)
	}
	if !status.Ready {
		return fmt.Errorf("the key server is not ready: %s", status.Problem)
	}
	return nil
}
