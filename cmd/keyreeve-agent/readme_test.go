package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// blocks are what the README has a person type in its chapter about the agent,
// by terminal.
func blocks(t *testing.T) (list []string) {
	t.Helper()
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## The agent\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	for rest, found := chapter, true; ; {
		var block string
		if _, rest, found = strings.Cut(rest, "\n```sh\n"); !found {
			return list
		}
		block, rest, _ = strings.Cut(rest, "\n```\n")
		list = append(list, block)
	}
}

// The README's commands about the agent do what they say, as they stand there.
func TestReadme(t *testing.T) {
	terminals := blocks(t)
	if len(terminals) != 2 {
		t.Fatalf("the README has %d blocks about the agent: %q", len(terminals), terminals)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	bin := programs.Dir(t)
	for from, to := range map[string]string{self: filepath.Join(bin, "keyreeve-agent"), bin: filepath.Join(dir, "bin"), deploy: filepath.Join(dir, "deploy")} {
		if err := os.Symlink(from, to); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	lab := exec.Command("sh", "-euc", "exec "+terminals[0]) // so that a signal reaches it
	lab.Dir, lab.Stderr = dir, os.Stderr
	if err := lab.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = lab.Process.Signal(os.Interrupt)
		_ = lab.Wait()
	}()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "lab.env")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the lab does not come up")
		}
	}
	person := exec.Command("sh", "-euc", terminals[1])
	person.Dir = dir
	out, err := person.CombinedOutput()
	for _, want := range []string{"done: machine: encrypt ", "our key providers: keyreeve", "0 to change, 0 waiting, 0 blocked, 0 alarms"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%v, or nothing says %q:\n%s", err, want, out)
		}
	}
}
