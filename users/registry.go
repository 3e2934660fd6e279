package users

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Registry needs. The zero value will do.
type Config struct {
	Now     func() time.Time      // nil: time.Now
	Metrics prometheus.Registerer // nil: nothing is counted
}

// Registry is the table of users in memory, safe for concurrent use. Readers
// take one atomic load and no lock; a change builds a new table and swaps it in.
type Registry struct {
	table  atomic.Pointer[table]
	mu     sync.Mutex // serialises writers
	given  uint64     // generations, under mu
	memory *recollection
	bound  *bound
	decoy  *Hash
	count  *counters
}

// table is immutable once it is stored in the Registry.
type table struct {
	byID     map[string]*entry
	byDevice map[string]*entry // by group and fields, see deviceKey
	groups   map[string]int    // users of each
}

// entry is a user with the generation that its record has in this process. It
// is given once, so what was remembered of an older record never fits again.
type entry struct {
	User
	generation uint64
}

// NewRegistry builds the table.
func NewRegistry(c Config, users []User) (*Registry, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Registry{memory: newRecollection(c.Now), bound: newBound(), decoy: decoy(), count: newCounters(c.Metrics)}
	byID := make(map[string]*entry, len(users))
	for _, u := range users {
		id := ID(u.Group, u.Name)
		if byID[id] != nil {
			return nil, fmt.Errorf("%w %q: the group %s has two of this name", ErrBadUser, u.Name, u.Group)
		}
		byID[id] = r.entry(u)
	}
	t, err := build(byID)
	if err != nil {
		return nil, err
	}
	r.table.Store(t)
	return r, nil
}

func (r *Registry) entry(u User) *entry {
	r.given++
	return &entry{u, r.given}
}

func build(byID map[string]*entry) (*table, error) {
	t := &table{byID: byID, byDevice: map[string]*entry{}, groups: map[string]int{}}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		e := byID[id]
		if err := e.Validate(); err != nil {
			return nil, err
		}
		t.groups[e.Group]++
		if e.Device == nil {
			continue
		}
		key := e.deviceKey()
		if other := t.byDevice[key]; other != nil {
			return nil, fmt.Errorf("%w: users %q and %q of group %s have the same device fields", ErrConflict, other.Name, e.Name, e.Group)
		}
		t.byDevice[key] = e
	}
	return t, nil
}

// deviceKey is the same for two credentials just when they have the same
// fields: each with its length, one that is not there as length 0.
func (u *User) deviceKey() string {
	key := appendField(nil, []byte(u.Group))
	for _, field := range u.Device.fields() {
		key = appendField(key, []byte(field))
	}
	return string(key)
}

func appendField(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

// Check tells whether Put would take the record.
func (r *Registry) Check(u User) error {
	_, err := build(r.table.Load().with(&entry{User: u}))
	return err
}

func (t *table) with(e *entry) map[string]*entry {
	byID := maps.Clone(t.byID)
	byID[ID(e.Group, e.Name)] = e
	return byID
}

// Put adds or replaces a record. What was remembered of the old one is
// forgotten: from here on only the new credential is taken. Nothing has changed
// when it returns an error.
func (r *Registry) Put(u User) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := build(r.table.Load().with(r.entry(u)))
	if err != nil {
		return err
	}
	r.table.Store(next)
	r.memory.forget(ID(u.Group, u.Name))
	return nil
}

// Remove forgets a user, whose credential is then unknown, in requests that
// arrive from here on. It reports whether there was one.
func (r *Registry) Remove(group, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, id := r.table.Load(), ID(group, name)
	if old.byID[id] == nil {
		return false
	}
	byID := maps.Clone(old.byID)
	delete(byID, id)
	next, err := build(byID)
	if err != nil {
		panic("users: removing a user made the table invalid: " + err.Error()) // a subset of a valid table is valid
	}
	r.table.Store(next)
	r.memory.forget(id)
	return true
}

// Get returns one record.
func (r *Registry) Get(group, name string) (User, bool) {
	e := r.table.Load().byID[ID(group, name)]
	if e == nil {
		return User{}, false
	}
	return e.User, true
}

// List returns all records, by group and name.
func (r *Registry) List() []User {
	t := r.table.Load()
	list := make([]User, 0, len(t.byID))
	for _, e := range t.byID {
		list = append(list, e.User)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(ID(a.Group, a.Name), ID(b.Group, b.Name)) })
	return list
}

// Has tells how many users a group has.
func (r *Registry) Has(group string) int { return r.table.Load().groups[group] }
