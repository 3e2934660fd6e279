package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/internal/config"
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
	descriptions := make(chan *prometheus.Desc, 1000)
	s.metrics.Describe(descriptions)
	close(descriptions)
	names := map[string]bool{"up": true}
	for d := range descriptions {
		names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\b(?:keyreeve|process|go)_[a-z0-9_]+\b`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// TestDeployedMetricsExist: an alert on a name with a mistake in it never fires.
func TestDeployedMetricsExist(t *testing.T) {
	names := exported(t)
	for file, least := range map[string]int{
		"../../deploy/prometheus/keyreeve.rules.yml": 10,
		"../../deploy/prometheus/keyreeve.test.yml":  10,
		"../../deploy/grafana/keyreeve.json":         15,
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for _, name := range metricName.FindAllString(string(data), -1) {
			if !names[name] && !names[suffix.ReplaceAllString(name, "")] {
				t.Errorf("%s names %s, which no server has", file, name)
			}
			used[name] = true
		}
		if len(used) < least {
			t.Errorf("%s names only %d metrics", file, len(used))
		}
	}
	for _, wrong := range []string{"keyreeve_kmip_operation_total", "keyreeve_audit"} {
		if names[wrong] {
			t.Errorf("%s exists: this test can find nothing", wrong)
		}
	}
}

// TestGrafanaBoard: it is JSON, each panel has a title and a query, and no two
// panels lie on each other.
func TestGrafanaBoard(t *testing.T) {
	data, err := os.ReadFile("../../deploy/grafana/keyreeve.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range board.Panels {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: no title or query, an ID twice, or too far right", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, "keyreeve") && !strings.Contains(target.Expr, "process_") {
				t.Errorf("panel %q asks %q", p.Title, target.Expr)
			}
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := taken[at]; other != "" {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
	if len(board.Panels) < 10 || board.Title == "" || board.UID == "" {
		t.Errorf("a board of %d panels", len(board.Panels))
	}
}

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
