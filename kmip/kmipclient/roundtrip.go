package kmipclient

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// RoundTrip sends one encoded message as it is and returns the answer's bytes,
// which have passed ttlv.Check but were not looked at otherwise. The caller
// clears both when they may hold key material. After an error of the connection
// the Client is of no more use (ErrBroken).
func (c *Client) RoundTrip(ctx context.Context, request []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, c.broken)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answer, err := c.exchange(ctx, request)
	if err != nil {
		// What the server still sends would be taken for the next answer.
		c.broken = err
		_ = c.conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for the answer: %w", ctx.Err())
		}
		return nil, err
	}
	return answer, nil
}

func (c *Client) exchange(ctx context.Context, request []byte) ([]byte, error) {
	deadline := c.now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("setting the deadline: %w", err)
	}
	// A context that is cancelled ends a read that is under way.
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.Write(request); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	return readMessage(c.conn, c.max)
}

// readMessage reads one Response Message of at most limit bytes.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var head [ttlv.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	tag, typ, n := ttlv.Header(head[:])
	if tag != kmip14.TagResponseMessage || typ != ttlv.Structure {
		return nil, fmt.Errorf("reading the answer: the server does not speak KMIP (%w)", ttlv.ErrMalformed)
	}
	if int64(n) > int64(limit-ttlv.HeaderSize) {
		return nil, fmt.Errorf("reading the answer: %w: %d bytes, at most %d are taken", ttlv.ErrLimit, n, limit)
	}
	b := make([]byte, ttlv.HeaderSize+int(n))
	copy(b, head[:])
	if _, err := io.ReadFull(r, b[ttlv.HeaderSize:]); err != nil {
		secret.Clear(b)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if err := ttlv.Check(b, ttlv.Limits{}); err != nil {
		secret.Clear(b)
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return b, nil
}
