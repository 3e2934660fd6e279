package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/programtest"
)

// exported returns the names of all metrics that a server has, those too that
// count nothing yet.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	var out bytes.Buffer
	a, data := testApp(&out), filepath.Join(t.TempDir(), "data")
	if code := a.run(t.Context(), []string{"init", "--data", data, "--key-type", "p256"}); code != exitDone {
		t.Fatal(out.String())
	}
	c := config.Default()
	c.Data, c.Dev, c.Listen, c.MetricsListen = data, true, "127.0.0.1:0", config.Off
	s := newService(a, c, &serverOptions{})
	if err := s.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	return programtest.MetricNames(s.metrics)
}

func TestDeployedMetricsExist(t *testing.T) {
	names := exported(t)
	for file, least := range map[string]int{
		"../../deploy/prometheus/keyreeve.rules.yml": 10,
		"../../deploy/prometheus/keyreeve.test.yml":  10,
		"../../deploy/grafana/keyreeve.json":         15,
	} {
		if used := programtest.MetricsExist(t, file, names); len(used) < least {
			t.Errorf("%s names only %d metrics", file, len(used))
		}
	}
	for _, wrong := range []string{"keyreeve_kmip_operation_total", "keyreeve_audit"} {
		if names[wrong] {
			t.Errorf("%s exists: this test can find nothing", wrong)
		}
	}
}

func TestGrafanaBoard(t *testing.T) { programtest.CheckBoard(t, "../../deploy/grafana/keyreeve.json") }

// TestUnitGivesTheServerWhatItNeeds: the variables in it are settings, and the
// exit codes after which it is not started again are those that a restart does
// not mend.
func TestUnitGivesTheServerWhatItNeeds(t *testing.T) {
	data, err := os.ReadFile("../../deploy/systemd/keyreeve.service")
	if err != nil {
		t.Fatal(err)
	}
	variables := regexp.MustCompile(`KEYREEVE_[A-Z_]+`).FindAllString(string(data), -1)
	if len(variables) < 2 {
		t.Errorf("variables: %v", variables)
	}
	known := map[string]bool{}
	for _, name := range config.Names() {
		known[config.Env(name)] = true
	}
	for _, v := range variables {
		if !known[v] {
			t.Errorf("%s is no setting", v)
		}
	}
	for _, line := range []string{"LogsDirectory=keyreeve", "ReadWritePaths=-/var/backups/keyreeve"} { // where deploy/keyreeve.yaml sends people
		if !strings.Contains(string(data), "\n"+line+"\n") {
			t.Errorf("no line %q: the folder cannot be written to", line)
		}
	}
	if !strings.Contains(string(data), "\nRestartPreventExitStatus=2 3 4 7 8 9\n") ||
		exitUsage != 2 || exitNoStore != 3 || exitRefused != 4 || exitWrongKey != 7 || exitDamaged != 8 || exitRolledBack != 9 {
		t.Error("the exit codes in the unit are not ours")
	}
}
