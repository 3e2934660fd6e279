package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
)

// Key sizes of keystore.KV.
const (
	minKey = 2
	maxKey = 256
)

// reader is the KV of one View, and with an overlay that of one Update. It is used by one goroutine.
type reader struct {
	s       *snapshot
	overlay *overlay // nil in a View
}

// View implements keystore.Backend.
func (b *Backend) View(ctx context.Context, fn func(kv keystore.KV) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := b.acquire(ctx)
	if err != nil {
		return err
	}
	r := b.readers.Get().(*reader)
	r.s = s
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer b.endView(r)
	defer rescue(&err)
	return fn(r)
}

func (b *Backend) endView(r *reader) {
	s := r.s
	*r = reader{}
	b.readers.Put(r)
	b.release(s)
}

// Update implements keystore.Backend. fn runs once.
func (b *Backend) Update(ctx context.Context, fn, prepared func(kv keystore.KV) error) error {
	select {
	case <-b.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { b.writer <- struct{}{} }()
	if err := b.writable(ctx); err != nil {
		return err
	}
	defer b.pending.reset()
	isPrepared, err := b.gather(ctx, fn, prepared)
	if err == nil && len(b.pending.writes) > 0 {
		err = b.commit()
	}
	if err != nil && isPrepared {
		b.fail(err)
	}
	return err
}

// fail stops all Updates from now on. The first cause stays.
func (b *Backend) fail(cause error) { b.failed.CompareAndSwap(nil, &failure{cause}) }

func (b *Backend) writable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.closed.Load() {
		return fmt.Errorf("the store %s is closed", b.path)
	}
	if f := b.failed.Load(); f != nil {
		return fmt.Errorf("%w: stop the server, check the disk of %s, and start again (what failed: %w)", keystore.ErrFailed, b.path, f.cause)
	}
	return nil
}

// gather runs fn and prepared on a snapshot, with the writes kept in b.pending. isPrepared tells that prepared has
// returned without error, so that what is in the journal now must be committed or the backend must stop. The same holds
// when prepared panics: it may have written there.
func (b *Backend) gather(ctx context.Context, fn, prepared func(kv keystore.KV) error) (isPrepared bool, err error) {
	s, err := b.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer b.release(s)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer rescue(&err)
	kv := &reader{s: s, overlay: &b.pending}
	if err := fn(kv); err != nil || prepared == nil {
		return err == nil, err
	}
	returned := false
	defer func() {
		if !returned {
			b.fail(errors.New("a panic while the journal was written"))
		}
	}()
	err = prepared(kv)
	returned = true
	return err == nil, err
}

// commit hands the pending writes to bbolt. Nothing is written to the file before tx.Commit, so up to there an error
// has a known outcome.
func (b *Backend) commit() error {
	b.beginCommit()
	defer b.endCommit()
	tx, err := b.beginTx(true)
	if err != nil {
		return fmt.Errorf("beginning a write: %w", err)
	}
	if err := guard(func() error { return b.apply(tx) }); err != nil {
		b.end(tx)
		return fmt.Errorf("%w; nothing was written", err)
	}
	if !b.roomy(tx) {
		b.unpin()
	}
	defer time.AfterFunc(unpinAfter, b.unpin).Stop()
	b.uncertain.Store(uint64(tx.ID())) // before the meta page can be seen
	if err := guard(tx.Commit); err != nil {
		if tx.DB() != nil { // it panicked half-way
			b.end(tx)
		}
		return commitError(b.path, err)
	}
	b.uncertain.Store(0)
	return nil
}

// commitError says in words what a failed commit means.
func commitError(path string, err error) error {
	if diskFull(err) {
		return fmt.Errorf("writing %s: %w: the disk is full: %w", path, keystore.ErrCommitUnknown, err)
	}
	return fmt.Errorf("writing %s: %w: %w", path, keystore.ErrCommitUnknown, err)
}

// diskFull also reads the text, since bbolt does not wrap what failed when it grows the file.
func diskFull(err error) bool {
	return durable.IsDiskFull(err) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) ||
		strings.Contains(err.Error(), syscall.EDQUOT.Error())
}

// apply puts the pending writes into bbolt's tree, in the order of keys. The pages that a key leads to are checked
// before bbolt reads them.
func (b *Backend) apply(tx *bbolt.Tx) error {
	clear(b.checked)
	s := snapshot{tx: tx}
	if err := s.look(0); err != nil {
		return err
	}
	var bucket *bbolt.Bucket
	var current byte
	for i := range b.pending.order {
		w := b.pending.sorted(i)
		if bucket == nil || w.key[0] != current {
			current = w.key[0]
			var err error
			if bucket, err = b.bucket(tx, &s, w.key[:1]); err != nil {
				return err
			}
		}
		if err := b.write(bucket, &s, w); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) bucket(tx *bbolt.Tx, s *snapshot, name []byte) (*bbolt.Bucket, error) {
	if err := s.checkPath(s.directory, name, bucketLeaf, b.checked); err != nil {
		return nil, err
	}
	return tx.CreateBucketIfNotExists(name)
}

func (b *Backend) write(bucket *bbolt.Bucket, s *snapshot, w *write) error {
	if r, ok := s.family(w.key[0]); ok {
		if err := s.checkPath(r, w.key, 0, b.checked); err != nil {
			return err
		}
	}
	if w.value == nil {
		return bucket.Delete(w.key)
	}
	return bucket.Put(w.key, w.value)
}

func checkKey(key []byte) error {
	if len(key) < minKey || len(key) > maxKey {
		return fmt.Errorf("a key of %d bytes; keys have %d to %d", len(key), minKey, maxKey)
	}
	return nil
}

// Get implements keystore.KV.
func (r *reader) Get(key []byte) (value []byte, err error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if r.overlay != nil {
		if v, known := r.overlay.get(key); known {
			return v, nil
		}
	}
	at, ok := r.s.family(key[0])
	if !ok {
		return nil, nil
	}
	defer rescue(&err)
	if value, err = r.s.get(at, key); err == nil {
		touch(value)
	}
	return value, err
}

// touch reads a byte of each page of v, so that a page that cannot be read is found here and not in the caller.
func touch(v []byte) {
	var sum byte
	for i := 0; i < len(v); i += 4096 {
		sum |= v[i]
	}
	if len(v) > 0 {
		sum |= v[len(v)-1]
	}
	touched(sum)
}

//go:noinline
func touched(byte) {}

// Put implements keystore.KV.
func (r *reader) Put(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return r.set(key, value)
}

// Delete implements keystore.KV.
func (r *reader) Delete(key []byte) error { return r.set(key, nil) }

func (r *reader) set(key, value []byte) error {
	if r.overlay == nil {
		return keystore.ErrReadOnly
	}
	if err := checkKey(key); err != nil {
		return err
	}
	r.overlay.set(key, value)
	return nil
}

// Range implements keystore.KV.
func (r *reader) Range(prefix, start []byte, fn func(key, value []byte) bool) (err error) {
	if len(prefix) == 0 || len(prefix) > maxKey {
		return errors.New("a range without a key family")
	}
	defer rescue(&err)
	m := merge{prefix: prefix, fn: fn, overlay: r.overlay}
	if bytes.Compare(start, prefix) < 0 {
		start = prefix
	}
	m.begin(start)
	more := true
	if at, ok := r.s.family(prefix[0]); ok {
		w := walk{p: r.s.pages, start: start, visit: m.stored}
		if more, err = w.tree(at); err != nil {
			return err
		}
	}
	if more || !m.done {
		m.pendingUpTo(nil)
	}
	return nil
}

// merge joins what is stored with what the Update has written, in the order of keys.
type merge struct {
	prefix  []byte
	fn      func(key, value []byte) bool
	overlay *overlay
	next    int // in overlay.order
	done    bool
}

func (m *merge) begin(start []byte) {
	if m.overlay != nil {
		m.next, _ = m.overlay.find(start)
	}
}

// stored gets each key of the file.
func (m *merge) stored(key, value []byte) (more bool, err error) {
	if !bytes.HasPrefix(key, m.prefix) {
		return false, nil
	}
	if !m.pendingUpTo(key) {
		return false, nil
	}
	if m.overlay != nil && m.next < len(m.overlay.order) && bytes.Equal(m.overlay.sorted(m.next).key, key) {
		return m.pending(), nil
	}
	m.done = !m.fn(key, value)
	return !m.done, nil
}

// pendingUpTo passes on the writes below key, all when it is nil.
func (m *merge) pendingUpTo(key []byte) (more bool) {
	for !m.done && m.overlay != nil && m.next < len(m.overlay.order) {
		k := m.overlay.sorted(m.next).key
		if !bytes.HasPrefix(k, m.prefix) || (key != nil && bytes.Compare(k, key) >= 0) {
			break
		}
		m.pending()
	}
	return !m.done
}

func (m *merge) pending() (more bool) {
	w := m.overlay.sorted(m.next)
	m.next++
	if w.value != nil {
		m.done = !m.fn(w.key, w.value)
	}
	return !m.done
}
