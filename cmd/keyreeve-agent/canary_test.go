package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// What is good is asked for again when its time is over, what is bad soon, and
// before a change a plan's answer may be too old.
func TestPulse(t *testing.T) {
	var p pulse
	asked, bad := 0, error(nil)
	ask := func(context.Context) error { asked++; return bad }
	start := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct {
		after time.Duration
		every time.Duration
		bad   error
		asked int
	}{
		{0, 10 * time.Minute, nil, 1}, {9 * time.Minute, 10 * time.Minute, nil, 1}, {9 * time.Minute, time.Minute, nil, 2},
		{18 * time.Minute, 10 * time.Minute, errors.New("bad"), 2}, {19 * time.Minute, 10 * time.Minute, errors.New("bad"), 3},
		{19*time.Minute + 59*time.Second, 10 * time.Minute, nil, 3}, {20 * time.Minute, 10 * time.Minute, nil, 4}, {21 * time.Minute, 10 * time.Minute, nil, 4},
	} {
		bad = tc.bad
		err := p.check(t.Context(), start.Add(tc.after), time.Minute, tc.every, ask)
		if asked != tc.asked || asked == 3 && err == nil {
			t.Errorf("after %s: asked %d times, want %d; %v", tc.after, asked, tc.asked, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	bad = context.Canceled
	if err := p.check(ended, start.Add(time.Hour), time.Minute, time.Minute, ask); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	bad = nil
	if err := p.check(t.Context(), start.Add(time.Hour), time.Minute, time.Minute, ask); err != nil {
		t.Errorf("that somebody broke off is remembered: %v", err)
	}
}
