package bolt

import (
	"bytes"
	"slices"
)

// overlay holds the writes of one Update until they go to bbolt: the last one for each key. It is emptied and used
// again. Keys and values are copied into one buffer, so the caller may reuse its own.
type overlay struct {
	writes []write
	order  []int32 // indexes into writes, ascending by key
	buf    []byte
}

type write struct {
	key, value []byte // value nil: delete
}

// keepBuffer bounds what a large Update leaves in memory.
const keepBuffer = 1 << 20

func (o *overlay) reset() {
	clear(o.writes)
	o.writes, o.order, o.buf = o.writes[:0], o.order[:0], o.buf[:0]
	if cap(o.buf) > keepBuffer {
		*o = overlay{}
	}
}

func (o *overlay) find(key []byte) (i int, found bool) {
	if n := len(o.order); n > 0 { // identifiers ascend with time: mostly a new key is the last
		if c := bytes.Compare(o.writes[o.order[n-1]].key, key); c < 0 {
			return n, false
		}
	}
	return slices.BinarySearchFunc(o.order, key, func(w int32, key []byte) int {
		return bytes.Compare(o.writes[w].key, key)
	})
}

// get returns the write of key. known is false when this Update has not written it.
func (o *overlay) get(key []byte) (value []byte, known bool) {
	i, found := o.find(key)
	if !found {
		return nil, false
	}
	return o.writes[o.order[i]].value, true
}

// set notes a write; value nil deletes.
func (o *overlay) set(key, value []byte) {
	if value != nil {
		value = o.copy(value)
	}
	i, found := o.find(key)
	if found {
		o.writes[o.order[i]].value = value
		return
	}
	o.writes = append(o.writes, write{o.copy(key), value})
	o.order = slices.Insert(o.order, i, int32(len(o.writes)-1))
}

// copy returns b's content, never nil. When the buffer grows, earlier slices keep the old one.
func (o *overlay) copy(b []byte) []byte {
	start := len(o.buf)
	o.buf = append(o.buf, b...)
	if o.buf == nil {
		return []byte{}
	}
	return o.buf[start:len(o.buf):len(o.buf)]
}

// sorted returns the i-th write in the order of keys.
func (o *overlay) sorted(i int) *write { return &o.writes[o.order[i]] }
