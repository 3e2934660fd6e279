package ovhcloud

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// mostBody bounds an answer: go-ovh reads all that comes.
const mostBody = 4 << 20

// transport gives every request the context of the call that it is made for:
// go-ovh asks for OVHcloud's time under a context of its own, which nobody ends.
// It is used by who holds the Client's turn.
type transport struct {
	base  http.RoundTripper
	ctx   context.Context
	after time.Duration
}

func (t *transport) begin(ctx context.Context) { t.ctx, t.after = ctx, 0 }
func (t *transport) end()                      { t.ctx = context.Background() }

// retryAfter is how long the last answer asked us to wait.
func (t *transport) retryAfter() time.Duration { return t.after }

// CloseIdleConnections is for http.Client.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip is http.RoundTripper's.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(t.ctx, cancel)
	finish := func() { stop(); cancel() }
	res, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		finish()
		return nil, err
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		t.after = min(mostAsked, time.Duration(min(s, 1<<20))*time.Second)
	}
	res.Body = &body{Reader: io.LimitReader(res.Body, mostBody), Closer: res.Body, finish: finish}
	return res, nil
}

// body is an answer's, which ends the watch over its request.
type body struct {
	io.Reader
	io.Closer
	finish func()
}

func (b *body) Close() error {
	defer b.finish()
	return b.Closer.Close()
}
