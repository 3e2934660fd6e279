package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/claim"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

// A lease is a vCenter that this agent has claimed.
type lease struct {
	claim *claim.Claim
	work  context.Context // ends when it is lost
	stop  func()          // ends its renewal
	state *state          // that was opened for it; nil: run's
}

// alone returns do as it is to be done where it changes anything: only while this
// agent is the active one of the vCenter, which it then stays until the link is
// closed. Without a vCenter, or where nothing is changed in it, there is nothing
// to claim.
func (l *link) alone(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if l.config.VCenter == nil || l.config.Mode == session.Observe {
			return do(ctx)
		}
		if err := l.claim(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		work := l.lease.work
		defer context.AfterFunc(work, func() { cancel(context.Cause(work)) })()
		err := do(ctx)
		if lost := context.Cause(work); err != nil && errors.Is(lost, claim.ErrLost) {
			return lost // and therefore all that do tells
		}
		return err
	}
}

// claim makes this agent the active one, unless it is.
func (l *link) claim(ctx context.Context) error {
	if l.lease != nil && l.lease.work.Err() == nil {
		return nil
	}
	l.release(ctx)
	opened, err := l.openState()
	if err != nil {
		return err
	}
	c, err := l.claimer(ctx)
	if err == nil {
		err = l.acquire(ctx, c)
	}
	if err != nil {
		l.closeState(opened)
		return err
	}
	l.lease = &lease{claim: c, state: opened}
	l.lease.work, l.lease.stop = c.Keep(context.WithoutCancel(ctx)) // until release
	return nil
}

func (l *link) acquire(ctx context.Context, c *claim.Claim) error {
	acquire := c.Acquire
	if l.over {
		acquire = c.TakeOver
	}
	held, other, err := acquire(ctx)
	if err != nil || held {
		return err
	}
	hint := "end it, and this one goes on; if it is dead, keyreeve-agent apply --take-over does not wait, nor does who removes the custom attribute " + claim.Attribute
	if !other.Until.IsZero() {
		hint = fmt.Sprintf("it has the vCenter until %s unless it renews that; %s", other.Until.Format(time.RFC3339), hint)
	}
	return &failure{Code: exitInUse, Err: fmt.Errorf("another agent is active at this vCenter: %s", program.Printable(other.String())), Hint: hint}
}

// claimer is this agent's claim of the vCenter. Its lease is two of run's rounds:
// long enough that a restart of vCenter ends none, and that renewing it leaves
// few entries among vCenter's events.
func (l *link) claimer(ctx context.Context) (*claim.Claim, error) {
	s, err := l.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	r, err := readReports(l.config.StateDir)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for this machine's name: %w", err)
	}
	return claim.New(claim.Config{Client: s.Client(), Agent: r.Instance, Host: host, Lease: 2 * l.config.Run.Every, Now: l.app.now, Logger: l.logger}), nil
}

// openState opens the folder for a link that has not: two agents of one machine
// and folder have one name, and would both take the claim for theirs.
func (l *link) openState() (opened *state, err error) {
	if l.state == nil {
		if opened, err = openState(l.config.StateDir); err != nil {
			return nil, err
		}
		l.state = opened
	}
	if _, err = l.state.instance(); err != nil {
		l.closeState(opened)
		return nil, err
	}
	return opened, nil
}

func (l *link) closeState(opened *state) {
	if opened != nil {
		opened.close()
		l.state = nil
	}
}

// release gives the vCenter to whoever comes next.
func (l *link) release(ctx context.Context) {
	if l.lease == nil {
		return
	}
	l.lease.stop()
	if err := l.lease.claim.Release(ctx); err != nil {
		l.logger.Warn("the vCenter stays claimed until the lease ends", "err", err)
	}
	l.closeState(l.lease.state)
	l.lease = nil
}

// holder is who else is active at the vCenter; nil: nobody.
func (l *link) holder(ctx context.Context) (*claim.Holder, error) {
	c, err := l.claimer(ctx)
	if err != nil {
		return nil, err
	}
	h, err := c.Look(ctx)
	if err != nil || h == nil || c.Is(*h) {
		return nil, err
	}
	return h, nil
}

// another names the other agent that is active; empty: there is none.
func (l *link) another(ctx context.Context) (string, error) {
	h, err := l.holder(ctx)
	if err != nil || h == nil {
		return "", err
	}
	return h.String(), nil
}

// planClaim says in a plan who keeps apply from what the plan says.
func (l *link) planClaim(ctx context.Context, p *plan) error {
	if l.config.VCenter == nil || l.config.Mode == session.Observe {
		return nil
	}
	h, err := l.holder(ctx)
	if err == nil && h != nil {
		p.add("agent", isWarning, fmt.Sprintf("another agent is active at this vCenter: %s", program.Printable(h.String())))
	}
	return err
}
