package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/keyreeve/keyreeve/keystore"
)

// A meta page: after the page header magic 4 · version 4 · page size 4 · flags 4 · root bucket 16 · freelist 8 ·
// high-water mark 8 · transaction 8 · FNV-1a 64 of all that. A commit writes the older one of pages 0 and 1.
const (
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0)
)

type meta struct {
	pageSize, root, freelist, high, tx uint64
}

// parseMeta reads the meta page at the beginning of b. ok is false when its checksum is wrong.
func parseMeta(b []byte) (m meta, ok bool) {
	if len(b) < pageHeader+metaSize {
		return meta{}, false
	}
	b = b[pageHeader:][:metaSize]
	u64 := func(i int) uint64 { return binary.NativeEndian.Uint64(b[i:]) }
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	m = meta{pageSize: uint64(binary.NativeEndian.Uint32(b[8:])), root: u64(16), freelist: u64(32), high: u64(40), tx: u64(48)}
	return m, binary.NativeEndian.Uint32(b) == metaMagic && binary.NativeEndian.Uint32(b[4:]) == metaVersion && u64(56) == sum.Sum64()
}

// checkBeforeOpen looks at what bbolt will trust when it opens the file: the valid meta page, the length, and the
// freelist. A page that is listed as free and is none would be overwritten, so the list is read strictly.
func checkBeforeOpen(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := currentMeta(f, info.Size())
	if err != nil {
		return err
	}
	if uint64(info.Size())/m.pageSize < m.high {
		return fmt.Errorf("%w: the file has %d bytes, its content needs %d: it was cut", keystore.ErrCorrupt, info.Size(), m.high*m.pageSize)
	}
	if m.freelist == noFreelist {
		return fmt.Errorf("%w: it has no list of free pages, so it was not written by keyreeve", keystore.ErrCorrupt)
	}
	b, err := readPage(f, m)
	if err != nil {
		return err
	}
	_, err = parseFreelist(b, m)
	return err
}

// currentMeta returns the newest valid meta page. When the first is bad its twin is looked for at every possible page
// size, for the first was the one to tell.
func currentMeta(f io.ReaderAt, size int64) (meta, error) {
	best, found := meta{}, false
	buf := make([]byte, pageHeader+metaSize)
	for at := int64(0); at < size; at = max(1024, at*2) {
		if n, err := f.ReadAt(buf, at); n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				break
			}
			return meta{}, err
		}
		m, ok := parseMeta(buf)
		if ok && (at == 0 || uint64(at) == m.pageSize) && (!found || m.tx > best.tx) {
			best, found = m, true
		}
		if at > 1<<24 {
			break
		}
	}
	if !found || best.pageSize < 1024 || best.pageSize > 1<<24 || best.high < 3 || best.high > 1<<40 {
		return meta{}, fmt.Errorf("%w: neither of its two meta pages is whole (%d bytes); restore a backup", keystore.ErrCorrupt, size)
	}
	return best, nil
}

// readPage reads the pages of the freelist.
func readPage(f io.ReaderAt, m meta) ([]byte, error) {
	head := make([]byte, pageHeader)
	if m.freelist < 2 || m.freelist >= m.high {
		return nil, damaged(m.freelist, "lies outside of the file")
	}
	if _, err := f.ReadAt(head, int64(m.freelist*m.pageSize)); err != nil {
		return nil, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if overflow >= m.high-m.freelist {
		return nil, damaged(m.freelist, "is longer than the file")
	}
	b := make([]byte, (overflow+1)*m.pageSize)
	_, err := f.ReadAt(b, int64(m.freelist*m.pageSize))
	return b, err
}

// parseFreelist returns the numbers of the free pages.
func parseFreelist(b []byte, m meta) ([]uint64, error) {
	if binary.NativeEndian.Uint64(b) != m.freelist || binary.NativeEndian.Uint16(b[8:]) != freelistFlag {
		return nil, damaged(m.freelist, "is not the list of free pages")
	}
	count, ids := uint64(binary.NativeEndian.Uint16(b[10:])), b[pageHeader:]
	if count == 0xFFFF { // too many for the header
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return nil, damaged(m.freelist, "has more elements than it holds")
	}
	free := make([]uint64, count)
	last := uint64(1)
	for i := range free {
		id := binary.NativeEndian.Uint64(ids[i*8:])
		own := id >= m.freelist && id < m.freelist+uint64(len(b))/m.pageSize
		if id <= last || id >= m.high || id == m.root || own {
			return nil, damaged(m.freelist, fmt.Sprintf("lists page %d, which cannot be free", id))
		}
		free[i], last = id, id
	}
	return free, nil
}

// Verify reads every page of a snapshot, while the backend serves: every page is used exactly once or free, keys
// ascend, each can be found from the root, all leaves are equally deep. It knows nothing of what the values
// mean; keystore's Check does.
func (b *Backend) Verify(ctx context.Context) error {
	if b.closed.Load() || b.stuck.Load() {
		return fmt.Errorf("verifying the store %s: it is closed or cannot be read", b.path)
	}
	s, err := b.acquire(ctx)
	if err != nil {
		return fmt.Errorf("verifying the store %s: %w", b.path, err)
	}
	defer b.release(s)
	err = guard(func() error { return s.verify(ctx) })
	if err != nil {
		return fmt.Errorf("verifying the store %s: %w", b.path, err)
	}
	return nil
}

func (s *snapshot) verify(ctx context.Context) error {
	v := verifier{ctx: ctx, s: s, used: make([]bool, uint64(len(s.data))/s.size)}
	if err := v.tree(s.directory, bucketLeaf); err != nil {
		return err
	}
	for _, f := range s.families {
		if err := v.tree(f.root, 0); err != nil {
			return err
		}
	}
	return v.freelist()
}

type verifier struct {
	ctx  context.Context
	s    *snapshot
	used []bool
}

// tree checks one bucket. The walk sees to it that the keys ascend over all pages.
func (v *verifier) tree(r root, flags uint32) error {
	leafDepth := -1
	w := walk{p: v.s.pages, flags: flags, visit: func(_, _ []byte) (bool, error) { return true, nil }}
	w.enter = func(n node, depth int) error {
		if n.leaf && leafDepth < 0 {
			leafDepth = depth
		}
		if n.leaf && depth != leafDepth {
			return damaged(n.id, "is a leaf at the wrong depth")
		}
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if err := v.s.checkNode(n, flags, nil); err != nil {
			return err
		}
		if err := v.found(r, n); err != nil {
			return err
		}
		return v.use(n)
	}
	_, err := w.tree(r)
	return err
}

// found checks that a search from the root leads to n for its first and its last key, and so for all between.
func (v *verifier) found(r root, n node) error {
	if !n.leaf || n.count == 0 {
		return nil
	}
	for _, i := range []int{0, n.count - 1} {
		switch leaf, err := v.s.leafFor(r, n.key(i)); {
		case err != nil:
			return err
		case leaf.id != n.id:
			return damaged(n.id, "cannot be found from the root")
		}
	}
	return nil
}

// use marks the pages of n. An inline bucket has none of its own.
func (v *verifier) use(n node) error {
	if n.id == 0 {
		return nil
	}
	for id := n.id; id < n.id+uint64(len(n.b))/v.s.size; id++ {
		if v.used[id] {
			return damaged(id, "is used twice")
		}
		v.used[id] = true
	}
	return nil
}

// freelist checks that the pages that no tree uses are the free ones. The snapshot's meta page may be overwritten by
// the second commit after it, and then there is nothing to compare with: that is no damage.
func (v *verifier) freelist() error {
	if m, ok := v.s.meta(v.s.txid); ok && m.freelist != noFreelist {
		return v.compareFree(m)
	}
	return nil
}

func (v *verifier) compareFree(m meta) error {
	if m.freelist < 2 || m.freelist >= uint64(len(v.used)) {
		return damaged(m.freelist, "lies outside of the file")
	}
	b := v.s.data[m.freelist*m.pageSize:]
	overflow := uint64(binary.NativeEndian.Uint32(b[12:]))
	if overflow >= uint64(len(v.used))-m.freelist {
		return damaged(m.freelist, "is longer than the file")
	}
	b = b[:(overflow+1)*m.pageSize]
	free, err := parseFreelist(b, m)
	if err != nil {
		return err
	}
	for _, id := range free {
		if v.used[id] {
			return damaged(id, "is used and listed as free")
		}
		v.used[id] = true
	}
	for id := uint64(2); id < uint64(len(v.used)); id++ {
		if !v.used[id] && (id < m.freelist || id > m.freelist+overflow) {
			return damaged(id, "is neither used nor free")
		}
	}
	return nil
}
