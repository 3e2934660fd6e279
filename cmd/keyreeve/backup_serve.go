package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore/backup"
)

// openBackups readies the server's backups, and refuses settings with which
// every one of them would fail.
func (s *service) openBackups(ctx context.Context) (err error) {
	if s.keeper, err = s.vault.keeper(ctx, s.app, s.config, s.logger, backup.NewMetrics(s.metrics)); err != nil {
		return err
	}
	gauge := func(name, help string, value func(backup.Standing) float64) {
		s.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "keyreeve", Subsystem: "backup", Name: name, Help: help},
			func() float64 { return value(s.keeper.maker.Standing()) }))
	}
	gauge("last_verified_timestamp_seconds", "When the newest verified backup was taken; 0 if there is none.", func(st backup.Standing) float64 {
		if st.Last == nil {
			return 0
		}
		return float64(st.Last.Created.Unix())
	})
	gauge("newer_keys", "1 when keys were made since the newest verified backup.", func(st backup.Standing) float64 {
		if st.NewerKeys {
			return 1
		}
		return 0
	})
	b := s.config.Backup
	if b.Every == 0 {
		return nil
	}
	if b.Dir == "" {
		return refuse("set backup.dir", "backup.every is set, and there is no folder for backups")
	}
	if err := checkPlace(b.Dir, s.config.Dev); err != nil {
		return err
	}
	if _, err := s.keeper.path(""); err != nil {
		return err
	}
	s.recipients, err = s.keeper.recipients(admin.BackupRequest{})
	return err
}

// backups makes them on the schedule, and nags when there are none.
func (s *service) backups(ctx context.Context) {
	go s.keeper.maker.Nag(ctx, s.keeper.patience(), s.logger)
	if s.config.Backup.Every == 0 {
		return
	}
	if !s.recipients.PostQuantum() {
		s.logger.Info("backup: its recipients are not safe from a quantum computer; keyreeve backup keygen makes one that is")
	}
	schedule := s.keeper.schedule()
	schedule.Recipients = s.recipients
	schedule.Run(ctx)
}

// patience is how old the last backup may be before keys that are not in it are a problem.
func (k *keeper) patience() time.Duration { return backup.Patience(k.config.Backup.Every) }
