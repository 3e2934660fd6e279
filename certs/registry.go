package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is who a certificate stands for.
type Identity struct {
	Name       string
	Group      string
	Generation uint64
	// SHA256 is the fingerprint of the certificate that was shown.
	SHA256 string
	// ValidUntil is when the certificate stops being accepted, for the end of a long connection; zero means that the
	// record ignores dates.
	ValidUntil time.Time
}

// Errors of [Registry.Put].
var (
	ErrConflict        = errors.New("certificate already enrolled")
	ErrStaleGeneration = errors.New("stale client record")
)

// Registry is the table of clients in memory, safe for concurrent use. Readers take one atomic load and no lock; a
// change builds a new table and swaps it in, so that a reader sees all of it or nothing.
type Registry struct {
	now   func() time.Time
	table atomic.Pointer[table]
	mu    sync.Mutex // serialises writers
	usage sync.Map   // SHA-256 with colons to *Usage
}

// table is immutable once it is stored in the Registry.
type table struct {
	ca        *x509.Certificate
	clients   map[string]*Client
	floors    map[string]uint64 // generation that a removed client had; its name comes back only above it
	byPrint   map[[sha256.Size]byte]acceptedBy
	bySubject map[string][]*foreignClient // key of the DN
	foreign   []*foreignClient            // by name
}

type acceptedBy struct {
	client *Client
	cert   Accepted
}

type foreignClient struct {
	client  *Client
	ca      *x509.Certificate
	roots   *x509.CertPool
	subject DN
}

// NewRegistry builds the table. ca is the store's own CA, used only to explain refusals; it may be nil.
func NewRegistry(ca *x509.Certificate, clients []Client, now func() time.Time) (*Registry, error) {
	m := make(map[string]*Client, len(clients))
	for _, c := range clients {
		if m[c.Name] != nil {
			return nil, fmt.Errorf("%w: two records are called %s", ErrBadClient, clean(c.Name))
		}
		c := c.clone()
		m[c.Name] = &c
	}
	t, err := buildTable(ca, m, map[string]uint64{})
	if err != nil {
		return nil, err
	}
	r := &Registry{now: now}
	r.table.Store(t)
	return r, nil
}

// Put adds or replaces a record. It refuses a record that contradicts itself, one whose certificate another client
// has (a certificate must name one client), and one whose generation is behind what the table has seen of that name:
// with an old number, connections that were to end would live on. Nothing has changed when it returns an error.
func (r *Registry) Put(c Client) error {
	if err := c.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.table.Load()
	if have := old.clients[c.Name]; have != nil && c.Generation < have.Generation {
		return fmt.Errorf("%w of %s: generation %d, but %d is known", ErrStaleGeneration, clean(c.Name), c.Generation, have.Generation)
	}
	if floor, removed := old.floors[c.Name]; removed && c.Generation <= floor {
		return fmt.Errorf("%w of %s: generation %d, but a removed client of that name had %d", ErrStaleGeneration, clean(c.Name), c.Generation, floor)
	}
	if have := old.clients[c.Name]; have != nil && c.Generation == have.Generation {
		if what := have.losing(c, r.now()); what != "" {
			return fmt.Errorf("%w of %s: it %s without a new generation, so running connections would not end", ErrStaleGeneration, clean(c.Name), what)
		}
	}
	c = c.clone()
	clients := maps.Clone(old.clients)
	clients[c.Name] = &c
	next, err := buildTable(old.ca, clients, old.floors)
	if err != nil {
		return err
	}
	r.table.Store(next)
	return nil
}

// losing says what next takes away from, or changes under, the connections that were let in by c.
func (c *Client) losing(next Client, now time.Time) string {
	switch {
	case next.Group != c.Group:
		return "changes the group"
	case c.Revoked != nil && next.Revoked == nil:
		return "lifts the revocation"
	case next.CAPEM != c.CAPEM || next.Subject != c.Subject:
		return "changes the foreign CA or the subject"
	case c.IgnoreDates && !next.IgnoreDates:
		return "begins to look at dates"
	}
	for _, a := range c.Certificates {
		kept := slices.ContainsFunc(next.Certificates, func(b Accepted) bool { return a.SHA256 == b.SHA256 })
		if !kept && now.Before(a.end()) {
			return "drops a certificate"
		}
	}
	return ""
}

// Remove forgets a client, whose certificates are then unknown and whose connections end at their next request. It
// reports whether there was one. A later client of the same name needs a higher generation; see [Registry.NextGeneration].
func (r *Registry) Remove(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.table.Load()
	gone := old.clients[name]
	if gone == nil {
		return false
	}
	clients, floors := maps.Clone(old.clients), maps.Clone(old.floors)
	delete(clients, name)
	floors[name] = gone.Generation
	next, err := buildTable(old.ca, clients, floors)
	if err != nil {
		panic("certs: removing a client made the table invalid: " + err.Error()) // a subset of a valid table is valid
	}
	r.table.Store(next)
	return true
}

// NextGeneration is the lowest generation that a new record of that name may have.
func (r *Registry) NextGeneration(name string) uint64 {
	t := r.table.Load()
	if c := t.clients[name]; c != nil {
		return c.Generation + 1
	}
	return t.floors[name] + 1
}

// List returns copies of all records, by name.
func (r *Registry) List() []Client {
	t := r.table.Load()
	list := make([]Client, 0, len(t.clients))
	for _, c := range t.clients {
		list = append(list, c.clone())
	}
	slices.SortFunc(list, func(a, b Client) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Get returns a copy of one record.
func (r *Registry) Get(name string) (Client, bool) {
	c := r.table.Load().clients[name]
	if c == nil {
		return Client{}, false
	}
	return c.clone(), true
}

// Current reports whether an identity that was established earlier still holds: the client is there, not revoked, and
// of the same generation. It is meant for every request, and costs one atomic load and one map lookup.
func (r *Registry) Current(name string, generation uint64) bool {
	c := r.table.Load().clients[name]
	return c != nil && c.Generation == generation && c.Revoked == nil
}

// RequiresUser tells whether a client's requests must name a user. It is meant for every request, as Current is.
func (r *Registry) RequiresUser(name string) bool {
	c := r.table.Load().clients[name]
	return c != nil && c.RequireUser
}

// buildTable indexes the records, and refuses what would make a certificate ambiguous.
func buildTable(ca *x509.Certificate, clients map[string]*Client, floors map[string]uint64) (*table, error) {
	t := &table{
		ca:        ca,
		clients:   clients,
		floors:    floors,
		byPrint:   make(map[[sha256.Size]byte]acceptedBy, len(clients)),
		bySubject: map[string][]*foreignClient{},
	}
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		c := clients[name]
		if err := c.Validate(); err != nil {
			return nil, err
		}
		if err := t.index(c); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *table) index(c *Client) error {
	for _, a := range c.Certificates {
		sum := [sha256.Size]byte(fromColons(a.SHA256))
		if other, taken := t.byPrint[sum]; taken {
			return conflict(a.SHA256, other.client, c)
		}
		t.byPrint[sum] = acceptedBy{client: c, cert: a}
	}
	if c.Kind != KindForeignCA {
		return nil
	}
	return t.indexForeign(c)
}

func (t *table) indexForeign(c *Client) error {
	ca, subject, err := c.foreign()
	if err != nil {
		return fmt.Errorf("%w of %s: %w", ErrBadClient, c.Name, err)
	}
	key := subject.key()
	for _, other := range t.bySubject[key] {
		if other.ca.Equal(ca) {
			return conflict(c.Subject, other.client, c)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	f := &foreignClient{client: c, ca: ca, roots: roots, subject: subject}
	t.bySubject[key] = append(t.bySubject[key], f)
	t.foreign = append(t.foreign, f)
	return nil
}

func conflict(what string, a, b *Client) error {
	state := ""
	if a.Revoked != nil || b.Revoked != nil {
		state = " (one of them revoked)"
	}
	return fmt.Errorf("%w: clients %s and %s%s both claim %s; a certificate names one client", ErrConflict, a.Name, b.Name, state, clean(what))
}
