package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
)

// Config says which vCenter, and as whom. Exactly one of Thumbprint and CA is
// needed.
type Config struct {
	URL        string // https://HOST or https://HOST:PORT
	User       string // as one logs in, with the domain
	Password   *secret.Bytes
	Thumbprint string // SHA-256 of vCenter's certificate, with colons or without
	CA         []byte // PEM of the CAs that may have signed it

	PerSecond float64       // calls, at most; 0: 20
	KeepAlive time.Duration // how often an idle session is used; 0: 5 minutes
	UserAgent string        // "": keyreeve-agent
	Logger    *slog.Logger  // nil discards
	Metrics   *Metrics      // nil counts nothing
}

func (c *Config) defaults() {
	if c.PerSecond <= 0 {
		c.PerSecond = 20
	}
	if c.KeepAlive <= 0 {
		c.KeepAlive = 5 * time.Minute
	}
	if c.UserAgent == "" {
		c.UserAgent = "keyreeve-agent"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// A Session is a connection to a vCenter. Its methods, and its Client, may be
// used by several goroutines; a property collector must not: make one for each.
type Session struct {
	cfg    Config
	client *vim25.Client
	wire   soap.RoundTripper // below the door
	pace   *pace

	epoch     atomic.Uint64 // of the login; 0: none yet
	login     sync.Mutex    // guards the next three
	refused   error         // by vCenter, the last time; nil: it was not
	refusedAt time.Time
	closed    bool

	mu  sync.Mutex
	err error // how the last call ended, as far as it says something about the connection

	stop    context.CancelFunc
	stopped chan struct{}
}

// Errors of a Session.
var (
	// ErrLogin is wrapped when vCenter does not take user and password.
	ErrLogin = errors.New("vCenter does not let this user in")
	// ErrNotVCenter is wrapped when an ESXi host answers.
	ErrNotVCenter = errors.New("no vCenter")
	// ErrClosed is returned by calls after Close.
	ErrClosed = errors.New("the session was closed")
)

// LoginAgain is how long a password that was refused is not tried again: each
// call would, and some tries in a row lock the account.
const LoginAgain = 10 * time.Minute

// Open connects and logs in. The caller ends the session with Close.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	cfg.defaults()
	u, err := address(cfg.URL)
	if err != nil {
		return nil, err
	}
	wire, err := newWire(u, &cfg)
	if err != nil {
		return nil, err
	}
	s := &Session{cfg: cfg, wire: wire, pace: newPace(cfg.PerSecond), stopped: make(chan struct{})}
	if s.client, err = vim25.NewClient(ctx, wire); err != nil {
		return nil, fmt.Errorf("connecting to the vCenter at %s: %w", u.Host, err)
	}
	if !s.client.IsVC() {
		return nil, fmt.Errorf("%w: %s is %s; give the address of the vCenter", ErrNotVCenter, u.Host, s.client.ServiceContent.About.Name)
	}
	if err := s.again(ctx, 0); err != nil {
		return nil, err
	}
	s.client.RoundTripper = s
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	go s.keepAlive(background)
	return s, nil
}

// address reads a vCenter's URL. Only https: the password goes over it.
func address(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is no address of a vCenter: want https://HOST", text)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/sdk"
	}
	return u, nil
}

// Client is for govmomi's packages. Calls of it go through the session's door.
func (s *Session) Client() *vim25.Client { return s.client }

// InstanceUUID names the vCenter for good.
func (s *Session) InstanceUUID() string { return s.client.ServiceContent.About.InstanceUuid }

// About is name, version and build.
func (s *Session) About() string {
	a := s.client.ServiceContent.About
	return fmt.Sprintf("%s %s build-%s", a.Name, a.Version, a.Build)
}

// Err says why the vCenter cannot be used at the moment; nil: it can, as far as
// is known.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// REST logs in to vCenter's REST API, where the tags are. The caller logs out.
func (s *Session) REST(ctx context.Context) (*rest.Client, error) {
	c := rest.NewClient(s.client)
	if err := c.Login(ctx, s.userinfo()); err != nil {
		return nil, fmt.Errorf("logging in to the REST API: %w", err)
	}
	return c, nil
}

func (s *Session) userinfo() *url.Userinfo {
	return url.UserPassword(s.cfg.User, string(s.cfg.Password.Expose()))
}

// Close logs out, and clears the password.
func (s *Session) Close(ctx context.Context) error {
	s.stop()
	<-s.stopped
	s.login.Lock()
	defer s.login.Unlock()
	s.closed = true
	_, err := methods.Logout(ctx, s.wire, &types.Logout{This: *s.client.ServiceContent.SessionManager})
	s.cfg.Password.Clear()
	s.client.CloseIdleConnections()
	if err != nil && !isNotAuthenticated(err) {
		return fmt.Errorf("logging out of vCenter: %w", err)
	}
	return nil
}

// RoundTrip is the door of all calls: it waits for its turn, and logs in again
// when vCenter knows the session no more. Such a call has not begun, so making
// it again is safe whatever it does.
func (s *Session) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	epoch := s.epoch.Load()
	err := s.once(ctx, req, res)
	if isNotAuthenticated(err) {
		if err = s.again(ctx, epoch); err == nil {
			reflect.ValueOf(res).Elem().SetZero() // the fault of the first try would be taken for one of this
			err = s.once(ctx, req, res)
		}
	}
	s.note(ctx, err)
	return err
}

func (s *Session) once(ctx context.Context, req, res soap.HasFault) error {
	if err := s.pace.wait(ctx); err != nil {
		return err
	}
	done := s.cfg.Metrics.begin(req)
	err := s.wire.RoundTrip(ctx, req, res)
	done(err)
	return err
}

// note keeps what a call says about the connection: a fault of vCenter's says
// that it answers.
func (s *Session) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // the caller's own doing
	}
	if err != nil && soap.IsSoapFault(err) && !isNotAuthenticated(err) {
		err = nil
	}
	s.mu.Lock()
	was := s.err
	s.err = err
	s.mu.Unlock()
	switch {
	case was == nil && err != nil:
		s.cfg.Logger.Warn("the vCenter cannot be used", "vcenter", s.client.URL().Host, "err", err)
	case was != nil && err == nil:
		s.cfg.Logger.Info("the vCenter can be used again", "vcenter", s.client.URL().Host)
	}
	s.cfg.Metrics.up(err == nil)
}

// again logs in, unless somebody else has done so since epoch.
func (s *Session) again(ctx context.Context, epoch uint64) error {
	s.login.Lock()
	defer s.login.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.epoch.Load() != epoch:
		return nil
	case s.refused != nil && time.Since(s.refusedAt) < LoginAgain:
		return fmt.Errorf("%w; not tried again before %s", s.refused, s.refusedAt.Add(LoginAgain).UTC().Format(time.RFC3339))
	}
	s.refused = nil
	below := *s.client
	below.RoundTripper = s.wire
	if err := session.NewManager(&below).Login(ctx, s.userinfo()); err != nil {
		if fault.Is(err, &types.InvalidLogin{}) || fault.Is(err, &types.NoPermission{}) {
			s.refusedAt = time.Now()
			s.refused = fmt.Errorf("%w: %s at %s: see user and password, and whether the account is locked", ErrLogin, s.cfg.User, s.client.URL().Host)
			return s.refused
		}
		return fmt.Errorf("logging in to the vCenter at %s: %w", s.client.URL().Host, err)
	}
	if s.epoch.Add(1) > 1 {
		s.cfg.Logger.Info("logged in to vCenter again", "vcenter", s.client.URL().Host)
	}
	s.cfg.Metrics.login()
	return nil
}

// keepAlive uses the session now and then; vCenter ends idle ones.
func (s *Session) keepAlive(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(s.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.probe(ctx)
		}
	}
}

// probe asks something that only a session that is logged in is told. A
// session that it does not know is answered with nothing, not with a fault.
func (s *Session) probe(ctx context.Context) {
	epoch := s.epoch.Load()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	below := *s.client
	below.RoundTripper = s.wire
	user, err := session.NewManager(&below).UserSession(ctx)
	if err == nil && user == nil || isNotAuthenticated(err) {
		err = s.again(ctx, epoch)
	}
	s.note(ctx, err)
}

func isNotAuthenticated(err error) bool {
	return err != nil && fault.Is(err, &types.NotAuthenticated{})
}
