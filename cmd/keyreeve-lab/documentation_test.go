//go:build lab

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// example is the first block of that language in the page's chapter about the lab.
func example(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## The lab in another project's tests\n")
	_, rest, found := strings.Cut(chapter, "\n```"+language+"\n")
	text, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		t.Fatalf("docs/testing.md has no example in %s", language)
	}
	return text + "\n"
}

// withPrograms is an environment in whose path both programs are.
func withPrograms(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "PATH="+programs.Dir(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// The examples of docs/testing.md do what they say, as they stand there.
func TestDocumentation(t *testing.T) {
	env := withPrograms(t)
	t.Run("shell", func(t *testing.T) {
		cmd := exec.Command("sh", "-eu", "-c", example(t, "sh")+"echo ended; test -n \"$GOVC_URL$KMS_PORT$OVH_CONSUMER_KEY\"; test ! -e \"$KEYREEVE_DATA\"")
		cmd.Dir, cmd.Env = t.TempDir(), env
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "vcenter") || !strings.Contains(string(out), "ended") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("go", func(t *testing.T) {
		dir := t.TempDir()
		source, overlay := filepath.Join(dir, "mine_test.go"), filepath.Join(dir, "overlay.json")
		root, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "docs", "mine_test.go"): source}})
		if err != nil {
			t.Fatal(err)
		}
		for path, content := range map[string]string{source: example(t, "go"), overlay: string(replace)} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("go", "test", "-v", "-count=1", "-overlay", overlay, "./docs")
		cmd.Dir, cmd.Env = root, env
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "VMware vCenter Server") || !strings.Contains(string(out), "--- PASS: TestMine") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
