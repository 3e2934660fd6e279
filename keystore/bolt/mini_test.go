package bolt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// small makes the file grow and be mapped anew during a workload.
func small(fsys durable.FS) bolt.Options {
	return bolt.Options{FS: fsys, MapSize: 1 << 15, GrowBy: 1 << 15}
}

// bugs can be built into a system to see whether the model notices.
type bugs struct {
	noSync     bool // bbolt leaves its syncs out
	journalTwo bool // the journal is written after the commit
	noMarker   bool // the journal is not told what was committed
}

// subject is a system under test. Objects go through the versions 0 (absent), 1 (created), 2 (activated), 3 (destroyed).
type subject interface {
	// Change takes several objects to their next versions, all or none.
	Change(next map[int]int) error
	// Get returns the version that it saw.
	Get(id int) (version int, err error)
	// State returns the versions of all objects that there are, after checking everything that can be checked.
	State() (map[int]int, error)
	// Releases counts, for each object, the records of its releases; it fails when a version has no record.
	Releases(state map[int]int) (map[int]int, error)
	Close() error
}

// system makes and opens subjects in a folder.
type system interface {
	Init(dir string, fsys durable.FS) error
	Open(dir string, fsys durable.FS, b bugs) (subject, error)
}

// mini is the smallest store with the keystore's order of durability: a backend, a journal, and a head that names the
// journal's position. It tests backend and journal together without the rest of the keystore.
type mini struct{}

var storeID = [16]byte{0: 1}

func journalConfig(dir string, fsys durable.FS) audit.Config {
	return audit.Config{
		Dir: filepath.Join(dir, "audit"), FS: fsys, StoreID: storeID, SegmentBytes: 4 << 10,
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
	}
}

func (mini) Init(dir string, fsys durable.FS) error {
	if err := audit.Create(journalConfig(dir, fsys)); err != nil {
		return err
	}
	return bolt.Create(filepath.Join(dir, "store.db"), small(fsys))
}

type miniStore struct {
	bugs
	b  *bolt.Backend
	j  *audit.Journal
	mu sync.Mutex // orders SetCommitted
}

func (mini) Open(dir string, fsys durable.FS, with bugs) (subject, error) {
	b, err := bolt.Open(filepath.Join(dir, "store.db"), small(fsys))
	if err != nil {
		return nil, err
	}
	if with.noSync {
		b.SetNoSync()
	}
	j, err := audit.Open(journalConfig(dir, fsys))
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	s := &miniStore{bugs: with, b: b, j: j}
	if err := s.compare(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *miniStore) Close() error { return errors.Join(s.j.Close(), s.b.Close()) }

var headKey = []byte("head")

// compare is the keystore's check of store against journal.
func (s *miniStore) compare() error {
	head, err := s.head()
	if err != nil || head.Seq == 0 {
		return err
	}
	hash, ok, err := s.j.HashAt(head.Seq)
	if err != nil {
		return err
	}
	if !s.journalTwo && (!ok || hash != head.Hash) {
		return fmt.Errorf("the journal lacks sequence %d, which the store names", head.Seq)
	}
	if s.j.Marker() > head.Seq {
		return fmt.Errorf("the store is at %d, the journal knows of %d committed: rolled back", head.Seq, s.j.Marker())
	}
	return nil
}

func (s *miniStore) head() (p audit.Position, err error) {
	err = s.b.View(ctx, func(kv keystore.KV) error {
		v, err := kv.Get(headKey)
		if err == nil && v != nil {
			p.Seq = binary.BigEndian.Uint64(v)
			copy(p.Hash[:], v[8:])
		}
		return err
	})
	return p, err
}

func miniValue(id, version int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("object %d version %d. ", id, version), 8+id%20))
}

func miniKey(id int) []byte { return fmt.Appendf(nil, "o%04d", id) }

var versionNames = []string{"", "Create", "Activate", "Destroy"}

func (s *miniStore) Change(next map[int]int) error {
	write := func(kv keystore.KV) error {
		for id, version := range next {
			if err := kv.Put(miniKey(id), miniValue(id, version)); err != nil {
				return err
			}
		}
		return nil
	}
	if s.journalTwo {
		if err := s.b.Update(ctx, write, nil); err != nil {
			return err
		}
		_, err := s.intents(next)
		return err
	}
	var p audit.Position
	err := s.b.Update(ctx, write, func(kv keystore.KV) (err error) {
		if p, err = s.intents(next); err != nil {
			return err
		}
		return kv.Put(headKey, append(binary.BigEndian.AppendUint64(nil, p.Seq), p.Hash[:]...))
	})
	if err == nil && !s.noMarker {
		s.mu.Lock()
		s.j.SetCommitted(p.Seq)
		s.mu.Unlock()
	}
	return err
}

func (s *miniStore) intents(next map[int]int) (audit.Position, error) {
	var events []audit.Event
	for id, version := range next {
		events = append(events, audit.Event{Class: audit.Change, Outcome: audit.Success, HasObject: true, Object: miniObject(id), Operation: versionNames[version]})
	}
	return s.j.Append(audit.Normal, events...)
}

func miniObject(id int) (o [16]byte) {
	binary.BigEndian.PutUint64(o[:], uint64(id))
	return o
}

func (s *miniStore) Get(id int) (version int, err error) {
	err = s.b.View(ctx, func(kv keystore.KV) error {
		v, err := kv.Get(miniKey(id))
		if err == nil {
			_, err = fmt.Sscanf(string(v), "object %d version %d.", new(int), &version)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	_, err = s.j.Append(audit.Normal, audit.Event{Class: audit.Release, Outcome: audit.Success, HasObject: true, Object: miniObject(id), Operation: "Get"})
	return version, err
}

func (s *miniStore) State() (map[int]int, error) {
	if err := s.b.Verify(ctx); err != nil {
		return nil, err
	}
	state := make(map[int]int)
	var wrong error
	err := s.b.View(ctx, func(kv keystore.KV) error {
		return kv.Range([]byte("o"), nil, func(k, v []byte) bool {
			var id, version, again int
			_, wrong = fmt.Sscanf(string(k), "o%d", &id)
			if wrong == nil {
				_, wrong = fmt.Sscanf(string(v), "object %d version %d.", &again, &version)
			}
			if wrong == nil && string(v) != string(miniValue(id, version)) {
				wrong = fmt.Errorf("object %d has wrong bytes", id)
			}
			state[id] = version
			return wrong == nil
		})
	})
	return state, errors.Join(err, wrong)
}

// recordedVersions are the highest that the journal knows, by object.
type recordedVersions map[int]int

func (r recordedVersions) note(id int, e audit.Event) {
	for version, name := range versionNames {
		if e.Class == audit.Change && e.Operation == name {
			r[id] = max(r[id], version)
		}
	}
}

// lack tells of an object that is newer than the journal knows.
func (r recordedVersions) lack(state map[int]int) error {
	for id, version := range state {
		if r[id] < version {
			return fmt.Errorf("object %d has version %d, the journal knows of %d", id, version, r[id])
		}
	}
	return nil
}

func (s *miniStore) Releases(state map[int]int) (map[int]int, error) {
	releases, recorded := make(map[int]int), make(recordedVersions)
	err := s.j.Since(0, func(_ uint64, e audit.Event) error {
		id := int(binary.BigEndian.Uint64(e.Object[:]))
		if e.Class == audit.Release {
			releases[id]++
		}
		recorded.note(id, e)
		return nil
	})
	return releases, errors.Join(err, recorded.lack(state))
}
