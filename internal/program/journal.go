package program

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ToJournal tells whether out, a program's standard error, goes to systemd's
// journal, as systemd.exec(5) has a program find out. stream is what the
// variable JOURNAL_STREAM says. It is asked of the file itself: a variable that
// was inherited says nothing about where a shell has sent it.
func ToJournal(out io.Writer, stream string) bool {
	file, ok := out.(*os.File)
	var st unix.Stat_t
	if !ok || unix.Fstat(int(file.Fd()), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// A journalHandler writes lines without the time, which the journal has, and
// with their priority in front, so that journalctl -p warning finds them.
type journalHandler struct {
	inner slog.Handler // writes into line
	line  *journalLine
}

// journalLine is shared by a handler and those that were made from it.
type journalLine struct {
	mu  sync.Mutex
	buf bytes.Buffer
	out io.Writer
}

// NewJournalHandler returns a handler that writes such lines to out; newHandler
// makes the one that gives them their form.
func NewJournalHandler(out io.Writer, level slog.Leveler, newHandler func(io.Writer, *slog.HandlerOptions) slog.Handler) slog.Handler {
	line := &journalLine{out: out}
	return &journalHandler{line: line, inner: newHandler(&line.buf, &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime})}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// priority is the syslog severity of a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// Enabled is part of slog.Handler.
func (h *journalHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.inner.Enabled(ctx, l)
}

// Handle is part of slog.Handler.
func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.buf.Reset()
	fmt.Fprintf(&h.line.buf, "<%d>", priority(r.Level))
	if err := h.inner.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.line.out.Write(h.line.buf.Bytes())
	return err
}

// WithAttrs is part of slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.inner.WithAttrs(attrs), h.line}
}

// WithGroup is part of slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.inner.WithGroup(name), h.line}
}
