package keystoretest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
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
func powerOff(fresh func() *Rig) error {
	for at := 1; ; at++ {
		off, err := powerOffAt(fresh(), at)
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

// A tampering changes the content of a store behind its back. old is an
// earlier content of the same store.
type tampering struct {
	name string
	do   func(now, old map[string]string) error
}

// nth returns the nth key of a family.
func nth(all map[string]string, family byte, n int) (string, error) {
	for _, k := range sortedKeys(all) {
		if k[0] == family {
			if n == 0 {
				return k, nil
			}
			n--
		}
	}
	return "", fmt.Errorf("the store has too few keys of family %q to tamper with", family)
}

func on(family byte, do func(now, old map[string]string, key string)) func(now, old map[string]string) error {
	return func(now, old map[string]string) error {
		key, err := nth(now, family, 0)
		if err == nil {
			do(now, old, key)
		}
		return err
	}
}

func gone(now, _ map[string]string, key string) { delete(now, key) }
func back(now, old map[string]string, key string) {
	now[key] = old[key]
}
func flipped(now, _ map[string]string, key string) {
	b := []byte(now[key])
	b[len(b)/2] ^= 1
	now[key] = string(b)
}

// swapped exchanges the first two of a family.
func swapped(family byte) func(now, old map[string]string) error {
	return func(now, _ map[string]string) error {
		a, err1 := nth(now, family, 0)
		b, err2 := nth(now, family, 1)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		now[a], now[b] = now[b], now[a]
		return nil
	}
}

// tamperings are the seeded damages that Open or Check must notice.
var tamperings = func() (all []tampering) {
	for _, family := range []byte("mkchotr") {
		all = append(all,
			tampering{fmt.Sprintf("%c flipped", family), on(family, flipped)},
			tampering{fmt.Sprintf("%c gone", family), on(family, gone)})
	}
	for _, family := range []byte("otr") {
		all = append(all, tampering{fmt.Sprintf("%c swapped", family), swapped(family)})
	}
	for _, family := range []byte("nxi") {
		all = append(all,
			tampering{fmt.Sprintf("%c entry gone", family), on(family, gone)},
			tampering{fmt.Sprintf("%c entry too many", family), on(family, func(now, _ map[string]string, key string) {
				b := []byte(key)
				b[len(b)-1] ^= 1
				now[string(b)] = ""
			})})
	}
	return append(all,
		tampering{"o put back", on('o', back)},
		tampering{"r put back", on('r', back)},
		tampering{"h put back", on('h', back)},
		tampering{"o put back to before it was there", func(now, _ map[string]string) error {
			key, err := nth(now, 'o', 2)
			delete(now, key)
			return err
		}})
}()

// tampered makes a store with everything in it, tampers with it in every way,
// and wants Open or Check to say so.
func tampered(fresh func() *Rig) error {
	r := fresh()
	r.Configure = func(c *keystore.Config) { c.IndexedAttributes = []string{"x-purpose"} }
	old, now, err := furnish(r)
	if err != nil {
		return err
	}
	tape := r.Tape.Snapshot()
	for _, tampering := range tamperings {
		if err := tampering.noticed(r, maps.Clone(now), old); err != nil {
			return fmt.Errorf("%s: %w", tampering.name, err)
		}
		r.Tape.Restore(tape)
	}
	if err := errors.Join(r.setContent(now), r.Open()); err != nil {
		return err
	}
	return errors.Join(check(r.Store), r.Shut())
}

func (d *tampering) noticed(r *Rig, now, old map[string]string) error {
	if err := d.do(now, old); err != nil {
		return err
	}
	if err := r.setContent(now); err != nil {
		return err
	}
	opened := r.Open()
	if opened != nil {
		return nil // which error is for other tests
	}
	found := check(r.Store)
	if err := r.Crash(); err != nil {
		return err
	}
	if found == nil {
		return errors.New("neither Open nor Check noticed it")
	}
	return nil
}

// furnish fills a store, and returns an earlier content and the last one.
func furnish(r *Rig) (old, now map[string]string, err error) {
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		return nil, nil, err
	}
	var uids []keystore.UID
	for i := range 4 {
		uid := r.Store.NewUID()
		err := r.Do(Alice, ChangeOp, func(tx *keystore.Tx) error {
			o := NewKey(uid, bytes.Repeat([]byte{7}, 32), fmt.Sprintf("disk-%d", i))
			o.AddAttribute("x-purpose", TextItem("test"))
			return tx.Create(o)
		})
		if err != nil {
			return nil, nil, err
		}
		uids = append(uids, uid)
	}
	write := func(value string) error {
		return r.Do(Admin, ChangeOp, func(tx *keystore.Tx) error {
			return errors.Join(tx.PutRecord(keystore.KindClient, "a", []byte(value)), tx.PutRecord(keystore.KindUser, "b", []byte(value)))
		})
	}
	if err := errors.Join(r.Edit(uids[2], destroy), write("1"), r.Shut()); err != nil {
		return nil, nil, err
	}
	if old, err = r.content(); err != nil {
		return nil, nil, err
	}
	if err := r.Open(); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(r.Edit(uids[0], activate), r.Edit(uids[3], destroy), write("2"), r.Shut()); err != nil {
		return nil, nil, err
	}
	now, err = r.content()
	return old, now, err
}
