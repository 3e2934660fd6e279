package adminserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
)

// A holder has a key and what the server signed for it, or signed itself.
type holder struct {
	key  *ecdsa.PrivateKey
	cert []byte // DER
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &holder{key: key}
}

func (h *holder) csr(t *testing.T) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, h.key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func (h *holder) self(t *testing.T) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, h.key.Public(), h.key)
	must(t, err)
	h.cert = der
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (h *holder) took(t *testing.T, certificate []byte) *holder {
	t.Helper()
	block, _ := pem.Decode(certificate)
	h.cert = block.Bytes
	return h
}

func (h *holder) parsed(t *testing.T) []*x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(h.cert)
	must(t, err)
	return []*x509.Certificate{cert}
}

// config shows the holder's certificate; nil shows none.
func (w *world) config(h *holder) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(w.ca.Certificate())
	c := &tls.Config{RootCAs: roots}
	if h != nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{h.cert}, PrivateKey: h.key}}
	}
	return c
}

func (w *world) remote(t *testing.T, h *holder) *admin.Client {
	t.Helper()
	c := admin.NewTLSClient(w.https, w.config(h))
	t.Cleanup(c.Close)
	return c
}

func (w *world) addAdmin(t *testing.T, name string, role admin.Role) *holder {
	t.Helper()
	h := newHolder(t)
	added, err := w.client.AddAdmin(t.Context(), admin.AddAdminRequest{Name: name, Role: role, Kind: admin.KindCSR, CSR: h.csr(t)})
	must(t, err)
	return h.took(t, added.Certificate)
}

func (w *world) addClient(t *testing.T, name string) *holder {
	t.Helper()
	h := newHolder(t)
	done, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: name, Kind: admin.KindCSR, CSR: h.csr(t)})
	must(t, err)
	return h.took(t, done.Certificate)
}

func code(err error) admin.Code {
	var e *admin.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Only a certificate with an administrator's record gets an answer.
func TestStrangersOverHTTPS(t *testing.T) {
	w := newWorld(t)
	self := newHolder(t)
	self.self(t)
	revoked := w.addAdmin(t, "gone", admin.RoleOperator)
	_, err := w.client.RevokeAdmin(t.Context(), "gone", "left")
	must(t, err)
	unrecorded := newHolder(t)
	issued, err := w.ca.SignCSR(certs.ClientRequest{Name: "ghost", Group: "operator"}, unrecorded.csr(t))
	must(t, err)
	unrecorded.cert = issued.Certificate.Raw
	for name, h := range map[string]*holder{
		"no certificate": nil, "self-signed": self, "client of KMIP": w.addClient(t, "kmip"), "revoked": revoked, "ours without a record": unrecorded,
	} {
		_, err := w.remote(t, h).Status(t.Context())
		if code(err) != admin.CodeForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, want := range []string{"no certificate was shown", "unknown", "no-record", "revoked", "keyreeve admin list"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, w.log.String())
		}
	}
	if strings.Contains(w.log.String(), "client add") {
		t.Errorf("the log advises to enrol a client:\n%s", w.log.String())
	}
}

// An administrator's certificate opens nothing of KMIP, and cannot be given to a client.
func TestTwoDoorsTwoCertificates(t *testing.T) {
	w := newWorld(t)
	operator := w.addAdmin(t, "olga", admin.RoleOperator)
	if id, err := w.registry.Identify(operator.parsed(t)); err == nil {
		t.Errorf("an administrator's certificate is KMIP's client %s", id.Name)
	}
	client := w.addClient(t, "lab")
	encoded := func(h *holder) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.cert}) }
	_, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "olga", Kind: admin.KindPinned, Certificate: encoded(operator)})
	if code(err) != admin.CodeRefused {
		t.Errorf("pinning an administrator's certificate for KMIP: %v", err)
	}
	_, err = w.client.AddAdmin(t.Context(), admin.AddAdminRequest{Name: "lab", Role: admin.RoleViewer, Kind: admin.KindPinned, Certificate: encoded(client)})
	if code(err) != admin.CodeRefused {
		t.Errorf("making a client's certificate an administrator's: %v", err)
	}
	_, err = w.client.Enrol(t.Context(), admin.EnrolRequest{Name: "wide", Kind: admin.KindForeignCA, Subject: "CN=olga",
		CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.ca.Certificate().Raw})})
	if code(err) != admin.CodeRefused {
		t.Errorf("trusting a subject that an administrator has: %v", err)
	}
	if len(w.admins.List()) != 1 || len(w.registry.List()) != 1 {
		t.Error("something was enrolled all the same")
	}
}

// A revoked administrator is out at once, on a connection that is open too, and
// over a restart.
func TestRevokedAdmin(t *testing.T) {
	w := newWorld(t)
	operator := w.addAdmin(t, "olga", admin.RoleOperator)
	viewer := w.remote(t, w.addAdmin(t, "victor", admin.RoleViewer))
	conn, err := tls.Dial("tcp", w.https, w.config(operator))
	must(t, err)
	defer func() { _ = conn.Close() }()
	ask := func() error {
		if _, err := io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		buf := make([]byte, 4096)
		_, err := conn.Read(buf)
		if err == nil && !strings.HasPrefix(string(buf), "HTTP/1.1 200 ") {
			return errors.New(string(buf))
		}
		return err
	}
	must(t, ask())
	_, err = w.client.RevokeAdmin(t.Context(), "olga", "left")
	must(t, err)
	if err := ask(); err == nil {
		t.Error("the open connection lives on")
	}
	if _, err := viewer.Status(t.Context()); err != nil {
		t.Errorf("another administrator was cut off: %v", err)
	}
	admins, err := adminserver.LoadAdmins(t.Context(), w.store)
	must(t, err)
	if len(admins) != 2 || admins[0].Revoked == nil || admins[0].Group != "operator" {
		t.Errorf("stored: %+v", admins)
	}
	if names := strings.Join(w.events(t), "\n"); !strings.Contains(names, "Add Admin by admin") || !strings.Contains(names, "Revoke Admin by admin") {
		t.Errorf("journal:\n%s", names)
	}
}

// A certificate that ends while its connection is open ends the answers too.
func TestAdminExpiresOnOpenConnection(t *testing.T) {
	w := newWorld(t)
	viewer := w.remote(t, w.addAdmin(t, "victor", admin.RoleViewer))
	_, err := viewer.Status(t.Context())
	must(t, err)
	w.ahead.Store(int64(certs.DefaultValidity + time.Hour))
	if _, err := viewer.Status(t.Context()); code(err) != admin.CodeForbidden {
		t.Errorf("after its end: %v", err)
	}
}

func TestAddAdminRefusals(t *testing.T) {
	w := newWorld(t)
	w.addAdmin(t, "olga", admin.RoleOperator)
	for name, tc := range map[string]struct {
		req  admin.AddAdminRequest
		code admin.Code
	}{
		"taken":        {admin.AddAdminRequest{Name: "olga", Role: admin.RoleViewer, Kind: admin.KindCSR, CSR: request(t)}, admin.CodeExists},
		"no role":      {admin.AddAdminRequest{Name: "x", Kind: admin.KindCSR, CSR: request(t)}, admin.CodeBadRequest},
		"an owner":     {admin.AddAdminRequest{Name: "x", Role: admin.RoleOwner, Kind: admin.KindCSR, CSR: request(t)}, admin.CodeBadRequest},
		"a foreign CA": {admin.AddAdminRequest{Name: "x", Role: admin.RoleViewer, Kind: admin.KindForeignCA}, admin.CodeBadRequest},
		"bad name":     {admin.AddAdminRequest{Name: "../x", Role: admin.RoleViewer, Kind: admin.KindCSR, CSR: request(t)}, admin.CodeRefused},
		"no request":   {admin.AddAdminRequest{Name: "x", Role: admin.RoleViewer, Kind: admin.KindCSR}, admin.CodeRefused},
	} {
		if _, err := w.client.AddAdmin(t.Context(), tc.req); code(err) != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	if len(w.admins.List()) != 1 {
		t.Error("something was added all the same")
	}
}

// agentMay is all that an agent may, written out: a row that lets it do more
// has to be wanted here too.
var agentMay = []string{
	"GET /v1/clients", "GET /v1/clients/{name}", "POST /v1/clients/{name}/renew", "GET /v1/keys", "GET /v1/keys/{uid}", "GET /v1/openapi.json", "GET /v1/status",
	"POST /v1/inventories/{vcenter}/uploads", "POST /v1/inventories/{vcenter}/uploads/{upload}/entries",
	"POST /v1/inventories/{vcenter}/uploads/{upload}/commit",
	"POST /v1/backups",                                                              // where the server's settings say, and only if keys are in none
	"GET /v1/certificate", "POST /v1/certificate/stage", "POST /v1/certificate/use", // it tells vCenter and OVHcloud in between
}

// viewerMayNot are the questions that a viewer may not ask; changes it never may.
var viewerMayNot = []string{}

// Every route is asked by every role; the answer is "forbidden" exactly where
// the table says so.
func TestRolesAtEveryRoute(t *testing.T) {
	w := newWorld(t)
	clients := map[string]*http.Client{}
	for _, role := range []admin.Role{admin.RoleViewer, admin.RoleOperator, admin.RoleAgent} {
		h := w.addAdmin(t, "a-"+string(role), role)
		clients[string(role)] = &http.Client{Transport: &http.Transport{TLSClientConfig: w.config(h)}}
		t.Cleanup(clients[string(role)].CloseIdleConnections)
	}
	routes := 0
	for where, roles := range tableOf(t) {
		routes++
		method, path, _ := strings.Cut(where, " ")
		if slices.Contains(roles, "viewer") != (method == http.MethodGet && !slices.Contains(viewerMayNot, where)) {
			t.Errorf("%s: a viewer may ask and not change", where)
		}
		if slices.Contains(roles, "agent") != slices.Contains(agentMay, where) {
			t.Errorf("%s: what an agent may is written down otherwise", where)
		}
		for role, client := range clients {
			if got, want := forbidden(t, client, method, "https://"+w.https+path), !slices.Contains(roles, role); got != want {
				t.Errorf("%s as %s: forbidden is %v, want %v", where, role, got, want)
			}
		}
	}
	if routes < 10 {
		t.Errorf("only %d routes", routes)
	}
	if names := strings.Join(w.denied(t), "\n"); !strings.Contains(names, "POST /v1/clients by a-viewer") {
		t.Errorf("the journal does not hold the denials:\n%s", names)
	}
}

// tableOf reads who may use each route from the document that the table makes.
func tableOf(t *testing.T) map[string][]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Roles []string `json:"x-keyreeve-roles"`
		}
	}
	must(t, json.Unmarshal(adminserver.Document(), &doc))
	table := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			table[strings.ToUpper(method)+" "+path] = op.Roles
		}
	}
	return table
}

// forbidden asks without a body, so that nothing happens where it is allowed.
func forbidden(t *testing.T, client *http.Client, method, url string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, strings.NewReplacer("{", "", "}", "").Replace(url), nil)
	must(t, err)
	resp, err := client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var e admin.Error
	return resp.StatusCode == http.StatusForbidden && json.NewDecoder(resp.Body).Decode(&e) == nil && e.Code == admin.CodeForbidden
}

func (w *world) denied(t *testing.T) (names []string) {
	t.Helper()
	must(t, w.journal.Flush())
	must(t, w.journal.Since(0, func(_ uint64, e audit.Event) error {
		if e.Outcome == audit.Denied {
			names = append(names, e.Operation+" by "+e.User)
		}
		return nil
	}))
	return names
}
