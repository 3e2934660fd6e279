package adminserver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
)

var (
	opRenew          = keystore.Op{Name: "Renew Client", Class: keystore.OpChange}
	opRetire         = keystore.Op{Name: "Retire Certificate", Class: keystore.OpChange}
	opAgentRenewable = keystore.Op{Name: "Set Agent Renewable", Class: keystore.OpChange}
)

// maxAccepted bounds the certificates that a client has at once: each is a key
// that may have been lost on the way, and an agent that never installs what it
// gets must not fill the record.
const maxAccepted = 4

// renewClient gives a client another certificate. The old ones go on until
// OldUntil or their own end: a client that could not take the new one up must
// not lose its keys, and nobody can tell here whether it has.
func (s *Server) renewClient(c *call, req admin.RenewRequest) (answer admin.Enrolled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, err := s.renewable(c, req)
	if err != nil {
		return answer, err
	}
	renewed, certificate, err := s.renewed(client, req)
	if err != nil {
		return answer, err
	}
	if len(renewed.Certificates) > maxAccepted {
		return answer, &admin.Error{Code: admin.CodeRefused, Message: fmt.Sprintf("client %s has %d certificates that are taken already", client.Name, len(client.Certificates)),
			Hint: "see that it uses the newest one (keyreeve client show); the others end by themselves, or at once where --overlap 0s is given"}
	}
	if err := s.keep(c.context(), c.by, s.clients(), &opRenew, renewed); err != nil {
		return answer, err
	}
	newest := renewed.Certificates[len(renewed.Certificates)-1]
	s.cfg.Logger.Info("client renewed", "client", client.Name, "sha256", newest.SHA256, "expires", newest.NotAfter, "by", c.by.User)
	answer.Client, answer.Certificate = clientRecord(renewed), certificate
	answer.CA, answer.Server = s.cfg.CA.CertificatePEM(), s.thumbprints()
	return answer, nil
}

// renewable returns the client if whoever asks may renew it in that way. To an
// agent the answer is the same for a client that is not there and one that is
// not marked.
func (s *Server) renewable(c *call, req admin.RenewRequest) (client certs.Client, err error) {
	client, err = s.clients().get(c.path("name"))
	if c.role == admin.RoleAgent && (err != nil || !client.AgentRenewable || req.Kind == admin.KindPinned) {
		return client, s.refuseAgent(c)
	}
	if err != nil {
		return client, err
	}
	if client.Revoked != nil {
		return client, &admin.Error{Code: admin.CodeRefused, Message: fmt.Sprintf("client %s is revoked", client.Name),
			Hint: "a revoked client is not renewed but added again: keyreeve client add " + client.Name}
	}
	if pinned := client.Kind == certs.KindPinned; pinned != (req.Kind == admin.KindPinned) && client.Kind != certs.KindForeignCA {
		return client, badRequest("client %s was enrolled as %s: a pinned client is renewed with its new certificate, every other with a signing request", client.Name, client.Kind)
	}
	return client, nil
}

func (s *Server) refuseAgent(c *call) error {
	err := do(c.context(), s.cfg.Store, c.by, &opRenew, func(tx *keystore.Tx) error { return tx.Refuse("an agent may not renew this client") })
	if err == nil {
		return nil
	}
	return &admin.Error{Code: admin.CodeForbidden, Message: fmt.Sprintf("an agent may not renew client %q so", c.path("name")),
		Hint: "an operator allows it: keyreeve client set NAME --agent-renewable; and an agent renews with a signing request only"}
}

// renewed is the record with the new certificate in it.
func (s *Server) renewed(client certs.Client, req admin.RenewRequest) (c certs.Client, certificate []byte, err error) {
	now, oldUntil := s.cfg.Now(), req.OldUntil
	if oldUntil.IsZero() {
		oldUntil = client.Expires()
	}
	switch req.Kind {
	case admin.KindIssued, admin.KindCSR:
		issued, err := s.cfg.CA.SignCSR(certs.ClientRequest{Name: client.Name, Group: client.Group}, req.CSR)
		if err != nil {
			return c, nil, refuse(err)
		}
		if c, err = client.WithCertificate(issued.Certificate, now, oldUntil); err != nil {
			return c, nil, refuse(err)
		}
		c.Kind = certs.Kind(req.Kind)
		return s.cutShort(client, c), issued.CertificatePEM(), nil
	case admin.KindPinned:
		cert, err := certs.ParseCertificate(req.Certificate)
		if err != nil {
			return c, nil, refuse(err)
		}
		c, err = client.WithCertificate(cert, now, oldUntil)
		return s.cutShort(client, c), nil, refuse(err)
	}
	return c, nil, badRequest("unknown kind of renewal %q", req.Kind)
}

// cutShort gives the record a new generation where the renewal has dropped a
// certificate that had not ended: connections that were let in by it must end.
func (s *Server) cutShort(before, after certs.Client) certs.Client {
	for _, a := range before.Certificates {
		kept := slices.ContainsFunc(after.Certificates, func(b certs.Accepted) bool { return a.SHA256 == b.SHA256 })
		if !kept && s.cfg.Now().Before(a.NotAfter) {
			after.Generation = s.cfg.Registry.NextGeneration(after.Name)
		}
	}
	return after
}

const (
	retireEvery = time.Hour
	retireAfter = 7 * 24 * time.Hour // without a use
)

// RetireReplaced ends, until ctx does, the certificates that renewals left behind
// once they are not used any more: a key that lies about on a machine that has a
// newer one is a key that somebody may find.
func (s *Server) RetireReplaced(ctx context.Context) {
	started, tick := s.cfg.Now(), time.NewTicker(retireEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.retire(ctx, started)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) retire(ctx context.Context, started time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, client := range s.cfg.Registry.List() {
		after, changed := client.EndUnused(s.cfg.Registry.LastUsed, started, s.cfg.Now(), retireAfter)
		if !changed {
			continue
		}
		if err := s.keep(ctx, &System, s.clients(), &opRetire, after); err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Error("a certificate that is not used any more could not be ended", "client", client.Name, "err", err)
			}
			continue
		}
		s.cfg.Logger.Info("the client's old certificate is not taken any more: the new one is in use", "client", client.Name)
	}
}

// withUse adds when each certificate was last used.
func (s *Server) withUse(r admin.ClientRecord) admin.ClientRecord {
	for i := range r.Certificates {
		r.Certificates[i].LastUsed = s.cfg.Registry.LastUsed(r.Certificates[i].SHA256)
	}
	return r
}

func (s *Server) agentRenewable(c *call, req admin.AgentRenewableRequest) (r admin.ClientRecord, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, err := s.clients().get(c.path("name"))
	if err != nil {
		return r, err
	}
	client.AgentRenewable = req.AgentRenewable
	if err := s.keep(c.context(), c.by, s.clients(), &opAgentRenewable, client); err != nil {
		return r, err
	}
	s.cfg.Logger.Info("client changed", "client", client.Name, "agent_renewable", client.AgentRenewable, "by", c.by.User)
	return clientRecord(client), nil
}
