package backup

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/keyreeve/keyreeve/keystore"
)

// Standing says whether the store could be lost without losing keys.
type Standing struct {
	Last      *Made     // the newest verified backup; nil: there is none
	NewestKey time.Time // in the store; zero: there never was a key
	NewerKeys bool      // keys were made since the last verified backup
	Failed    error     // why the last attempt of this process failed; nil: it did not
}

// Standing tells how it is now.
func (m *Maker) Standing() Standing {
	stamp := m.cfg.Store.Info().Stamp
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Standing{NewestKey: keystore.StampTime(stamp), NewerKeys: stamp > 0, Failed: m.failed}
	if m.last != nil {
		last := *m.last
		s.Last, s.NewerKeys = &last, stamp > last.Stamp
	}
	return s
}

// Problem says what an admin has to do something about, empty if nothing: no
// verified backup, or keys that are in none although the last one is older than
// patience, or dated so far in the future that nobody can tell how old it is. A
// store that never had a key has nothing to lose.
func (s Standing) Problem(now time.Time, patience time.Duration) string {
	switch {
	case !s.NewerKeys:
		return ""
	case s.Last == nil:
		return "there is no verified backup of this store: if its disk is lost, so is every key"
	case now.Sub(s.Last.Created).Abs() <= patience:
		return ""
	}
	return fmt.Sprintf("the last verified backup is from %s, and keys were made since, the newest at %s: if the disk is lost, so are they",
		stamp(s.Last.Created), stamp(s.NewestKey))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// Patience is how old the last backup may be before newer keys are a problem,
// for backups that are made that often (0: by hand).
func Patience(every time.Duration) time.Duration {
	return max(26*time.Hour, every+every/jitter+2*time.Hour)
}

// nagEvery is how often a problem that lasts is logged; nagLook how often it is
// looked for.
const (
	nagEvery = 24 * time.Hour
	nagLook  = time.Hour
)

// Nag logs a problem with the backups at once, and daily while it lasts, until
// ctx ends.
func (m *Maker) Nag(ctx context.Context, patience time.Duration, logger *slog.Logger) {
	var said time.Time
	tick := time.NewTicker(nagLook)
	defer tick.Stop()
	for {
		now := m.cfg.Now()
		if p := m.Standing().Problem(now, patience); p == "" {
			said = time.Time{}
		} else if now.Sub(said) >= nagEvery {
			said = now
			logger.Warn("backup: "+p, "hint", "keyreeve backup create, or set backup.every")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
