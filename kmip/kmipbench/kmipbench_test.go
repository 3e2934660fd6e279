package kmipbench_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/kmip/kmipbench"
	"github.com/keyreeve/keyreeve/kmip/kmipclient"
	"github.com/keyreeve/keyreeve/kmip/kmiptest"
)

func bench(t *testing.T, server *kmiptest.Server, change func(*kmipbench.Config)) ([]kmipbench.Result, int, error) {
	t.Helper()
	config, err := server.ClientTLS("bench")
	if err != nil {
		t.Fatal(err)
	}
	cfg := kmipbench.Config{
		Addr: server.Addr(), TLS: config, Operations: kmipbench.Operations, Connections: []int{1, 3}, Echo: true,
		Warmup: 5 * time.Millisecond, Duration: 60 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	return kmipbench.Run(t.Context(), cfg)
}

// live returns how many keys are not destroyed.
func live(t *testing.T, store *kmiptest.Store) (n int) {
	t.Helper()
	server := kmiptest.Start(t, store.Operations, kmiptest.Options{})
	config, err := server.ClientTLS("bench")
	if err != nil {
		t.Fatal(err)
	}
	c, err := kmipclient.Dial(t.Context(), server.Addr(), kmipclient.Config{TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, err := c.Locate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range all {
		if key, err := c.Get(t.Context(), uid); err == nil {
			key.Clear()
			n++
		}
	}
	return n
}

// TestRunMeasuresAndLeavesNothing: every operation is measured, and no key is
// left behind; a second run on the same server is as good.
func TestRunMeasuresAndLeavesNothing(t *testing.T) {
	server, store := kmiptest.NewServer(t, kmiptest.Options{})
	for range 2 {
		var calls atomic.Int64
		results, keys, err := bench(t, server, func(c *kmipbench.Config) {
			c.CPU = func() (time.Duration, error) { return time.Duration(calls.Add(1)) * time.Second, nil }
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 * (len(kmipbench.Operations) + 1); len(results) != want || keys < 100 {
			t.Errorf("%d results, want %d; %d keys", len(results), want, keys)
		}
		for _, r := range results {
			if r.Count == 0 || r.PerSecond <= 0 || r.P50 <= 0 || r.P50 > r.P95 || r.P95 > r.P99 || r.P99 > r.Max {
				t.Errorf("%+v", r)
			}
			if ratio := r.Operation != "handshake" && r.Operation != "vcenter"; ratio != (r.OfEcho > 0) {
				t.Errorf("%s: %v of echo", r.Operation, r.OfEcho)
			}
			if (r.CPU > 0) != (r.Operation != kmipbench.Echo) {
				t.Errorf("%s: %v processor time", r.Operation, r.CPU)
			}
		}
	}
	if n := live(t, store); n != 0 {
		t.Errorf("%d keys are left behind", n)
	}
}

// TestBrokenOffRunLeavesNothing either.
func TestBrokenOffRunLeavesNothing(t *testing.T) {
	server, store := kmiptest.NewServer(t, kmiptest.Options{})
	config, err := server.ClientTLS("bench")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, keys, err := kmipbench.Run(ctx, kmipbench.Config{
		Addr: server.Addr(), TLS: config, Operations: []string{"create", "get"}, Connections: []int{2},
		Duration: 50 * time.Millisecond, Report: func(kmipbench.Result) { cancel() },
	})
	if !errors.Is(err, context.Canceled) || keys <= 100 {
		t.Errorf("%d keys, %v", keys, err)
	}
	if n := live(t, store); n != 0 {
		t.Errorf("%d keys are left behind", n)
	}
}

// TestRunRefusesAGroupWithKeys: they are somebody's.
func TestRunRefusesAGroupWithKeys(t *testing.T) {
	server, _ := kmiptest.NewServer(t, kmiptest.Options{})
	config, err := server.ClientTLS("bench")
	if err != nil {
		t.Fatal(err)
	}
	c, err := kmipclient.Dial(t.Context(), server.Addr(), kmipclient.Config{TLS: config})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	uid, err := c.Create(t.Context(), kmipclient.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, keys, err := bench(t, server, nil); !errors.Is(err, kmipbench.ErrNotEmpty) || keys != 0 {
		t.Errorf("%d keys, %v", keys, err)
	}
	if key, err := c.Get(t.Context(), uid); err != nil {
		t.Errorf("the key is gone: %v", err)
	} else {
		key.Clear()
	}
}
