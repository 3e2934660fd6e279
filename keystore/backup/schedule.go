package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/internal/durable"
)

// A Schedule makes backups by itself, and removes what it made when it is old.
// All fields but Logger are required.
type Schedule struct {
	Maker      *Maker
	Every      time.Duration
	Dir        string
	Recipients Recipients
	KeepDaily  int // days of which the newest backup is kept, beside all of the last 24 hours
	KeepWeekly int // weeks likewise
	Logger     *slog.Logger
}

const (
	settling = time.Minute // from the server's start to a backup that is due
	retry    = time.Hour   // after a failure, at most
	jitter   = 20          // a twentieth of the interval
)

// FileName is what a backup of the store is called that was begun then.
func (m *Maker) FileName(at time.Time) string {
	return m.prefix() + at.UTC().Format("20060102T150405Z") + ".age"
}

// prefix keeps the backups of two stores in one folder apart.
func (m *Maker) prefix() string {
	id := m.cfg.Store.Info().StoreID
	return "keyreeve-" + hex.EncodeToString(id[:4]) + "-"
}

// Run makes backups until ctx ends. What fails is logged, counted, and tried again.
func (s *Schedule) Run(ctx context.Context) {
	s.sweep()
	due := s.first()
	s.Logger.Info("backup: scheduled", "every", s.Every, "dir", s.Dir, "next", stamp(s.Maker.cfg.Now().Add(due)))
	timer := time.NewTimer(due)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(s.once(ctx))
	}
}

// first is how long until the first backup is due: a restart does not put it off.
func (s *Schedule) first() time.Duration {
	last := s.Maker.lastScheduled()
	if last.IsZero() {
		return settling
	}
	return max(settling, last.Add(s.Every).Sub(s.Maker.cfg.Now()))
}

func (s *Schedule) once(ctx context.Context) (next time.Duration) {
	now := s.Maker.cfg.Now()
	path := filepath.Join(s.Dir, s.Maker.FileName(now))
	s.Logger.Info("backup: begun by the schedule", "path", path)
	made, err := s.Maker.Create(ctx, Request{Path: path, Recipients: s.Recipients, By: &system, Scheduled: true})
	if err != nil {
		if ctx.Err() == nil {
			s.Logger.Error("backup: the schedule's backup FAILED; it is tried again", "err", err, "again_in", min(s.Every, retry))
		}
		return min(s.Every, retry)
	}
	s.Logger.Info("backup: verified by restoring it", "path", made.Path, "keys", made.Objects, "bytes", made.Size,
		"sha256", made.SHA256, "seconds", int(s.Maker.cfg.Now().Sub(now).Seconds()))
	s.Retain(ctx)
	return s.Every + rand.N(s.Every/jitter+1)
}

// lastScheduled is when the schedule made the last backup, the zero time if it
// made none. One that a clock that was ahead has dated in the future says
// nothing: waiting for that day would mean no backups until then.
func (m *Maker) lastScheduled() time.Time {
	all, err := List(context.Background(), m.cfg.Store)
	if err != nil {
		return time.Time{}
	}
	for _, made := range all {
		if made.Scheduled && !made.Created.After(m.cfg.Now()) {
			return made.Created
		}
	}
	return time.Time{}
}

// sweep removes what a crash has left unfinished in the folder, of this store only.
func (s *Schedule) sweep() {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		s.Logger.Error("backup: the folder for backups cannot be read; none will be made until it can", "dir", s.Dir, "err", err)
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+s.Maker.prefix()) && strings.Contains(e.Name(), tempMark) {
			path := filepath.Join(s.Dir, e.Name())
			s.Logger.Info("backup: removing what an interrupted backup left", "path", path, "err", os.RemoveAll(path))
		}
	}
}

// Retain removes those of the schedule's backups that are not to be kept, as Run
// does after each. What cannot be removed is logged, and tried at the next. It
// does without Every and Recipients.
func (s *Schedule) Retain(ctx context.Context) {
	if err := s.retain(ctx); err != nil && ctx.Err() == nil {
		s.Logger.Warn("backup: old ones could not be removed", "dir", s.Dir, "err", err)
	}
}

func (s *Schedule) retain(ctx context.Context) error {
	all, err := List(ctx, s.Maker.cfg.Store)
	if err != nil {
		return err
	}
	var failed error
	for _, m := range surplus(all, s.Maker.cfg.Now(), s.KeepDaily, s.KeepWeekly) {
		if filepath.Dir(m.Path) != filepath.Clean(s.Dir) {
			continue // of a folder that was set before
		}
		if err := s.remove(ctx, m); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.Path, err))
		}
	}
	return failed
}

var errNotOurs = errors.New("it is not the file that was made; it is left alone, for a person to look at")

// remove removes a file that is still, byte by byte, the one that was made.
func (s *Schedule) remove(ctx context.Context, m Made) error {
	sum, err := sumOf(m.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return forget(ctx, s.Maker.cfg.Store, m, "its file is gone: "+m.Path)
	case err != nil:
		return err
	case sum != m.SHA256:
		return errNotOurs
	}
	if err := errors.Join(os.Remove(m.Path), durable.OS.SyncDir(s.Dir)); err != nil {
		return err
	}
	s.Logger.Info("backup: removed, newer ones are kept", "path", m.Path)
	return forget(ctx, s.Maker.cfg.Store, m, "newer ones are kept: "+m.Path)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// surplus returns which of the backups, newest first, are not to be kept: never
// the newest, never one that the schedule did not make, nothing of the last 24
// hours, and of each of the last days and weeks that have any the newest.
func surplus(all []Made, now time.Time, daily, weekly int) (old []Made) {
	days, weeks := map[string]bool{}, map[string]bool{}
	for i, m := range all {
		if !m.Scheduled {
			continue
		}
		keep := i == 0 || now.Sub(m.Created) < 24*time.Hour
		year, number := m.Created.ISOWeek()
		keep = first(days, m.Created.Format(time.DateOnly), daily) || keep
		keep = first(weeks, fmt.Sprint(year, number), weekly) || keep
		if !keep {
			old = append(old, m)
		}
	}
	return old
}

// first tells whether it is the first of its period, of at most limit periods.
func first(seen map[string]bool, period string, limit int) bool {
	if seen[period] || len(seen) >= limit {
		return false
	}
	seen[period] = true
	return true
}
