package users

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/kmip"
)

// How much is remembered, and for how long.
const (
	maxRemembered = 4096
	rememberFor   = 15 * time.Minute
)

// A recollection knows which credentials were right lately, by an HMAC under a key
// that exists only here. From it nobody can tell a password, not even by trying
// them out, without the memory of this process.
type recollection struct {
	now func() time.Time
	key [sha256.Size]byte

	mu    sync.Mutex
	known map[[sha256.Size]byte]remembered
}

type remembered struct {
	id    string // of the user
	until time.Time
}

func newRecollection(now func() time.Time) *recollection {
	m := &recollection{now: now, known: map[[sha256.Size]byte]remembered{}}
	_, _ = rand.Read(m.key[:]) // it never returns an error
	return m
}

// tag is what a credential is remembered by: that of this client, for this very
// record of the user. All of it counts, so that a credential with a field more
// or less is another.
func (m *recollection) tag(client string, e *entry, c *kmip.Credential) (tag [sha256.Size]byte) {
	mac := hmac.New(sha256.New, m.key[:])
	var number [8]byte
	put := func(field []byte) {
		binary.BigEndian.PutUint64(number[:], uint64(len(field))+1)
		if field == nil {
			clear(number[:])
		}
		_, _ = mac.Write(number[:])
		_, _ = mac.Write(field)
	}
	put([]byte(client))
	binary.BigEndian.PutUint64(number[:], e.generation)
	_, _ = mac.Write(number[:])
	binary.BigEndian.PutUint64(number[:], uint64(c.Type))
	_, _ = mac.Write(number[:])
	put(c.Username)
	put(c.Password)
	for _, field := range deviceFields(c) {
		put(field)
	}
	mac.Sum(tag[:0])
	return tag
}

func deviceFields(c *kmip.Credential) [5][]byte {
	return [5][]byte{c.DeviceSerialNumber, c.DeviceIdentifier, c.NetworkIdentifier, c.MachineIdentifier, c.MediaIdentifier}
}

// has tells whether it was right lately.
func (m *recollection) has(tag [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[tag]
	return ok && m.now().Before(r.until)
}

// add remembers. When there is no room, what has had its time goes, and if that
// is not enough, some other: it is only checked again.
func (m *recollection) add(tag [sha256.Size]byte, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if len(m.known) >= maxRemembered {
		for t, r := range m.known {
			if !now.Before(r.until) {
				delete(m.known, t)
			}
		}
	}
	for t := range m.known {
		if len(m.known) < maxRemembered {
			break
		}
		delete(m.known, t)
	}
	m.known[tag] = remembered{id, now.Add(rememberFor)}
}

// forget drops all of a user's.
func (m *recollection) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t, r := range m.known {
		if r.id == id {
			delete(m.known, t)
		}
	}
}
