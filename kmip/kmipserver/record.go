package kmipserver

import (
	"errors"
	"sync/atomic"

	"github.com/keyreeve/keyreeve/kmip/operations"
)

// A Recorder is told of all that is said on connections. The calls for one
// connection come in order, from one goroutine at a time; those for others
// meanwhile. They are on the way of requests and must not wait for anything; the
// bytes are the caller's, and hold keys.
type Recorder interface {
	// Connected says that a handshake is complete. id names the connection from
	// here on.
	Connected(id uint64, group, client, remote string, tlsVersion uint16)
	// Received is a request of the length that its header says; it need not be
	// well-formed beyond that.
	Received(id uint64, message []byte)
	// Sent is the answer; nil when the connection ends instead.
	Sent(id uint64, message []byte)
	// Unreadable is a request of which only length bytes were looked at.
	Unreadable(id uint64, length int, reason string)
	Closed(id uint64)
}

// A recording does nothing when there is no Recorder.
type recording struct {
	to   Recorder
	last atomic.Uint64 // connection
}

func (r *recording) connected(p *operations.Principal, tlsVersion uint16) (id uint64) {
	if r.to != nil {
		id = r.last.Add(1)
		r.to.Connected(id, p.Group, p.Client, p.Remote, tlsVersion)
	}
	return id
}

func (r *recording) received(id uint64, message []byte) {
	if r.to != nil {
		r.to.Received(id, message)
	}
}

func (r *recording) sent(id uint64, message []byte) {
	if r.to != nil {
		r.to.Sent(id, message)
	}
}

func (r *recording) unreadable(id uint64, length int, err error) {
	if r.to == nil {
		return
	}
	reason := "they do not arrive whole" // what the network says names addresses
	if errors.Is(err, errTooLong) || errors.Is(err, errNotKMIP) {
		reason = err.Error()
	}
	r.to.Unreadable(id, length, reason)
}

func (r *recording) closed(id uint64) {
	if r.to != nil {
		r.to.Closed(id)
	}
}
