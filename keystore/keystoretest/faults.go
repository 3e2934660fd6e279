package keystoretest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
)

// Faulty is a Backend whose commits can be made to fail in either of the two
// ways that a caller cannot tell apart. As the contract asks, it refuses
// everything after that.
type Faulty struct {
	keystore.Backend
	next   atomic.Int32
	failed atomic.Bool
}

// How the next commit fails.
const (
	notStored int32 = 1 + iota
	stored
)

// Fail makes the next commit fail: after everything was stored, or with
// nothing stored.
func (f *Faulty) Fail(butStored bool) {
	if butStored {
		f.next.Store(stored)
	} else {
		f.next.Store(notStored)
	}
}

// Update implements keystore.Backend.
func (f *Faulty) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	if f.failed.Load() {
		return keystore.ErrFailed
	}
	how := f.next.Swap(0)
	if how == 0 {
		return f.Backend.Update(ctx, fn, prepared)
	}
	unknown := fmt.Errorf("%w: a fault was asked for", keystore.ErrCommitUnknown)
	err := f.Backend.Update(ctx, fn, func(kv keystore.KV) error {
		if prepared != nil {
			if err := prepared(kv); err != nil {
				return err
			}
		}
		if how == notStored {
			return unknown
		}
		return nil
	})
	if err == nil || errors.Is(err, unknown) {
		f.failed.Store(true)
		return unknown
	}
	return err
}

// Power is a switch that turns itself off at one step of the order of
// durability. What was durable before stays, nothing happens after. Each step
// is either before or after an effect, so that all moments between two effects
// are reached by counting.
type Power struct {
	mu    sync.Mutex
	steps []string
	at    int
	off   bool
}

var errPower = errors.New("keystoretest: the power is off")

// PowerOff returns a switch that goes off at the step with that number, from 1;
// 0: never.
func PowerOff(at int) *Power { return &Power{at: at} }

// Steps returns the names of the steps that were passed.
func (p *Power) Steps() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.steps...)
}

// Off tells whether the power went off.
func (p *Power) Off() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off
}

func (p *Power) step(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return errPower
	}
	p.steps = append(p.steps, name)
	if p.off = len(p.steps) == p.at; p.off {
		return errPower
	}
	return nil
}

// Backend puts the switch into a backend.
func (p *Power) Backend(b keystore.Backend) keystore.Backend { return &poweredBackend{b, p} }

type poweredBackend struct {
	keystore.Backend
	power *Power
}

func (b *poweredBackend) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	if b.power.Off() {
		return errPower
	}
	return b.Backend.View(ctx, fn)
}

func (b *poweredBackend) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	if err := b.power.step("update begins"); err != nil {
		return err
	}
	err := b.Backend.Update(ctx, fn, func(kv keystore.KV) error {
		if err := b.power.step("work ran"); err != nil {
			return err
		}
		if prepared != nil {
			if err := prepared(kv); err != nil {
				return err
			}
		}
		return b.power.step("head written, commit begins")
	})
	if err == nil {
		err = b.power.step("commit ended")
	}
	if err != nil && b.power.Off() {
		return fmt.Errorf("%w: %w", keystore.ErrCommitUnknown, err)
	}
	return err
}

// Journal puts the switch into a journal.
func (p *Power) Journal(j keystore.Journal) keystore.Journal { return &poweredJournal{j, p} }

type poweredJournal struct {
	keystore.Journal
	power *Power
}

func (j *poweredJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	if err := j.power.step("append begins"); err != nil {
		return audit.Position{}, fmt.Errorf("%w: %w", audit.ErrFailed, err)
	}
	pos, err := j.Journal.Append(p, events...)
	if err == nil {
		if err = j.power.step("append ended"); err != nil {
			err = fmt.Errorf("%w: %w", audit.ErrFailed, err)
		}
	}
	return pos, err
}

func (j *poweredJournal) Buffer(e audit.Event) {
	if !j.power.Off() {
		j.Journal.Buffer(e)
	}
}

func (j *poweredJournal) SetCommitted(seq uint64) {
	if j.power.step("marker is told") == nil {
		j.Journal.SetCommitted(seq)
		_ = j.power.step("marker was told")
	}
}
