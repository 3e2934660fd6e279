package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"

	"github.com/keyreeve/keyreeve/internal/unixsock"
)

// ErrNotRunning is wrapped when nobody answers at the socket.
var ErrNotRunning = errors.New("the server is not running")

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// Client calls the admin API. Its methods may be called from many goroutines;
// errors that the server answered are an *Error.
type Client struct {
	http   *http.Client
	socket string
}

// NewClient returns a client of the server at the unix socket. It connects when
// it is first used.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return unixsock.Dial(ctx, socket) }
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

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

// Revoke shuts a client out: its connections end, and no new one begins.
func (c *Client) Revoke(ctx context.Context, name, reason string) (ClientRecord, error) {
	return call[ClientRecord](ctx, c, http.MethodPost, "/v1/clients/"+url.PathEscape(name)+"/revoke", RevokeRequest{reason})
}

// Keys returns a page of keys, oldest first; see KeyPage.
func (c *Client) Keys(ctx context.Context, after string, limit int) (KeyPage, error) {
	query := url.Values{"after": {after}, "limit": {strconv.Itoa(limit)}}
	return call[KeyPage](ctx, c, http.MethodGet, "/v1/keys?"+query.Encode(), nil)
}

// Key returns one key's metadata.
func (c *Client) Key(ctx context.Context, uid string) (Key, error) {
	return call[Key](ctx, c, http.MethodGet, "/v1/keys/"+url.PathEscape(uid), nil)
}

// Verify has the server check its whole store and journal while it serves.
func (c *Client) Verify(ctx context.Context) (VerifyReport, error) {
	return call[VerifyReport](ctx, c, http.MethodPost, "/v1/verify", struct{}{})
}

func call[T any](ctx context.Context, c *Client, method, path string, body any) (answer T, err error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return answer, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://keyreeve"+path, payload)
	if err != nil {
		return answer, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer, c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode != http.StatusOK {
		return answer, refused(resp.StatusCode, content)
	}
	if err := json.NewDecoder(content).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the server's answer: %w", err)
	}
	return answer, nil
}

func (c *Client) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the made-up address
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.socket)
	}
	return fmt.Errorf("asking the server at %s: %w", c.socket, err)
}

func refused(status int, body io.Reader) error {
	var e Error
	if err := json.NewDecoder(body).Decode(&e); err != nil || e.Message == "" {
		return fmt.Errorf("the server answered with HTTP status %d", status)
	}
	return &e
}
