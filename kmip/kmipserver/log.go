package kmipserver

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// A limitedLog writes a few lines of each kind and address a minute, and then
// how many more there were: a scanner must be neither able to fill the disk nor
// to go unseen.
type limitedLog struct {
	logger *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	windows map[logKey]*logWindow
}

// logKey is what lines are counted by. Kinds come from tables in the code.
type logKey struct {
	address netip.Addr
	kind    string
}

type logWindow struct {
	began      time.Time
	lines      int
	suppressed int
	level      slog.Level
	timer      *time.Timer
}

const (
	linesPerWindow = 10 // vCenter fails nine times in a row while trust is set up
	windowLength   = time.Minute
	maxWindows     = 4096 // kinds and addresses remembered; more share one
)

func newLimitedLog(logger *slog.Logger, now func() time.Time) *limitedLog {
	return &limitedLog{logger: logger, now: now, windows: map[logKey]*logWindow{}}
}

func (l *limitedLog) info(key logKey, message string, attrs ...slog.Attr) {
	l.log(slog.LevelInfo, key, message, attrs...)
}

func (l *limitedLog) warn(key logKey, message string, attrs ...slog.Attr) {
	l.log(slog.LevelWarn, key, message, attrs...)
}

func (l *limitedLog) error(key logKey, message string, attrs ...slog.Attr) {
	l.log(slog.LevelError, key, message, attrs...)
}

func (l *limitedLog) log(level slog.Level, key logKey, message string, attrs ...slog.Attr) {
	if l.logger.Enabled(context.Background(), level) && l.allow(level, key) {
		l.logger.LogAttrs(context.Background(), level, message, attrs...)
	}
}

// allow counts a line, and tells whether it is to be written.
func (l *limitedLog) allow(level slog.Level, key logKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[key]
	if w == nil {
		if len(l.windows) >= maxWindows {
			key = logKey{kind: key.kind}
			w = l.windows[key]
		}
		if w == nil {
			w = l.open(key)
		}
	}
	w.level = max(w.level, level)
	if w.lines < linesPerWindow {
		w.lines++
		return true
	}
	w.suppressed++
	return false
}

// open starts a window; a timer ends it, and writes the sum.
func (l *limitedLog) open(key logKey) *logWindow {
	w := &logWindow{began: l.now(), level: slog.LevelDebug}
	l.windows[key] = w
	w.timer = time.AfterFunc(windowLength, func() { l.close(key, w) })
	return w
}

func (l *limitedLog) close(key logKey, w *logWindow) {
	l.mu.Lock()
	if l.windows[key] == w {
		delete(l.windows, key)
	}
	suppressed := w.suppressed
	w.suppressed = 0
	l.mu.Unlock()
	if suppressed == 0 {
		return
	}
	from := "many addresses"
	if key.address.IsValid() {
		from = key.address.String()
	}
	l.logger.LogAttrs(context.Background(), w.level, "more of the same were not logged", slog.String("kind", key.kind),
		slog.String("address", from), slog.Int("suppressed", suppressed), slog.Time("since", w.began))
}

// flush ends all windows, for the end of the server.
func (l *limitedLog) flush() {
	l.mu.Lock()
	open := make(map[logKey]*logWindow, len(l.windows))
	for k, w := range l.windows {
		open[k] = w
	}
	l.mu.Unlock()
	for k, w := range open {
		w.timer.Stop()
		l.close(k, w)
	}
}
