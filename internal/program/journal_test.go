package program

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJournalLines(t *testing.T) {
	var out bytes.Buffer
	level := &slog.LevelVar{}
	logger := slog.New(NewJournalHandler(&out, level, func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }))
	logger.Debug("not wanted")
	logger.Info("one")
	logger.With("a", 1).Warn("two")
	logger.WithGroup("g").Error("three", "time", 3)
	want := "<6>level=INFO msg=one\n<4>level=WARN msg=two a=1\n<3>level=ERROR msg=three g.time=3\n"
	if got := out.String(); got != want {
		t.Errorf("%s", got)
	}
	level.Set(slog.LevelDebug)
	out.Reset()
	logger.Debug("wanted")
	if out.String() != "<7>level=DEBUG msg=wanted\n" {
		t.Errorf("%s", out.String())
	}
}

// TestToJournal: the variable alone is not enough, a file elsewhere gets the time.
func TestToJournal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for variable, want := range map[string]bool{
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   true,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
		"":                                     false,
	} {
		if got := ToJournal(file, variable); got != want {
			t.Errorf("%q: %v", variable, got)
		}
	}
	if ToJournal(&bytes.Buffer{}, fmt.Sprintf("%d:%d", st.Dev, st.Ino)) {
		t.Error("a buffer goes to the journal")
	}
}
