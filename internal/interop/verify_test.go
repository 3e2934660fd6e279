//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestJournalVerifiesWithoutUs runs what docs/audit.md prints for people who trust no program of ours: OpenSSL for the
// signature, Python for the chain. What they find must be what was signed, and an edit must be found.
func TestJournalVerifiesWithoutUs(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	python := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	shell := regexp.MustCompile("(?s)```\n(head -n 7 checkpoint.*?)```").FindSubmatch(page)
	if python == nil || shell == nil {
		t.Fatal("docs/audit.md has no such blocks")
	}
	s := start(t)
	s.stop(t)
	dir, journal := t.TempDir(), filepath.Join(s.data, "journal")
	notes, err := os.ReadFile(filepath.Join(journal, "00000001.checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(strings.TrimSuffix(string(notes), "\n\n"), "\n\n")
	last := strings.TrimSuffix(all[len(all)-1], "\n\n") + "\n\n"
	key, err := os.ReadFile(filepath.Join(journal, "journal.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"checkpoint": last, "journal.pub": string(key), "chain.py": string(python[1]), "verify.sh": string(shell[1])} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := inDir(dir, "sh", "-e", "verify.sh"); err != nil || !strings.Contains(out, "Signature Verified Successfully") {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	segment := filepath.Join(journal, "00000001.log")
	out, err := inDir(dir, "/usr/bin/python3", "chain.py", segment)
	var seq, hash string
	if _, scanErr := fmt.Sscan(out, &seq, &hash); err != nil || scanErr != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	if !strings.Contains(last, "\nsequence "+seq+"\nhash "+hash+"\n") {
		t.Errorf("python comes to %s %s, signed was\n%s", seq, hash, last)
	}
	edit(t, filepath.Join(dir, "checkpoint"), "archived 0", "archived 1")
	if out, err := inDir(dir, "sh", "-e", "verify.sh"); err == nil {
		t.Errorf("an edited checkpoint: %s", out)
	}
	edit(t, segment, "Enrol Client", "Enrol client")
	if out, err := inDir(dir, "/usr/bin/python3", "chain.py", segment); err == nil || !strings.Contains(out, "damaged after") {
		t.Errorf("an edited journal: %v %s", err, out)
	}
}

func inDir(dir string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func edit(t *testing.T, path, old, with string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), old, with, 1)
	if changed == string(data) {
		t.Fatalf("%s holds no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}
