package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keyreeve/keyreeve/internal/config"
)

// TestLogForTheJournal: lines have their priority, and no time.
func TestLogForTheJournal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	a := testApp(&bytes.Buffer{})
	a.err = file
	a.environ = []string{fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino)}
	a.newLogger(config.Default(), &slog.LevelVar{}).Warn("a word")
	text, err := os.ReadFile(file.Name())
	if err != nil || string(text) != "<4>level=WARN msg=\"a word\"\n" {
		t.Errorf("%q, %v", text, err)
	}
}
