package bolt

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"

	"github.com/keyreeve/keyreeve/keystore"
)

// snapshot is one open read transaction of bbolt, seen through pages. After it was made it is only read, so several
// Views may use it at once.
type snapshot struct {
	pages
	tx        *bbolt.Tx
	txid      uint64
	directory root // of the families
	families  []family
	refs      int // guarded by snapshots.mu
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

// snapshots shares one snapshot among Views, also while a commit is under way, as long as that needs no new mapping. mu is never held while bbolt may block: bbolt lets
// nobody begin when it waits for the readers of the old mapping, and they end through mu.
type snapshots struct {
	mu     sync.Mutex
	cached *snapshot
	epoch  uint64        // counts the commits begun
	commit chan struct{} // while a commit is under way, and closed at its end: nothing new is cached
}

// acquire returns a snapshot of what was last committed. release it. It waits in one case: when no snapshot is shared
// and the commit under way has written its meta page and not synced it yet. bbolt then begins with that commit, which a power cut may take back, and
// gives the pages of the one before to the next commit.
func (b *Backend) acquire(ctx context.Context) (*snapshot, error) {
	b.views.mu.Lock()
	if s := b.views.cached; s != nil {
		s.refs++
		b.views.mu.Unlock()
		return s, nil
	}
	epoch := b.views.epoch
	b.views.mu.Unlock()

	s, wait, err := b.begin()
	if wait != nil {
		select {
		case <-wait:
			return b.acquire(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	s.refs = 1
	if b.views.epoch == epoch && b.views.commit == nil && b.views.cached == nil {
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

// beginCommit keeps what Views share as it is: until the commit is synced they go on with the state before it, and wait
// for nothing. unpin takes that back.
func (b *Backend) beginCommit() {
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	b.views.commit = make(chan struct{})
}

// endCommit makes Views begin with what was committed, and lets those that waited for it begin.
func (b *Backend) endCommit() {
	b.views.mu.Lock()
	commit := b.views.commit
	b.views.commit = nil
	b.views.mu.Unlock()
	b.unpin()
	close(commit)
}

// unpin takes the shared snapshot away, so that bbolt sees an end of its readers: it maps a larger file anew only when
// none is left. While a commit is under way each View then has a transaction of its own.
func (b *Backend) unpin() {
	b.views.mu.Lock()
	s := b.views.cached
	b.views.cached = nil
	b.views.epoch++
	b.views.mu.Unlock()
	if s != nil {
		b.release(s)
	}
}

// unpinAfter bounds how long a commit keeps the shared snapshot. roomy is an estimate; where it is wrong, bbolt waits
// this long for the readers to end, and not for ever.
const unpinAfter = 200 * time.Millisecond

// roomy tells whether a commit that begins now will hardly make bbolt map the file anew.
func (b *Backend) roomy(tx *bbolt.Tx) bool {
	const spare = 64 << 20
	return tx.Size()+spare < mapped(max(int64(b.mapSize), tx.Size()))
}

// mapped is how many bytes bbolt maps for a file of n: a power of two up to 1 GiB, and whole GiB above.
func mapped(n int64) int64 {
	const most = 1 << 30
	for size := int64(1 << 15); size < most; size <<= 1 {
		if n <= size {
			return size
		}
	}
	return (n + most - 1) / most * most
}

func (b *Backend) commitUnderWay() chan struct{} {
	b.views.mu.Lock()
	defer b.views.mu.Unlock()
	return b.views.commit
}

// begin opens a read transaction and looks up the families. With wait the caller has to try again when that is closed.
func (b *Backend) begin() (s *snapshot, wait chan struct{}, err error) {
	if b.closed.Load() {
		return nil, nil, fmt.Errorf("the store %s is closed", b.path)
	}
	if b.stuck.Load() {
		return nil, nil, fmt.Errorf("%w: bbolt could not begin a transaction earlier; restart", keystore.ErrCorrupt)
	}
	tx, err := b.beginTx(false)
	if err != nil {
		return nil, nil, err
	}
	uncertain := b.uncertain.Load()
	if uncertain != 0 && uint64(tx.ID()) >= uncertain {
		if wait := b.commitUnderWay(); wait != nil {
			b.end(tx)
			return nil, wait, nil
		}
		uncertain = b.uncertain.Load() // it may have ended just now
	}
	s = &snapshot{tx: tx}
	if err := s.look(uncertain); err != nil {
		b.end(tx)
		return nil, nil, err
	}
	return s, nil, nil
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
// uncertain is the transaction whose commit failed, 0 if none did: when bbolt begins with that, the one before is
// taken. What a power cut may take back must not be told to anybody.
func (s *snapshot) look(uncertain uint64) error {
	return guard(func() error {
		s.pages, s.txid, s.directory = pagesOf(s.tx), uint64(s.tx.ID()), rootOf(s.tx)
		if uncertain != 0 && s.txid >= uncertain {
			if err := s.stepBack(uncertain - 1); err != nil {
				return err
			}
		}
		w := walk{p: s.pages, flags: bucketLeaf, visit: s.addFamily}
		_, err := w.tree(s.directory)
		return err
	})
}

// stepBack goes to an earlier transaction, whose meta page is still there because nothing was committed since.
func (s *snapshot) stepBack(txid uint64) error {
	m, ok := s.meta(txid)
	if !ok || m.high > uint64(len(s.data))/s.size {
		return fmt.Errorf("%w: what was committed last cannot be read: restart", keystore.ErrFailed)
	}
	s.data = s.data[:m.high*s.size]
	s.txid, s.directory = txid, root{page: m.root}
	return nil
}

// meta returns the meta page of a transaction, if it has not been overwritten.
func (s *snapshot) meta(txid uint64) (meta, bool) {
	for at := range uint64(2) {
		if m, ok := parseMeta(s.data[at*s.size:]); ok && m.tx == txid {
			return m, true
		}
	}
	return meta{}, false
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
