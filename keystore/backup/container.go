package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

var (
	// ErrNotBackup is returned for a file of another kind.
	ErrNotBackup = errors.New("not a backup of keyreeve")
	// ErrDamaged is returned for a backup that is not what was written.
	ErrDamaged = errors.New("the backup is damaged; take another one")
	// ErrVersion is returned for a backup that a newer version wrote.
	ErrVersion = errors.New("the backup has a newer form; use the version that wrote it, or a newer one")
)

// Bounds of what is read. A record's is that of the store, with room for its key.
const (
	maxManifest = 1 << 20
	maxItem     = 17 << 20
)

// A Summary is what ends a backup: what was written, and what was read, must
// have the same.
type Summary struct {
	Keys   uint64 // of the store, index entries and all
	Digest [sha256.Size]byte
}

// A packer writes a backup's plaintext. It is a keystore.Sink.
type packer struct {
	out      io.Writer
	manifest Manifest
	sum      hash.Hash
	item     ttlv.Writer
	keys     uint64
	progress func(done, total uint64)
}

var _ keystore.Sink = (*packer)(nil)

// Begin implements keystore.Sink.
func (p *packer) Begin(s keystore.Snapshot) error {
	p.manifest.Snapshot = s
	p.sum = sha256.New()
	if err := p.write([]byte(magic)); err != nil {
		return err
	}
	p.item.Reset(nil)
	p.manifest.encode(&p.item)
	return p.write(p.item.Bytes())
}

// Record implements keystore.Sink.
func (p *packer) Record(key, value []byte) error {
	p.item.Reset(p.item.Bytes())
	all := p.item.Begin(tagRecord)
	p.item.ByteString(tagKey, key)
	p.item.ByteString(tagSealed, value)
	p.item.End(all)
	p.keys++
	if p.progress != nil && isRecord(key) {
		p.progress(1, p.manifest.total())
	}
	return p.write(p.item.Bytes())
}

func (p *packer) write(b []byte) error {
	_, _ = p.sum.Write(b)
	_, err := p.out.Write(b)
	return err
}

// finish writes the end.
func (p *packer) finish() (Summary, error) {
	s := Summary{Keys: p.keys, Digest: [sha256.Size]byte(p.sum.Sum(nil))}
	p.item.Reset(p.item.Bytes())
	all := p.item.Begin(tagEnd)
	p.item.LongInteger(tagKeys, int64(s.Keys))
	p.item.ByteString(tagDigest, s.Digest[:])
	p.item.End(all)
	_, err := p.out.Write(p.item.Bytes())
	return s, err
}

// total is how many records the manifest counts; isRecord tells which they are.
// Index entries are not counted anywhere.
func (m *Manifest) total() uint64 { return m.Objects + m.Tombstones + m.Records }

func isRecord(key []byte) bool { return strings.IndexByte("otr", key[0]) >= 0 }

// An unpacker reads a backup's plaintext.
type unpacker struct {
	in       io.Reader
	sum      hash.Hash
	buf      []byte
	keys     uint64
	manifest Manifest
	progress func(done, total uint64)
}

// begin reads up to the manifest.
func (u *unpacker) begin() error {
	u.sum = sha256.New()
	line := make([]byte, len(magic))
	if _, err := io.ReadFull(u.in, line); err != nil {
		return wrong(err, ErrNotBackup)
	}
	if name, ok := bytes.CutPrefix(line, []byte(magicName)); !ok {
		return fmt.Errorf("%w: it holds something else", ErrNotBackup)
	} else if string(line) != magic {
		return fmt.Errorf("%w: form %q", ErrVersion, bytes.TrimSpace(name))
	}
	_, _ = u.sum.Write(line)
	it, err := u.next(maxManifest)
	if err != nil {
		return err
	}
	_, _ = u.sum.Write(it.Raw())
	if u.manifest, err = decodeManifest(it); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// rest hands all records to sink, and holds the end against them.
func (u *unpacker) rest(sink keystore.Sink) (s Summary, err error) {
	if err := sink.Begin(u.manifest.Snapshot); err != nil {
		return s, err
	}
	for {
		it, err := u.next(maxItem)
		if err != nil {
			return s, err
		}
		if it.Tag() == tagEnd {
			return u.end(it)
		}
		_, _ = u.sum.Write(it.Raw())
		key, value := it.Find(tagKey), it.Find(tagSealed)
		k, err1 := key.Bytes()
		v, err2 := value.Bytes()
		if it.Tag() != tagRecord || err1 != nil || err2 != nil || len(k) == 0 {
			return s, fmt.Errorf("%w: item %d is no record", ErrDamaged, u.keys)
		}
		if err := sink.Record(k, v); err != nil {
			return s, err
		}
		u.keys++
		if u.progress != nil && isRecord(k) {
			u.progress(1, u.manifest.total())
		}
	}
}

// end checks the last item, and that nothing follows.
func (u *unpacker) end(it ttlv.Item) (s Summary, err error) {
	keys, err1 := it.Find(tagKeys).LongInteger()
	digest, err2 := it.Find(tagDigest).Bytes()
	s = Summary{Keys: u.keys, Digest: [sha256.Size]byte(u.sum.Sum(nil))}
	if err1 != nil || err2 != nil || uint64(keys) != s.Keys || !bytes.Equal(digest, s.Digest[:]) {
		return s, fmt.Errorf("%w: its digest is not that of its content", ErrDamaged)
	}
	if n, err := io.ReadFull(u.in, u.buf[:1]); n != 0 || !errors.Is(err, io.EOF) {
		if err != nil {
			return s, wrong(err, ErrDamaged)
		}
		return s, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return s, nil
}

// next reads one item of at most limit bytes into memory that the next call
// reuses. What a length claims is only allocated as far as it arrives.
func (u *unpacker) next(limit int) (ttlv.Item, error) {
	u.buf = grown(u.buf, ttlv.HeaderSize)
	if _, err := io.ReadFull(u.in, u.buf); err != nil {
		return ttlv.Item{}, wrong(err, ErrDamaged)
	}
	length := int(binary.BigEndian.Uint32(u.buf[4:]))
	if ttlv.Type(u.buf[3]) != ttlv.Structure || length > limit || length%8 != 0 {
		return ttlv.Item{}, fmt.Errorf("%w: an item of %d bytes", ErrDamaged, length)
	}
	for have := ttlv.HeaderSize; have < ttlv.HeaderSize+length; have = len(u.buf) {
		step := min(ttlv.HeaderSize+length-have, 1<<20)
		u.buf = grown(u.buf, have+step)
		if _, err := io.ReadFull(u.in, u.buf[have:]); err != nil {
			return ttlv.Item{}, wrong(err, ErrDamaged)
		}
	}
	if err := ttlv.Check(u.buf, ttlv.Limits{Depth: 2, Items: 64}); err != nil {
		return ttlv.Item{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return ttlv.Parse(u.buf)
}

// grown returns b with n bytes, the first of them as they were.
func grown(b []byte, n int) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	return append(b[:len(b):len(b)], make([]byte, n-len(b))...)
}

// wrong tells a file that ends too early, or does not decrypt, from a disk that
// cannot be read.
func wrong(err, kind error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", kind)
	}
	return err
}
