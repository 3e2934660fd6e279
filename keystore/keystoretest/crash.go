package keystoretest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/keystore"
)

// ledger is what a client knows: what it was told, and what it asked last.
type ledger struct {
	told  map[keystore.UID]keystore.State
	asked keystore.UID // the answer has not come
	hoped keystore.State
	value map[keystore.UID][]byte
}

// workload is a client's session: it stops at the first error, and says in the
// ledger what it was told.
func (l *ledger) workload(r *Rig) error {
	step := func(uid keystore.UID, state keystore.State, do func() error) error {
		l.asked, l.hoped = uid, state
		if err := do(); err != nil {
			return err
		}
		l.told[uid], l.asked = state, keystore.UID{}
		return nil
	}
	edit := func(uid keystore.UID, state keystore.State, change func(*keystore.Tx, *keystore.Object) error) error {
		return step(uid, state, func() error { return r.Edit(uid, change) })
	}
	var uids []keystore.UID
	for i := range 2 {
		uid := r.Store.NewUID()
		uids = append(uids, uid)
		l.value[uid] = bytes.Repeat([]byte{byte(i + 1)}, 32)
		err := step(uid, keystore.PreActive, func() error {
			return r.Do(Alice, ChangeOp, func(tx *keystore.Tx) error {
				o := NewKey(uid, l.value[uid], fmt.Sprintf("disk-%d", i))
				o.Fresh = true
				return tx.Create(o)
			})
		})
		if err != nil {
			return err
		}
	}
	if err := edit(uids[0], keystore.Active, activate); err != nil {
		return err
	}
	if _, _, err := r.Get(Alice, uids[0]); err != nil {
		return err
	}
	if err := edit(uids[0], keystore.Deactivated, revoke); err != nil {
		return err
	}
	if err := edit(uids[0], keystore.Destroyed, destroy); err != nil {
		return err
	}
	return edit(uids[1], keystore.Compromised, compromise)
}

// agrees compares the store with the ledger: what was told is so, and of what
// was asked last either all or nothing is.
func (l *ledger) agrees(r *Rig) error {
	for uid, material := range l.value {
		got, state, err := r.Get(Alice, uid)
		want, told := l.told[uid]
		if errors.Is(err, keystore.ErrNotFound) {
			state, err = 0, nil
		}
		if err != nil {
			return err
		}
		if state != want && !(uid == l.asked && state == l.hoped) {
			return fmt.Errorf("key %s is %v; told %v (%v)", uid, state, want, told)
		}
		if lives := state != 0 && state != keystore.Destroyed; lives && !bytes.Equal(got, material) || !lives && got != nil {
			return fmt.Errorf("key %s is %v and has material %x", uid, state, got)
		}
	}
	return nil
}

// powerOff runs the workload again and again, and turns the power off one step
// later each time.
func powerOff(fresh func() *Rig) error { return atEachStep(fresh, powerOffAt) }

// atEachStep runs something again and again, one step later each time, until
// there is no such step any more.
func atEachStep(fresh func() *Rig, run func(r *Rig, at int) (off bool, err error)) error {
	for at := 1; ; at++ {
		off, err := run(fresh(), at)
		if err != nil || !off {
			return err
		}
	}
}

func powerOffAt(r *Rig, at int) (off bool, err error) {
	if err := r.Create(); err != nil {
		return false, err
	}
	wrapBackend, wrapJournal := r.WrapBackend, r.WrapJournal
	power := PowerOff(0)
	r.WrapBackend = func(b keystore.Backend) keystore.Backend { return power.Backend(chainBackend(wrapBackend, b)) }
	// The switch is below the wrapper of a seeded bug, where the disk is.
	r.WrapJournal = func(j keystore.Journal) keystore.Journal { return chainJournal(wrapJournal, power.Journal(j)) }
	if err := r.Open(); err != nil {
		return false, err
	}
	power.mu.Lock()
	power.at = len(power.steps) + at
	power.mu.Unlock()
	l := &ledger{told: make(map[keystore.UID]keystore.State), value: make(map[keystore.UID][]byte)}
	err = l.workload(r)
	if err != nil && !power.Off() {
		return false, err
	}
	where := fmt.Sprintf("power off at step %d %q", at, power.Steps()[len(power.Steps())-1])
	off = power.Off()
	if err := r.Crash(); err != nil {
		return off, err
	}
	r.WrapBackend, r.WrapJournal = wrapBackend, wrapJournal
	if err := r.Open(); err != nil {
		return off, fmt.Errorf("%s: %w", where, err)
	}
	if err := errors.Join(l.agrees(r), check(r.Store)); err != nil {
		return off, fmt.Errorf("%s: %w", where, err)
	}
	if _, _, err := r.Key("after the crash"); err != nil {
		return off, fmt.Errorf("%s: Create after reopening: %w", where, err)
	}
	return off, r.Shut()
}

func chainBackend(wrap func(keystore.Backend) keystore.Backend, b keystore.Backend) keystore.Backend {
	if wrap == nil {
		return b
	}
	return wrap(b)
}

func chainJournal(wrap func(keystore.Journal) keystore.Journal, j keystore.Journal) keystore.Journal {
	if wrap == nil {
		return j
	}
	return wrap(j)
}
