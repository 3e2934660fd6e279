package main

import (
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/policy"
)

// What is gone is not counted any more, and nothing is counted twice.
func TestSeenMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newSeenMetrics(reg)
	day := time.Unix(1_700_000_000, 0)
	use := func(provider string, made time.Time) inventory.KeyUse {
		return inventory.KeyUse{Key: inventory.Key{Provider: provider, ID: made.String()}, Made: made}
	}
	held := func(path string, reasons ...policy.Reason) policy.Held {
		h := policy.Held{Action: policy.Action{Path: path}}
		for _, r := range reasons {
			h.Because = append(h.Because, policy.Because{Reason: r})
		}
		return h
	}
	m.machines(&inventory.Snapshot{VMs: []inventory.VM{{Locked: true}, {}, {Locked: true}}})
	m.keys(inventory.Usage{Keys: []inventory.KeyUse{use("gone", day)}})
	m.plan(&policy.Plan{Held: []policy.Held{held("/a", policy.Limit)}})
	m.keys(inventory.Usage{Keys: []inventory.KeyUse{use("a", day.Add(9)), use("a", day), use("a", day.Add(time.Hour)), use("unknown", time.Time{})}})
	m.plan(&policy.Plan{
		Held:   []policy.Held{held("/a", policy.NoBackup, policy.KeyMissing, policy.KeyMissing), held("/b", policy.NoBackup)},
		Alarms: []policy.Alarm{{Path: "/a", Because: policy.Because{Reason: policy.KeyMissing}}, {Path: "/c", Because: policy.Because{Reason: policy.KeyMissing}}},
	})
	got := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(got, httptest.NewRequest("GET", "/metrics", nil))
	want := `keyreeve_agent_held_machines{reason="key-missing"} 2
keyreeve_agent_held_machines{reason="no-backup"} 2
keyreeve_agent_locked_machines 2
keyreeve_agent_oldest_key_timestamp_seconds{provider="a"} 1.7e+09
`
	if samples := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(got.Body.String(), ""); samples != want {
		t.Errorf("%s", samples)
	}
}
