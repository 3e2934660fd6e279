package programtest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Exits is the command "exits CODE[,CODE] COMMAND...": the command must end with
// one of those codes, and never with a panic. stdout and stderr look at what it
// printed.
func Exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE[,CODE] COMMAND...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if stderr := ts.ReadFile("stderr"); strings.Contains(stderr, "goroutine ") {
		ts.Fatalf("a panic:\n%s", stderr)
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(got)) {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// Exports is the command "exports FILE [agent]": it waits for a lab's ready file,
// and takes over the variables that it exports; the agent's settings only when
// they are asked for, since they go over those of a file.
func Exports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: exports FILE [agent]")
	}
	path := ts.MkAbs(args[0])
	var content []byte
	for end := time.Now().Add(time.Minute); len(content) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("the lab did not come up")
		}
		content, _ = os.ReadFile(path) // it is not there yet
	}
	for line := range strings.Lines(string(content)) {
		fields, _ := strings.CutPrefix(strings.TrimSpace(line), "export ")
		for _, pair := range strings.Fields(fields) {
			name, value, ok := strings.Cut(pair, "=")
			if ok && (len(args) == 2 || !strings.HasPrefix(name, "KEYREEVE_AGENT_")) {
				ts.Setenv(name, value)
			}
		}
	}
}

// Capture is the command "capture NAME [PATTERN]": it puts the last command's
// output, without the end of line, into a variable, or what the pattern's group
// finds in it.
func Capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: capture NAME [PATTERN]")
	}
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		m := regexp.MustCompile(args[1]).FindStringSubmatch(value)
		if m == nil {
			ts.Fatalf("nothing fits %s in %s", args[1], value)
		}
		value = m[1]
	}
	ts.Setenv(args[0], value)
}
