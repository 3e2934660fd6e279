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
	"github.com/keyreeve/keyreeve/vsphere/session"
	"github.com/keyreeve/keyreeve/vsphere/vspheretest"
)

// A password that vCenter refuses is not tried again by each part of each pass,
// which would lock the account: not before a while, or a person has said so.
func TestRefusedPassword(t *testing.T) {
	v, err := vspheretest.New(vspheretest.Options{User: url.UserPassword("agent", "right")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	leaf, err := certs.FetchServerCertificate(t.Context(), v.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := testApp("KEYREEVE_AGENT_VCENTER_PASSWORD=wrong")
	now := time.Now()
	a.now = func() time.Time { return now }
	l := &link{app: a, logger: slog.New(slog.DiscardHandler), config: &config{VCenter: &vcenterConfig{URL: v.URL.Host, User: "agent", Thumbprint: certs.SHA256(leaf)}}}
	defer l.close()
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
