package session

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// vcenter starts one, and returns how to log in to it.
func vcenter(t *testing.T) Config {
	t.Helper()
	v, err := vspheretest.New(vspheretest.Options{User: url.UserPassword("agent@vsphere.local", "the password")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	leaf, err := certs.FetchServerCertificate(t.Context(), v.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		URL: "https://" + v.URL.Host, User: "agent@vsphere.local", Password: secret.Own([]byte("the password")),
		Thumbprint: certs.SHA256(leaf), Metrics: NewMetrics(prometheus.NewRegistry()),
	}
}

func open(t *testing.T, cfg Config) *Session {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func TestOpen(t *testing.T) {
	cfg := vcenter(t)
	s := open(t, cfg)
	if s.InstanceUUID() == "" || !strings.Contains(s.About(), "build-") || s.Err() != nil {
		t.Errorf("%s, %s, %v", s.InstanceUUID(), s.About(), s.Err())
	}
	if _, err := methods.GetCurrentTime(t.Context(), s.Client()); err != nil {
		t.Error(err)
	}
	c, err := s.REST(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Logout(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses: nobody but the vCenter that was meant gets the password.
func TestOpenRefuses(t *testing.T) {
	good := vcenter(t)
	other := strings.Repeat("AB:", 31) + "AB"
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"another certificate": {func(c *Config) { c.Thumbprint = other }, "not the vCenter's certificate that was given"},
		"no pin and no CA":    {func(c *Config) { c.Thumbprint = "" }, "give the SHA-256 thumbprint"},
		"SHA-1":               {func(c *Config) { c.Thumbprint = strings.Repeat("AB:", 19) + "AB" }, "is SHA-1, which can be forged"},
		"no fingerprint":      {func(c *Config) { c.Thumbprint = "AB" }, "want the SHA-256 fingerprint"},
		"pin and CA":          {func(c *Config) { c.CA = []byte("x") }, "exclude each other"},
		"no CA in the file":   {func(c *Config) { c.Thumbprint, c.CA = "", []byte("x") }, "there is no certificate in the CA file"},
		"http":                {func(c *Config) { c.URL = "http://127.0.0.1" }, "want https://HOST"},
		"password in the URL": {func(c *Config) { c.URL = "https://u:p@127.0.0.1" }, "want https://HOST"},
		"wrong password":      {func(c *Config) { c.Password = secret.Own([]byte("wrong")) }, "does not let this user in"},
	} {
		cfg := good
		tc.change(&cfg)
		_, err := Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "the password") || strings.Contains(err.Error(), "wrong password")) {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
	cfg := good
	cfg.Password = secret.Own([]byte("wrong"))
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrLogin) {
		t.Errorf("wrong password: %v", err)
	}
}

// A CA stands for the name, too: another CA's certificate is refused.
func TestOpenByCA(t *testing.T) {
	cfg := vcenter(t)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(cfg.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	_ = conn.Close()
	cfg.Thumbprint, cfg.CA = "", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	open(t, cfg)
	ca, err := certs.NewCA(time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another CA: %v", err)
	}
}

// terminate ends the session as vCenter does after a restart.
func terminate(t *testing.T, s *Session, cfg Config) {
	t.Helper()
	mine, err := session.NewManager(s.Client()).UserSession(t.Context())
	if err != nil || mine == nil {
		t.Fatal(err, mine)
	}
	cfg.Password = secret.Own([]byte("the password"))
	other := open(t, cfg)
	if err := session.NewManager(other.Client()).TerminateSession(t.Context(), []string{mine.Key}); err != nil {
		t.Fatal(err)
	}
}

// TestSessionThatEndedIsNoFailure: calls of many goroutines log in again, once,
// and none of them sees it.
func TestSessionThatEndedIsNoFailure(t *testing.T) {
	cfg := vcenter(t)
	s := open(t, cfg)
	terminate(t, s, cfg)
	failed := make(chan error)
	for range 8 {
		go func() {
			_, err := methods.GetCurrentTime(t.Context(), s.Client())
			if err == nil {
				_, err = object.NewRootFolder(s.Client()).Children(t.Context())
			}
			failed <- err
		}()
	}
	for range 8 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if n := s.epoch.Load(); n != 2 {
		t.Errorf("logged in %d times", n)
	}
}

// TestKeepAliveLogsInAgain: what is idle finds out by itself.
func TestKeepAliveLogsInAgain(t *testing.T) {
	cfg := vcenter(t)
	s := open(t, cfg)
	terminate(t, s, cfg)
	s.probe(t.Context())
	if n := s.epoch.Load(); n != 2 || s.Err() != nil {
		t.Errorf("logged in %d times: %v", n, s.Err())
	}
}

// away stands for a vCenter that does not answer, and answers what it is told.
type away struct {
	soap.RoundTripper
	err     error
	granted func(string) bool
}

func (a *away) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	if a.err != nil {
		return a.err
	}
	if ask, ok := req.(*methods.HasPrivilegeOnEntitiesBody); ok && a.granted != nil {
		e := types.EntityPrivilege{Entity: ask.Req.Entity[0]}
		for _, id := range ask.Req.PrivId {
			e.PrivAvailability = append(e.PrivAvailability, types.PrivilegeAvailability{PrivId: id, IsGranted: a.granted(id)})
		}
		res.(*methods.HasPrivilegeOnEntitiesBody).Res = &types.HasPrivilegeOnEntitiesResponse{Returnval: []types.EntityPrivilege{e}}
		return nil
	}
	return a.RoundTripper.RoundTrip(ctx, req, res)
}

// TestVCenterThatIsAwayIsAState: and it ends by itself.
func TestVCenterThatIsAwayIsAState(t *testing.T) {
	s := open(t, vcenter(t))
	a := &away{RoundTripper: s.wire, err: errors.New("connection refused")}
	s.wire = a
	s.probe(t.Context())
	if s.Err() == nil {
		t.Error("it is not said that vCenter is away")
	}
	a.err = nil
	s.probe(t.Context())
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// gate stands for a vCenter that has ended the session and takes no password.
type gate struct {
	soap.RoundTripper
	logins int
}

func (g *gate) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	switch req.(type) {
	case *methods.LoginBody:
		g.logins++
		return soap.WrapVimFault(&types.InvalidLogin{})
	case *methods.LogoutBody:
		return g.RoundTripper.RoundTrip(ctx, req, res)
	}
	return soap.WrapVimFault(&types.NotAuthenticated{})
}

// TestRefusedLoginIsNotRepeated: each call would try the password again, and
// some tries in a row lock the account, for the person too who has set it right.
func TestRefusedLoginIsNotRepeated(t *testing.T) {
	s := open(t, vcenter(t))
	g := &gate{RoundTripper: s.wire}
	s.wire = g
	for range 10 {
		if _, err := methods.GetCurrentTime(t.Context(), s.Client()); !errors.Is(err, ErrLogin) {
			t.Fatal(err)
		}
		s.probe(t.Context())
	}
	if g.logins != 1 || !errors.Is(s.Err(), ErrLogin) {
		t.Errorf("%d logins; %v", g.logins, s.Err())
	}
	s.refusedAt = s.refusedAt.Add(-LoginAgain)
	if _, err := methods.GetCurrentTime(t.Context(), s.Client()); !errors.Is(err, ErrLogin) || g.logins != 2 {
		t.Errorf("%d logins after a while: %v", g.logins, err)
	}
	s.refusedAt, s.wire = s.refusedAt.Add(-LoginAgain), g.RoundTripper
	if _, err := methods.GetCurrentTime(t.Context(), s.Client()); err != nil {
		t.Error(err)
	}
}

// TestNoLoginAfterClose: the password is cleared then, and a try without it
// counts as a wrong one.
func TestNoLoginAfterClose(t *testing.T) {
	s := open(t, vcenter(t))
	g := &gate{RoundTripper: s.wire}
	s.wire = g
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := methods.GetCurrentTime(t.Context(), s.Client()); !errors.Is(err, ErrClosed) || g.logins != 0 {
		t.Errorf("%d logins: %v", g.logins, err)
	}
}

func TestMissing(t *testing.T) {
	s := open(t, vcenter(t))
	a := &away{RoundTripper: s.wire, granted: func(id string) bool { return id != "Cryptographer.Recrypt" && id != "Cryptographer.ManageKeys" }}
	s.wire = a
	for mode, want := range map[Mode][]string{
		Observe: nil, Register: {"Cryptographer.ManageKeys"}, Enforce: {"Cryptographer.ManageKeys", "Cryptographer.Recrypt"},
	} {
		if got, err := s.Missing(t.Context(), mode); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", mode, got, err)
		}
	}
}

// TestPrivilegesNeverOpenAnything: a password of the agent's that was stolen
// must not decrypt.
func TestPrivilegesNeverOpenAnything(t *testing.T) {
	before := 0
	for _, mode := range Modes() {
		list := Privileges(mode)
		if len(list) <= before {
			t.Errorf("%s has no more than the mode before it", mode)
		}
		before = len(list)
		for _, p := range list {
			if slices.Contains([]string{"Cryptographer.Decrypt", "Cryptographer.Access", "Cryptographer.Clone"}, p.ID) || p.Why == "" {
				t.Errorf("%s has %s", mode, p.ID)
			}
		}
	}
	if Privileges("all") != nil {
		t.Error("a mode that there is not has privileges")
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := newPace(10), time.Now()
		for range 30 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 2*time.Second { // ten at once, then ten a second
			t.Errorf("30 calls at 10 a second took %s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
