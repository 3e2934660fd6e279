package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
)

const (
	barWidth = 30
	barEvery = 100 * time.Millisecond
)

// progressOf shows how far the backup is that is being made, if standard error
// is a terminal, until stop is called.
func (a *app) progressOf(ctx context.Context, b backups) (stop func()) {
	if !a.onTerminal() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				a.bar("", 0, 0)
				return
			}
			if p, err := b.BackupProgress(ctx); err == nil && p.Phase != "" {
				a.bar(p.Phase, p.Done, p.Total)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// counterBar returns a counter that shows itself if standard error is a terminal.
func (a *app) counterBar(what string) (count func(done, total uint64), stop func()) {
	if !a.onTerminal() {
		return nil, func() {}
	}
	var p admin.BackupProgress
	var shown time.Time
	return func(done, total uint64) {
		p.Done += done
		if now := a.now(); now.Sub(shown) >= barEvery {
			shown = now
			a.bar(what, p.Done, total)
		}
	}, func() { a.bar("", 0, 0) }
}

func (a *app) onTerminal() bool {
	f, ok := a.err.(*os.File)
	return ok && isTerminal(f) && a.env("TERM") != "dumb"
}

// bar draws over its own line; without a text it takes the line away.
func (a *app) bar(what string, done, total uint64) {
	if what == "" {
		_, _ = fmt.Fprintf(a.err, "\r%s\r", strings.Repeat(" ", barWidth+50))
		return
	}
	full := 0
	if total > 0 {
		full = int(barWidth * min(done, total) / total)
	}
	_, _ = fmt.Fprintf(a.err, "\r%-10s [%s%s] %d of %d", what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, total)
}
