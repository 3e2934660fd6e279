package kmipclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/kmip"
)

// Config says how to reach a server and as whom. Either TLS or the files must
// be given.
type Config struct {
	// TLS is used as it is, save that an empty ServerName becomes the host that
	// is dialled. It wins over the files.
	TLS *tls.Config
	// CertFile and KeyFile hold our certificate and its key, CAFile the
	// certificates that the server's is verified against; all PEM.
	CertFile, KeyFile, CAFile string

	// Version is the protocol version to speak. The zero Version asks the
	// server with Discover Versions when dialling and takes the best.
	Version kmip.Version

	// Username and Password go into every request when Username is not empty.
	// The Client keeps its own copy of the password until Close.
	Username string
	Password *secret.Bytes

	// Timeout bounds dialling, and each request with its answer. The context
	// given to a call may end it sooner. 0: 30 seconds.
	Timeout time.Duration
	// MaxResponse bounds an answer in bytes. 0: 1 MiB.
	MaxResponse int
	// Now is the clock that deadlines are reckoned by. nil: time.Now.
	Now func() time.Time

	// Dial opens the connection below TLS. nil: net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// ItemID names each batch item that names none itself; where it returns nil
	// the item goes without, which only one that is alone may. nil: only items
	// of batches of several get an ID. It is called by one goroutine at a time.
	ItemID func() []byte
}

// Defaults of a Config.
const (
	DefaultTimeout     = 30 * time.Second
	DefaultMaxResponse = 1 << 20
)

// ErrBroken is wrapped by every call on a Client after its connection failed
// or was closed.
var ErrBroken = errors.New("the connection is no longer usable")

// A Client is a connection to a server. Its methods may be called from several
// goroutines; requests wait for each other.
type Client struct {
	conn       connection
	timeout    time.Duration
	max        int
	now        func() time.Time
	version    kmip.Version
	credential *kmip.Credential // nil: none
	itemID     func() []byte    // nil: see batchIDs

	mu     sync.Mutex // held for a whole round trip
	broken error      // why the connection is unusable, nil while it works
	serial uint32     // of Unique Batch Item IDs
}

// connection is what a Client needs of a *tls.Conn.
type connection interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// Dial connects to addr (host:port), does the TLS handshake and, if the
// configuration names no version, agrees on one with the server.
func Dial(ctx context.Context, addr string, cfg Config) (*Client, error) {
	c := &Client{timeout: cfg.Timeout, max: cfg.MaxResponse, now: cfg.Now, version: cfg.Version, itemID: cfg.ItemID}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.max <= 0 {
		c.max = DefaultMaxResponse
	}
	if c.now == nil {
		c.now = time.Now
	}
	tc, err := cfg.tlsConfig(addr)
	if err != nil {
		return nil, err
	}
	if c.conn, err = cfg.dial(ctx, c.timeout, addr, tc); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	if cfg.Username != "" {
		c.credential = usernameAndPassword(cfg.Username, cfg.Password)
	}
	if c.version == (kmip.Version{}) {
		if err := c.negotiate(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("agreeing on a protocol version with %s: %w", addr, err)
		}
	}
	return c, nil
}

func (cfg *Config) dial(ctx context.Context, timeout time.Duration, addr string, tc *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	open := cfg.Dial
	if open == nil {
		open = new(net.Dialer).DialContext
	}
	plain, err := open(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, tc)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

func (cfg *Config) tlsConfig(addr string) (*tls.Config, error) {
	tc := cfg.TLS
	if tc == nil {
		var err error
		if tc, err = cfg.fromFiles(); err != nil {
			return nil, err
		}
	}
	tc = tc.Clone()
	if tc.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("reading the server's address: %w", err)
		}
		tc.ServerName = host
	}
	return tc, nil
}

func (cfg *Config) fromFiles() (*tls.Config, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" || cfg.CAFile == "" {
		return nil, errors.New("a KMIP client needs a certificate, its key and the server's CA, or a TLS configuration")
	}
	cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the client certificate: %w", err)
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the server's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the server's CA: %s holds no certificate", cfg.CAFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: pool}, nil
}

// Version returns the protocol version that requests are sent in.
func (c *Client) Version() kmip.Version { return c.version }

// ConnectionState returns what the handshake found, the server's certificates
// among it.
func (c *Client) ConnectionState() tls.ConnectionState { return c.conn.ConnectionState() }

// Close ends the connection and clears the password. It does not wait for a
// request that is under way, which then fails.
func (c *Client) Close() error {
	err := c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = errors.New("closed")
	}
	if c.credential != nil {
		secret.Clear(c.credential.Password)
		c.credential = nil
	}
	return err
}
