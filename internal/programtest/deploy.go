package programtest

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	fqName     = regexp.MustCompile(`fqName: "([^"]+)"`)
	metricName = regexp.MustCompile(`\b(?:keyreeve|process|go)_[a-z0-9_]+\b`)
	suffix     = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// MetricNames are the names of all metrics of a program, those too that count
// nothing yet.
func MetricNames(c prometheus.Collector) map[string]bool {
	descriptions := make(chan *prometheus.Desc)
	go func() { c.Describe(descriptions); close(descriptions) }()
	names := map[string]bool{}
	for d := range descriptions {
		names[fqName.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

// MetricsExist holds a file of rules, their tests, or a board against the names
// that a program has: an alert on a name with a mistake in it never fires. It
// returns those that the file uses.
func MetricsExist(t testing.TB, file string, names map[string]bool) (used map[string]bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	used = map[string]bool{}
	for _, name := range metricName.FindAllString(string(data), -1) {
		base := name
		if !names[base] {
			base = suffix.ReplaceAllString(name, "")
		}
		if !names[base] {
			t.Errorf("%s names %s, which the program does not have", file, name)
		}
		used[base] = true
	}
	return used
}

// A Board is what we look at of a Grafana board.
type Board struct {
	Title, UID string
	Panels     []Panel
}

// A Panel is one of its panels.
type Panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

var asked = regexp.MustCompile(`\b(keyreeve|process)_[a-z0-9_]+\{instance=~"\$instance"`)

// CheckBoard holds a board to be JSON with panels that have a title and ask for
// the chosen instances, and of which none lies on another.
func CheckBoard(t testing.TB, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board Board
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
			if !asked.MatchString(target.Expr) {
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
