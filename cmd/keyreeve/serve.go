package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/metrics"
	"github.com/keyreeve/keyreeve/internal/unixsock"
	"github.com/keyreeve/keyreeve/keystore/backup"
	"github.com/keyreeve/keyreeve/kmip/kmipserver"
	"github.com/keyreeve/keyreeve/kmip/transcript"
	"github.com/keyreeve/keyreeve/users"
)

// A service is a server that runs.
type service struct {
	app     *app
	config  config.Config
	options *serverOptions
	level   *slog.LevelVar
	logger  *slog.Logger
	metrics *prometheus.Registry
	started time.Time

	vault    *vault
	ca       *certs.CA
	registry *certs.Registry // of clients
	admins   *certs.Registry // of administrators
	users    *users.Registry
	reloader *certs.Reloader
	health   *health
	recorder *transcript.Recorder // nil: nothing is recorded
	journal  journalKeeping

	keeper     *keeper           // of backups
	recipients backup.Recipients // of those that the schedule makes

	listener, adminListener, metricsListener, socket net.Listener

	kmip  *kmipserver.Server
	admin *adminserver.Server
	web   *web
}

// serve runs until ctx ends.
func (a *app) serve(ctx context.Context, c config.Config, o *serverOptions) error {
	if err := checkPlace(c.Data, c.Dev); err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	tuneMemory(a)
	s := newService(a, c, o)
	s.logger.Debug("settings", "config", fmt.Sprintf("%+v", c))
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.close())
	}
	if err := s.listen(); err != nil {
		return errors.Join(err, s.close())
	}
	err := s.run(ctx)
	return errors.Join(err, s.close())
}

// newService is a server that has opened nothing yet.
func newService(a *app, c config.Config, o *serverOptions) *service {
	s := &service{app: a, config: c, options: o, level: &slog.LevelVar{}, started: a.now(), metrics: metrics.NewRegistry("keyreeve")}
	s.logger = a.newLogger(c, s.level)
	return s
}

// tuneMemory sets what the environment does not: the heap is a few megabytes
// beside the mapped file, so collecting it less often costs little and saves
// time, up to a soft limit.
func tuneMemory(a *app) {
	if a.env("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if a.env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30)
	}
}

// open opens the store and what the server needs from it.
func (s *service) open(ctx context.Context) (err error) {
	how := opening{config: s.config, logger: s.logger, registry: s.metrics}
	if s.vault, err = s.app.open(ctx, folder(s.config.Data), how); err != nil {
		return err
	}
	s.vault.ensureReserve(s.config, s.logger)
	ca, clients, err := adminserver.Load(ctx, s.vault.store, s.app.now, s.app.rand)
	if err != nil {
		return err
	}
	s.ca = ca
	if s.registry, err = certs.NewRegistry(ca.Certificate(), clients, s.app.now); err != nil {
		return err
	}
	admins, err := adminserver.LoadAdmins(ctx, s.vault.store)
	if err != nil {
		return err
	}
	if s.admins, err = certs.NewRegistry(ca.Certificate(), admins, s.app.now); err != nil {
		return err
	}
	list, err := adminserver.LoadUsers(ctx, s.vault.store)
	if err != nil {
		return err
	}
	if s.users, err = users.NewRegistry(users.Config{Now: s.app.now, Metrics: s.metrics}, list); err != nil {
		return err
	}
	if s.reloader, err = s.openCertificate(); err != nil {
		return err
	}
	if err := s.keepJournal(ctx); err != nil {
		return err
	}
	s.health = &health{vault: s.vault}
	s.startRecording()
	if err := s.openBackups(ctx); err != nil {
		return err
	}
	s.build()
	return nil
}

// listen opens all listeners before any is served, so that what is in the way
// ends the start and not a server that runs.
func (s *service) listen() (err error) {
	if s.listener, err = net.Listen("tcp", s.config.Listen); err != nil {
		return listening(err, "listen")
	}
	if s.adminListener, err = listenUnlessOff(s.config.AdminListen, "admin_listen"); err != nil {
		return err
	}
	if s.metricsListener, err = listenUnlessOff(s.config.MetricsListen, "metrics_listen"); err != nil {
		return err
	}
	s.socket, err = unixsock.Listen(s.socketPath())
	return err
}

// listenUnlessOff returns nil when the listener is turned off.
func listenUnlessOff(address, setting string) (net.Listener, error) {
	if address == config.Off {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listening(err, setting)
	}
	return l, nil
}

func listening(err error, setting string) error {
	hint := fmt.Sprintf("choose another address with %s", config.Env(setting))
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = "another program has this address; stop it, or " + hint
	}
	return &failure{Code: exitOther, Err: err, Hint: hint}
}

func (s *service) socketPath() string {
	if s.config.AdminSocket != "" {
		return s.config.AdminSocket
	}
	return s.vault.folder.socket()
}

// run serves until ctx ends or a listener fails, and drains.
func (s *service) run(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, 4)
	go func() { failed <- s.kmip.Serve(background, s.listener) }()
	go func() { failed <- s.admin.Serve(s.socket) }()
	if s.adminListener != nil {
		go func() { failed <- s.admin.ServeTLS(s.adminListener, s.adminTLS()) }()
	}
	if s.metricsListener != nil {
		go func() { failed <- s.web.serve(s.metricsListener) }()
	}
	go s.purge(background)
	go s.admin.RetireReplaced(background)
	go s.backups(background)
	s.journal.work(background)
	if err := s.tellReady(); err != nil {
		s.drain()
		return err
	}
	for {
		select {
		case <-ctx.Done():
			s.drain()
			return nil
		case <-hangup:
			s.reload()
		case err := <-failed:
			s.drain()
			return errors.Join(errStopped, err)
		}
	}
}

// drain lets requests under way finish; the store stays open for them.
func (s *service) drain() {
	s.logger.Info("stopping: requests under way may finish", "within", s.config.DrainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), s.config.DrainTimeout)
	defer cancel()
	s.health.stopping.Store(true)
	_ = s.app.notify("STOPPING=1") // it has asked for the end, mostly
	if err := s.kmip.Shutdown(ctx); err != nil {
		s.logger.Warn("some requests did not finish in time and were cut", "err", err)
	}
	s.admin.Shutdown(ctx)
	s.web.shutdown(ctx)
}

func (s *service) close() error {
	for _, l := range []net.Listener{s.listener, s.adminListener, s.metricsListener, s.socket} {
		if l != nil {
			_ = l.Close() // again, mostly
		}
	}
	s.stopRecording()
	if s.vault == nil {
		return nil
	}
	s.journal.working.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), s.config.DrainTimeout)
	defer cancel()
	err := s.vault.close(ctx)
	s.lastCheckpoint()
	if err == nil {
		s.logger.Info("stopped; all is written")
	}
	return err
}

// reload takes new certificates and the log level. What is wrong with them is
// said, and what was in use stays so.
func (s *service) reload() {
	if s.journal.file != nil {
		s.journal.file.Reopen()
	}
	certificate, level := s.reloadCertificate(), s.reloadLevel()
	if certificate && level {
		s.logger.Info("reloaded certificates and log level", "log_level", s.level.Level())
	}
}

func (s *service) reloadCertificate() bool {
	before := certs.SHA256(s.reloader.Leaf())
	if err := s.reloader.Reload(); err != nil {
		s.logger.Error("reload: the server's certificate stays as it was", "err", err)
		return false
	}
	if leaf := s.reloader.Leaf(); certs.SHA256(leaf) != before {
		s.logger.Warn("reload: the server has a new certificate; clients that pinned the old one must be told",
			"sha1", certs.SHA1(leaf), "sha256", certs.SHA256(leaf), "expires", leaf.NotAfter)
	}
	return true
}

func (s *service) reloadLevel() bool {
	c, _, err := config.Load(s.options.configFile, s.app.environ)
	if err != nil {
		s.logger.Error("reload: the log level stays as it was", "err", err)
		return false
	}
	if !s.options.levelByFlag {
		s.level.Set(c.LogLevel)
	}
	return true
}

const (
	purgeEvery = time.Hour
	purgeBatch = 1000 // tombstones in one commit
)

// purge removes what was destroyed when its grace period is over.
func (s *service) purge(ctx context.Context) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		for more := true; more; {
			n, err := s.vault.store.Purge(ctx, purgeBatch)
			if err != nil && ctx.Err() == nil {
				s.logger.Error("purging destroyed keys", "err", err)
			}
			more = err == nil && n == purgeBatch
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tellReady says on one line where everything is, and writes the ready file.
func (s *service) tellReady() error {
	leaf, addr := s.reloader.Leaf(), s.listener.Addr().String()
	line := []any{
		"kmip", addr, "data", s.config.Data, "root_key", s.vault.keyFrom, "admin_socket", s.socketPath(),
		"sha1", certs.SHA1(leaf), "sha256", certs.SHA256(leaf), "expires", leaf.NotAfter.Format(time.DateOnly),
		"clients", len(s.registry.List()), "keys", s.vault.store.Info().Objects, "version", version(),
	}
	if s.adminListener != nil {
		line = append(line, "admin", "https://"+s.adminListener.Addr().String(), "admins", len(s.admins.List()))
	}
	if s.metricsListener != nil {
		line = append(line, "metrics", "http://"+s.metricsListener.Addr().String()+"/metrics")
	}
	if len(s.registry.List()) == 0 {
		line = append(line, "first_client", s.app.firstClient(s.vault.folder))
	}
	s.logger.Info("serving", line...)
	if err := s.app.notify("READY=1"); err != nil {
		s.logger.Warn("the service manager could not be told that the server serves; it may end it", "err", err)
	}
	if s.options.readyFile == "" {
		return nil
	}
	return durable.WriteFile(durable.OS, s.options.readyFile, []byte(addr+"\n"), 0o644)
}
