package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
)

// runMetrics are what run counts.
type runMetrics struct {
	up, success, machines       *prometheus.GaugeVec
	passes                      *prometheus.CounterVec
	used, missing, unused, full prometheus.Gauge
}

func newRunMetrics(reg prometheus.Registerer) *runMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "keyreeve_agent", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "keyreeve_agent", Name: name, Help: help}, []string{label})
	}
	m := &runMetrics{
		up:       vec("part_up", "1 when the last pass of this part went well: server, privileges, ovhcloud, provider, certificate, inventory or policy.", "part"),
		success:  vec("last_success_timestamp_seconds", "When a pass of this part last went well.", "part"),
		machines: vec("machines", "Machines, by how they are to the policy: in_sync, unruled, todo, waiting, blocked; and alarms.", "state"),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "keyreeve_agent", Name: "passes_total",
			Help: "Passes of each part, by result: done or failed."}, []string{"part", "result"}),
		used:    gauge("used_keys", "Keys that something in the vCenter uses."),
		missing: gauge("missing_keys", "Keys that something in the vCenter uses and the key server does not have."),
		unused:  gauge("unused_keys", "Keys of the key server that nothing in the vCenter uses."),
		full:    gauge("report_complete", "1 when the last report was taken as complete."),
	}
	reg.MustRegister(m.up, m.success, m.machines, m.passes, m.used, m.missing, m.unused, m.full)
	return m
}

func (m *runMetrics) pass(name string, err error, now time.Time) {
	if err != nil {
		m.up.WithLabelValues(name).Set(0)
		m.passes.WithLabelValues(name, "failed").Inc()
		return
	}
	m.up.WithLabelValues(name).Set(1)
	m.passes.WithLabelValues(name, "done").Inc()
	m.success.WithLabelValues(name).Set(float64(now.Unix()))
}

func (m *runMetrics) usage(used, missing, unused int, complete bool) {
	m.used.Set(float64(used))
	m.missing.Set(float64(missing))
	m.unused.Set(float64(unused))
	m.full.Set(0)
	if complete {
		m.full.Set(1)
	}
}

func (m *runMetrics) plan(p *policy.Plan) {
	blocked := 0
	for _, h := range p.Held {
		if h.Blocked {
			blocked++
		}
	}
	for state, n := range map[string]int{"in_sync": p.InSync, "unruled": p.Unruled, "todo": len(p.Actions),
		"waiting": len(p.Held) - blocked, "blocked": blocked, "alarm": len(p.Alarms)} {
		m.machines.WithLabelValues(state).Set(float64(n))
	}
}

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
