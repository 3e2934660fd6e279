package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
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
vCenter's active agent, this one only reads.

SIGHUP has it read the log's level, passwords and its certificate for the key server
anew, and look at once. A password that vCenter refuses is not tried again for ten
minutes, or until then.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.connect(o)
			if err != nil {
				return err
			}
			defer l.close()
			return a.serve(cmd.Context(), l, func() (*config, error) { return a.settingsOf(o) })
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

	acted    time.Time               // when a pass was last made before its time
	settings func() (*config, error) // reads them anew
	level    *slog.LevelVar

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
func (a *app) serve(ctx context.Context, l *link, settings func() (*config, error)) (err error) {
	opened, err := l.openState()
	if err != nil {
		return err
	}
	defer l.closeState(opened)
	level := new(slog.LevelVar)
	level.Set(l.config.Log.level())
	l.unattended, l.logger = true, a.newLogger(l.config, level)
	reg := metrics.NewRegistry("keyreeve_agent")
	w := newWatch(l, reg)
	w.settings, w.level = settings, level
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
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	l.logger.Info("the agent runs", "mode", l.config.Mode, "every", l.config.Run.Every, "version", program.Version())
	a.notify(l, "READY=1")
	defer a.notify(l, "STOPPING=1")
	for failures := 0; ; {
		if w.pass(ctx) {
			failures++
		} else {
			failures = 0
		}
		a.notify(l, "STATUS="+w.status())
		if err := w.wait(ctx, pause(l.config.Run.Every, failures, rand.Float64()), hangup); err != nil {
			l.logger.Info("the agent stops")
			return nil // it was stopped, which is what a service does
		}
	}
}

// retryAfter is when a pass that failed is made again.
const retryAfter = 30 * time.Second

// pause is how long to wait for the next pass. One that failed is made again
// soon, and then less and less often: each reads the whole vCenter, and what a
// person has to mend may take days. Agents that began together do not stay
// together.
func pause(every time.Duration, failures int, jitter float64) time.Duration {
	if failures > 0 {
		every = min(every, retryAfter<<min(failures-1, 16))
	}
	return time.Duration(float64(every) * (0.9 + 0.2*jitter))
}

// wait is for the next pass, or for a signal to reload and to make it now.
func (w *watch) wait(ctx context.Context, d time.Duration, hangup <-chan os.Signal) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	told := make(chan bool, 1)
	go func() {
		select {
		case <-hangup:
			stop()
			told <- true
		case <-waiting.Done():
			told <- false
		}
	}()
	w.follow(waiting, d)
	stop()
	if <-told && ctx.Err() == nil {
		w.reload(ctx)
	}
	return ctx.Err()
}

// reload takes the log's level anew, and all credentials: those who were connected
// are connected again by the next pass. All else is read at a start.
func (w *watch) reload(ctx context.Context) {
	l := w.link
	c, err := w.settings()
	if err != nil {
		l.logger.Warn("the settings are wrong, and those from the start go on to hold", "err", err)
		return
	}
	w.level.Set(c.Log.level())
	l.disconnect(ctx)
	l.logger.Info("reloaded: the log's level, passwords and certificates")
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
