package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAlertsNameMetrics: an alert on a name with a mistake in it never fires.
func TestAlertsNameMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	newWatch(&link{config: &config{}}, reg)
	descriptions := make(chan *prometheus.Desc, 1000)
	reg.Describe(descriptions)
	close(descriptions)
	names := map[string]bool{}
	for d := range descriptions {
		names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	data, err := os.ReadFile("../../deploy/prometheus/keyreeve-agent.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`\bkeyreeve_agent_[a-z0-9_]+\b`).FindAllString(string(data), -1)
	for _, name := range used {
		if !names[name] {
			t.Errorf("the alerts name %s, which no agent has", name)
		}
	}
	if len(used) < 4 {
		t.Errorf("the alerts name only %v", used)
	}
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
