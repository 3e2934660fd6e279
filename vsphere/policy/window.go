package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Window is a time of the week, in the policy's time zone. One that ends
// before it begins ends on the day after.
type Window struct {
	Days     [7]bool // by time.Weekday, on which it begins
	From, To int     // minutes of the day
}

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

var errWindow = errors.New("not a window")

// parseWindow reads such as "fri,sat 22:00-04:00".
func parseWindow(s string) (w Window, err error) {
	names, hours, ok := strings.Cut(s, " ")
	from, to, ok2 := strings.Cut(strings.TrimSpace(hours), "-")
	if !ok || !ok2 {
		return w, errWindow
	}
	for name := range strings.SplitSeq(names, ",") {
		if err := w.add(name); err != nil {
			return w, err
		}
	}
	if w.From, err = minutes(from); err != nil {
		return w, err
	}
	if w.To, err = minutes(to); err == nil && w.From == w.To {
		err = errWindow
	}
	return w, err
}

func minutes(text string) (int, error) {
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err
}

func (w *Window) add(name string) error {
	if name == "daily" {
		w.Days = [7]bool{true, true, true, true, true, true, true}
		return nil
	}
	first, last, span := strings.Cut(name, "-")
	i, j := slices.Index(days, first), slices.Index(days, last)
	if !span {
		j = i
	}
	if i < 0 || j < 0 {
		return fmt.Errorf("%w: %q is no day", errWindow, name)
	}
	for ; ; i = (i + 1) % 7 {
		if w.Days[i] = true; i == j {
			return nil
		}
	}
}

// contains tells whether a moment is in the window.
func (w *Window) contains(t time.Time) bool {
	day, minute := t.Weekday(), t.Hour()*60+t.Minute()
	if w.From < w.To {
		return w.Days[day] && minute >= w.From && minute < w.To
	}
	return w.Days[day] && minute >= w.From || w.Days[(day+6)%7] && minute < w.To
}

// inWindow tells whether something may be done now. A policy without windows
// has no bad time.
func (p *Policy) inWindow(now time.Time) bool {
	local := now.In(p.Zone)
	return len(p.Windows) == 0 || slices.ContainsFunc(p.Windows, func(w Window) bool { return w.contains(local) })
}
