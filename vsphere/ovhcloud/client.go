package ovhcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/ovh/go-ovh/ovh"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// Config says how to reach OVHcloud's API and as whom.
type Config struct {
	// Endpoint is ovh-eu, ovh-ca or ovh-us, or a URL that ends before the first
	// path of the API, such as https://eu.api.ovh.com/1.0.
	Endpoint    string
	TokenURL    string // of OAuth2; "": the endpoint's own
	Credentials Credentials

	Transport http.RoundTripper // nil: http.DefaultTransport
	Timeout   time.Duration     // of one request; 0: a minute
	Attempts  int               // how often a call is tried; 0: 5
	// TaskTimeout is how long a task of OVHcloud's is waited for; 0: 30 minutes.
	TaskTimeout time.Duration
	UserAgent   string

	Jitter  func() float64 // in [0,1), of waits between attempts; nil: random
	Now     func() time.Time
	Logger  *slog.Logger // nil discards
	Metrics *Metrics     // nil counts nothing
}

func (c *Config) defaults() {
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.Attempts <= 0 {
		c.Attempts = 5
	}
	if c.TaskTimeout <= 0 {
		c.TaskTimeout = 30 * time.Minute
	}
	if c.UserAgent == "" {
		c.UserAgent = "keyreeve-agent"
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// A Client calls OVHcloud's API. Its methods may be called from several
// goroutines; requests wait for each other. The environment and files of go-ovh
// (OVH_ENDPOINT, ovh.conf) are not read: what the Config says is what is used.
type Client struct {
	cfg      Config
	endpoint string
	tokenURL string
	http     *http.Client
	wire     *transport

	turn      chan struct{} // holds one token; who has it uses what is below
	api       *ovh.Client
	apiSince  time.Time
	token     string
	tokenEnds time.Time
}

// New checks the configuration; it calls nobody.
func New(cfg Config) (*Client, error) {
	cfg.defaults()
	if err := cfg.Credentials.check(); err != nil {
		return nil, err
	}
	endpoint, err := endpointURL(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, endpoint: endpoint, tokenURL: cfg.TokenURL, turn: make(chan struct{}, 1)}
	if c.tokenURL == "" {
		c.tokenURL = tokenURLs[endpoint]
	}
	if cfg.Credentials.ClientID != "" {
		if c.tokenURL == "" {
			return nil, fmt.Errorf("there is no known URL for OAuth2 tokens at %s: name one", endpoint)
		}
		if err := checkURL(c.tokenURL); err != nil {
			return nil, err
		}
	}
	c.wire = &transport{base: cfg.Transport}
	c.http = &http.Client{Transport: c.wire, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.turn <- struct{}{}
	return c, nil
}

// Close clears the secrets. Calls after it are refused by OVHcloud.
func (c *Client) Close() {
	<-c.turn
	defer func() { c.turn <- struct{}{} }()
	c.cfg.Credentials.clear()
	c.api, c.token, c.tokenEnds = nil, "", time.Time{}
	c.http.CloseIdleConnections()
}

func endpointURL(name string) (string, error) {
	if u, ok := ovh.Endpoints[name]; ok {
		return u, nil
	}
	if !strings.Contains(name, "/") {
		return "", fmt.Errorf("unknown endpoint of OVHcloud %q: want ovh-eu, ovh-ca, ovh-us or a URL", name)
	}
	return strings.TrimSuffix(name, "/"), checkURL(name)
}

// checkURL wants https, since without it anybody on the way reads the token;
// a machine's own address is the exception, for tests.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("%q is no URL of OVHcloud's API: want https://HOST/PATH", text)
	}
	if u.Scheme == "https" {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s: want https, so that nobody on the way reads the credentials", text)
}

// call makes one call of the API, and again where that is safe. do says what
// for, in errors. into may be nil.
func (c *Client) call(ctx context.Context, do, method, path string, body, into any) error {
	for attempt := 1; ; attempt++ {
		after, err := c.once(ctx, method, path, body, into)
		c.cfg.Metrics.request(method, err)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ended(do, method, err, context.Cause(ctx))
		}
		if !mayRetry(method, err) {
			return outcome(do, method, err)
		}
		if attempt >= c.cfg.Attempts {
			return fmt.Errorf("%w (tried %d times)", outcome(do, method, err), attempt)
		}
		c.cfg.Metrics.retry()
		c.cfg.Logger.Debug("calling OVHcloud again", "do", do, "attempt", attempt, "err", explain(do, err))
		if err := ctxtime.Sleep(ctx, max(after, backoff(attempt, c.cfg.Jitter()))); err != nil {
			return fmt.Errorf("%s: %w", do, err)
		}
	}
}

// ended is the error of a call whose context has ended while it was under way.
func ended(do, method string, err, cause error) error {
	if method == http.MethodGet || neverBegan(err) {
		return fmt.Errorf("%s: %w", do, cause)
	}
	return fmt.Errorf("%s: %w: %w", do, ErrUnknownOutcome, cause)
}

// once makes the call. after is how long OVHcloud wants us to wait.
func (c *Client) once(ctx context.Context, method, path string, body, into any) (after time.Duration, err error) {
	select {
	case <-c.turn:
	case <-ctx.Done():
		return 0, &notSent{ctx.Err()}
	}
	defer func() { c.turn <- struct{}{} }()
	c.wire.begin(ctx)
	defer c.wire.end()
	if err := c.authorise(ctx); err != nil {
		return 0, &notSent{err}
	}
	req, err := c.api.NewRequest(method, path, body, true)
	if err != nil {
		return 0, &notSent{err} // OVHcloud's time was not to be had
	}
	res, err := c.api.Do(req.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	err = c.api.UnmarshalResponse(res, into)
	if status, _ := statusOf(err); status == http.StatusUnauthorized {
		c.tokenEnds = time.Time{} // it was revoked: the next call asks for another
	}
	return c.wire.retryAfter(), err
}

// notSent wraps an error from before the call itself was sent.
type notSent struct{ err error }

func (e *notSent) Error() string { return e.err.Error() }
func (e *notSent) Unwrap() error { return e.err }

// neverBegan tells that OVHcloud cannot have begun with the call.
func neverBegan(err error) bool {
	if _, ok := errors.AsType[*notSent](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// outcome says of a call that changes something when it may have been done.
func outcome(do, method string, err error) error {
	if _, answered := statusOf(err); method == http.MethodGet || answered && !isServerFault(err) || neverBegan(err) {
		return explain(do, err)
	}
	return fmt.Errorf("%w: %w", explain(do, err), ErrUnknownOutcome)
}
