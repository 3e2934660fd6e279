package adminserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/logbuf"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/internal/unixsock"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/users"
)

// A world is a store with a server on a socket, and a client of it.
type world struct {
	dir      string
	store    *keystore.Store
	journal  *audit.Journal
	ca       *certs.CA
	registry *certs.Registry
	admins   *certs.Registry
	users    *users.Registry
	server   *adminserver.Server
	client   *admin.Client
	socket   string
	https    string       // address
	ahead    atomic.Int64 // of the clock, in nanoseconds
	log      logbuf.Buffer
	backups  fakeBackups
	certs    fakeCertificates

	mu     sync.Mutex
	closed []string // clients whose connections were to be closed
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func rootKey() *secret.Bytes {
	key := secret.New(keystore.RootKeySize)
	copy(key.Expose(), "a root key for tests, 32 bytes..")
	return key
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	id := keystore.NewStoreID()
	must(t, bolt.Create(filepath.Join(w.dir, "store.db"), bolt.Options{}))
	cfg := audit.Config{Dir: filepath.Join(w.dir, "journal"), StoreID: id}
	must(t, audit.Create(cfg))
	backend, err := bolt.Open(filepath.Join(w.dir, "store.db"), bolt.Options{})
	must(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	w.journal, err = audit.Open(cfg)
	must(t, err)
	t.Cleanup(func() { _ = w.journal.Close() })
	sc := keystore.Config{Backend: backend, Journal: w.journal, RootKey: rootKey(), StoreID: id, Now: w.now}
	must(t, keystore.Create(t.Context(), sc))
	w.store, err = keystore.Open(t.Context(), sc)
	must(t, err)
	t.Cleanup(func() { w.check(t); _ = w.store.Close(context.Background()) })
	_, err = adminserver.CreateCA(t.Context(), w.store, time.Now, rand.Reader)
	must(t, err)
	w.serve(t)
	return w
}

// check holds the whole store against its invariants.
func (w *world) check(t *testing.T) {
	report, err := w.store.Check(context.Background())
	if err != nil || len(report.Violations) > 0 {
		t.Errorf("the store is not whole: %v %v", err, report.Violations)
	}
}

func (w *world) serve(t *testing.T) {
	t.Helper()
	ca, clients, err := adminserver.Load(t.Context(), w.store, w.now, rand.Reader)
	must(t, err)
	admins, err := adminserver.LoadAdmins(t.Context(), w.store)
	must(t, err)
	w.ca = ca
	w.registry, err = certs.NewRegistry(ca.Certificate(), clients, w.now)
	must(t, err)
	w.admins, err = certs.NewRegistry(ca.Certificate(), admins, w.now)
	must(t, err)
	list, err := adminserver.LoadUsers(t.Context(), w.store)
	must(t, err)
	w.users, err = users.NewRegistry(users.Config{}, list)
	must(t, err)
	s := adminserver.New(adminserver.Config{
		Journal: w.journal,
		Store:   w.store, CA: ca, Registry: w.registry, Admins: w.admins, Users: w.users, Leaf: ca.Certificate,
		CloseClient: func(name string) { w.mu.Lock(); w.closed = append(w.closed, name); w.mu.Unlock() },
		Status:      func(context.Context) admin.Status { return admin.Status{Version: "test", Ready: true} },
		Verify:      func(context.Context) (admin.VerifyReport, error) { return admin.VerifyReport{Objects: 7}, nil },
		Backups:     &w.backups, Certificates: &w.certs,
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.now,
	})
	w.server = s
	w.socket = filepath.Join(w.dir, "admin.sock")
	l, err := unixsock.Listen(w.socket)
	must(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.https = tcp.Addr().String()
	done := make(chan error, 2)
	go func() { done <- s.Serve(l) }()
	go func() { done <- s.ServeTLS(tcp, w.serverConfig(t)) }()
	w.client = admin.NewClient(w.socket)
	t.Cleanup(func() {
		w.client.Close()
		s.Shutdown(context.Background())
		must(t, errors.Join(<-done, <-done))
		_ = l.Close()
	})
}

func (w *world) serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	server, err := w.ca.IssueServer(certs.ServerRequest{Hosts: []string{"127.0.0.1"}, KeyType: certs.P256})
	must(t, err)
	must(t, certs.WriteServer(filepath.Join(w.dir, "tls"), server))
	reloader, err := certs.NewReloader(filepath.Join(w.dir, "tls"), time.Now)
	must(t, err)
	return certs.ServerConfig(reloader, w.admins, certs.Options{})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func (w *world) events(t *testing.T) (names []string) {
	t.Helper()
	must(t, w.journal.Flush())
	must(t, w.journal.Since(0, func(_ uint64, e audit.Event) error {
		names = append(names, e.Operation+" by "+e.Client)
		return nil
	}))
	return names
}

// A client is enrolled, listed, shown and revoked; the store holds it over a
// restart, and the journal says who did it.
func TestClientLifeCycle(t *testing.T) {
	w := newWorld(t)
	done, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
	if done.Client.Name != "lab" || done.Client.Group != "lab" || len(done.Certificate) == 0 || done.Client.Kind != "csr" {
		t.Errorf("enrolled %+v", done)
	}
	block, _ := pem.Decode(done.Certificate)
	cert, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	if id, err := w.registry.Identify([]*x509.Certificate{cert}); err != nil || id.Name != "lab" {
		t.Errorf("the new client is not known: %v", err)
	}
	revoked, err := w.client.Revoke(t.Context(), "lab", "lost")
	must(t, err)
	if revoked.Revoked == nil || revoked.Revoked.Reason != "lost" {
		t.Errorf("revoked %+v", revoked)
	}
	if diff := cmp.Diff([]string{"lab"}, w.closed); diff != "" {
		t.Errorf("closed connections (-want +got):\n%s", diff)
	}
	if _, err := w.registry.Identify([]*x509.Certificate{cert}); err == nil {
		t.Error("the revoked client is let in")
	}
	_, clients, err := adminserver.Load(t.Context(), w.store, time.Now, rand.Reader)
	must(t, err)
	if len(clients) != 1 || clients[0].Revoked == nil {
		t.Errorf("stored: %+v", clients)
	}
	list, err := w.client.Clients(t.Context())
	must(t, err)
	if diff := cmp.Diff([]admin.ClientRecord{revoked}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	names := strings.Join(w.events(t), "\n")
	for _, want := range []string{"Create CA by server", "Enrol Client by admin", "Revoke Client by admin"} {
		if !strings.Contains(names, want) {
			t.Errorf("the journal lacks %q:\n%s", want, names)
		}
	}
}

// What is refused leaves neither a record nor a trace in the registry.
func TestEnrolRefusals(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
	for name, tc := range map[string]struct {
		req  admin.EnrolRequest
		code admin.Code
	}{
		"taken":        {admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)}, admin.CodeExists},
		"no kind":      {admin.EnrolRequest{Name: "x", CSR: request(t)}, admin.CodeBadRequest},
		"unknown kind": {admin.EnrolRequest{Name: "x", Kind: "magic"}, admin.CodeBadRequest},
		"bad name":     {admin.EnrolRequest{Name: "../x", Kind: admin.KindCSR, CSR: request(t)}, admin.CodeRefused},
		"bad group":    {admin.EnrolRequest{Name: "x", Group: "a b", Kind: admin.KindCSR, CSR: request(t)}, admin.CodeRefused},
		"no request":   {admin.EnrolRequest{Name: "x", Kind: admin.KindCSR}, admin.CodeRefused},
		"not a cert":   {admin.EnrolRequest{Name: "x", Kind: admin.KindPinned, Certificate: []byte("nonsense")}, admin.CodeRefused},
		"no subject":   {admin.EnrolRequest{Name: "x", Kind: admin.KindForeignCA, CA: []byte("nonsense")}, admin.CodeRefused},
	} {
		_, err := w.client.Enrol(t.Context(), tc.req)
		var e *admin.Error
		if !errors.As(err, &e) || e.Code != tc.code {
			t.Errorf("%s: got %v (%+v), want %s", name, err, e, tc.code)
		}
	}
	if list := w.registry.List(); len(list) != 1 {
		t.Errorf("%d clients in the registry, want 1", len(list))
	}
	_, clients, err := adminserver.Load(t.Context(), w.store, time.Now, rand.Reader)
	if must(t, err); len(clients) != 1 {
		t.Errorf("%d clients stored, want 1", len(clients))
	}
}

// A revoked name may be given again; what the old one could show stays out.
func TestEnrolAgainAfterRevoke(t *testing.T) {
	w := newWorld(t)
	first, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
	_, err = w.client.Revoke(t.Context(), "lab", "")
	must(t, err)
	second, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
	if !second.Replaced || first.Replaced {
		t.Errorf("replaced: %v, then %v", first.Replaced, second.Replaced)
	}
	for i, done := range []admin.Enrolled{first, second} {
		block, _ := pem.Decode(done.Certificate)
		cert, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		if _, err := w.registry.Identify([]*x509.Certificate{cert}); (err == nil) != (i == 1) {
			t.Errorf("certificate %d: %v", i, err)
		}
	}
}

// Whatever the store does, a revoked client is out.
func TestRevokeHoldsWhenTheStoreDoesNot(t *testing.T) {
	w := newWorld(t)
	_, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "lab", Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
	w.check(t)
	must(t, w.journal.Close())
	_, err = w.client.Revoke(t.Context(), "lab", "")
	var e *admin.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "after a restart it would be let in") {
		t.Errorf("got %v", err)
	}
	if c, _ := w.registry.Get("lab"); c.Revoked == nil {
		t.Error("the client is still in")
	}
	_, err = w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "new", Kind: admin.KindCSR, CSR: request(t)})
	if err == nil {
		t.Error("a client was enrolled without a record in the journal")
	}
	if _, ok := w.registry.Get("new"); ok {
		t.Error("a client that was not stored is let in")
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{"/v1/clients": "[]\n", "/v1/keys": "{\"keys\":[]}\n"} {
		if _, body := w.raw(t, http.MethodGet, path, ""); body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
	}
}

func (w *world) raw(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	conn := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return unixsock.Dial(ctx, w.socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	must(t, err)
	resp, err := conn.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var out bytes.Buffer
	_, err = out.ReadFrom(resp.Body)
	must(t, err)
	return resp.StatusCode, out.String()
}

// What cannot be read is refused in JSON, whoever wrote it.
func TestRequestsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/clients", "", 400},
		{"POST", "/v1/clients", "{", 400},
		{"POST", "/v1/clients", `{"name":"x"} {}`, 400},
		{"POST", "/v1/clients", `{"name":"x","surprise":1}`, 400},
		{"POST", "/v1/clients", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 400},
		{"POST", "/v1/clients/nobody/revoke", `{}`, 404},
		{"GET", "/v1/keys?limit=-1", "", 400},
		{"GET", "/v1/keys?limit=x", "", 400},
		{"GET", "/v1/keys?after=x", "", 400},
		{"GET", "/v1/keys?after=01890000-0000-7000-8000-000000000000&surprise=1", "", 400},
		{"GET", "/v1/keys/01890000-0000-7000-8000-000000000000", "", 404},
		{"GET", "/v1/keys/x", "", 404},
		{"GET", "/v2/status", "", 404},
		{"DELETE", "/v1/clients", "", 404},
	} {
		status, body := w.raw(t, tc.method, tc.path, tc.body)
		var e admin.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != tc.status || e.Message == "" || e.Code == "" {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, status, body)
		}
	}
}

func TestStatusAndVerify(t *testing.T) {
	w := newWorld(t)
	if st, err := w.client.Status(t.Context()); err != nil || st.Version != "test" || !st.Ready {
		t.Errorf("%+v, %v", st, err)
	}
	if r, err := w.client.Verify(t.Context()); err != nil || r.Objects != 7 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNotRunning(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	if _, err := admin.NewClient(socket).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", socket)
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(t, l.Close()) // as after a kill
	if _, err := admin.NewClient(socket).Status(t.Context()); !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), socket) {
		t.Errorf("stale socket: %v", err)
	}
	must(t, os.Remove(socket))
}
