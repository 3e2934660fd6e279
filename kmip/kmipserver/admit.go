package kmipserver

import (
	"net/netip"
	"sync"
)

// connections knows every open connection, and decides who gets a place.
//
// A stranger must not be able to shut others out by opening connections and
// saying nothing: the handshakes under way are a list by age, and when a limit
// is reached the oldest of them gives way to the newcomer. A client that means
// it completes its handshake in milliseconds; only who arrives Pending places
// faster than that could be pushed out.
type connections struct {
	mu         sync.Mutex
	all        map[*conn]struct{}
	perAddress map[netip.Addr]int
	first      *conn // oldest handshake under way; linked by older and newer
	last       *conn
	pending    int
	closing    bool
	empty      chan struct{} // closed when closing and the last one has gone
}

func newConnections() *connections {
	return &connections{
		all:        map[*conn]struct{}{},
		perAddress: map[netip.Addr]int{},
		empty:      make(chan struct{}),
	}
}

// admit gives c a place. limit names the limit that was reached, if any; if
// the place was another's, that one is the victim, which the caller closes.
func (s *connections) admit(c *conn, l Limits) (victim *conn, limit string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, "", false
	}
	switch {
	case s.perAddress[c.address] >= l.PerAddress:
		limit = limitPerAddress
		for victim = s.first; victim != nil && victim.address != c.address; victim = victim.newer {
		}
	case len(s.all) >= l.Connections:
		limit, victim = limitConnections, s.first
	case s.pending >= l.Pending:
		limit, victim = limitPending, s.first
	}
	if limit != "" && victim == nil {
		return nil, limit, false
	}
	if victim != nil {
		victim.evicted.Store(true)
		s.drop(victim)
	}
	s.all[c] = struct{}{}
	s.perAddress[c.address]++
	s.push(c)
	return victim, limit, true
}

// settle says that c's handshake is complete. It returns false if c has no
// place any more.
func (s *connections) settle(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[c]; !ok || s.closing {
		return false
	}
	s.unlink(c)
	return true
}

// remove takes c out, and may be called again.
func (s *connections) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(c)
	if s.closing && len(s.all) == 0 {
		s.signalEmpty()
	}
}

// close lets nobody in from now on.
func (s *connections) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	if len(s.all) == 0 {
		s.signalEmpty()
	}
}

func (s *connections) signalEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

// list returns the connections that want matches.
func (s *connections) list(want func(*conn) bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*conn
	for c := range s.all {
		if want(c) {
			found = append(found, c)
		}
	}
	return found
}

func (s *connections) drop(c *conn) {
	if _, ok := s.all[c]; !ok {
		return
	}
	delete(s.all, c)
	if s.perAddress[c.address]--; s.perAddress[c.address] == 0 {
		delete(s.perAddress, c.address)
	}
	s.unlink(c)
}

func (s *connections) push(c *conn) {
	c.older = s.last
	if s.last != nil {
		s.last.newer = c
	} else {
		s.first = c
	}
	s.last = c
	c.pending = true
	s.pending++
}

func (s *connections) unlink(c *conn) {
	if !c.pending {
		return
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		s.first = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		s.last = c.older
	}
	c.older, c.newer, c.pending = nil, nil, false
	s.pending--
}
