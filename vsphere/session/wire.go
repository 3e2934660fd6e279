package session

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/soap"

	"github.com/keyreeve/keyreeve/internal/ctxtime"
)

// ErrCertificate is wrapped when the vCenter's certificate is not the one that
// was given.
var ErrCertificate = errors.New("this is not the vCenter's certificate that was given")

// newWire returns govmomi's client over TLS that we configured. govmomi's own
// pinning falls back to it only when the system's CAs do not know the
// certificate, and its dialling knows no context.
func newWire(u *url.URL, cfg *Config) (*soap.Client, error) {
	config, err := tlsConfig(u.Hostname(), cfg)
	if err != nil {
		return nil, err
	}
	c := soap.NewClient(u, false)
	t := c.DefaultTransport()
	t.DialTLSContext, t.TLSClientConfig = nil, config
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = 10*time.Second, 10*time.Minute // WaitForUpdates holds its answer back
	c.UserAgent = cfg.UserAgent
	return c, nil
}

func tlsConfig(host string, cfg *Config) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	switch {
	case cfg.Thumbprint != "" && len(cfg.CA) > 0:
		return nil, errors.New("a thumbprint and a CA of the vCenter exclude each other")
	case cfg.Thumbprint != "":
		want, err := fingerprint(cfg.Thumbprint)
		if err != nil {
			return nil, err
		}
		// The pin is the whole of trust: whoever answers with another
		// certificate gets no password, whatever CA has signed it.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error { return pinned(host, state, want) }
	case len(cfg.CA) > 0:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(cfg.CA) {
			return nil, errors.New("there is no certificate in the CA file of the vCenter")
		}
	default:
		return nil, errors.New("give the SHA-256 thumbprint of the vCenter's certificate, or the CA that has signed it")
	}
	return config, nil
}

func pinned(host string, state tls.ConnectionState, want [sha256.Size]byte) error {
	if len(state.PeerCertificates) == 0 {
		return ErrCertificate
	}
	if got := sha256.Sum256(state.PeerCertificates[0].Raw); got != want {
		return fmt.Errorf("%w: %s shows the one with SHA-256 %s", ErrCertificate, host, colons(got[:]))
	}
	return nil
}

// fingerprint reads a SHA-256 one.
func fingerprint(text string) (sum [sha256.Size]byte, err error) {
	digits, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	switch {
	case err == nil && len(digits) == len(sum):
		return [sha256.Size]byte(digits), nil
	case err == nil && len(digits) == 20:
		return sum, fmt.Errorf("thumbprint %s is SHA-1, which can be forged: want the SHA-256 fingerprint of the vCenter's certificate", text)
	}
	return sum, fmt.Errorf("thumbprint %q: want the SHA-256 fingerprint of the vCenter's certificate, 32 bytes in hexadecimal", text)
}

func colons(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// pace lets calls through no faster than it was told, with a burst of a second.
type pace struct {
	every time.Duration
	burst time.Duration

	mu   sync.Mutex
	next time.Time // when the call after all that were let through may go, without a burst
}

func newPace(perSecond float64) *pace {
	return &pace{every: time.Duration(float64(time.Second) / perSecond), burst: time.Second}
}

func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-p.burst); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(p.every)
	delay := p.next.Sub(now)
	p.mu.Unlock()
	if delay <= 0 {
		return ctx.Err()
	}
	return ctxtime.Sleep(ctx, delay)
}
