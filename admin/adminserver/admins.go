package adminserver

import (
	"slices"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
)

func (s *Server) listAdmins(*call, none) ([]admin.AdminRecord, error) {
	records := []admin.AdminRecord{}
	for _, c := range s.cfg.Admins.List() {
		records = append(records, adminRecord(c))
	}
	return records, nil
}

func (s *Server) showAdmin(c *call, _ none) (r admin.AdminRecord, err error) {
	client, err := s.admins().get(c.path("name"))
	if err != nil {
		return r, err
	}
	return adminRecord(client), nil
}

// addAdmin makes somebody an administrator. Only the owner may: an operator's
// certificate that is stolen must not be able to make others, which would
// outlive its revocation.
func (s *Server) addAdmin(c *call, req admin.AddAdminRequest) (answer admin.AddedAdmin, err error) {
	if !slices.Contains([]admin.Role{admin.RoleViewer, admin.RoleOperator, admin.RoleAgent}, req.Role) {
		return answer, badRequest("unknown role %q: want viewer, operator or agent", req.Role)
	}
	if req.Kind == admin.KindForeignCA {
		return answer, badRequest("an administrator's certificate is issued here or pinned")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer.Replaced, err = s.admins().free(req.Name); err != nil {
		return answer, err
	}
	ask := certs.ClientRequest{Name: req.Name, Group: string(req.Role)}
	client, certificate, err := s.record(ask, admin.EnrolRequest{Kind: req.Kind, CSR: req.CSR, Certificate: req.Certificate})
	if err != nil {
		return answer, err
	}
	if err := s.admit(c, s.admins(), client); err != nil {
		return answer, err
	}
	answer.Admin, answer.Certificate = adminRecord(client), certificate
	answer.CA, answer.Server = s.cfg.CA.CertificatePEM(), s.thumbprints()
	return answer, nil
}

func (s *Server) revokeAdmin(c *call, req admin.RevokeRequest) (r admin.AdminRecord, err error) {
	client, err := s.expel(c, s.admins(), c.path("name"), req.Reason)
	if err != nil {
		return r, err
	}
	return adminRecord(client), nil
}

// adminRecord is what the API says of an administrator.
func adminRecord(c certs.Client) admin.AdminRecord {
	r := clientRecord(c)
	return admin.AdminRecord{Name: r.Name, Role: admin.Role(r.Group), Kind: r.Kind, Created: r.Created, Expires: r.Expires,
		Revoked: r.Revoked, Certificates: r.Certificates}
}
