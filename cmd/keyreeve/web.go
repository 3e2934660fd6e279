package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keyreeve/keyreeve/keystore"
)

// web serves metrics and health, without TLS and without a secret in them.
type web struct{ http *http.Server }

func newWeb(s *service) *web {
	gauge := func(name, help string, value func() float64) {
		s.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "keyreeve", Name: name, Help: help}, value))
	}
	s.metrics.MustRegister(keystore.InventoryCollector(s.vault.store))
	gauge("certificate_expiry_timestamp_seconds", "When the server's certificate ends.",
		func() float64 { return float64(s.reloader.Leaf().NotAfter.Unix()) })
	gauge("recording", "1 while KMIP messages are recorded in a file.", func() float64 {
		if s.recorder == nil {
			return 0
		}
		return 1
	})
	gauge("clients", "Client records, revoked ones included.", func() float64 { return float64(len(s.registry.List())) })
	gauge("ready", "1 when the server can hand out keys and take new ones.", func() float64 {
		if s.health.check(context.Background()) != nil {
			return 0
		}
		return 1
	})
	gauge("disk_free_bytes", "Free space on the disk of the data folder.", func() float64 {
		free, err := freeSpace(s.config.Data)
		if err != nil {
			return -1
		}
		return float64(free)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerText(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answerText(w, s.health.check(r.Context())) })
	return &web{&http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}}
}

// answerText says ok, or why not. The errors of health hold paths and reasons,
// never key material.
func answerText(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, err)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// serve answers on l until shutdown.
func (w *web) serve(l net.Listener) error {
	err := w.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (w *web) shutdown(ctx context.Context) {
	if w.http.Shutdown(ctx) != nil {
		_ = w.http.Close()
	}
}
