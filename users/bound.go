package users

import (
	"context"
	"runtime"
	"sync"
)

// A bound keeps the checking of passwords from taking the machine: so many at a
// time over all, each of which takes newMemory, and one at a time for each
// client, so that one that floods the server with wrong passwords keeps only
// itself waiting.
type bound struct {
	slots chan struct{}

	mu    sync.Mutex
	lanes map[string]*lane // of clients that check or wait
}

type lane struct {
	free  chan struct{}
	users int // that check or wait, under bound.mu
}

// newBound has a slot for half the processors, and two at least: a client that
// floods must not have the only one.
func newBound() *bound {
	return &bound{slots: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)/2)), lanes: map[string]*lane{}}
}

// enter waits for the client's turn; leave must be called then. It fails only
// when ctx ends first.
func (b *bound) enter(ctx context.Context, client string) (leave func(), err error) {
	l := b.join(client)
	select {
	case l.free <- struct{}{}:
	case <-ctx.Done():
		b.part(client, l)
		return nil, ctx.Err()
	}
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		<-l.free
		b.part(client, l)
		return nil, ctx.Err()
	}
	return func() {
		<-b.slots
		<-l.free
		b.part(client, l)
	}, nil
}

func (b *bound) join(client string) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[client]
	if l == nil {
		l = &lane{free: make(chan struct{}, 1)}
		b.lanes[client] = l
	}
	l.users++
	return l
}

func (b *bound) part(client string, l *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(b.lanes, client)
	}
}
