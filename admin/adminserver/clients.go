package adminserver

import (
	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
)

func (s *Server) listClients(*call, none) ([]admin.ClientRecord, error) {
	records := []admin.ClientRecord{} // an empty list is [], not null
	for _, c := range s.cfg.Registry.List() {
		records = append(records, s.withUse(clientRecord(c)))
	}
	return records, nil
}

func (s *Server) showClient(c *call, _ none) (r admin.ClientRecord, err error) {
	client, err := s.clients().get(c.path("name"))
	if err != nil {
		return r, err
	}
	return s.withUse(clientRecord(client)), nil
}

func (s *Server) enrolClient(c *call, req admin.EnrolRequest) (answer admin.Enrolled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer.Replaced, err = s.clients().free(req.Name); err != nil {
		return answer, err
	}
	if req.Group == "" {
		req.Group = req.Name
	}
	client, certificate, err := s.record(certs.ClientRequest{Name: req.Name, Group: req.Group}, req)
	if err != nil {
		return answer, err
	}
	client.RequireUser, client.AgentRenewable = req.RequireUser, req.AgentRenewable
	if err := s.admit(c, s.clients(), client); err != nil {
		return answer, err
	}
	answer.Client, answer.Certificate = clientRecord(client), certificate
	answer.CA, answer.Server = s.cfg.CA.CertificatePEM(), s.thumbprints()
	return answer, nil
}

func (s *Server) thumbprints() admin.Thumbprints {
	leaf := s.cfg.Leaf()
	return admin.Thumbprints{SHA1: certs.SHA1(leaf), SHA256: certs.SHA256(leaf)}
}

// record makes the record that a request asks for, and a certificate where it
// is signed here.
func (s *Server) record(ask certs.ClientRequest, req admin.EnrolRequest) (c certs.Client, certificate []byte, err error) {
	now := s.cfg.Now()
	switch req.Kind {
	case admin.KindIssued, admin.KindCSR:
		issued, err := s.cfg.CA.SignCSR(ask, req.CSR)
		if err != nil {
			return c, nil, refuse(err)
		}
		issued.Client.Kind = certs.Kind(req.Kind)
		return issued.Client, issued.CertificatePEM(), nil
	case admin.KindPinned:
		c, err = certs.Pin(ask, req.Certificate, req.IgnoreDates, now)
	case admin.KindForeignCA:
		c, err = certs.TrustForeignCA(ask, req.CA, req.Subject, now)
	default:
		return c, nil, badRequest("unknown kind of enrolment %q", req.Kind)
	}
	return c, nil, refuse(err)
}

func (s *Server) revokeClient(c *call, req admin.RevokeRequest) (r admin.ClientRecord, err error) {
	client, err := s.expel(c, s.clients(), c.path("name"), req.Reason)
	if err != nil {
		return r, err
	}
	return clientRecord(client), nil
}

// clientRecord is what the API says of a client.
func clientRecord(c certs.Client) admin.ClientRecord {
	out := admin.ClientRecord{
		Name: c.Name, Group: c.Group, Kind: string(c.Kind), Created: c.Created, Expires: c.Expires(),
		Subject: c.Subject, IgnoreDates: c.IgnoreDates, RequireUser: c.RequireUser, AgentRenewable: c.AgentRenewable,
	}
	if c.Revoked != nil {
		out.Revoked = &admin.Revocation{Time: c.Revoked.Time, Reason: c.Revoked.Reason}
	}
	for _, a := range c.Certificates {
		out.Certificates = append(out.Certificates, admin.Certificate{
			SHA256: a.SHA256, Subject: a.Subject, NotBefore: a.NotBefore, NotAfter: a.NotAfter, Ends: a.Ends})
	}
	if ca, err := certs.ParseCertificate([]byte(c.CAPEM)); err == nil {
		out.CA = &admin.Thumbprints{SHA1: certs.SHA1(ca), SHA256: certs.SHA256(ca)}
	}
	return out
}
