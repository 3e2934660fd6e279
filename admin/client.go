package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/keyreeve/keyreeve/internal/unixsock"
)

// ErrNotRunning is wrapped when nobody answers at the socket.
var ErrNotRunning = errors.New("the server is not running")

// Client calls the admin API. Its methods may be called from many goroutines;
// errors that the server answered are an *Error.
type Client struct {
	http *http.Client
	base string // what paths are put behind
	at   string // where the server is, for people
}

// NewClient returns a client of the server at the unix socket. It connects when
// it is first used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return unixsock.Dial(ctx, socket) }
	return &Client{base: "http://keyreeve", at: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// NewTLSClient returns a client of the server at host:port, which shows what
// config holds. It connects when it is first used.
func NewTLSClient(address string, config *tls.Config) *Client {
	transport := &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: dialTimeout,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	return &Client{base: "https://" + address, at: address, http: &http.Client{Transport: transport}}
}

// dialTimeout is how long a server may take to answer at all.
const dialTimeout = 10 * time.Second

// Close drops connections that are kept open.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how the server is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Clients lists all client records, by name.
func (c *Client) Clients(ctx context.Context) ([]ClientRecord, error) {
	return call[[]ClientRecord](ctx, c, http.MethodGet, "/v1/clients", nil)
}

// Client returns one client record.
func (c *Client) Client(ctx context.Context, name string) (ClientRecord, error) {
	return call[ClientRecord](ctx, c, http.MethodGet, "/v1/clients/"+url.PathEscape(name), nil)
}

// Enrol adds a client.
func (c *Client) Enrol(ctx context.Context, req EnrolRequest) (Enrolled, error) {
	return call[Enrolled](ctx, c, http.MethodPost, "/v1/clients", req)
}

// Renew gives a client another certificate; the old one goes on for a while. The
// answer's Replaced means nothing here.
func (c *Client) Renew(ctx context.Context, name string, req RenewRequest) (Enrolled, error) {
	return call[Enrolled](ctx, c, http.MethodPost, "/v1/clients/"+url.PathEscape(name)+"/renew", req)
}

// AgentRenewable says whether an agent may renew a client's certificate.
func (c *Client) AgentRenewable(ctx context.Context, name string, may bool) (ClientRecord, error) {
	return call[ClientRecord](ctx, c, http.MethodPost, "/v1/clients/"+url.PathEscape(name)+"/agent-renewable", AgentRenewableRequest{may})
}

// Revoke shuts a client out: its connections end, and no new one begins.
func (c *Client) Revoke(ctx context.Context, name, reason string) (ClientRecord, error) {
	return call[ClientRecord](ctx, c, http.MethodPost, "/v1/clients/"+url.PathEscape(name)+"/revoke", RevokeRequest{reason})
}

// Admins lists all administrators, by name.
func (c *Client) Admins(ctx context.Context) ([]AdminRecord, error) {
	return call[[]AdminRecord](ctx, c, http.MethodGet, "/v1/admins", nil)
}

// Admin returns one administrator.
func (c *Client) Admin(ctx context.Context, name string) (AdminRecord, error) {
	return call[AdminRecord](ctx, c, http.MethodGet, "/v1/admins/"+url.PathEscape(name), nil)
}

// AddAdmin makes somebody an administrator.
func (c *Client) AddAdmin(ctx context.Context, req AddAdminRequest) (AddedAdmin, error) {
	return call[AddedAdmin](ctx, c, http.MethodPost, "/v1/admins", req)
}

// RevokeAdmin shuts an administrator out.
func (c *Client) RevokeAdmin(ctx context.Context, name, reason string) (AdminRecord, error) {
	return call[AdminRecord](ctx, c, http.MethodPost, "/v1/admins/"+url.PathEscape(name)+"/revoke", RevokeRequest{reason})
}

// Keys returns a page of keys, oldest first; see KeyPage.
func (c *Client) Keys(ctx context.Context, query KeyQuery) (page KeyPage, err error) {
	path, err := withQuery("/v1/keys", query)
	if err != nil {
		return page, err
	}
	return call[KeyPage](ctx, c, http.MethodGet, path, nil)
}

// Key returns one key's metadata.
func (c *Client) Key(ctx context.Context, uid string) (Key, error) {
	return call[Key](ctx, c, http.MethodGet, "/v1/keys/"+url.PathEscape(uid), nil)
}

// ActivateKey, DestroyKey, RecoverKey and ReactivateKey change a key's state; the
// reason goes into the journal. RevokeKey says what else is wrong with it.
func (c *Client) ActivateKey(ctx context.Context, uid, reason string) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "activate", KeyChange{reason})
}

// DestroyKey destroys a key; see ActivateKey.
func (c *Client) DestroyKey(ctx context.Context, uid, reason string) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "destroy", KeyChange{reason})
}

// DestroyUsedKey destroys a key although an inventory says that usedBy, a
// machine or a host, uses it; see ActivateKey.
func (c *Client) DestroyUsedKey(ctx context.Context, uid, usedBy, reason string) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "destroy", KeyDestruction{reason, usedBy})
}

// RecoverKey brings a destroyed key back; see ActivateKey.
func (c *Client) RecoverKey(ctx context.Context, uid, reason string) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "recover", KeyChange{reason})
}

// ReactivateKey makes a deactivated key active again; see ActivateKey.
func (c *Client) ReactivateKey(ctx context.Context, uid, reason string) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "reactivate", KeyChange{reason})
}

// RevokeKey deactivates a key, or says that it is compromised; see ActivateKey.
func (c *Client) RevokeKey(ctx context.Context, uid string, why KeyRevocation) (KeyChanged, error) {
	return c.moveKey(ctx, uid, "revoke", why)
}

func (c *Client) moveKey(ctx context.Context, uid, verb string, body any) (KeyChanged, error) {
	return call[KeyChanged](ctx, c, http.MethodPost, "/v1/keys/"+url.PathEscape(uid)+"/"+verb, body)
}

// Verify has the server check its whole store and journal while it serves.
func (c *Client) Verify(ctx context.Context) (VerifyReport, error) {
	return call[VerifyReport](ctx, c, http.MethodPost, "/v1/verify", struct{}{})
}

func (c *Client) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the made-up address
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.at)
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" { // an alert: to a stranger the server says no more
		return &Error{Code: CodeForbidden, Message: fmt.Sprintf("the server at %s does not take this certificate (%v)", c.at, op.Err),
			Hint: "its log says why; keyreeve admin list, on its machine, shows who is an administrator"}
	}
	if verify := (*tls.CertificateVerificationError)(nil); errors.As(err, &verify) {
		return &Error{Code: CodeRefused, Message: fmt.Sprintf("the server at %s may be another one: %v", c.at, verify.Err),
			Hint: "call it by a name that its certificate has, and see that the bundle's ca.pem is that server's"}
	}
	return fmt.Errorf("asking the server at %s: %w", c.at, err)
}
