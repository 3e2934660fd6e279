package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/policy"
)

// An event that changes only whom the limit lets through first is no reason for a
// pass before its time: with many events there would be no limit.
func TestDrift(t *testing.T) {
	action := func(ref string) policy.Action { return policy.Action{Ref: ref, Op: policy.EncryptOp} }
	held := func(ref string, reasons ...policy.Reason) policy.Held {
		h := policy.Held{Action: action(ref)}
		for _, r := range reasons {
			h.Because = append(h.Because, policy.Because{Reason: r})
		}
		return h
	}
	before := &policy.Plan{Actions: []policy.Action{action("done")}, Held: []policy.Held{held("later", policy.Limit), held("on", policy.PoweredOn), held("both", policy.PoweredOn, policy.Limit)}}
	now := &policy.Plan{Actions: []policy.Action{action("done"), action("later"), action("on"), action("both"), action("new")}}
	var got []string
	for _, a := range drift(before, now) {
		got = append(got, a.Ref)
	}
	if want := "[on both new]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// Passes before their time are apart, however many events there are.
func TestActsApart(t *testing.T) {
	w, now := &watch{}, time.Unix(1_700_000_000, 0)
	for i, want := range []time.Duration{settling, settling + actEvery, settling + 2*actEvery} {
		if got := w.actAfter(now); got != want {
			t.Errorf("event %d: a pass after %s, want %s", i, got, want)
		}
	}
	if got := w.actAfter(now.Add(time.Hour)); got != settling {
		t.Errorf("later: after %s", got)
	}
}
