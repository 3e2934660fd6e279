package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestOrderOfDurability: the steps of one change, and of one release, in the
// order that the package comment promises.
func TestOrderOfDurability(t *testing.T) {
	r := newRig(t, nil)
	must(t, r.Shut())
	power := kt.PowerOff(0)
	r.WrapBackend, r.WrapJournal = power.Backend, power.Journal
	must(t, r.Open())
	before := len(power.Steps())
	uid := newKey(t, r, "")
	want := []string{
		"update begins", "work ran", "append begins", "append ended", "head written, commit begins", "commit ended",
		"marker is told", "marker was told",
	}
	if diff := cmp.Diff(want, power.Steps()[before:]); diff != "" {
		t.Error(diff)
	}
	before = len(power.Steps())
	if _, _, err := r.Get(kt.Alice, uid); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"append begins", "append ended"}, power.Steps()[before:]); diff != "" {
		t.Error(diff)
	}
}

// badPage fails writes to one object, as a damaged page would.
type badPage struct {
	*stalled
	uid keystore.UID
}

type badPageKV struct {
	keystore.KV
	uid keystore.UID
}

var errBadPage = errors.New("a damaged page")

func (kv badPageKV) Put(key, value []byte) error {
	if bytes.HasSuffix(key, kv.uid[:]) {
		return errBadPage
	}
	return kv.KV.Put(key, value)
}

func (b *badPage) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	return b.stalled.Update(ctx, func(kv keystore.KV) error { return fn(badPageKV{kv, b.uid}) }, prepared)
}

// TestOneBadMessage: a message whose write fails does not take those with it
// that happened to be in its group.
func TestOneBadMessage(t *testing.T) {
	r := newRig(t, nil)
	must(t, r.Shut())
	b := &badPage{stalled: &stalled{}, uid: r.Store.NewUID()}
	r.WrapBackend = func(inner keystore.Backend) keystore.Backend { b.Backend = inner; return b }
	must(t, r.Open())
	b.entered, b.release = make(chan struct{}), make(chan struct{}, 16)
	var wg sync.WaitGroup
	send := func(uid keystore.UID, want error) {
		wg.Go(func() {
			err := r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(uid, []byte("k"), "")) })
			if !errors.Is(err, want) {
				t.Errorf("Create of %s = %v, want %v", uid, err, want)
			}
		})
	}
	send(r.Store.NewUID(), nil)
	<-b.entered
	for i := range 5 {
		if i == 2 {
			send(b.uid, errBadPage)
		} else {
			send(r.Store.NewUID(), nil)
		}
	}
	for r.Store.Queued() < 5 {
		runtime.Gosched()
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	b.release <- struct{}{}
	for waiting := true; waiting; {
		select {
		case <-b.entered:
			b.release <- struct{}{}
		case <-done:
			waiting = false
		}
	}
	b.entered = nil
	if n := r.Store.Info().Objects; n != 5 {
		t.Errorf("%d objects, want 5", n)
	}
}

// TestClockAfterACrash: a transition that was only seen, and recorded, is not
// undone when the clock goes back over a crash.
func TestClockAfterACrash(t *testing.T) {
	r := newRig(t, nil)
	uid := create(t, r, kt.Alice, "", func(o *keystore.Object) { o.ActivationDate = keystore.At(r.Clock.Unix() + 500) })
	r.Clock.Add(500)
	if _, state, err := r.Get(kt.Alice, uid); state != active || err != nil {
		t.Fatal(state, err)
	}
	must(t, r.Crash())
	r.Clock.Add(-500)
	must(t, r.Open())
	if _, state, err := r.Get(kt.Alice, uid); state != active || err != nil {
		t.Errorf("after the crash: %v, %v", state, err)
	}
}

// TestOpenSays: what is wrong, and what to do.
func TestOpenSays(t *testing.T) {
	short := func(c *keystore.Config) { c.RootKey = secret.New(16) }
	for _, c := range []struct {
		name    string
		prepare func(r *kt.Rig)
		want    error
		says    string
	}{
		{"a root key of another length", func(r *kt.Rig) { r.Configure = short }, keystore.ErrWrongRootKey, "16 bytes"},
		{"another root key", func(r *kt.Rig) { r.Root[31] ^= 1 }, keystore.ErrWrongRootKey, "find the root key"},
		{"an empty journal", func(r *kt.Rig) { r.Tape.Restore(&kt.Tape{}) }, keystore.ErrJournalCut, "put the right journal back"},
		{"an empty backend", func(r *kt.Rig) { r.Opener = (&kt.Volume{}).Opener() }, keystore.ErrNoStore, "keyreeve init"},
	} {
		r := kt.NewRig((&kt.Volume{}).Opener())
		must(t, errors.Join(r.Create(), r.Open()))
		newKey(t, r, "")
		must(t, r.Shut())
		tape := len(r.Tape.Events())
		c.prepare(r)
		err := r.Open()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v and %q", c.name, err, c.want, c.says)
		}
		if n := len(r.Tape.Events()); n != tape && n != 0 {
			t.Errorf("%s: the journal was written", c.name)
		}
	}
}

// TestFailStop: Info says why, and reading goes on.
func TestFailStop(t *testing.T) {
	r := newRig(t, nil)
	uid := newKey(t, r, "")
	must(t, r.Store.Info().Failed)
	r.Faulty.Fail(false)
	_, _, err := r.Key("")
	wants(t, "the commit that failed", err, keystore.ErrCommitUnknown)
	wants(t, "Info", r.Store.Info().Failed, keystore.ErrFailed)
	if _, _, err := r.Get(kt.Alice, uid); err != nil {
		t.Errorf("Get after that: %v", err)
	}
	must(t, errors.Join(r.Crash(), r.Open()))
	must(t, r.Store.Info().Failed)
	newKey(t, r, "")
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := keystore.NewMetrics(reg)
	r := newRig(t, func(c *keystore.Config) { c.Metrics = m })
	newKey(t, r, "a")
	_, _, err := r.Key("a")
	wants(t, "Create", err, keystore.ErrNameTaken)
	families, err := reg.Gather()
	must(t, err)
	items := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "keyreeve_store_items_total" {
			continue
		}
		for _, v := range f.GetMetric() {
			labels := ""
			for _, l := range v.GetLabel() {
				labels += l.GetValue() + " "
			}
			items[labels] = v.GetCounter().GetValue()
		}
	}
	if diff := cmp.Diff(map[string]float64{"Change success ": 1, "Change failure ": 1}, items, cmp.FilterValues(func(a, b float64) bool { return a >= 1 && b >= 1 }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
}

// TestJournalHoldsNoMaterial looks for a planted key in all that was recorded.
func TestJournalHoldsNoMaterial(t *testing.T) {
	r := newRig(t, nil)
	planted := "PLANTED-KEY-MATERIAL-0123456789a"
	uid := r.Store.NewUID()
	leak := errors.New("cannot parse " + planted) // an operation's careless error
	must(t, r.Do(kt.Alice, kt.ChangeOp, func(tx *keystore.Tx) error { return tx.Create(kt.NewKey(uid, []byte(planted), "")) }))
	wants(t, "a careless operation", r.Do(kt.Alice, kt.ReleaseOp, func(tx *keystore.Tx) error {
		_, err := tx.Object(uid)
		return errors.Join(err, leak)
	}), leak)
	must(t, r.Journal.Flush())
	failures := 0
	for _, e := range r.Tape.Events() {
		if strings.Contains(e.Operation+e.Client+e.User+e.Group+e.Remote+e.Reason, "PLANTED") {
			t.Errorf("the journal holds the key: %+v", e)
		}
		if e.Outcome == audit.Failure {
			failures++
		}
	}
	if failures != 1 {
		t.Errorf("%d failures are recorded, want 1", failures)
	}
}
