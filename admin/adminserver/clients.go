package adminserver

import (
	"fmt"
	"strings"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
)

func (s *Server) listClients(*call, none) ([]admin.ClientRecord, error) {
	records := []admin.ClientRecord{} // an empty list is [], not null
	for _, c := range s.cfg.Registry.List() {
		records = append(records, record(c))
	}
	return records, nil
}

func (s *Server) showClient(c *call, _ none) (r admin.ClientRecord, err error) {
	client, ok := s.cfg.Registry.Get(c.path("name"))
	if !ok {
		return r, noClient(c.path("name"))
	}
	return record(client), nil
}

func noClient(name string) error {
	return &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("there is no client %q", name), Hint: "keyreeve client list shows all"}
}

func (s *Server) enrolClient(c *call, req admin.EnrolRequest) (answer admin.Enrolled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.cfg.Registry.Get(req.Name)
	if known && old.Revoked == nil {
		return answer, &admin.Error{Code: admin.CodeExists, Message: fmt.Sprintf("there is a client %q already", req.Name),
			Hint: "take another name, or revoke it first: keyreeve client revoke " + req.Name}
	}
	answer, client, err := s.enrol(req)
	if err != nil {
		return answer, err
	}
	client.Generation = max(client.Generation, s.cfg.Registry.NextGeneration(client.Name))
	if err := s.tryOut(client); err != nil {
		return answer, err
	}
	if err := putClient(c.context(), s.cfg.Store, c.by, &opEnrol, client); err != nil {
		return answer, err
	}
	if err := s.cfg.Registry.Put(client); err != nil {
		return answer, err
	}
	s.cfg.Logger.Info("client enrolled", "client", client.Name, "group", client.Group, "kind", client.Kind, "by", c.by.User)
	answer.Client, answer.Replaced = record(client), known
	answer.CA = s.cfg.CA.CertificatePEM()
	leaf := s.cfg.Leaf()
	answer.Server = admin.Thumbprints{SHA1: certs.SHA1(leaf), SHA256: certs.SHA256(leaf)}
	return answer, nil
}

// enrol makes the record that the request asks for.
func (s *Server) enrol(req admin.EnrolRequest) (answer admin.Enrolled, c certs.Client, err error) {
	if req.Group == "" {
		req.Group = req.Name
	}
	ask := certs.ClientRequest{Name: req.Name, Group: req.Group}
	now := s.cfg.Now()
	switch req.Kind {
	case admin.KindIssued, admin.KindCSR:
		issued, err := s.cfg.CA.SignCSR(ask, req.CSR)
		if err != nil {
			return answer, c, refuse(err)
		}
		issued.Client.Kind = certs.Kind(req.Kind)
		answer.Certificate = issued.CertificatePEM()
		return answer, issued.Client, nil
	case admin.KindPinned:
		c, err = certs.Pin(ask, req.Certificate, req.IgnoreDates, now)
	case admin.KindForeignCA:
		c, err = certs.TrustForeignCA(ask, req.CA, req.Subject, now)
	default:
		return answer, c, badRequest("unknown kind of enrolment %q", req.Kind)
	}
	return answer, c, refuse(err)
}

// refuse wraps what certs says about an admin's input: its texts are for people,
// also where they wrap no sentinel.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return &admin.Error{Code: admin.CodeRefused, Message: err.Error()}
}

// tryOut puts the record into a table of its own, so that one that the registry
// would refuse is never stored.
func (s *Server) tryOut(c certs.Client) error {
	var others []certs.Client
	for _, o := range s.cfg.Registry.List() {
		if o.Name != c.Name {
			others = append(others, o)
		}
	}
	_, err := certs.NewRegistry(s.cfg.CA.Certificate(), append(others, c), s.cfg.Now)
	return refuse(err)
}

// revokeClient shuts the client out first and writes it down second: whatever
// the disk does, the client is out from here on.
func (s *Server) revokeClient(c *call, req admin.RevokeRequest) (r admin.ClientRecord, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, ok := s.cfg.Registry.Get(c.path("name"))
	if !ok {
		return r, noClient(c.path("name"))
	}
	if client.Revoked == nil { // else stored again below: the first time may have failed
		client = client.Revoke(s.cfg.Now(), strings.TrimSpace(req.Reason))
		if err := s.cfg.Registry.Put(client); err != nil {
			return r, err
		}
	}
	s.cfg.CloseClient(client.Name)
	if err := putClient(c.context(), s.cfg.Store, c.by, &opRevoke, client); err != nil {
		s.cfg.Logger.Error("a revocation holds only until the next start: it could not be stored", "client", client.Name, "err", err)
		return r, &admin.Error{Code: admin.CodeFailed,
			Message: fmt.Sprintf("client %s is shut out now, but that could not be stored: after a restart it would be let in", client.Name),
			Hint:    "see the server's log for the reason, mend it, and revoke again before the server restarts"}
	}
	s.cfg.Logger.Info("client revoked", "client", client.Name, "reason", client.Revoked.Reason, "by", c.by.User)
	return record(client), nil
}

// record is what the API says of a client.
func record(c certs.Client) admin.ClientRecord {
	out := admin.ClientRecord{
		Name: c.Name, Group: c.Group, Kind: string(c.Kind), Created: c.Created, Expires: c.Expires(),
		Subject: c.Subject, IgnoreDates: c.IgnoreDates,
	}
	if c.Revoked != nil {
		out.Revoked = &admin.Revocation{Time: c.Revoked.Time, Reason: c.Revoked.Reason}
	}
	for _, a := range c.Certificates {
		out.Certificates = append(out.Certificates, admin.Certificate{
			SHA256: a.SHA256, Subject: a.Subject, NotBefore: a.NotBefore, NotAfter: a.NotAfter})
	}
	if ca, err := certs.ParseCertificate([]byte(c.CAPEM)); err == nil {
		out.CA = &admin.Thumbprints{SHA1: certs.SHA1(ca), SHA256: certs.SHA256(ca)}
	}
	return out
}
