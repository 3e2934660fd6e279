package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/keystore"
)

// A Volume is what a backend in memory has committed: it outlives the backend
// as a disk outlives a process. The zero Volume is empty.
type Volume struct {
	mu   sync.Mutex // one Update at a time
	root atomic.Pointer[node]
}

// Open returns a backend on the volume. Several may be open; a test that
// crashed one opens the next.
func (v *Volume) Open() *Memory { return &Memory{volume: v} }

// Snapshot returns a copy of what is committed, as a file kept aside would be.
func (v *Volume) Snapshot() *Volume {
	c := &Volume{}
	c.root.Store(v.root.Load())
	return c
}

// Restore puts back what Snapshot kept.
func (v *Volume) Restore(old *Volume) { v.root.Store(old.root.Load()) }

// Memory is a keystore.Backend that polices its caller. It runs every third
// Update's fn twice, overwrites what it returned when fn has ended, and fails
// an Update in which a slice given to Put or Delete was changed, a key has no
// valid length, a walked family is written, or a KV is used after its end.
type Memory struct {
	volume  *Volume
	closed  atomic.Bool
	updates atomic.Uint64
	arenas  sync.Pool
}

var _ keystore.Backend = (*Memory)(nil)

// ErrPolice is wrapped when the caller broke a rule of keystore.KV.
var ErrPolice = errors.New("keystoretest: the caller broke the contract")

var errClosed = errors.New("keystoretest: the backend is closed")

// Update implements keystore.Backend.
func (m *Memory) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	m.volume.mu.Lock()
	defer m.volume.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	if m.updates.Add(1)%3 == 0 {
		if err := m.rehearse(fn); err != nil {
			return err
		}
	}
	kv := m.begin(true)
	err := fn(kv)
	if err == nil && prepared != nil {
		err = prepared(kv)
	}
	if endErr := kv.end(); err == nil {
		err = endErr
	}
	if err == nil {
		err = m.usable(context.Background()) // a crash in between
	}
	if err == nil {
		m.volume.root.Store(kv.root)
	}
	return err
}

// rehearse runs fn for nothing, as after a conflict.
func (m *Memory) rehearse(fn func(kv keystore.KV) error) error {
	kv := m.begin(true)
	_ = fn(kv) // its error counts when it runs again
	if err := kv.end(); err != nil {
		return err
	}
	return nil
}

// View implements keystore.Backend.
func (m *Memory) View(ctx context.Context, fn func(kv keystore.KV) error) error {
	if err := m.usable(ctx); err != nil {
		return err
	}
	kv := m.begin(false)
	err := fn(kv)
	if endErr := kv.end(); err == nil {
		err = endErr
	}
	return err
}

// Close implements keystore.Backend.
func (m *Memory) Close() error {
	m.closed.Store(true)
	return nil
}

func (m *Memory) usable(ctx context.Context) error {
	if m.closed.Load() {
		return errClosed
	}
	return ctx.Err()
}

func (m *Memory) begin(writable bool) *kv {
	arena, _ := m.arenas.Get().(*[]byte)
	if arena == nil {
		b := make([]byte, 0, 16<<10)
		arena = &b
	}
	return &kv{memory: m, root: m.volume.root.Load(), writable: writable, arena: arena}
}

// kv is one transaction.
type kv struct {
	memory   *Memory
	root     *node
	writable bool
	arena    *[]byte
	large    [][]byte // returned, too large for the arena
	given    []given
	walking  []byte // families
	broken   error
	ended    bool
}

// given is a slice that the caller must leave alone, and what it held.
type given struct {
	slice []byte
	held  string
}

// lend returns a copy that is overwritten when the transaction ends.
func (t *kv) lend(b []byte) []byte {
	a := *t.arena
	if cap(a)-len(a) < len(b) {
		c := append(make([]byte, 0, len(b)), b...)
		t.large = append(t.large, c)
		return c
	}
	n := len(a)
	a = append(a, b...)
	*t.arena = a
	return a[n:len(a):len(a)]
}

// end overwrites what was lent, and tells what the caller did wrong.
func (t *kv) end() error {
	t.ended = true
	for _, g := range t.given { // before: what was lent may be given back
		if string(g.slice) != g.held {
			_ = t.police("a slice given to Put or Delete was changed before the transaction ended")
		}
	}
	for _, b := range append(t.large, *t.arena) {
		for i := range b {
			b[i] = 0xdb
		}
	}
	*t.arena = (*t.arena)[:0]
	t.memory.arenas.Put(t.arena)
	t.arena = nil
	return t.broken
}

func (t *kv) police(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", ErrPolice, fmt.Sprintf(format, args...))
	if t.broken == nil {
		t.broken = err
	}
	return err
}

func (t *kv) checkKey(key []byte) error {
	switch {
	case t.ended:
		panic(t.police("KV used after its transaction ended"))
	case len(key) < 2 || len(key) > 256:
		return t.police("a key of %d bytes", len(key))
	}
	return nil
}

// Get implements keystore.KV.
func (t *kv) Get(key []byte) ([]byte, error) {
	if err := t.checkKey(key); err != nil {
		return nil, err
	}
	if n := t.root.find(key); n != nil {
		return t.lend(n.value), nil
	}
	return nil, nil
}

func (t *kv) checkWrite(key []byte) error {
	switch err := t.checkKey(key); {
	case err != nil:
		return err
	case !t.writable:
		return keystore.ErrReadOnly
	case bytes.IndexByte(t.walking, key[0]) >= 0:
		return t.police("a write to family %q while it is walked", key[0])
	}
	return nil
}

// Put implements keystore.KV.
func (t *kv) Put(key, value []byte) error {
	if err := t.checkWrite(key); err != nil {
		return err
	}
	t.given = append(t.given, given{key, string(key)}, given{value, string(value)})
	t.root = t.root.put(string(key), append([]byte{}, value...))
	return nil
}

// Delete implements keystore.KV.
func (t *kv) Delete(key []byte) error {
	if err := t.checkWrite(key); err != nil {
		return err
	}
	t.given = append(t.given, given{key, string(key)})
	t.root = t.root.remove(string(key))
	return nil
}

// Range implements keystore.KV.
func (t *kv) Range(prefix, start []byte, fn func(key, value []byte) bool) error {
	if t.ended {
		panic(t.police("KV used after its transaction ended"))
	}
	if len(prefix) == 0 {
		return t.police("Range without a family")
	}
	t.walking = append(t.walking, prefix[0])
	defer func() { t.walking = t.walking[:len(t.walking)-1] }()
	from := prefix
	if bytes.Compare(start, prefix) > 0 {
		from = start
	}
	t.root.ascend(string(from), func(n *node) bool {
		return bytes.HasPrefix([]byte(n.key), prefix) && fn(t.lend([]byte(n.key)), t.lend(n.value))
	})
	return nil
}

// A node of a treap that is never changed, so that a snapshot is a pointer.
type node struct {
	key         string
	value       []byte
	priority    uint32
	left, right *node
}

func (n *node) find(key []byte) *node {
	for n != nil {
		switch {
		case string(key) < n.key:
			n = n.left
		case string(key) > n.key:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// priority is the key's FNV-1a hash: the tree's shape depends on its keys only.
func priority(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// split returns what is below key and what is above it; key itself is left out.
func (n *node) split(key string) (below, above *node) {
	if n == nil {
		return nil, nil
	}
	c := *n
	switch {
	case n.key < key:
		c.right, above = n.right.split(key)
		return &c, above
	case n.key > key:
		below, c.left = n.left.split(key)
		return below, &c
	}
	return n.left, n.right
}

// join puts two trees together; all keys of a are below those of b.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		c := *a
		c.right = join(a.right, b)
		return &c
	}
	c := *b
	c.left = join(a, b.left)
	return &c
}

func (n *node) put(key string, value []byte) *node {
	below, above := n.split(key)
	return join(join(below, &node{key: key, value: value, priority: priority(key)}), above)
}

func (n *node) remove(key string) *node {
	below, above := n.split(key)
	return join(below, above)
}

// ascend visits the keys from start on until fn returns false.
func (n *node) ascend(start string, fn func(n *node) bool) bool {
	if n == nil {
		return true
	}
	if n.key >= start {
		if !n.left.ascend(start, fn) || !fn(n) {
			return false
		}
	}
	return n.right.ascend(start, fn)
}

// dump returns everything that a backend holds, by key.
func dump(b keystore.Backend) (map[string]string, error) {
	all := make(map[string]string)
	err := b.View(context.Background(), func(kv keystore.KV) error {
		for family := range 256 {
			err := kv.Range([]byte{byte(family)}, nil, func(key, value []byte) bool {
				all[string(key)] = string(value)
				return true
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// restore makes a backend hold exactly that.
func restore(b keystore.Backend, all map[string]string) error {
	now, err := dump(b)
	if err != nil {
		return err
	}
	return b.Update(context.Background(), func(kv keystore.KV) error {
		for _, key := range sortedKeys(now) {
			if _, stays := all[key]; !stays {
				if err := kv.Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		for _, key := range sortedKeys(all) {
			if err := kv.Put([]byte(key), []byte(all[key])); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

func sortedKeys(all map[string]string) []string {
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
