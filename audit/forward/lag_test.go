package forward_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/audit/forward"
	"github.com/keyreeve/keyreeve/internal/logbuf"
)

// moody is a sink that takes nothing while it is down.
type moody struct {
	down  atomic.Bool
	tries atomic.Int64
	end   audit.Position

	checkpoints int
	meanwhile   func() // while it takes nothing
}

func (m *moody) Send(_ context.Context, _ audit.Line, lines []audit.Line, end audit.Position) error {
	m.tries.Add(1)
	if m.down.Load() {
		if m.meanwhile != nil {
			m.meanwhile()
		}
		return errors.New("the sink is down")
	}
	m.end = end
	for i := range lines {
		if lines[i].Type == audit.LineCheckpoint {
			m.checkpoints++
		}
	}
	return nil
}

func (m *moody) Settled() (audit.Position, error) { return m.end, nil }
func (m *moody) Close() error                     { return nil }

// A sink that is away is tried with growing pauses, the lag is measured, and when it is long that is said in time.
func TestLagIsLoud(t *testing.T) {
	b := newBench(t)
	b.append(t, 5)
	var log logbuf.Buffer
	registry := prometheus.NewRegistry()
	lag := func() string {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, f := range families {
			if strings.HasSuffix(f.GetName(), "lag_entries") {
				out.WriteString(f.GetMetric()[0].String())
			}
		}
		return out.String()
	}
	synctest.Test(t, func(t *testing.T) {
		sink := &moody{}
		sink.down.Store(true)
		f, err := forward.New(forward.Config{
			Name: "moody", Journal: b.j, Store: storeID, Sink: sink, Position: filepath.Join(b.dir, "position"),
			Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: forward.NewMetrics(registry),
		})
		if err != nil {
			t.Fatal(err)
		}
		run(f, func() {
			pass(14 * time.Minute)
			if n := sink.tries.Load(); n > 25 || n < 10 {
				t.Errorf("%d tries in 14 minutes", n)
			}
			if strings.Contains(log.String(), "far behind") || !strings.Contains(log.String(), "the sink is down") {
				t.Errorf("after 14 minutes the log says:\n%s", log.String())
			}
			pass(3 * time.Minute)
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(lag(), "value:10") {
				t.Errorf("after 17 minutes: %d errors, lag %s", n, lag())
			}
			sink.down.Store(false)
			pass(2 * time.Minute)
			if !strings.Contains(log.String(), "caught up") || f.Settled() != 10 {
				t.Errorf("after it came back %d are settled:\n%s", f.Settled(), log.String())
			}
		})
	})
	if families, err := registry.Gather(); err != nil || len(families) != 4 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

// However long a sink is away, only so many checkpoints wait for it, also those that it was offered already.
func TestCheckpointsDoNotPileUp(t *testing.T) {
	b := newBench(t)
	b.append(t, 5)
	synctest.Test(t, func(t *testing.T) {
		sink := &moody{}
		sink.down.Store(true)
		f := b.forwarder(t, sink)
		sink.meanwhile = func() {
			for seq := range uint64(100) {
				f.Publish(audit.Checkpoint{Position: audit.Position{Seq: seq%10 + 1}})
			}
		}
		run(f, func() {
			pass(10 * time.Minute)
			sink.down.Store(false)
			pass(2 * time.Minute)
		})
		if n := sink.checkpoints; n == 0 || n > 64 {
			t.Errorf("%d checkpoints were sent, want at most 64", n)
		}
	})
}

// pass lets time go by in a bubble, and then all that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
