package adminserver

import (
	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// Certificates are the server's certificates on its disk. The methods may be
// called from many goroutines; errors are *admin.Error where a person made a
// mistake.
type Certificates interface {
	Show() (admin.ServerCertificates, error)
	// Stage makes one that is not in use.
	Stage(req admin.StageRequest) (admin.ServerCertificates, error)
	// Use puts the one with that fingerprint to use; if it is, nothing is done.
	Use(sha256 string) (admin.ServerCertificates, error)
}

var (
	opStage = keystore.Op{Name: "Stage Certificate", Class: keystore.OpChange, Urgent: true}
	opUse   = keystore.Op{Name: "Use Certificate", Class: keystore.OpChange, Urgent: true}
)

func (s *Server) showCertificates(*call, none) (admin.ServerCertificates, error) {
	return s.cfg.Certificates.Show()
}

// stageCertificate is journalled before it is done, as every act here is.
func (s *Server) stageCertificate(c *call, req admin.StageRequest) (admin.ServerCertificates, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.explain(c, &opStage, "the server's next certificate"); err != nil {
		return admin.ServerCertificates{}, err
	}
	return s.cfg.Certificates.Stage(req)
}

func (s *Server) useCertificate(c *call, req admin.UseRequest) (admin.ServerCertificates, error) {
	if req.SHA256 == "" {
		return admin.ServerCertificates{}, badRequest("no sha256: which certificate is to be used?")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.explain(c, &opUse, "the server's certificate "+req.SHA256); err != nil {
		return admin.ServerCertificates{}, err
	}
	return s.cfg.Certificates.Use(req.SHA256)
}

// explain writes an act into the journal that changes nothing in the store.
func (s *Server) explain(c *call, op *keystore.Op, what string) error {
	return do(c.context(), s.cfg.Store, c.by, op, func(tx *keystore.Tx) error { return tx.Explain(what) })
}
