package kmiptest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// A Log is a slog.Handler that keeps what it is given. Its zero value is
// ready, and it may be used from several goroutines.
type Log struct {
	mu    sync.Mutex
	lines []Line
	attrs []slog.Attr
	root  *Log
}

// A Line is a record of a Log.
type Line struct {
	Level slog.Level
	Text  string // message and attributes
}

// Lines returns what was logged at the level or above so far.
func (l *Log) Lines(level slog.Level) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Line
	for _, line := range l.lines {
		if line.Level >= level {
			found = append(found, line)
		}
	}
	return found
}

// Enabled is part of slog.Handler; everything is.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle is part of slog.Handler.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	for _, a := range l.attrs {
		fmt.Fprintf(&b, " %v", a)
	}
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %v", a)
		return true
	})
	to := l
	if l.root != nil {
		to = l.root
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.lines = append(to.lines, Line{Level: r.Level, Text: b.String()})
	return nil
}

// WithAttrs is part of slog.Handler.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	root := l
	if l.root != nil {
		root = l.root
	}
	return &Log{root: root, attrs: append(l.attrs[:len(l.attrs):len(l.attrs)], attrs...)}
}

// WithGroup is part of slog.Handler; groups are not kept apart.
func (l *Log) WithGroup(string) slog.Handler { return l }
