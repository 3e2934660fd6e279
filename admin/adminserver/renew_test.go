package adminserver_test

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/certs"
)

func (w *world) in(t *testing.T, h *holder) bool {
	t.Helper()
	_, err := w.registry.Identify(h.parsed(t))
	return err == nil
}

// After a renewal both certificates are taken, until the old one's end; the
// record survives a restart, and open connections of the old one live on.
func TestRenewOverlaps(t *testing.T) {
	w := newWorld(t)
	old, next := w.addClient(t, "lab"), newHolder(t)
	id, err := w.registry.Identify(old.parsed(t))
	must(t, err)
	w.ahead.Store(int64(certs.DefaultValidity - 48*time.Hour))
	done, err := w.client.Renew(t.Context(), "lab", admin.RenewRequest{Kind: admin.KindCSR, CSR: next.csr(t)})
	must(t, err)
	next.took(t, done.Certificate)
	if !w.in(t, old) || !w.in(t, next) || !w.registry.Current("lab", id.Generation) {
		t.Error("during the overlap both certificates are taken, and connections live on")
	}
	if cert := next.parsed(t)[0]; cert.Subject.CommonName != "lab" || cert.IsCA || len(cert.ExtKeyUsage) != 1 {
		t.Errorf("the certificate's subject and usage are not the server's: %v", cert.Subject)
	}
	_, clients, err := adminserver.Load(t.Context(), w.store, w.now, nil)
	must(t, err)
	if len(clients) != 1 || len(clients[0].Certificates) != 2 {
		t.Errorf("stored: %+v", clients)
	}
	w.ahead.Store(int64(certs.DefaultValidity + time.Hour))
	if w.in(t, old) || !w.in(t, next) {
		t.Error("after its end the old certificate is taken, or the new one is not")
	}
}

// A certificate that a renewal left behind ends when it was not used for a week
// while the new one was; the journal and the store say so, and show when each
// was used.
func TestRetireReplaced(t *testing.T) {
	w := newWorld(t)
	started := w.now()
	old, next := w.addClient(t, "lab"), newHolder(t)
	done, err := w.client.Renew(t.Context(), "lab", admin.RenewRequest{Kind: admin.KindCSR, CSR: next.csr(t)})
	must(t, err)
	next.took(t, done.Certificate)
	w.ahead.Store(int64(8 * 24 * time.Hour))
	w.server.Retire(t.Context(), started)
	if !w.in(t, old) {
		t.Error("the old certificate ended, and the new one was never used")
	}
	used := w.now().Truncate(time.Second)
	w.registry.Usage(certs.SHA256(next.parsed(t)[0])).Mark(used)
	r, err := w.client.Client(t.Context(), "lab")
	must(t, err)
	if len(r.Certificates) != 2 || !r.Certificates[0].LastUsed.IsZero() || !r.Certificates[1].LastUsed.Equal(used) {
		t.Errorf("last used: %+v", r.Certificates)
	}
	w.server.Retire(t.Context(), started)
	if w.in(t, old) || !w.in(t, next) {
		t.Error("the old certificate is still taken, or the new one is not")
	}
	_, clients, err := adminserver.Load(t.Context(), w.store, w.now, nil)
	must(t, err)
	if clients[0].Certificates[0].Ends.After(w.now()) {
		t.Errorf("stored: %+v", clients[0].Certificates)
	}
	if names := strings.Join(w.events(t), "\n"); !strings.Contains(names, "Retire Certificate by server") {
		t.Errorf("journal:\n%s", names)
	}
}

// Without an overlap the old certificate is out at once, and its connections.
func TestRenewWithoutOverlap(t *testing.T) {
	w := newWorld(t)
	old, next := w.addClient(t, "lab"), newHolder(t)
	id, err := w.registry.Identify(old.parsed(t))
	must(t, err)
	done, err := w.client.Renew(t.Context(), "lab", admin.RenewRequest{Kind: admin.KindIssued, CSR: next.csr(t), OldUntil: w.now()})
	must(t, err)
	next.took(t, done.Certificate)
	if w.in(t, old) || !w.in(t, next) || w.registry.Current("lab", id.Generation) {
		t.Error("the old certificate lives on")
	}
}

// A pinned client is renewed by its next certificate.
func TestRenewPinned(t *testing.T) {
	w := newWorld(t)
	old, next := newHolder(t), newHolder(t)
	_, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "vc", Kind: admin.KindPinned, Certificate: old.self(t)})
	must(t, err)
	_, err = w.client.Renew(t.Context(), "vc", admin.RenewRequest{Kind: admin.KindPinned, Certificate: next.self(t)})
	must(t, err)
	if !w.in(t, old) || !w.in(t, next) {
		t.Error("both certificates are taken")
	}
}

func TestRenewRefusals(t *testing.T) {
	w := newWorld(t)
	w.addClient(t, "lab")
	w.addClient(t, "gone")
	_, err := w.client.Revoke(t.Context(), "gone", "")
	must(t, err)
	pinned := newHolder(t)
	_, err = w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "vc", Kind: admin.KindPinned, Certificate: pinned.self(t)})
	must(t, err)
	same := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pinned.cert})
	w.addAdmin(t, "olga", admin.RoleOperator)
	for name, tc := range map[string]struct {
		client string
		req    admin.RenewRequest
		code   admin.Code
	}{
		"nobody":               {"x", admin.RenewRequest{Kind: admin.KindCSR, CSR: request(t)}, admin.CodeNotFound},
		"revoked":              {"gone", admin.RenewRequest{Kind: admin.KindCSR, CSR: request(t)}, admin.CodeRefused},
		"no kind":              {"lab", admin.RenewRequest{CSR: request(t)}, admin.CodeBadRequest},
		"no request":           {"lab", admin.RenewRequest{Kind: admin.KindCSR}, admin.CodeRefused},
		"pinned by request":    {"vc", admin.RenewRequest{Kind: admin.KindCSR, CSR: request(t)}, admin.CodeBadRequest},
		"ours by certificate":  {"lab", admin.RenewRequest{Kind: admin.KindPinned, Certificate: same}, admin.CodeBadRequest},
		"the same certificate": {"vc", admin.RenewRequest{Kind: admin.KindPinned, Certificate: same}, admin.CodeRefused},
	} {
		if _, err := w.client.Renew(t.Context(), tc.client, tc.req); code(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	for n := range 5 {
		_, err := w.client.Renew(t.Context(), "lab", admin.RenewRequest{Kind: admin.KindCSR, CSR: request(t)})
		if (err != nil) != (n >= 3) || err != nil && code(err) != admin.CodeRefused {
			t.Errorf("renewal %d: %v", n, err)
		}
	}
}

// An agent renews what an operator has marked, with a signing request, and
// learns nothing of the others.
func TestAgentRenews(t *testing.T) {
	w := newWorld(t)
	w.addClient(t, "lab")
	w.addClient(t, "other")
	agent := w.remote(t, w.addAdmin(t, "agent", admin.RoleAgent))
	renew := func(name, kind string) error {
		_, err := agent.Renew(t.Context(), name, admin.RenewRequest{Kind: kind, CSR: request(t)})
		return err
	}
	if err := renew("lab", admin.KindCSR); code(err) != admin.CodeForbidden {
		t.Errorf("not marked: %v", err)
	}
	if _, err := agent.AgentRenewable(t.Context(), "lab", true); code(err) != admin.CodeForbidden {
		t.Errorf("an agent marks a client itself: %v", err)
	}
	r, err := w.client.AgentRenewable(t.Context(), "lab", true)
	if must(t, err); !r.AgentRenewable {
		t.Error("the mark was not set")
	}
	must(t, renew("lab", admin.KindCSR))
	absent, unmarked := renew("nobody", admin.KindCSR), renew("other", admin.KindCSR)
	if code(absent) != admin.CodeForbidden || strings.ReplaceAll(absent.Error(), "nobody", "other") != unmarked.Error() {
		t.Errorf("absent and unmarked differ: %v; %v", absent, unmarked)
	}
	if err := renew("lab", admin.KindPinned); code(err) != admin.CodeForbidden {
		t.Errorf("an agent pins: %v", err)
	}
	_, err = agent.Enrol(t.Context(), admin.EnrolRequest{Name: "new", Kind: admin.KindCSR, CSR: request(t)})
	if code(err) != admin.CodeForbidden {
		t.Errorf("an agent enrols: %v", err)
	}
	_, err = w.client.AgentRenewable(t.Context(), "lab", false)
	must(t, err)
	if err := renew("lab", admin.KindCSR); code(err) != admin.CodeForbidden {
		t.Errorf("the mark was taken away: %v", err)
	}
	if denied := strings.Join(w.denied(t), "\n"); !strings.Contains(denied, "Renew Client by agent") {
		t.Errorf("the journal lacks the denials:\n%s", denied)
	}
}
