package program

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/logbuf"
)

// Only a typed yes goes on; the question is told whatever is typed.
func TestSaysYes(t *testing.T) {
	for typed, want := range map[string]bool{
		"yes\n": true, " yes \r\n": true, "yes": true, "y\n": false, "\n": false, "YES\n": false, "yesyes\n": false, "no\n": false, "": false, "no\nyes\n": false,
	} {
		var told bytes.Buffer
		if got := saysYes(strings.NewReader(typed), &told, "destroy it?\n"); got != want {
			t.Errorf("%q: %v", typed, got)
		}
		if !strings.HasPrefix(told.String(), "destroy it?\nType yes to go on: ") {
			t.Errorf("%q: told %q", typed, told.String())
		}
	}
	if saysYes(iotest.ErrReader(errors.New("gone")), &bytes.Buffer{}, "") {
		t.Error("a terminal that went away said yes")
	}
}

// Ctrl-C at the question is a no, and nothing waits for more to be typed.
func TestSignalAtTheQuestion(t *testing.T) {
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	var told logbuf.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if answersYes(ctx, in, &told, "sink it? ") {
		t.Error("a signal said yes")
	}
	if answersYes(ctx, strings.NewReader("yes\n"), &told, "sink it? ") {
		t.Error("a yes after a signal counts")
	}
	if !answersYes(t.Context(), strings.NewReader("yes\n"), &told, "sink it? ") {
		t.Error("yes is no yes")
	}
}

// A yes out of a pipe is not a person's.
func TestConfirmWithoutATerminal(t *testing.T) {
	cmd := &cobra.Command{Use: "sink"}
	cmd.SetIn(strings.NewReader("yes\n"))
	err := Commands{UsageCode: 2, RefusedCode: 4}.Confirm(cmd, "sink it?")
	if f, ok := errors.AsType[*Failure](err); !ok || f.Code != 2 || !strings.Contains(f.Error(), "--yes") {
		t.Errorf("%v", err)
	}
}
