package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// Attribute is the name of the custom attribute.
const Attribute = "keyreeve.agent"

// Errors of a Claim.
var (
	// ErrLost is wrapped when a lease that was held is not any more: it was not
	// renewed in time, or somebody took over.
	ErrLost = errors.New("this agent is no longer the active one of the vCenter")
	// ErrPrivilege is wrapped when the account may not claim. The text names the
	// privilege.
	ErrPrivilege = errors.New("the account lacks a privilege that claiming the vCenter needs")
)

// Config says who claims what.
type Config struct {
	Client *vim25.Client // logged in
	Agent  string        // UUID of the installation
	Host   string        // where it runs, for people
	Lease  time.Duration // how long a holder that is silent holds; 0: 20 minutes
	Now    func() time.Time
	Logger *slog.Logger // nil discards
}

// A Claim is one agent's. Its methods may be called from several goroutines.
type Claim struct {
	cfg   Config
	store store

	mu    sync.Mutex
	held  bool
	key   int32     // of the definition, while held
	begun time.Time // when the lease was last written, by our own clock
}

// New returns a Claim, which is not held.
func New(cfg Config) *Claim {
	if cfg.Lease <= 0 {
		cfg.Lease = 20 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Claim{cfg: cfg, store: &vcenter{cfg.Client}}
}

const (
	// settle is how long one who has made the definition may take to write who
	// he is. One who takes longer gives up: others have the right to remove it.
	settle = 10 * time.Second
	pause  = settle / 20 // between two looks meanwhile
	// patience is how long one claims before he says that others are at it.
	patience = 3 * settle
	// attempt is how long a look may take before the next.
	attempt = time.Minute
)

// Look returns who holds the vCenter, this agent too; nil: nobody does. It
// changes nothing.
func (c *Claim) Look(ctx context.Context) (*Holder, error) {
	defs, now, err := c.store.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking who holds the vCenter: %w", err)
	}
	return holderOf(defs, now), nil
}

// Is tells whether a holder is this agent.
func (c *Claim) Is(h Holder) bool { return h.Agent == c.cfg.Agent && h.Host == c.self().Host }

// Acquire claims the vCenter. A lease that has ended is inherited, and an
// earlier one of this agent is replaced. held is false when another one has it:
// other says who.
func (c *Claim) Acquire(ctx context.Context) (held bool, other Holder, err error) {
	return c.acquire(ctx, false)
}

// TakeOver claims the vCenter whoever holds it: a person has decided that. The
// one who held it goes on until its next look.
func (c *Claim) TakeOver(ctx context.Context) (held bool, other Holder, err error) {
	return c.acquire(ctx, true)
}

func (c *Claim) acquire(ctx context.Context, over bool) (held bool, other Holder, err error) {
	silent := map[int32]time.Time{}
	last := errTaken
	for begun := c.cfg.Now(); c.cfg.Now().Sub(begun) < patience; {
		taken, err := c.once(ctx, silent, over)
		switch {
		case taken != nil:
			return false, *taken, nil
		case err == nil:
			return true, other, nil
		case !errors.Is(err, errTaken) && !errors.Is(err, errGone):
			return false, other, fmt.Errorf("claiming the vCenter: %w", err)
		}
		last = err
		if err := ctxtime.Sleep(ctx, pause); err != nil {
			return false, other, err
		}
	}
	return false, other, fmt.Errorf("claiming the vCenter: somebody else is at it, too: %w", last)
}

// once tries to claim. silent says when definitions without a word were first
// seen. The error wraps errTaken or errGone when it may be tried again.
func (c *Claim) once(ctx context.Context, silent map[int32]time.Time, over bool) (taken *Holder, err error) {
	began := c.cfg.Now() // before vCenter is asked for its time: we count from earlier than all others do
	defs, now, err := c.store.look(ctx)
	if err != nil {
		return nil, err
	}
	var waited []int32
	for key, seen := range silent {
		if began.Sub(seen) >= settle {
			waited = append(waited, key)
		}
	}
	d := judge(defs, c.self(), now, waited, over)
	for _, key := range d.wait {
		if silent[key].IsZero() {
			silent[key] = c.cfg.Now()
		}
	}
	switch {
	case d.taken != nil:
		return d.taken, nil
	case len(d.wait) > 0:
		return nil, errTaken
	}
	return nil, c.take(ctx, d.remove, now, began)
}

// take makes the definition ours.
func (c *Claim) take(ctx context.Context, ended []int32, now, began time.Time) error {
	for _, key := range ended {
		if err := c.store.remove(ctx, key); err != nil && !errors.Is(err, errGone) {
			return fmt.Errorf("removing a lease that has ended: %w", err)
		}
	}
	added := c.cfg.Now()
	key, err := c.store.add(ctx)
	if err != nil {
		return err
	}
	if err := c.write(ctx, key, now); err != nil {
		return err
	}
	wrote := c.cfg.Now()
	defs, _, err := c.store.look(ctx)
	switch {
	case err != nil:
		return err
	case !only(defs, key), wrote.Sub(added) >= settle, c.cfg.Now().Sub(began) >= c.span():
		_ = c.store.remove(ctx, key) // we yield; if that fails, the others wait for the lease to end
		return errGone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.key, c.begun = true, key, began
	return nil
}

func only(defs []def, key int32) bool { return len(defs) == 1 && defs[0].key == key }

// write says who we are. now is vCenter's time.
func (c *Claim) write(ctx context.Context, key int32, now time.Time) error {
	h := c.self()
	h.Until = now.Add(c.cfg.Lease).UTC()
	return c.store.set(ctx, key, h.text())
}

func (c *Claim) self() Holder { return Holder{Agent: c.cfg.Agent, Host: short(c.cfg.Host)} }

// span is how long we ourselves count on a lease.
func (c *Claim) span() time.Duration { return c.cfg.Lease / 10 * 9 }

// Until is when the lease ends by our own clock unless it is renewed; the zero
// time when it is not held.
func (c *Claim) Until() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		return time.Time{}
	}
	return c.begun.Add(c.span())
}

// Renew looks whether the vCenter is still ours, and writes the lease anew when
// a third of it is over. It wraps ErrLost when it is not ours any more; any
// other error says that this is not known, and leaves the lease as it was.
func (c *Claim) Renew(ctx context.Context) error {
	c.mu.Lock()
	held, key, begun := c.held, c.key, c.begun
	c.mu.Unlock()
	began := c.cfg.Now()
	if !held || began.Sub(begun) >= c.span() {
		return c.lose("it was not renewed in time")
	}
	ctx, cancel := context.WithTimeout(ctx, c.span()-began.Sub(begun)) // after that, others may have inherited it
	defer cancel()
	looking, cancel := context.WithTimeout(ctx, attempt) // the write has no such end: repeated, the first could arrive last
	defer cancel()
	defs, now, err := c.store.look(looking)
	if err != nil {
		return fmt.Errorf("renewing the claim of the vCenter: %w", err)
	}
	if !only(defs, key) {
		return c.lose(whoTook(defs, now))
	}
	if began.Sub(begun) < c.cfg.Lease/3 {
		return nil
	}
	switch err := c.write(ctx, key, now); {
	case errors.Is(err, errGone):
		return c.lose("somebody took over")
	case err != nil:
		return fmt.Errorf("renewing the claim of the vCenter: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = began
	return nil
}

func (c *Claim) lose(why string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return fmt.Errorf("%w: %s", ErrLost, why)
}

func whoTook(defs []def, now time.Time) string {
	if h := holderOf(defs, now); h != nil {
		return "it is " + h.String()
	}
	return "somebody removed its mark, the custom attribute " + Attribute
}

// Release gives the vCenter to whoever comes next. What is not held is left
// alone.
func (c *Claim) Release(ctx context.Context) error {
	c.mu.Lock()
	held, key := c.held, c.key
	c.held = false
	c.mu.Unlock()
	if !held {
		return nil
	}
	if err := c.store.remove(ctx, key); err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("releasing the vCenter: %w", err)
	}
	return nil
}

// Keep renews a lease that is held, until stop is called or ctx ends; neither
// releases it. The context that it returns is for the work: it ends when the
// lease is lost, with a cause that wraps ErrLost.
func (c *Claim) Keep(ctx context.Context) (work context.Context, stop func()) {
	work, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := c.keep(work); err != nil {
			cancel(err)
		}
	}()
	return work, func() {
		cancel(context.Canceled)
		<-stopped
	}
}

// keep returns how the lease was lost; nil: ctx has ended.
func (c *Claim) keep(ctx context.Context) error {
	for {
		left := c.Until().Sub(c.cfg.Now())
		if ctxtime.Sleep(ctx, min(left, c.cfg.Lease/20)) != nil {
			return nil
		}
		switch err := c.Renew(ctx); {
		case errors.Is(err, ErrLost):
			return err
		case err != nil && ctx.Err() == nil:
			c.cfg.Logger.Warn("the claim of the vCenter was not renewed; it is tried again", "err", err, "until", c.Until())
		}
	}
}
