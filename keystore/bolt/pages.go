package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/keyreeve/keyreeve/keystore"
)

// The layout of bbolt's file, version 2; numbers are in the machine's own byte order. A page begins with
//
//	id 8 · flags 2 · count 2 · overflow 4 (how many more pages belong to it)
//
// and goes on with count elements of 16 bytes, whose pos counts from the element itself:
//
//	branch: pos 4 · key size 4 · page of the child 8
//	leaf:   flags 4 (1: a bucket) · pos 4 · key size 4 · value size 4
//
// The value of a bucket is root page 8 · sequence 8; a small bucket has root 0 and its only page follows there.
const (
	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10

	bucketLeaf = 1
	maxDepth   = 32 // of a tree; 10 million keys make 4 levels
)

// pages is the part of the file that a snapshot may use, mapped into memory.
type pages struct {
	data []byte
	size uint64 // of one page
}

// node is one branch or leaf page with what overflows it; its header was checked, its elements were not.
type node struct {
	b     []byte
	id    uint64
	count int
	leaf  bool
}

func damaged(page uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", keystore.ErrCorrupt, page, what)
}

// root is where the tree of one bucket begins.
type root struct {
	page   uint64
	inline []byte // the only page, when page is 0
}

func (p pages) root(r root) (node, error) {
	if r.page == 0 {
		return parseNode(r.inline, 0)
	}
	return p.node(r.page)
}

// node finds page id and checks its header.
func (p pages) node(id uint64) (node, error) {
	total := uint64(len(p.data)) / p.size
	if id < 2 || id >= total {
		return node{}, damaged(id, "lies outside of the file")
	}
	b := p.data[id*p.size:]
	if got := binary.NativeEndian.Uint64(b); got != id {
		return node{}, damaged(id, "is another page")
	}
	overflow := uint64(binary.NativeEndian.Uint32(b[12:]))
	if overflow >= total-id {
		return node{}, damaged(id, "is longer than the file")
	}
	return parseNode(b[:(overflow+1)*p.size], id)
}

func parseNode(b []byte, id uint64) (node, error) {
	if len(b) < pageHeader {
		return node{}, damaged(id, "is too short")
	}
	n := node{b: b, id: id, count: int(binary.NativeEndian.Uint16(b[10:]))}
	switch binary.NativeEndian.Uint16(b[8:]) {
	case leafFlag:
		n.leaf = true
	case branchFlag:
	default:
		return node{}, damaged(id, "is of no known kind")
	}
	if pageHeader+n.count*elementSize > len(b) {
		return node{}, damaged(id, "has more elements than it holds")
	}
	if n.count == 0 && !n.leaf {
		return node{}, damaged(id, "is a branch without children")
	}
	return n, nil
}

// cut returns the size bytes that begin pos after element i, nil when they do not lie inside the page.
func (n node) cut(i int, pos, size uint64) []byte {
	first := uint64(pageHeader + i*elementSize)
	start, end := first+pos, first+pos+size
	if start < uint64(pageHeader+n.count*elementSize) || end > uint64(len(n.b)) {
		return nil
	}
	return n.b[start:end:end]
}

func (n node) element(i int) []byte { return n.b[pageHeader+i*elementSize:][:elementSize] }

// key is nil when the element is damaged: no key is empty, apart from the first of a branch.
func (n node) key(i int) []byte {
	e := n.element(i)
	if !n.leaf {
		return n.cut(i, uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:])))
	}
	return n.cut(i, uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:])))
}

func (n node) child(i int) uint64 { return binary.NativeEndian.Uint64(n.element(i)[8:]) }

// value returns a leaf's value, not nil, and the element's flags; nil when the element is damaged.
func (n node) value(i int) (value []byte, flags uint32) {
	e := n.element(i)
	pos, ksize := uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:]))
	return n.cut(i, pos+ksize, uint64(binary.NativeEndian.Uint32(e[12:]))), binary.NativeEndian.Uint32(e)
}

// search returns the first element whose key is not below key, and whether it is that key.
func (n node) search(key []byte) (i int, exact bool, err error) {
	lo, hi := 0, n.count
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		k := n.key(mid)
		if k == nil {
			return 0, false, damaged(n.id, "has a key outside of itself")
		}
		switch c := bytes.Compare(k, key); {
		case c == 0:
			return mid, true, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false, nil
}

// childFor is the element of a branch below which key lies.
func (n node) childFor(key []byte) (int, error) {
	i, exact, err := n.search(key)
	if err == nil && !exact && i > 0 {
		i--
	}
	return i, err
}

// leafFor returns the leaf where key is or would be in the tree at r.
func (p pages) leafFor(r root, key []byte) (node, error) {
	n, err := p.root(r)
	for depth := 0; err == nil && !n.leaf; depth++ {
		if depth == maxDepth {
			return node{}, damaged(n.id, "is its own descendant")
		}
		i, searchErr := n.childFor(key)
		if searchErr != nil {
			return node{}, searchErr
		}
		n, err = p.node(n.child(i))
	}
	return n, err
}

// get returns the value of key in the tree at r, nil if there is none.
func (p pages) get(r root, key []byte) ([]byte, error) {
	n, err := p.leafFor(r, key)
	if err != nil {
		return nil, err
	}
	i, exact, err := n.search(key)
	if err != nil || !exact {
		return nil, err
	}
	v, flags := n.value(i)
	if v == nil || flags != 0 {
		return nil, damaged(n.id, "has a value outside of itself")
	}
	return v, nil
}

// walk visits the leaf elements of one tree in ascending order of keys.
type walk struct {
	p     pages
	flags uint32 // that every leaf element must have
	start []byte // skip what is below
	last  []byte // visited
	visit func(key, value []byte) (more bool, err error)
	enter func(n node, depth int) error // for every page, may be nil
}

// tree walks all below r. more is false when visit ended it.
func (w *walk) tree(r root) (more bool, err error) {
	n, err := w.p.root(r)
	if err != nil {
		return false, err
	}
	return w.node(n, 0)
}

func (w *walk) node(n node, depth int) (more bool, err error) {
	if depth == maxDepth {
		return false, damaged(n.id, "is its own descendant")
	}
	if w.enter != nil {
		if err := w.enter(n, depth); err != nil {
			return false, err
		}
	}
	if n.leaf {
		return w.leaf(n)
	}
	i := 0
	if w.start != nil && w.last == nil {
		if i, err = n.childFor(w.start); err != nil {
			return false, err
		}
	}
	for ; i < n.count; i++ {
		child, err := w.p.node(n.child(i))
		if err != nil {
			return false, err
		}
		if more, err := w.node(child, depth+1); !more || err != nil {
			return more, err
		}
	}
	return true, nil
}

func (w *walk) leaf(n node) (more bool, err error) {
	i := 0
	if w.start != nil && w.last == nil {
		if i, _, err = n.search(w.start); err != nil {
			return false, err
		}
	}
	for ; i < n.count; i++ {
		k := n.key(i)
		v, flags := n.value(i)
		if len(k) == 0 || v == nil || flags != w.flags {
			return false, damaged(n.id, "has a key or value outside of itself")
		}
		if w.last != nil && bytes.Compare(k, w.last) <= 0 {
			return false, damaged(n.id, "has keys that do not ascend")
		}
		w.last = k
		if more, err := w.visit(k, v); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// checkNode looks at every element of one page: what bbolt will read when it takes the page into memory. path holds
// the pages above: a child that is one of them would make bbolt recurse until the process dies.
func (p pages) checkNode(n node, flags uint32, path []uint64) error {
	var last []byte
	for i := range n.count {
		k := n.key(i)
		if k == nil || (len(k) == 0 && (n.leaf || i > 0)) {
			return damaged(n.id, "has a key outside of itself")
		}
		if i > 0 && bytes.Compare(k, last) <= 0 {
			return damaged(n.id, "has keys that do not ascend")
		}
		last = k
		if n.leaf {
			if v, f := n.value(i); v == nil || f != flags {
				return damaged(n.id, "has a value outside of itself")
			}
			continue
		}
		if c := n.child(i); c < 2 || c >= uint64(len(p.data))/p.size || contains(path, c) {
			return damaged(n.id, "names a child that cannot be")
		}
	}
	return nil
}

func contains(path []uint64, id uint64) bool {
	for _, p := range path {
		if p == id {
			return true
		}
	}
	return false
}

// checkPath runs checkNode on the pages from r down to the leaf where key is or would be, with their neighbours' page
// numbers and kinds. done remembers what was checked already.
func (p pages) checkPath(r root, key []byte, flags uint32, done map[uint64]bool) error {
	var path [maxDepth]uint64
	n, err := p.root(r)
	if err != nil {
		return err
	}
	for depth := range maxDepth {
		path[depth] = n.id
		if n.id == 0 || !done[n.id] {
			if err := p.checkNode(n, flags, path[:depth+1]); err != nil {
				return err
			}
			done[n.id] = true
		}
		if n.leaf {
			return nil
		}
		i, err := n.childFor(key)
		if err != nil {
			return err
		}
		if n, err = p.node(n.child(i)); err != nil {
			return err
		}
	}
	return damaged(n.id, "is its own descendant")
}

// bucketRoot reads the value of a bucket, which has at least bucketHeader bytes.
func bucketRoot(value []byte) root {
	r := root{page: binary.NativeEndian.Uint64(value)}
	if r.page == 0 {
		r.inline = value[bucketHeader:]
	}
	return r
}
