package bolt

import (
	"fmt"
	"sync"
	"unsafe"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/keystore"
)

// snapshot is one open read transaction of bbolt, seen through pages. After it was made it is only read, so several
// Views may use it at once.
type snapshot struct {
	pages
	tx       *bbolt.Tx
	families []family
	refs     int // guarded by snapshots.mu
}

// family is one bucket: all keys with the same first byte.
type family struct {
	name byte
	root root
}

func (s *snapshot) family(name byte) (root, bool) {
	for i := range s.families {
		if s.families[i].name == name {
			return s.families[i].root, true
		}
	}
	return root{}, false
}

// snapshots shares one snapshot among Views while nothing commits. mu is never held while bbolt may block: bbolt lets
// nobody begin when it waits for the readers of the old mapping, and they end through mu.
type snapshots struct {
	mu     sync.Mutex
	cached *snapshot
	epoch  uint64 // counts the commits begun
	hold   bool   // a commit is under way: cache nothing
}

// acquire returns a snapshot of what was last committed. release it.
func (b *Backend) acquire() (*snapshot, error) {
	b.views.mu.Lock()
	if s := b.views.cached; s != nil {
		s.refs++
		b.views.mu.Unlock()
		return s, nil
	}
	epoch := b.views.epoch
	b.views.mu.Unlock()

	s, err := b.begin()
	if err != nil {
		return nil, err
	}
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	s.refs = 1
	if b.views.epoch == epoch && !b.views.hold && b.views.cached == nil {
		s.refs++
		b.views.cached = s
	}
	return s, nil
}

func (b *Backend) release(s *snapshot) {
	b.views.mu.Lock()
	s.refs--
	last := s.refs == 0
	b.views.mu.Unlock()
	if last {
		b.end(s.tx)
	}
}

// dropCached makes later Views begin anew. With hold, none of theirs is kept until dropCached(false).
func (b *Backend) dropCached(hold bool) {
	b.views.mu.Lock()
	s := b.views.cached
	b.views.cached = nil
	b.views.hold = hold
	b.views.epoch++
	b.views.mu.Unlock()
	if s != nil {
		b.release(s)
	}
}

// begin opens a read transaction and looks up the families.
func (b *Backend) begin() (s *snapshot, err error) {
	if b.closed.Load() {
		return nil, fmt.Errorf("the store %s is closed", b.path)
	}
	if b.stuck.Load() {
		return nil, fmt.Errorf("%w: bbolt could not begin a transaction earlier; restart", keystore.ErrCorrupt)
	}
	tx, err := b.beginTx(false)
	if err != nil {
		return nil, err
	}
	s = &snapshot{tx: tx}
	if err := s.look(); err != nil {
		b.end(tx)
		return nil, err
	}
	return s, nil
}

// beginTx is bbolt's Begin. When that panics (both meta pages have gone bad in memory) its locks stay taken.
func (b *Backend) beginTx(writable bool) (tx *bbolt.Tx, err error) {
	finished := false
	err = guard(func() (err error) {
		tx, err = b.db.Begin(writable)
		finished = true
		return err
	})
	if !finished {
		b.stuck.Store(true)
	}
	if err != nil {
		return nil, openError(err)
	}
	return tx, nil
}

// end rolls a transaction of bbolt back. It touches no page.
func (b *Backend) end(tx *bbolt.Tx) {
	if err := guard(tx.Rollback); err != nil {
		b.stuck.Store(true)
	}
}

// look maps the pages of s.tx and reads the directory of families. A page that cannot be read gives ErrCorrupt.
func (s *snapshot) look() error {
	return guard(func() error {
		s.pages = pagesOf(s.tx)
		w := walk{p: s.pages, flags: bucketLeaf, visit: s.addFamily}
		_, err := w.tree(rootOf(s.tx))
		return err
	})
}

func (s *snapshot) addFamily(name, value []byte) (bool, error) {
	if len(name) != 1 || len(value) < bucketHeader {
		return false, fmt.Errorf("%w: the directory of key families cannot be read", keystore.ErrCorrupt)
	}
	r := bucketRoot(value)
	s.families = append(s.families, family{name[0], r})
	return true, nil
}

// pagesOf returns the pages up to the transaction's high-water mark. They stay mapped until the transaction ends:
// bbolt maps anew only when no reader is left.
func pagesOf(tx *bbolt.Tx) pages {
	info := tx.DB().Info()
	base := *(*unsafe.Pointer)(unsafe.Pointer(&info.Data)) // an address outside of Go's heap
	return pages{data: unsafe.Slice((*byte)(base), tx.Size()), size: uint64(info.PageSize)}
}

// rootOf is where the directory begins. Only the meta page knows it otherwise, and a later commit may overwrite that.
func rootOf(tx *bbolt.Tx) root { return root{page: uint64(tx.Cursor().Bucket().Root())} }
