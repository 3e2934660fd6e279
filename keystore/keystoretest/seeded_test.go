package keystoretest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
)

// The bugs below are put at the seams of the store, one at a time. A suite
// that does not notice one is worth nothing against the real one.

func memoryOpener() Opener { return (&Volume{}).Opener() }

// noticedBy runs all scenarios and returns the names of those that failed.
func noticedBy(open func() Opener, sabotage func(r *Rig)) (names []string) {
	for _, c := range scenarios {
		if c.try(open, sabotage) != nil {
			names = append(names, c.name)
		}
	}
	return names
}

func TestSeededBugsInAStore(t *testing.T) {
	onJournal := func(wrap func(keystore.Journal) keystore.Journal) func(*Rig) {
		return func(r *Rig) { r.WrapJournal = wrap }
	}
	onBackend := func(wrap func(keystore.Backend) keystore.Backend) func(*Rig) {
		return func(r *Rig) { r.WrapBackend = wrap }
	}
	for _, c := range []struct {
		bug      string
		sabotage func(*Rig)
		open     func() Opener
		by       string
	}{
		{"marker left out", onJournal(func(j keystore.Journal) keystore.Journal { return noMarker{j} }), nil,
			"an old store put back is refused"},
		{"journal's sync error ignored", onJournal(func(j keystore.Journal) keystore.Journal { return deafJournal{j} }), nil,
			"no release and no change without the journal"},
		{"journal after commit", onJournal(func(j keystore.Journal) keystore.Journal { return &lateJournal{Journal: j} }), nil,
			"the power goes off between any two steps"},
		{"release buffered", onJournal(func(j keystore.Journal) keystore.Journal { return lazyJournal{j} }), nil,
			"a release is in the journal before its answer"},
		{"commit's error ignored", onBackend(func(b keystore.Backend) keystore.Backend { return deafBackend{b} }), nil,
			"commit unknown, not stored"},
		{"head in a commit of its own", onBackend(func(b keystore.Backend) keystore.Backend { return twoCommits{b} }), nil,
			"the power goes off between any two steps"},
		{"answer before the commit is durable", nil, lossyOpener,
			"the power goes off between any two steps"},
		{"index writes lost", onBackend(func(b keystore.Backend) keystore.Backend { return dropping{b, 'i'} }), nil,
			"a key's life, over restarts"},
		{"tombstones lost", onBackend(func(b keystore.Backend) keystore.Backend { return dropping{b, 't'} }), nil,
			"a key's life, over restarts"},
	} {
		t.Run(c.bug, func(t *testing.T) {
			open := c.open
			if open == nil {
				open = memoryOpener
			}
			names := noticedBy(open, c.sabotage)
			if !slices.Contains(names, c.by) {
				t.Errorf("not noticed by %q, but by %q", c.by, names)
			}
		})
	}
}

// noMarker never tells the journal what was committed.
type noMarker struct{ keystore.Journal }

func (noMarker) SetCommitted(uint64) {}

// deafJournal goes on after a failed sync.
type deafJournal struct{ keystore.Journal }

func (j deafJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	if pos, err := j.Journal.Append(p, events...); err == nil {
		return pos, nil
	}
	return j.End(), nil
}

// lazyJournal does not wait for releases to be durable.
type lazyJournal struct{ keystore.Journal }

func (j lazyJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	if len(events) == 1 && events[0].Class == audit.Release {
		j.Buffer(events[0])
		return j.End(), nil
	}
	return j.Journal.Append(p, events...)
}

// lateJournal writes intents after the commit.
type lateJournal struct {
	keystore.Journal
	mu      sync.Mutex
	pending []audit.Event
}

func (j *lateJournal) Append(p audit.Priority, events ...audit.Event) (audit.Position, error) {
	if !slices.ContainsFunc(events, func(e audit.Event) bool { return e.Class == audit.Change }) {
		return j.Journal.Append(p, events...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = slices.Clone(events)
	return chain(j.End(), events), nil
}

func (j *lateJournal) SetCommitted(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) > 0 {
		_, _ = j.Journal.Append(audit.Urgent, j.pending...)
		j.pending = nil
	}
	if seq <= j.End().Seq {
		j.Journal.SetCommitted(seq)
	}
}

// deafBackend takes a failed commit for a good one.
type deafBackend struct{ keystore.Backend }

func (b deafBackend) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	err := b.Backend.Update(ctx, fn, prepared)
	if errors.Is(err, keystore.ErrCommitUnknown) {
		return nil
	}
	return err
}

// twoCommits commits what fn wrote before prepared has run.
type twoCommits struct{ keystore.Backend }

func (b twoCommits) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	if err := b.Backend.Update(ctx, fn, nil); err != nil || prepared == nil {
		return err
	}
	return b.Backend.Update(ctx, prepared, nil)
}

// dropping loses what is put into one family.
type dropping struct {
	keystore.Backend
	family byte
}

type droppingKV struct {
	keystore.KV
	family byte
}

func (b dropping) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	return b.Backend.Update(ctx, func(kv keystore.KV) error { return fn(droppingKV{kv, b.family}) }, prepared)
}

func (kv droppingKV) Put(key, value []byte) error {
	if key[0] == kv.family {
		return nil
	}
	return kv.KV.Put(key, value)
}

// lossyOpener gives backends that lose their last commit when they close, as
// one that never syncs does when the power goes.
func lossyOpener() Opener {
	v := &Volume{}
	return func() (keystore.Backend, error) { return &lossy{Memory: v.Open(), volume: v}, nil }
}

type lossy struct {
	*Memory
	volume, before *Volume
}

func (b *lossy) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	before := b.volume.Snapshot()
	err := b.Memory.Update(ctx, fn, prepared)
	if err == nil {
		b.before = before
	}
	return err
}

func (b *lossy) Close() error {
	if b.before != nil {
		b.volume.Restore(b.before)
		b.before = nil
	}
	return b.Memory.Close()
}

func TestSeededBugsInABackend(t *testing.T) {
	for _, c := range []struct {
		bug string
		bad func(b keystore.Backend) keystore.Backend
	}{
		{"Range crosses its prefix", func(b keystore.Backend) keystore.Backend { return crossing{b} }},
		{"an error does not drop the writes", func(b keystore.Backend) keystore.Backend { return dirty{b} }},
		{"prepared's error is lost", func(b keystore.Backend) keystore.Backend { return unprepared{b} }},
		{"a View sees what comes later", func(b keystore.Backend) keystore.Backend { return live{b} }},
		{"a View that writes", func(b keystore.Backend) keystore.Backend { return writable{b} }},
		{"an empty value is none", func(b keystore.Backend) keystore.Backend { return nilEmpty{b} }},
		{"prepared runs with each run of fn", func(b keystore.Backend) keystore.Backend { return overprepared{b} }},
	} {
		t.Run(c.bug, func(t *testing.T) {
			var noticed []string
			for _, test := range backendCases {
				v := &Volume{}
				open := func() (keystore.Backend, error) { return c.bad(v.Open()), nil }
				b, _ := open()
				if test.run(&place{open: open, b: b}) != nil {
					noticed = append(noticed, test.name)
				}
			}
			if len(noticed) == 0 {
				t.Error("no case of RunBackend notices it")
			}
			t.Log("noticed by", noticed)
		})
	}
}

type crossing struct{ keystore.Backend }

type crossingKV struct{ keystore.KV }

func (kv crossingKV) Range(prefix, start []byte, fn func(k, v []byte) bool) error {
	if start == nil {
		start = prefix
	}
	return kv.KV.Range(prefix[:1], start, fn)
}

func (b crossing) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	return b.Backend.View(ctx, func(kv keystore.KV) error { return fn(crossingKV{kv}) })
}

type dirty struct{ keystore.Backend }

func (b dirty) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	var failed error
	err := b.Backend.Update(ctx, func(kv keystore.KV) error { failed = fn(kv); return nil }, func(kv keystore.KV) error {
		if failed == nil && prepared != nil {
			failed = prepared(kv)
		}
		return nil
	})
	return errors.Join(failed, err)
}

type unprepared struct{ keystore.Backend }

func (b unprepared) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	return b.Backend.Update(ctx, fn, func(kv keystore.KV) error {
		if prepared != nil {
			_ = prepared(kv)
		}
		return nil
	})
}

// live looks at the newest content with every read.
type live struct{ keystore.Backend }

type liveKV struct{ b keystore.Backend }

func (kv liveKV) Get(key []byte) (v []byte, err error) {
	err = kv.b.View(background, func(now keystore.KV) error {
		got, err := now.Get(key)
		v = slices.Clone(got)
		return err
	})
	return v, err
}
func (kv liveKV) Put(_, _ []byte) error { return keystore.ErrReadOnly }
func (kv liveKV) Delete([]byte) error   { return keystore.ErrReadOnly }
func (kv liveKV) Range(prefix, start []byte, fn func(k, v []byte) bool) error {
	return kv.b.View(background, func(now keystore.KV) error { return now.Range(prefix, start, fn) })
}

func (b live) View(_ context.Context, fn func(kv keystore.KV) error) error {
	return fn(liveKV{b.Backend})
}

type writable struct{ keystore.Backend }

type writableKV struct{ keystore.KV }

func (writableKV) Put(_, _ []byte) error { return nil }
func (writableKV) Delete([]byte) error   { return nil }

func (b writable) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	return b.Backend.View(ctx, func(kv keystore.KV) error { return fn(writableKV{kv}) })
}

type nilEmpty struct{ keystore.Backend }

type nilEmptyKV struct{ keystore.KV }

func (kv nilEmptyKV) Get(key []byte) ([]byte, error) {
	v, err := kv.KV.Get(key)
	if len(v) == 0 {
		v = nil
	}
	return v, err
}

func (b nilEmpty) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	return b.Backend.View(ctx, func(kv keystore.KV) error { return fn(nilEmptyKV{kv}) })
}

type overprepared struct{ keystore.Backend }

func (b overprepared) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	return b.Backend.Update(ctx, func(kv keystore.KV) error {
		if err := fn(kv); err != nil || prepared == nil {
			return err
		}
		return prepared(kv)
	}, nil)
}

// TestMemoryPolices shows that the backend in memory notices its caller's
// mistakes.
func TestMemoryPolices(t *testing.T) {
	put := func(kv keystore.KV) error { return kv.Put([]byte("oa"), []byte("12345678")) }
	for _, c := range []struct {
		mistake string
		fn      func(kv keystore.KV) error
	}{
		{"a key that is too short", func(kv keystore.KV) error { return kv.Put([]byte("o"), nil) }},
		{"a key that is too long", func(kv keystore.KV) error { return kv.Put(make([]byte, 257), nil) }},
		{"a Range over all families", func(kv keystore.KV) error { return kv.Range(nil, nil, nil) }},
		{"a value changed after Put", func(kv keystore.KV) error {
			v := []byte("12345678")
			err := kv.Put([]byte("ob"), v)
			v[0] = 0
			return err
		}},
		{"a write to the family that is walked", func(kv keystore.KV) (err error) {
			return errors.Join(put(kv), kv.Range([]byte("o"), nil, func(k, _ []byte) bool { err = kv.Delete([]byte("oa")); return false }), err)
		}},
	} {
		m := (&Volume{}).Open()
		if err := m.Update(background, c.fn, nil); !errors.Is(err, ErrPolice) {
			t.Errorf("%s: Update = %v, want ErrPolice", c.mistake, err)
		}
	}
	m := (&Volume{}).Open()
	if err := m.Update(background, put, nil); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	if err := m.View(background, func(kv keystore.KV) (err error) { kept, err = kv.Get([]byte("oa")); return err }); err != nil {
		t.Fatal(err)
	}
	if string(kept) == "12345678" {
		t.Error("a slice that was kept still shows what was read")
	}
}
