//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A town is a whole world with an agent beside it, whose commands are run in
// this process: a test can end one between any two of its lines.
type town struct {
	*testing.T
	w        *vspheretest.World
	dir      string
	host     string
	settings string // with an agent's bundle over HTTPS, and nothing due
	environ  []string
}

// inTown has OVHcloud and vCenter set up by apply.
func inTown(t *testing.T, o vspheretest.WorldOptions, fn func(*town)) {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KEYREEVE_ADMIN_LISTEN", ":0")
	o.Keyreeve = filepath.Join(programs, "keyreeve")
	o.VCenter.Timeout = 2 * time.Second
	vspheretest.Run(t, o, func(ctx context.Context, w *vspheretest.World) {
		c := w.OVHcloud
		password, _ := w.VCenters[0].URL.User.Password()
		town := &town{T: t, w: w, dir: t.TempDir(), environ: []string{"KEYREEVE_AGENT_OVHCLOUD_APPLICATION_SECRET=" + c.ApplicationSecret,
			"KEYREEVE_AGENT_OVHCLOUD_CONSUMER_KEY=" + c.ConsumerKey, "KEYREEVE_AGENT_VCENTER_PASSWORD=" + password}}
		town.host, _, _ = net.SplitHostPort(w.KMS.Addr())
		status, err := w.KMS.Admin.Status(ctx)
		town.must(err)
		_, port, err := net.SplitHostPort(status.AdminListen)
		town.must(err)
		bundle := filepath.Join(town.dir, "bundle")
		_, err = w.KMS.Run(ctx, "admin", "add", "agent", "--role", "agent", "--out", bundle)
		town.must(err)
		town.settings = town.write("settings", fmt.Sprintf("url: 'https://%s:%s', bundle: %s", town.host, port, bundle), "720h")
		town.agent(exitDone, "apply", "-f", town.write("operator", "socket: "+filepath.Join(w.KMS.Data, "admin.sock"), "720h"))
		fn(town)
	})
}

func (n *town) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// write writes settings in which the server is reached like that.
func (n *town) write(name, server, before string) string {
	n.Helper()
	vc := n.w.VCenters[0]
	text := fmt.Sprintf(`mode: register
server: {%s, kmip: "%s", renew_before: %s}
state_dir: %s
run: {metrics_listen: off}
ovhcloud: {endpoint: "%s", application_key: %s}
vcenter: {url: "https://%s", user: %s, thumbprint: "%s"}
providers:
  - {name: keyreeve, default: true, client: vcenter, servers: [{name: kms-1, address: %s}]}
`, server, n.w.KMS.Addr(), before, filepath.Join(n.dir, "state"), n.w.OVHURL, n.w.OVHcloud.ApplicationKey, vc.URL.Host, vc.URL.User.Username(), vc.Thumbprint(), n.host)
	path := filepath.Join(n.dir, name)
	n.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// due is a copy of the settings in which the certificate is due from now on.
func (n *town) due() string {
	n.Helper()
	text, err := os.ReadFile(n.settings)
	n.must(err)
	leaf, err := certs.FetchServerCertificate(n.Context(), n.w.KMS.Addr())
	n.must(err)
	path := filepath.Join(n.dir, "due")
	n.must(os.WriteFile(path, bytes.Replace(text, []byte("720h"), []byte(time.Until(leaf.NotAfter).String()), 1), 0o600))
	return path
}

// A log is written by commands and read by a test. When it is told stop, the
// goroutine that writes that ends there, as if it had been killed.
type log struct {
	mu   sync.Mutex
	text strings.Builder
	stop string
}

func (g *log) Write(b []byte) (int, error) {
	g.mu.Lock()
	_, _ = g.text.Write(b)
	g.mu.Unlock()
	if g.stop != "" && bytes.Contains(b, []byte(g.stop)) {
		runtime.Goexit()
	}
	return len(b), nil
}

func (g *log) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func (n *town) app(g *log) *app {
	return &app{in: new(bytes.Buffer), out: g, err: g, environ: n.environ, now: time.Now}
}

// agent runs a command that ends with that code, and returns what it wrote.
func (n *town) agent(code int, args ...string) string {
	n.Helper()
	g := new(log)
	if got := n.app(g).run(n.Context(), args); got != code {
		n.Fatalf("keyreeve-agent %v: exit code %d, want %d\n%s", args, got, code, g)
	}
	return g.String()
}

// killed runs a command that is ended where it writes that.
func (n *town) killed(at string, args ...string) {
	n.Helper()
	g, ended, code := &log{stop: at}, make(chan struct{}), -1
	go func() {
		defer close(ended)
		code = n.app(g).run(n.Context(), args)
	}()
	<-ended
	if code != -1 {
		n.Fatalf("keyreeve-agent %v was not killed at %q, but ended with %d\n%s", args, at, code, g)
	}
}

// sides are what certificate show says: the live server's fingerprint, and the
// one that is staged, if any. All but the staged one, and the one from before,
// have to be the same.
func (n *town) sides() (live, staged string) {
	n.Helper()
	var v certificateView
	n.must(json.Unmarshal([]byte(n.agent(exitDone, "certificate", "show", "-o", "json", "-f", n.settings)), &v))
	who := map[string]bool{}
	for _, s := range v.Sides {
		switch {
		case s.What == "staged, not in use":
			staged = s.SHA256
		case s.What == "from before":
		case !s.Same:
			n.Errorf("%s, %s has %s, the live server %s", s.Who, s.What, s.SHA1, v.Sides[0].SHA1)
		default:
			who[s.Who] = true
		}
		if s.Who == "vCenter" && s.State != "trusted: yes, green" || s.Who == "OVHcloud" && s.State != "delivered" {
			n.Errorf("%s: %s", s.Who, s.State)
		}
	}
	if len(who) != 4 {
		n.Errorf("only %v were asked", who)
	}
	return v.Sides[0].SHA256, staged
}

// A run that is killed at any of its steps is completed or taken back by the
// next apply, which is told nothing of it: everybody has what the live server
// shows, and the next renewal goes on with the certificate that is staged.
func TestRenewalKilled(t *testing.T) {
	const staged, uploaded, switched, connected = "certificate is staged", "has the new certificate", "server shows the new", "vCenter is connected"
	for name, tc := range map[string]struct {
		ovh   vspheretest.OVHcloudOptions
		kills []string
	}{
		"OVHcloud compares":        {vspheretest.OVHcloudOptions{}, []string{"change: ", uploaded, switched, "took only now", connected}},
		"OVHcloud takes any":       {vspheretest.OVHcloudOptions{IgnoreThumbprint: true}, []string{staged, "firewall has the new", uploaded, switched, connected}},
		"OVHcloud's task goes on":  {vspheretest.OVHcloudOptions{IgnoreThumbprint: true, TaskTime: 2 * time.Second}, []string{"change: "}},
		"OVHcloud's task is begun": {vspheretest.OVHcloudOptions{TaskTime: 2 * time.Second}, []string{"change: "}},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, vspheretest.WorldOptions{OVHcloud: tc.ovh}, func(n *town) {
				before, goOn := n.sides()
				for _, at := range tc.kills {
					n.killed(at, "certificate", "renew", "--now", "-f", n.settings)
					n.agent(exitDone, "apply", "-f", n.settings)
					n.agent(exitDone, "plan", "-f", n.settings)
					live, next := n.sides()
					if changed := live != before; changed != (at == switched || at == connected || at == "took only now") {
						t.Errorf("killed at %q: the live server's certificate is another one: %v", at, changed)
					}
					if goOn != "" && next != goOn && live != goOn {
						t.Errorf("killed at %q: the run did not go on with %s", at, goOn)
					}
					before, goOn = live, next
				}
				n.agent(exitDone, "certificate", "renew", "--now", "-f", n.settings)
				if live, _ := n.sides(); live == before || goOn != "" && live != goOn {
					t.Errorf("in the end the server shows %s, before %s, staged was %q", live, before, goOn)
				}
			})
		})
	}
}

// What cannot be proved is taken back, on the real server, at OVHcloud and in
// vCenter.
func TestRenewalTakenBack(t *testing.T) {
	inTown(t, vspheretest.WorldOptions{}, func(n *town) {
		before, _ := n.sides()
		a := n.app(new(log))
		l, err := a.connect(&options{file: n.settings})
		n.must(err)
		defer l.close()
		l.prove = func(context.Context) error { return errors.New("boom") }
		leaf, err := l.certificate(t.Context())
		n.must(err)
		if _, err := l.renew(t.Context(), leaf, func(string) {}); !errors.Is(err, provider.ErrRolledBack) || !strings.Contains(err.Error(), "boom") {
			t.Errorf("%v\n%s", err, a.err)
		}
		if live, _ := n.sides(); live != before {
			t.Errorf("the server shows %s, want %s", live, before)
		}
		r := renewer{link: l}
		if l.config.Server.RenewBefore = time.Until(leaf.NotAfter).String(); r.pass(t.Context()) == nil || !r.again.After(time.Now()) {
			t.Errorf("a renewal that was taken back is tried again at %s", r.again)
		}
		asked := 0
		l.prove = func(context.Context) error { asked++; return nil }
		if err := r.pass(t.Context()); err == nil || asked > 0 {
			t.Errorf("the next pass has tried again: %v", err)
		}
	})
}
