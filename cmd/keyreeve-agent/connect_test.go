package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/session"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// vCenterOf is a link to a vCenter whose password is "right".
func vCenterOf(t *testing.T, password string) *link {
	t.Helper()
	v, err := vspheretest.New(vspheretest.Options{User: url.UserPassword("agent", "right")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	leaf, err := certs.FetchServerCertificate(t.Context(), v.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := testApp("KEYREEVE_AGENT_VCENTER_PASSWORD=" + password)
	c := &config{StateDir: t.TempDir(), VCenter: &vcenterConfig{URL: v.URL.Host, User: "agent", Thumbprint: certs.SHA256(leaf)}}
	l := &link{app: a, logger: slog.New(slog.DiscardHandler), config: c}
	t.Cleanup(l.close)
	return l
}

// A password that vCenter refuses is not tried again by each part of each pass,
// which would lock the account: not before a while, or a person has said so.
func TestRefusedPassword(t *testing.T) {
	l := vCenterOf(t, "wrong")
	a, now := l.app, time.Now()
	a.now = func() time.Time { return now }
	refused := func(want bool) {
		t.Helper()
		if _, err := l.vCenter(t.Context()); errors.Is(err, session.ErrLogin) != want {
			t.Errorf("refused: want %v, got %v", want, err)
		}
	}
	refused(true)
	a.environ = []string{"KEYREEVE_AGENT_VCENTER_PASSWORD=right"}
	refused(true)
	now = now.Add(session.LoginAgain)
	refused(false)
	l.disconnect(t.Context())
	a.environ = []string{"KEYREEVE_AGENT_VCENTER_PASSWORD=wrong"}
	refused(true)
	a.environ = []string{"KEYREEVE_AGENT_VCENTER_PASSWORD=right"}
	l.disconnect(t.Context())
	refused(false)
}

// keyServerOf is a link to a key server that has these keys, by identifier.
func keyServerOf(t *testing.T, keys map[string]string) *link {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := admin.KeyPage{}
		for _, id := range []string{"a", "b", "c"} {
			if state, ok := keys[id]; ok {
				page.Keys = append(page.Keys, admin.Key{UniqueIdentifier: id, State: state})
			}
		}
		if strings.HasSuffix(r.URL.Path, "/keys") {
			_ = json.NewEncoder(w).Encode(page)
			return
		}
		for _, k := range page.Keys {
			if k.UniqueIdentifier == path.Base(r.URL.Path) {
				_ = json.NewEncoder(w).Encode(k)
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(admin.Error{Code: admin.CodeNotFound, Message: "there is no such key"})
	})}
	go func() { _ = web.Serve(listener) }()
	t.Cleanup(func() { _ = web.Close() })
	l := &link{config: &config{Server: serverConfig{Socket: socket}}}
	t.Cleanup(func() { l.server.Close() })
	return l
}

// A machine is encrypted only with a key that our own server has, and that is
// good for it.
func TestKeysThatCanBeUsed(t *testing.T) {
	l := keyServerOf(t, map[string]string{"a": "Destroyed", "b": "Pre-Active", "c": "Active"})
	for id, want := range map[string]string{"a": "it is Destroyed", "b": "", "c": "", "gone": "there is no such key"} {
		err := l.hasKey(t.Context(), id)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if id, err := l.findKey(t.Context(), "job"); id != "b" || err != nil {
		t.Errorf("found %q, %v", id, err)
	}
}

// A machine that cannot be read keeps its keys in the backup, and keeps nobody
// else's new key out of it.
func TestKeepOfAPartialInventory(t *testing.T) {
	l := vCenterOf(t, "right")
	s, err := l.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := func(id string) inventory.Key { return inventory.Key{ID: id, Provider: "p"} }
	s.VMs = []inventory.VM{{Ref: "vm-1", Name: "away", Instance: "1", Readable: true, Key: key("old")}, {Ref: "vm-2", Name: "new", Instance: "2", Readable: true}}
	l.keep(t.Context(), s)
	s.Partial = []string{"a host is not connected"}
	s.VMs[0].Readable, s.VMs[0].Key, s.VMs[1].Key = false, inventory.Key{}, key("new")
	l.keep(t.Context(), s)
	b, _, err := l.findBackup("", s.VCenter, false)
	if err != nil || b == nil {
		t.Fatal(b, err)
	}
	got := map[string]string{}
	for _, m := range b.Machines {
		got[m.Name] = m.Keys[0].ID
	}
	if len(got) != 2 || got["away"] != "old" || got["new"] != "new" || len(b.Partial) != 1 {
		t.Errorf("%v, partial %v", got, b.Partial)
	}
}
