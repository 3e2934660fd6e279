package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/metrics"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

func (a *app) runCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "keep all of it true, and the key server told, until it is stopped", Args: noArgs,
		Long: `Looks every run.every: brings OVHcloud's entry and vCenter's key providers up to
date and renews the key server's certificate before it ends (mode register and
enforce), tells the key server which keys are in use, and compares the machines with
the policy, which it enforces (mode enforce): within its limits, windows and guards.
A key server, vCenter or OVHcloud that does not
answer is logged, is a metric, and is asked again; it ends nothing. The state folder
is locked: a second agent on this machine does not start. While one elsewhere is the
vCenter's active agent, this one only reads.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.connect(o)
			if err != nil {
				return err
			}
			defer l.close()
			return a.serve(cmd.Context(), l)
		},
	}
}

// A part is something that a pass does. One that fails keeps no other from
// being done.
type part struct {
	name string
	do   func(context.Context) error
}

// A watch is the state of run.
type watch struct {
	link    *link
	parts   []part
	metrics *runMetrics
	seen    *seenMetrics

	mu    sync.Mutex
	state map[string]string // by part: why its last pass failed; empty: it did not
}

func newWatch(l *link, reg prometheus.Registerer) *watch {
	w := &watch{link: l, metrics: newRunMetrics(reg), seen: newSeenMetrics(reg), state: map[string]string{}}
	l.providerMetrics, l.policyMetrics = provider.NewMetrics(reg), policy.NewMetrics(reg)
	l.ovhMetrics, l.vcenterMetrics = ovhcloud.NewMetrics(reg), session.NewMetrics(reg)
	if l.config.VCenter != nil {
		w.parts = append(w.parts, part{"privileges", func(ctx context.Context) error {
			_, err := l.checkPrivileges(ctx)
			return err
		}})
	}
	if l.config.OVHcloud != nil && l.config.Mode != session.Observe {
		w.parts = append(w.parts, part{"ovhcloud", l.alone(func(ctx context.Context) error {
			_, err := l.registerAtOVH(ctx)
			return err
		})})
	}
	if l.config.hasProviders() && l.config.Mode != session.Observe {
		w.parts = append(w.parts, part{"provider", l.alone(func(ctx context.Context) error {
			_, err := l.trustProviders(ctx, false)
			return err
		})})
	}
	if l.config.renews() {
		w.parts = append(w.parts, part{"certificate", l.alone((&renewer{link: l}).pass)})
	}
	if l.config.VCenter != nil {
		w.parts = append(w.parts, part{"inventory", w.inventory})
	}
	if l.config.policy != nil {
		w.parts = append(w.parts, part{"policy", w.policy})
	}
	if len(w.parts) > 0 {
		w.parts = append([]part{{"server", w.server}}, w.parts...)
	}
	return w
}

// serve watches until ctx ends.
func (a *app) serve(ctx context.Context, l *link) (err error) {
	opened, err := l.openState()
	if err != nil {
		return err
	}
	defer l.closeState(opened)
	l.unattended, l.logger = true, a.newLogger(l.config, l.config.Log.level())
	reg := metrics.NewRegistry("keyreeve_agent")
	w := newWatch(l, reg)
	if len(w.parts) == 0 {
		return fmt.Errorf("%w: there is nothing to watch: give vcenter, or ovhcloud with mode register", errConfig)
	}
	if at := l.config.Run.MetricsListen; at != "off" {
		listener, err := net.Listen("tcp", at)
		if err != nil {
			return fmt.Errorf("run.metrics_listen: %w", err)
		}
		web := w.web(reg)
		defer func() { _ = web.Close() }()
		go func() { _ = web.Serve(listener) }()
	}
	l.logger.Info("the agent runs", "mode", l.config.Mode, "every", l.config.Run.Every, "version", program.Version())
	a.notify(l, "READY=1")
	defer a.notify(l, "STOPPING=1")
	for {
		failed := w.pass(ctx)
		a.notify(l, "STATUS="+w.status())
		if err := w.follow(ctx, pause(l.config.Run.Every, failed, rand.Float64())); err != nil {
			return nil // it was stopped, which is what a service does
		}
	}
}

// retryAfter is when a pass that failed is made again.
const retryAfter = 30 * time.Second

// pause is how long to wait for the next pass. Agents that began together do not
// stay together.
func pause(every time.Duration, failed bool, jitter float64) time.Duration {
	if failed {
		every = min(every, retryAfter)
	}
	return time.Duration(float64(every) * (0.9 + 0.2*jitter))
}

func (a *app) notify(l *link, state string) {
	if err := program.Notify(a.env("NOTIFY_SOCKET"), state); err != nil {
		l.logger.Warn("telling the service manager", "err", err)
	}
}

// pass does every part once, and tells whether one failed.
func (w *watch) pass(ctx context.Context) (failed bool) {
	for _, p := range w.parts {
		err := p.do(ctx)
		if ctx.Err() != nil {
			return false
		}
		w.note(p.name, err)
		failed = failed || err != nil
	}
	return failed
}

// note keeps how a part is, and logs what is new.
func (w *watch) note(name string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	w.mu.Lock()
	was, seen := w.state[name]
	w.state[name] = text
	w.mu.Unlock()
	w.metrics.pass(name, err, w.link.app.now())
	switch {
	case err != nil && was != text:
		_, hint := judge(err)
		w.link.logger.Warn("a part of the pass failed; it is tried again", "part", name, "err", err, "hint", hint)
	case err == nil && seen && was != "":
		w.link.logger.Info("this part is well again", "part", name)
	}
}

// status is all parts in one line.
func (w *watch) status() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, p := range w.parts {
		text := "ok"
		if why := w.state[p.name]; why != "" {
			text = why
		}
		list = append(list, p.name+": "+program.Printable(text))
	}
	return strings.Join(list, "; ")
}

// inventory tells the server what is in use.
func (w *watch) inventory(ctx context.Context) error {
	snapshot, err := w.link.read(ctx)
	if err != nil {
		return err
	}
	w.link.keep(ctx, snapshot)
	taken, reported := w.link.report(ctx, snapshot)
	w.seen.machines(snapshot)
	keys, err := w.link.keys(ctx)
	if err != nil {
		return errors.Join(reported, err)
	}
	usage := snapshot.Join(keys, w.link.providers(snapshot), w.link.app.now())
	w.metrics.usage(len(usage.Keys), len(usage.Missing), len(usage.Orphans), reported == nil && taken.Complete)
	w.seen.keys(usage)
	return reported
}

// policy brings the machines to it (mode enforce), and counts how far they are
// from it, also where another agent is the one that changes them.
func (w *watch) policy(ctx context.Context) (failed error) {
	l := w.link
	var p *policy.Plan
	if l.config.Mode == session.Enforce {
		failed = l.alone(func(ctx context.Context) (err error) {
			p, err = l.changeMachines(ctx, word{})
			return err
		})(ctx)
	}
	if p == nil {
		seen, err := l.judgeMachines(ctx)
		if err != nil {
			return errors.Join(failed, err)
		}
		p = seen
	}
	w.tally(p)
	return failed
}

// tally has the metrics tell how far the machines are from the policy.
func (w *watch) tally(p *policy.Plan) {
	w.metrics.plan(p)
	w.seen.plan(p)
}

// web serves metrics and health, without TLS and without a secret in them. The
// agent is healthy while it runs: what it cannot reach is in the text and in the
// metrics, and no reason to start it again.
func (w *watch) web(reg *prometheus.Registry) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(rw, w.status())
	})
	return &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

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
