package keystore

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// digest is a number modulo 2^256, most significant word first: the sum of the
// weights of all records. Without the key nobody can choose records whose
// weights cancel out.
type digest [4]uint64

func (d *digest) add(w digest) {
	var carry uint64
	for i := 3; i >= 0; i-- {
		d[i], carry = bits.Add64(d[i], w[i], carry)
	}
}

func (d *digest) sub(w digest) {
	var borrow uint64
	for i := 3; i >= 0; i-- {
		d[i], borrow = bits.Sub64(d[i], w[i], borrow)
	}
}

// head is what the store says about itself, sealed, written by every commit.
type head struct {
	commits    uint64 // commits so far; the version of the head's record
	writes     uint64 // records written so far: the last version given
	objects    uint64
	tombstones uint64
	records    uint64
	stamp      uint64 // of the newest Unique Identifier; the next process goes on after it
	digest     digest
	position   audit.Position // of the journal, just before this commit
	clock      int64          // the highest that the store has seen, seconds
	archived   uint64         // the journal may begin up to here, and no later; see Store.ArchiveJournal
	indexed    []string       // Config.IndexedAttributes; shared, not changed
}

func (h *head) encode(w *ttlv.Writer) {
	all := w.Begin(tagHead)
	for _, n := range h.numbers() {
		w.LongInteger(n.tag, int64(*n.value))
	}
	var sum []byte
	for _, word := range h.digest {
		sum = binary.BigEndian.AppendUint64(sum, word)
	}
	w.ByteString(tagDigest, sum)
	w.ByteString(tagHash, h.position.Hash[:])
	w.DateTime(tagClock, h.clock)
	if h.archived > 0 {
		w.LongInteger(tagArchived, int64(h.archived))
	}
	for _, name := range h.indexed {
		w.TextString(tagIndexed, name)
	}
	w.End(all)
}

func (h *head) numbers() [7]struct {
	tag   ttlv.Tag
	value *uint64
} {
	return [...]struct {
		tag   ttlv.Tag
		value *uint64
	}{
		{tagCommits, &h.commits}, {tagWrites, &h.writes}, {tagObjects, &h.objects},
		{tagTombstones, &h.tombstones}, {tagRecords, &h.records}, {tagStamp, &h.stamp}, {tagSequence, &h.position.Seq},
	}
}

func decodeHead(plain []byte) (h head, err error) {
	it, err := ttlv.Parse(plain)
	if err != nil || it.Tag() != tagHead {
		return h, errRecord
	}
	r, err := it.Items()
	if err != nil {
		return h, errRecord
	}
	for _, n := range h.numbers() {
		it, _ := r.Take(n.tag)
		v, err := it.LongInteger()
		if err != nil {
			return h, fmt.Errorf("%w: %w", errRecord, err)
		}
		*n.value = uint64(v)
	}
	sum, hash := takeBytes(&r, tagDigest), takeBytes(&r, tagHash)
	clock, _ := r.Take(tagClock)
	if h.clock, err = clock.DateTime(); err != nil || len(sum) != 32 || len(hash) != 32 {
		return h, errRecord
	}
	for i := range h.digest {
		h.digest[i] = binary.BigEndian.Uint64(sum[8*i:])
	}
	copy(h.position.Hash[:], hash)
	if it, ok := r.Take(tagArchived); ok {
		n, err := it.LongInteger()
		if err != nil {
			return h, errRecord
		}
		h.archived = uint64(n)
	}
	for !r.Done() {
		it, _ := r.Take(tagIndexed)
		name, err := it.Text()
		if err != nil {
			return h, errRecord
		}
		h.indexed = append(h.indexed, string(name))
	}
	return h, nil
}

func takeBytes(r *ttlv.Reader, tag ttlv.Tag) []byte {
	it, _ := r.Take(tag)
	b, err := it.Bytes()
	if err != nil {
		return nil
	}
	return b
}

var headKey = []byte{familyHead, 0}

// readHead opens the head.
func (s *sealer) readHead(kv KV, buf []byte) (h head, plain []byte, err error) {
	sealed, err := kv.Get(headKey)
	if err != nil {
		return h, buf, fmt.Errorf("reading the head: %w", err)
	}
	if sealed == nil {
		return h, buf, fmt.Errorf("%w: the head is gone; restore a backup", ErrCorrupt)
	}
	plain, version, err := s.open(buf, familyHead, single, sealed)
	if err != nil {
		return h, plain, err
	}
	h, err = decodeHead(plain)
	if err == nil && h.commits != version {
		err = errRecord
	}
	return h, plain, err
}

// writeHead seals h as the next commit's head.
func (s *sealer) writeHead(kv KV, h *head) error {
	h.commits++
	var w ttlv.Writer
	h.encode(&w)
	return kv.Put(headKey, s.seal(familyHead, single, h.commits, w.Bytes()))
}

// count returns the counter of a family of records.
func (h *head) count(family byte) *uint64 {
	switch family {
	case familyObject:
		return &h.objects
	case familyTombstone:
		return &h.tombstones
	}
	return &h.records
}
