package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the demo prints into README.md")

// What stands between these lines of the README is what the demo printed.
const (
	demoBegins = "<!-- what make demo prints; cmd/keyreeve-lab compares it -->\n```console\n$ make demo\n"
	demoEnds   = "```\n<!-- end of what make demo prints -->\n"
)

// changing is what differs from one run to the next, and what stands for it.
var changing = []struct {
	form *regexp.Regexp
	text string
}{
	{regexp.MustCompile(`127\.\d+\.\d+\.\d+`), "127.x.y.z"},
	{regexp.MustCompile(`([0-9A-F]{2}:){19}[0-9A-F]{2}`), "THUMBPRINT"},
	{regexp.MustCompile(`key [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "key IDENTIFIER"},
	{regexp.MustCompile(`after \d+ ms`), "after N ms"},
	{regexp.MustCompile(`took \d+\.\d s`), "took N s"},
}

// The README shows what the demo really prints, but for addresses,
// identifiers and times.
func TestReadmeTranscript(t *testing.T) {
	const path = "../../README.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(page), demoBegins)
	shown, after, ends := strings.Cut(rest, demoEnds)
	if !begins || !ends {
		t.Fatal("README.md has no place for the transcript")
	}
	var out, problems bytes.Buffer
	a := &app{out: &out, err: &problems}
	if code := a.run(t.Context(), []string{"demo", "--keyreeve", programs.Path(t, "keyreeve")}); code != exitDone {
		t.Fatalf("the demo ended with %d\n%s%s", code, &out, &problems)
	}
	printed := out.String()
	for _, c := range changing {
		printed = c.form.ReplaceAllString(printed, c.text)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+demoBegins+printed+demoEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != printed {
		t.Errorf("README.md shows\n%s\nthe demo prints\n%s\ngo test ./cmd/keyreeve-lab -run %s -update writes it", shown, printed, t.Name())
	}
}
