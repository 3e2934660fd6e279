//go:build interop

package interop

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUnitIsConfined holds the systemd units to an exposure of 1.5 at most, by
// systemd's own measure.
func TestUnitIsConfined(t *testing.T) {
	for _, unit := range []string{"keyreeve", "keyreeve-agent"} {
		t.Run(unit, func(t *testing.T) { confined(t, unit) })
	}
}

func confined(t *testing.T, unit string) {
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15",
		"../../deploy/systemd/"+unit+".service").CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze: %v (is Debian's systemd installed?)\n%s", err, out)
	}
	m := regexp.MustCompile(`Overall exposure level for ` + unit + `\.service: (\d+\.\d)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("it names no exposure:\n%s", out)
	}
	t.Logf("exposure %s", m[1])
}

// TestAlertRules runs the rules' own tests with Prometheus's tool.
func TestAlertRules(t *testing.T) {
	for _, name := range []string{"keyreeve", "keyreeve-agent"} {
		for _, args := range [][]string{{"check", "rules", name + ".rules.yml"}, {"test", "rules", name + ".test.yml"}} {
			cmd := exec.Command("promtool", args...)
			cmd.Dir = filepath.Join("..", "..", "deploy", "prometheus")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("promtool: %v (is Debian's prometheus installed?)\n%s", err, out)
			}
		}
	}
}
