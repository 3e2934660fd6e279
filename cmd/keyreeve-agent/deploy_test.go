package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/metrics"
	"github.com/keyreeve/keyreeve/internal/programtest"
)

// TestDeployedMetricsExist: and each metric of ours is on the board, or it need
// not be counted.
func TestDeployedMetricsExist(t *testing.T) {
	reg := metrics.NewRegistry("keyreeve_agent")
	newWatch(&link{config: &config{}}, reg)
	names := programtest.MetricNames(reg)
	for file, least := range map[string]int{
		"../../deploy/prometheus/keyreeve-agent.rules.yml": 10,
		"../../deploy/prometheus/keyreeve-agent.test.yml":  10,
		"../../deploy/grafana/keyreeve-agent.json":         20,
	} {
		if used := programtest.MetricsExist(t, file, names); len(used) < least {
			t.Errorf("%s names only %d metrics", file, len(used))
		}
	}
	board := programtest.MetricsExist(t, "../../deploy/grafana/keyreeve-agent.json", names)
	for name := range names {
		if strings.HasPrefix(name, "keyreeve_agent_") && !board[name] {
			t.Errorf("the board does not show %s", name)
		}
	}
}

func TestGrafanaBoard(t *testing.T) {
	programtest.CheckBoard(t, "../../deploy/grafana/keyreeve-agent.json")
}

// TestUnit: what systemd hands over are secrets that the agent asks for, and it
// does not start again what a restart does not mend.
func TestUnit(t *testing.T) {
	data, err := os.ReadFile("../../deploy/systemd/keyreeve-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range secretNames {
		known[s.credential()] = true
	}
	credentials := regexp.MustCompile(`(?m)^LoadCredential=([^:]+):`).FindAllStringSubmatch(string(data), -1)
	for _, c := range credentials {
		if !known[c[1]] {
			t.Errorf("the agent asks for no credential %s", c[1])
		}
	}
	if len(credentials) < 3 {
		t.Errorf("credentials: %v", credentials)
	}
	if !strings.Contains(string(data), "\nRestartPreventExitStatus=4 7\n") || exitUsage != 4 || exitInUse != 7 {
		t.Error("the exit codes in the unit are not ours")
	}
}
