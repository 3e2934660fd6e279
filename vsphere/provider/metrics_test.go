package provider

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A server or provider that was removed is not told of any more: an alert about
// it would never end.
func TestMetricsOfWhatIsGone(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	up := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "keyreeve_agent_provider_server_up" {
				n = len(f.GetMetric())
			}
		}
		return n
	}
	m.observed(Observed{Name: "a", Servers: []ServerState{{Name: "1"}, {Name: "2"}}})
	m.observed(Observed{Name: "b", Servers: []ServerState{{Name: "1"}}})
	m.forget("a")
	m.observed(Observed{Name: "a", Servers: []ServerState{{Name: "2"}}})
	if n := up(); n != 2 {
		t.Errorf("of two servers %d are told", n)
	}
	if m.forget(""); up() != 0 {
		t.Errorf("after all are gone %d are told", up())
	}
}
