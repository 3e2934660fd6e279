package keystore

import (
	"fmt"
	"slices"
)

// What a report's time may be, in seconds, beside the store's clock. What lies
// outside is believed in what it names, and releases nothing.
const (
	maxReportAhead = 5 * 60
	maxReportAge   = 60 * 60
)

// maxRetired is how many installations of an agent are remembered after they
// were replaced.
const maxRetired = 16

// A verdict is how a report is to be taken.
type verdict struct {
	again   bool     // it was taken before
	fresh   bool     // from another installation of the agent than the last
	broken  bool     // it does not follow the last: earlier complete reports count no more
	reasons []string // why it releases nothing; none: it is complete
}

// judge compares a report's header with the last one's. An error refuses the
// report as a whole: who sent it cannot be believed. A doubt about its time or
// its completeness is no error: what it names is in use all the same.
func (v *vcenter) judge(r *InventoryReport, now int64) (d verdict, err error) {
	switch {
	case v.Removing:
		return d, fmt.Errorf("%w: vCenter %s is being removed; if it is still there, an operator has to finish that and assign it anew", ErrReport, v.ID)
	case r.Agent != v.Agent: // forged: a valid certificate, but of another vCenter's agent
		return d, fmt.Errorf("%w: vCenter %s is reported by agent %q, not by %q; an operator can assign it anew", ErrReport, v.ID, v.Agent, r.Agent)
	case r.Number == 0 || r.Number > maxReportNumber:
		return d, fmt.Errorf("%w: number %d is not between 1 and %d", ErrReport, r.Number, uint64(maxReportNumber))
	case r.Instance == UID{}:
		return d, fmt.Errorf("%w: it does not say which installation of the agent it is from", ErrReport)
	case len(r.Entries) > maxReportEntries:
		return d, fmt.Errorf("%w: %d entries, at most %d are taken", ErrReport, len(r.Entries), maxReportEntries)
	case slices.Contains(v.retired, r.Instance): // a clone, or an old one started again
		return d, fmt.Errorf("%w: another installation of agent %q has taken over from %s; stop one of them, and give the other a new state", ErrReport, v.Agent, r.Instance)
	}
	if d.fresh = v.Number != 0 && r.Instance != v.instance; !d.fresh {
		if err := v.judgeNumber(r, &d); err != nil || d.again {
			return d, err
		}
	}
	d.broken = d.broken || d.fresh
	d.reasons = append(cleanAll(r.Partial), v.doubts(r, now)...)
	return d, nil
}

// judgeNumber: what goes back is a replay or an agent's old state; what jumps
// has left out a report that may have named a key.
func (v *vcenter) judgeNumber(r *InventoryReport, d *verdict) error {
	switch {
	case v.Number != 0 && r.Number == v.Number && r.Digest == v.digest:
		d.again = true
	case r.Number == v.Number:
		return fmt.Errorf("%w: report %d was taken already, with other content; two agents may share one state", ErrReport, r.Number)
	case r.Number < v.Number:
		return fmt.Errorf("%w: number %d is not after %d, the last one taken; if the agent was restored from a backup, give it a new state", ErrReport, r.Number, v.Number)
	}
	d.broken = r.Number > v.Number+1
	return nil
}

// doubts are the server's own reasons to take a report as partial.
func (v *vcenter) doubts(r *InventoryReport, now int64) (reasons []string) {
	switch {
	case r.Time > now+maxReportAhead:
		reasons = append(reasons, fmt.Sprintf("the agent's clock is %d s ahead of the server's", r.Time-now))
	case r.Time < now-maxReportAge:
		reasons = append(reasons, fmt.Sprintf("it was made %d s ago by the server's clock", now-r.Time))
	case v.Number != 0 && r.Time <= v.Time: // one look sent twice is no second look
		reasons = append(reasons, "it was not made after the last report")
	}
	return reasons
}

// released tells whether a key that reports stopped naming is released by a
// complete report that makes the epoch: it was absent from two complete reports
// in a row. absent is the first epoch without it, run the one with which the
// unbroken row began.
func released(absent, run, epoch uint64) bool {
	return absent != 0 && epoch > max(absent, run)
}

// window is how long releases are added up, in seconds, so that a large shrink
// in slices is a large shrink.
const window = 24 * 60 * 60

// Releases that need no person in a window: a tenth of what was in use when it
// began, or freeReleases if that is more.
const (
	freeReleases = 2
	freeShare    = 10
)

// large tells whether releasing n more keys needs a person. It always does when
// the report names no key at all: that nothing is encrypted any more and that
// the agent sees nothing any more look the same.
func (v *vcenter) large(n, named int, now int64) bool {
	v.turn(now)
	return n > 0 && (named == 0 || v.freed+uint64(n) > max(freeReleases, v.base/freeShare))
}

// turn begins a new window when the last one is over. Keys that the store does
// not have, and those of other groups, count for nothing: an agent that lies
// could name as many as it likes, and have a tenth of them in real ones.
func (v *vcenter) turn(now int64) {
	if v.since == 0 || now-v.since >= window {
		v.since, v.base, v.freed = now, v.Keys-min(v.Keys, v.Missing+v.Foreign), 0
	}
}

// accept writes the report's header down.
func (v *vcenter) accept(r *InventoryReport, d verdict, now int64) {
	if d.fresh {
		v.retired = append(v.retired, v.instance)
		v.retired = v.retired[max(0, len(v.retired)-maxRetired):]
	}
	v.instance, v.Number, v.digest = r.Instance, r.Number, r.Digest
	v.Time, v.Received = min(r.Time, now), now // a clock that was ahead must not keep later reports out
	v.Reasons, v.Entries, v.Providers = d.reasons, uint64(len(r.Entries)), cleanAll(r.Providers)
	v.Waiting = 0
	if len(d.reasons) > 0 {
		v.run = v.epoch + 1
		return
	}
	v.epoch++
	v.Complete = now
	if d.broken || v.run == 0 {
		v.run = v.epoch
	}
}
