package backup

import (
	"errors"
	"fmt"
	"time"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// magic begins a backup's plaintext. Its number is that of the form.
const (
	magicName = "keyreeve backup "
	magic     = magicName + "1\n"
)

// Tags inside a backup, from KMIP's range for extensions. A tag, once given,
// keeps its meaning.
const (
	tagManifest   ttlv.Tag = 0x540100
	tagStoreID    ttlv.Tag = 0x540101
	tagCreated    ttlv.Tag = 0x540102
	tagServer     ttlv.Tag = 0x540103
	tagHost       ttlv.Tag = 0x540104
	tagObjects    ttlv.Tag = 0x540105
	tagTombstones ttlv.Tag = 0x540106
	tagRecords    ttlv.Tag = 0x540107
	tagGeneration ttlv.Tag = 0x540108
	tagCommits    ttlv.Tag = 0x540109
	tagSequence   ttlv.Tag = 0x54010a
	tagHash       ttlv.Tag = 0x54010b
	tagClock      ttlv.Tag = 0x54010c
	tagStamp      ttlv.Tag = 0x54010d
	tagMeta       ttlv.Tag = 0x54010e
	tagParameters ttlv.Tag = 0x54010f
	tagRecord     ttlv.Tag = 0x540110
	tagKey        ttlv.Tag = 0x540111
	tagSealed     ttlv.Tag = 0x540112
	tagEnd        ttlv.Tag = 0x540120
	tagKeys       ttlv.Tag = 0x540121
	tagDigest     ttlv.Tag = 0x540122
	tagFiles      ttlv.Tag = 0x540130
	tagFile       ttlv.Tag = 0x540131
	tagName       ttlv.Tag = 0x540132
	tagContent    ttlv.Tag = 0x540133
)

// Manifest says what a backup holds.
type Manifest struct {
	keystore.Snapshot
	Created time.Time // when the snapshot was taken
	Server  string    // version of the server that wrote it
	Host    string    // the machine's name
	// Parameters turn a passphrase into the root key; nil where the root key is
	// a file. They are no secret, and are needed before anything can be opened.
	Parameters []byte
}

// Newest is the moment at which the newest key in the backup was made.
func (m *Manifest) Newest() time.Time { return keystore.StampTime(m.Stamp) }

type number struct {
	tag   ttlv.Tag
	value *uint64
}

func (m *Manifest) numbers() [7]number {
	return [...]number{
		{tagObjects, &m.Objects}, {tagTombstones, &m.Tombstones}, {tagRecords, &m.Records},
		{tagCommits, &m.Commits}, {tagSequence, &m.Position.Seq}, {tagStamp, &m.Stamp}, {tagGeneration, new(uint64)},
	}
}

func (m *Manifest) encode(w *ttlv.Writer) {
	all := w.Begin(tagManifest)
	w.ByteString(tagStoreID, m.StoreID[:])
	w.DateTime(tagCreated, m.Created.Unix())
	w.TextString(tagServer, m.Server)
	w.TextString(tagHost, m.Host)
	for _, n := range m.numbers() {
		if n.tag == tagGeneration {
			*n.value = uint64(m.Generation)
		}
		w.LongInteger(n.tag, int64(*n.value))
	}
	w.ByteString(tagHash, m.Position.Hash[:])
	w.DateTime(tagClock, m.Clock)
	w.ByteString(tagMeta, m.Meta)
	if m.Parameters != nil {
		w.ByteString(tagParameters, m.Parameters)
	}
	w.End(all)
}

var errManifest = errors.New("its manifest is not as written")

// decodeManifest reads what encode writes. A later version of this form may add
// items at the end; those are passed over.
func decodeManifest(it ttlv.Item) (m Manifest, err error) {
	r, err := it.Items()
	if err != nil || it.Tag() != tagManifest {
		return m, errManifest
	}
	var failed error
	take := func(tag ttlv.Tag) ttlv.Item {
		it, ok := r.Take(tag)
		if !ok && failed == nil {
			failed = fmt.Errorf("%w: it lacks the item %06x", errManifest, uint32(tag))
		}
		return it
	}
	id, err := take(tagStoreID).Bytes()
	created, err1 := take(tagCreated).DateTime()
	server, err2 := take(tagServer).Text()
	host, err3 := take(tagHost).Text()
	err = errors.Join(err, err1, err2, err3)
	for _, n := range m.numbers() {
		v, errN := take(n.tag).LongInteger()
		*n.value = uint64(v)
		if n.tag == tagGeneration {
			m.Generation = uint32(v)
		}
		err = errors.Join(err, errN)
	}
	hash, err4 := take(tagHash).Bytes()
	clock, err5 := take(tagClock).DateTime()
	meta, err6 := take(tagMeta).Bytes()
	if err := errors.Join(failed, err, err4, err5, err6); err != nil {
		return m, fmt.Errorf("%w: %w", errManifest, err)
	}
	if len(id) != len(m.StoreID) || len(hash) != len(m.Position.Hash) {
		return m, errManifest
	}
	if it, ok := r.Take(tagParameters); ok {
		params, err := it.Bytes()
		if err != nil {
			return m, errManifest
		}
		m.Parameters = append([]byte{}, params...)
	}
	copy(m.StoreID[:], id)
	copy(m.Position.Hash[:], hash)
	m.Created, m.Server, m.Host, m.Clock = time.Unix(created, 0).UTC(), string(server), string(host), clock
	m.Meta = append([]byte{}, meta...)
	return m, nil
}
