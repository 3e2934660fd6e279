package users

import (
	"context"
	"runtime"
)

// CheapHash is a hash that takes next to nothing.
func CheapHash(password []byte) *Hash {
	h := newHash()
	h.Memory, h.Passes = 8, 1
	h.Sum = h.derive(password)
	return h
}

// CheapDecoy makes the check of an unknown user cheap.
func (r *Registry) CheapDecoy() { r.decoy.Memory, r.decoy.Passes = 8, 1 }

// Hold takes a client's turn to have a password checked, until release is called.
func (r *Registry) Hold(client string) (release func()) {
	leave, err := r.bound.enter(context.Background(), client)
	if err != nil {
		panic(err)
	}
	return leave
}

// AwaitWaiting returns when so many have or wait for the client's turn.
func (r *Registry) AwaitWaiting(client string, n int) {
	for {
		r.bound.mu.Lock()
		l := r.bound.lanes[client]
		enough := l != nil && l.users >= n
		r.bound.mu.Unlock()
		if enough {
			return
		}
		runtime.Gosched()
	}
}
