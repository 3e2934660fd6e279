package provider_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/provider"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A firewall that is told thumbprints, as OVHcloud's.
type firewall struct {
	told   []string
	refuse func(sha1 string) error
}

func (f *firewall) tell(ctx context.Context, sha1 string) error {
	f.told = append(f.told, sha1)
	if f.refuse != nil {
		return f.refuse(sha1)
	}
	return ctx.Err()
}

func (r *rig) rotation(f *firewall) provider.Rotation {
	r.Helper()
	c := r.canary()
	return provider.Rotation{Server: r.kms, Providers: r.desired(provider.CSR).Providers, Alias: "kms-1", Tell: f.tell,
		Prove: func(ctx context.Context) error { _, err := c.Prove(ctx); return err }}
}

// Everybody is told, in the order in which nobody is cut off, and the new
// certificate works.
func TestRotate(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	old := certs.SHA1(r.kms.reloader.Leaf())
	f := new(firewall)
	r.kms.calls = nil
	out, err := r.m.Rotate(t.Context(), r.rotation(f))
	if err != nil {
		t.Fatal(err)
	}
	now := certs.SHA1(r.kms.reloader.Leaf())
	if now == old || certs.SHA1(out.To) != now || certs.SHA1(out.From) != old || out.ToldAfter || out.Gap <= 0 {
		t.Errorf("%+v", out)
	}
	if !slices.Equal(f.told, []string{now}) || !slices.Equal(r.kms.calls, []string{"status", "stage", "switch", "finish"}) {
		t.Errorf("told %v, calls %v", f.told, r.kms.calls)
	}
	if got := r.reconcile(r.desired(provider.CSR)); got != "" {
		t.Errorf("then: %q", got)
	}
}

// A firewall that compares with what the server shows is told after the switch.
func TestRotateToldAfter(t *testing.T) {
	r := newRig(t)
	r.reconcile(r.desired(provider.CSR))
	f := &firewall{refuse: func(sha1 string) error {
		if live := certs.SHA1(r.kms.reloader.Leaf()); sha1 != live {
			return fmt.Errorf("%w: not the server's", provider.ErrThumbprint)
		}
		return nil
	}}
	out, err := r.m.Rotate(t.Context(), r.rotation(f))
	if err != nil || !out.ToldAfter || len(f.told) != 2 {
		t.Errorf("%+v, told %v, %v", out, f.told, err)
	}
}

// Whatever step fails, all is as it was: the server shows the old certificate,
// the firewall has its thumbprint, and vCenter is connected.
func TestRotateRollsBack(t *testing.T) {
	for name, spoil := range map[string]func(r *rig, m *provider.Rotation, f *firewall, cancel func()){
		"the switch fails": func(r *rig, _ *provider.Rotation, _ *firewall, _ func()) { r.kms.refuse["switch"] = errors.New("boom") },
		"the firewall never takes it": func(r *rig, _ *provider.Rotation, f *firewall, _ func()) {
			old := certs.SHA1(r.kms.reloader.Leaf())
			f.refuse = func(sha1 string) error {
				if sha1 != old {
					return fmt.Errorf("boom: %w", provider.ErrThumbprint)
				}
				return nil
			}
		},
		"the firewall does not answer": func(r *rig, _ *provider.Rotation, f *firewall, _ func()) {
			r.kms.refuse["switch"] = errors.New("boom, and it was switched though the firewall is not known to follow")
			f.refuse = func(string) error {
				if len(f.told) == 1 {
					return errors.New("boom")
				}
				return nil
			}
		},
		"keys cannot be had": func(_ *rig, m *provider.Rotation, _ *firewall, _ func()) {
			m.Prove = func(context.Context) error { return errors.New("boom") }
		},
		"vCenter does not come back": func(r *rig, m *provider.Rotation, _ *firewall, _ func()) {
			m.Tell = func(_ context.Context, sha1 string) error {
				if sha1 == certs.SHA1(r.kms.current.Certificate) {
					r.vc.Network.ClearFault(r.kms.Addr())
				} else {
					r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
				}
				return nil
			}
		},
		"it is cancelled": func(_ *rig, m *provider.Rotation, _ *firewall, cancel func()) {
			m.Prove = func(ctx context.Context) error { cancel(); return ctx.Err() }
		},
	} {
		r := newRig(t)
		r.reconcile(r.desired(provider.CSR))
		old := certs.SHA1(r.kms.reloader.Leaf())
		f := new(firewall)
		m := r.rotation(f)
		ctx, cancel := context.WithCancel(t.Context())
		spoil(r, &m, f, cancel)
		_, err := r.m.Rotate(ctx, m)
		cancel()
		if !errors.Is(err, provider.ErrRolledBack) {
			t.Errorf("%s: %v", name, err)
		}
		if got := certs.SHA1(r.kms.reloader.Leaf()); got != old || len(f.told) > 0 && f.told[len(f.told)-1] != old {
			t.Errorf("%s: the server shows %s, the firewall was told %v", name, got, f.told)
		}
		if got := r.reconcile(r.desired(provider.CSR)); got != "" {
			t.Errorf("%s: then %q", name, got)
		}
	}
}

// A server that cannot be asked to go back goes on showing the new certificate:
// vCenter and the firewall keep that one, since with the old one they would not
// be connected.
func TestRotateCannotGoBack(t *testing.T) {
	for name, switched := range map[string]bool{"after the switch": true, "before the switch": false} {
		r := newRig(t)
		r.reconcile(r.desired(provider.CSR))
		f := new(firewall)
		m := r.rotation(f)
		r.kms.refuse["rollback"] = errors.New("not reached")
		if switched {
			m.Prove = func(context.Context) error { return errors.New("boom") }
		} else {
			r.kms.refuse["switch"] = errors.New("boom")
		}
		_, err := r.m.Rotate(t.Context(), m)
		if err == nil || errors.Is(err, provider.ErrRolledBack) || !strings.Contains(err.Error(), "not reached") {
			t.Errorf("%s: %v", name, err)
		}
		if shown := certs.SHA1(r.kms.reloader.Leaf()); f.told[len(f.told)-1] != shown {
			t.Errorf("%s: the server shows %s, the firewall was told %v", name, shown, f.told)
		}
		if _, err := r.m.WaitNormal(t.Context(), "keyreeve"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What would fail later is refused before anything is changed.
func TestRotateRefuses(t *testing.T) {
	for says, spoil := range map[string]func(r *rig, m *provider.Rotation){
		"not one that was given": func(r *rig, m *provider.Rotation) {
			m.Providers[0].Server = provider.ServerTrust{SHA256: []string{certs.SHA256(r.kms.reloader.Leaf())}}
		},
		"the staged certificate is not taken": func(r *rig, m *provider.Rotation) { // though Verify takes it, the settings would not from then on
			m.Providers[0].OtherServers, m.Providers[0].Server = true, provider.ServerTrust{SHA256: []string{certs.SHA256(r.kms.reloader.Leaf())}}
			m.Verify = func(*x509.Certificate) error { return nil }
		},
		"repair that first": func(r *rig, _ *provider.Rotation) {
			r.vc.Network.SetFault(r.kms.Addr(), vspheretest.Fault{Kind: vspheretest.Refuse})
		},
		"somebody else answers": func(r *rig, _ *provider.Rotation) {
			other, err := r.kms.issue()
			if err != nil {
				t.Fatal(err)
			}
			r.kms.says = other.Certificate
		},
		"sees another certificate": func(r *rig, m *provider.Rotation) {
			other := newKeyServer(t)
			d := r.desired(provider.CSR)
			host, port, _ := net.SplitHostPort(other.Addr())
			number, _ := strconv.Atoi(port)
			d.Providers[0].Name, d.Providers[0].OtherServers, d.Default = "other", true, ""
			d.Providers[0].Servers[0].Address, d.Providers[0].Servers[0].Port = host, int32(number)
			d.Providers[0].Server.CA = []*x509.Certificate{other.ca.Certificate()}
			theirs, err := provider.New(provider.Config{VIM: r.vim.Client, KMS: map[string]provider.KMS{"": other}, StatusTimeout: 2 * time.Second, StatusEvery: 20 * time.Millisecond})
			if err == nil {
				_, err = theirs.Reconcile(t.Context(), d)
			}
			if err != nil {
				t.Fatal(err)
			}
			m.Providers = append(m.Providers, d.Providers...)
		},
		"no server":        func(_ *rig, m *provider.Rotation) { m.Alias = "ghost" },
		"no key provider":  func(_ *rig, m *provider.Rotation) { m.Providers = nil },
		"staging the next": func(r *rig, _ *provider.Rotation) { r.kms.refuse["stage"] = errors.New("boom") },
	} {
		r := newRig(t)
		r.reconcile(r.desired(provider.CSR))
		f := new(firewall)
		m := r.rotation(f)
		spoil(r, &m)
		if _, err := r.m.Rotate(t.Context(), m); err == nil || !strings.Contains(err.Error(), says) || len(f.told) > 0 || slices.Contains(r.kms.calls, "switch") {
			t.Errorf("%s: %v; told %v, calls %v", says, err, f.told, r.kms.calls)
		}
	}
}
