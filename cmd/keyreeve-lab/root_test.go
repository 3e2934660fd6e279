package main

import (
	"bytes"
	"strings"
	"testing"
)

// A fault that cannot be, or that would not be met, is said before anything is
// started.
func TestFaultsThatAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--fault banana":                  "there is no such fault",
		"--fault hang=1s":                 "it takes no value",
		"--fault delay=soon":              "invalid duration",
		"--fault delay=-2s":               "it is negative",
		"--fault drop=100x":               "invalid syntax",
		"--fault drop=-1":                 "it is negative",
		"--fault delay=2s --fault refuse": "one fault at a time",
		"--rebuilt":                       "--rebuilt needs --trusted",
	} {
		var out, problems bytes.Buffer
		a := &app{out: &out, err: &problems}
		if code := a.run(t.Context(), strings.Fields(args+" --keyreeve /nonexistent")); code != exitUsage || !strings.Contains(problems.String(), want) {
			t.Errorf("%s ends with %d: %s", args, code, &problems)
		}
	}
}
