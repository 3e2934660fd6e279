package keystoretest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
)

// RunStore holds a Store on a backend against its promises. fresh returns an
// Opener on a new, empty place.
func RunStore(t *testing.T, fresh func(t testing.TB) Opener) {
	for _, c := range scenarios {
		t.Run(c.name, func(t *testing.T) {
			if err := c.try(func() Opener { return fresh(t) }, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// A scenario is one story about a store. It gets rigs on places of their own.
type scenario struct {
	name string
	run  func(r *Rig) error
	many func(fresh func() *Rig) error // instead, if it needs several
}

// try runs the scenario with the rigs as break, if not nil, leaves them.
func (c *scenario) try(open func() Opener, sabotage func(r *Rig)) error {
	fresh := func() *Rig {
		r := NewRig(open())
		if sabotage != nil {
			sabotage(r)
		}
		return r
	}
	if c.many != nil {
		return c.many(fresh)
	}
	r := fresh()
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		return err
	}
	if err := c.run(r); err != nil {
		return errors.Join(err, r.Backend.Close())
	}
	if err := check(r.Store); err != nil {
		return fmt.Errorf("in the end: %w", err)
	}
	return r.Shut()
}

var scenarios = []scenario{
	{name: "a key's life, over restarts", run: life},
	{name: "a store of its own root key only", run: wrongRootKey},
	{name: "an old store put back is refused", run: rolledBack},
	{name: "an old journal put back is refused", run: journalCut},
	{name: "another journal is refused", run: foreignJournal},
	{name: "no release and no change without the journal", run: journalFails},
	{name: "a release is in the journal before its answer", run: releaseRecorded},
	{name: "commit unknown, not stored", run: func(r *Rig) error { return unknownCommit(r, false) }},
	{name: "commit unknown, but stored", run: func(r *Rig) error { return unknownCommit(r, true) }},
	{name: "the power goes off between any two steps", many: powerOff},
	{name: "what is tampered with is noticed", many: tampered},
	{name: "a key in use is not destroyed, over restarts", run: reported},
	{name: "the power goes off while a report is taken", many: reportedCrash},
}

func life(r *Rig) error {
	uid, material, err := r.Key("disk-1")
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name  string
		do    func(tx *keystore.Tx, o *keystore.Object) error
		state keystore.State
	}{
		{"created", nil, keystore.PreActive},
		{"activated", activate, keystore.Active},
		{"revoked", revoke, keystore.Deactivated},
		{"destroyed", destroy, keystore.Destroyed},
	} {
		if step.do != nil {
			if err := r.Edit(uid, step.do); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		if err := r.Reopen(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		want := material
		if step.state == keystore.Destroyed {
			want = nil
		}
		got, state, err := r.Get(Alice, uid)
		if err != nil || !bytes.Equal(got, want) || state != step.state {
			return fmt.Errorf("%s: Get = %x, %v, %v; want %x, %v", step.name, got, state, err, want, step.state)
		}
	}
	return nil
}

// refused opens the store and wants that error.
func refused(r *Rig, want error) error {
	err := r.Open()
	if err == nil {
		err = errors.Join(errors.New("it opened"), r.Crash())
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("Open = %v, want %v", err, want)
	}
	return nil
}

func wrongRootKey(r *Rig) error {
	if err := r.Shut(); err != nil {
		return err
	}
	right := r.Root
	r.Root[0]++
	if err := refused(r, keystore.ErrWrongRootKey); err != nil {
		return err
	}
	r.Root = right
	return r.Open()
}

// content returns what the backend holds, as a copy of its file would.
func (r *Rig) content() (map[string]string, error) {
	b, err := r.Opener()
	if err != nil {
		return nil, err
	}
	all, err := dump(b)
	return all, errors.Join(err, b.Close())
}

func (r *Rig) setContent(all map[string]string) error {
	b, err := r.Opener()
	if err != nil {
		return err
	}
	return errors.Join(restore(b, all), b.Close())
}

func rolledBack(r *Rig) error {
	if err := r.Shut(); err != nil {
		return err
	}
	old, err := r.content()
	if err != nil {
		return err
	}
	if err := r.Open(); err != nil {
		return err
	}
	for range 2 { // the last commit's marker goes with the next group
		if _, _, err := r.Key(""); err != nil {
			return err
		}
	}
	if err := r.Shut(); err != nil {
		return err
	}
	newest, err := r.content()
	if err != nil {
		return err
	}
	if err := r.setContent(old); err != nil {
		return err
	}
	if err := refused(r, keystore.ErrRolledBack); err != nil {
		return err
	}
	return errors.Join(r.setContent(newest), r.Open())
}

func journalCut(r *Rig) error {
	if err := r.Shut(); err != nil {
		return err
	}
	old := r.Tape.Snapshot()
	if err := r.Open(); err != nil {
		return err
	}
	if _, _, err := r.Key(""); err != nil {
		return err
	}
	if err := r.Shut(); err != nil {
		return err
	}
	newest := r.Tape.Snapshot()
	r.Tape.Restore(old)
	if err := refused(r, keystore.ErrJournalCut); err != nil {
		return err
	}
	r.Tape.Restore(newest)
	return r.Open()
}

func foreignJournal(r *Rig) error {
	if err := r.Shut(); err != nil {
		return err
	}
	right := r.Tape.Snapshot()
	other := (&Tape{}).Open()
	for other.End().Seq < right.last().end.Seq+3 {
		if _, err := other.Append(audit.Normal, audit.Event{Operation: "of another store"}); err != nil {
			return err
		}
	}
	r.Tape.Restore(other.tape)
	if err := refused(r, keystore.ErrForeignJournal); err != nil {
		return err
	}
	r.Tape.Restore(right)
	return r.Open()
}

func journalFails(r *Rig) error {
	uid, material, err := r.Key("before")
	if err != nil {
		return err
	}
	r.Journal.Fail()
	if got, _, err := r.Get(Alice, uid); !errors.Is(err, keystore.ErrAudit) {
		return fmt.Errorf("Get without a journal = %x, %v, want ErrAudit", got, err)
	}
	lost, _, err := r.Key("after")
	if !errors.Is(err, keystore.ErrAudit) {
		return fmt.Errorf("Create without a journal = %v, want ErrAudit", err)
	}
	if _, _, err := r.Key("after"); !errors.Is(err, keystore.ErrFailed) {
		return fmt.Errorf("Create after that = %v, want ErrFailed", err)
	}
	if err := errors.Join(r.Crash(), r.Open()); err != nil {
		return err
	}
	if _, _, err := r.Get(Alice, lost); !errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("what was not answered is there: %v", err)
	}
	got, _, err := r.Get(Alice, uid)
	if err != nil || !bytes.Equal(got, material) {
		return fmt.Errorf("after reopening: Get = %x, %v", got, err)
	}
	return nil
}

// recorded counts durable events of an object.
func (r *Rig) recorded(class audit.Class, outcome audit.Outcome, uid keystore.UID) (n int) {
	for _, e := range r.Tape.Events() {
		if e.Class == class && e.Outcome == outcome && e.HasObject && e.Object == uid {
			n++
		}
	}
	return n
}

func releaseRecorded(r *Rig) error {
	uid, _, err := r.Key("")
	if err != nil {
		return err
	}
	if n := r.recorded(audit.Change, audit.Success, uid); n != 1 {
		return fmt.Errorf("%d durable records of a Create", n)
	}
	for i := range 3 {
		if _, _, err := r.Get(Alice, uid); err != nil {
			return err
		}
		if n := r.recorded(audit.Release, audit.Success, uid); n != i+1 {
			return fmt.Errorf("%d durable records of %d releases", n, i+1)
		}
	}
	if _, _, err := r.Get(Mallory, uid); !errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("another group's Get = %v", err)
	}
	if err := r.Journal.Flush(); err != nil {
		return err
	}
	if n := r.recorded(audit.Denial, audit.Denied, uid); n != 1 {
		return fmt.Errorf("%d records of a denial", n)
	}
	return nil
}

func unknownCommit(r *Rig, butStored bool) error {
	before, material, err := r.Key("before")
	if err != nil {
		return err
	}
	r.Faulty.Fail(butStored)
	uid, _, err := r.Key("during")
	if !errors.Is(err, keystore.ErrCommitUnknown) {
		return fmt.Errorf("Create whose commit failed = %v, want ErrCommitUnknown", err)
	}
	if _, _, err := r.Key("after"); !errors.Is(err, keystore.ErrFailed) {
		return fmt.Errorf("Create after that = %v, want ErrFailed", err)
	}
	if err := errors.Join(r.Crash(), r.Open()); err != nil {
		return err
	}
	_, _, err = r.Get(Alice, uid)
	if butStored && err != nil || !butStored && !errors.Is(err, keystore.ErrNotFound) {
		return fmt.Errorf("after reopening, stored %v: Get = %v", butStored, err)
	}
	wantNotes := 1
	if butStored {
		wantNotes = 0
	}
	if n := r.recorded(audit.Note, audit.Failure, uid); n != wantNotes {
		return fmt.Errorf("after reopening, stored %v: %d notes that it was not committed", butStored, n)
	}
	got, _, err := r.Get(Alice, before)
	if err != nil || !bytes.Equal(got, material) {
		return fmt.Errorf("after reopening: Get of an older key = %x, %v", got, err)
	}
	return nil
}
