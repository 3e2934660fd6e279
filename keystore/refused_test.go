package keystore_test

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// A refusal is a change that was refused before the store was asked.
type refusal struct{ err error }

func (r refusal) Run(b *keystore.Batch) error { _ = b.Do(kt.ChangeOp, r); return nil }
func (r refusal) Apply(*keystore.Tx) error    { return r.err }

// groups is how often the writer has run.
func groups(t *testing.T, g prometheus.Gatherer) uint64 {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == "keyreeve_store_group_messages" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no such metric")
	return 0
}

// TestRefusedChangeIsARead: a message that the caller says changes nothing does
// not occupy the one writer for a change that writes nothing.
func TestRefusedChangeIsARead(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := keystore.NewMetrics(registry)
	r := newRig(t, func(c *keystore.Config) { c.Metrics = metrics })
	before := groups(t, registry)
	must(t, r.Store.Do(ctx, kt.Alice, false, refusal{errors.New("malformed")}))
	if n := groups(t, registry) - before; n != 0 {
		t.Errorf("the writer ran %d groups for a refused change", n)
	}
}
