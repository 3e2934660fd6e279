package kmipserver

import (
	"time"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// Limits bound what a peer can make the server do. A zero field means its
// default. vCenter opens up to nine connections in half a second while trust is
// being set up, so there is no limit on how fast connections come, only on how
// many there are.
type Limits struct {
	Handshake time.Duration // to complete the TLS handshake; 10 s
	FirstByte time.Duration // from the handshake to the first message; 10 s
	Request   time.Duration // from a message's first byte to its last; 30 s
	Idle      time.Duration // between messages; 10 min
	Write     time.Duration // for an answer to leave; 30 s

	MessageSize int // bytes of a request, header included; 1 MiB
	// ResponseSize bounds an answer in bytes, beside the client's own Maximum
	// Response Size; 4 MiB. A batch of Locates could ask for a lot.
	ResponseSize int
	Depth        int // nested structures in a request; 32
	Items        int // TTLV items in a request; 65,536
	BatchItems   int // 64

	Connections int // in all, those that are still in the handshake included; 4,096
	PerAddress  int // of one IPv4 address or one IPv6 /64; 256
	Pending     int // in the handshake or before the first byte; 512. A new one ends the oldest
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Handshake, 10 * time.Second},
		{&l.FirstByte, 10 * time.Second},
		{&l.Request, 30 * time.Second},
		{&l.Idle, 10 * time.Minute},
		{&l.Write, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.MessageSize, 1 << 20},
		{&l.ResponseSize, 4 << 20},
		{&l.Depth, ttlv.DefaultDepth},
		{&l.Items, ttlv.DefaultItems},
		{&l.BatchItems, 64},
		{&l.Connections, 4096},
		{&l.PerAddress, 256},
		{&l.Pending, 512},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return l
}
