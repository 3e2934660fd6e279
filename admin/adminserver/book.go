package adminserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/keystore"
)

// A book is the records of those who may enter by one of the two doors: the
// clients by KMIP, or the administrators by HTTPS. Both are certs.Client; in
// the book of administrators a group is a role.
type book struct {
	noun          string // as the command line calls it
	group         string // what its group is called
	kind          keystore.Kind
	registry      *certs.Registry
	cut           func(name string) // ends the connections
	enrol, revoke *keystore.Op
}

func (s *Server) clients() book {
	return book{"client", "group", keystore.KindClient, s.cfg.Registry, s.cfg.CloseClient, &opEnrol, &opRevoke}
}

func (s *Server) admins() book {
	return book{"admin", "role", keystore.KindAdmin, s.cfg.Admins, s.conns.cut, &opAddAdmin, &opRevokeAdmin}
}

func (b book) missing(name string) error {
	return &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("there is no %s %q", b.noun, name), Hint: "keyreeve " + b.noun + " list shows all"}
}

func (b book) get(name string) (certs.Client, error) {
	c, ok := b.registry.Get(name)
	if !ok {
		return c, b.missing(name)
	}
	return c, nil
}

// free tells whether a name may be given to somebody new; known is that a
// revoked one had it.
func (b book) free(name string) (known bool, err error) {
	old, known := b.registry.Get(name)
	if known && old.Revoked == nil {
		return known, &admin.Error{Code: admin.CodeExists, Message: fmt.Sprintf("there is %s %s %q already", article(b.noun), b.noun, name),
			Hint: "take another name, or revoke it first: keyreeve " + b.noun + " revoke " + name}
	}
	return known, nil
}

func article(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an"
	}
	return "a"
}

// admit stores a new record, and lets it in only then. The caller holds s.mu.
func (s *Server) admit(c *call, b book, client certs.Client) error {
	client.Generation = max(client.Generation, b.registry.NextGeneration(client.Name))
	if err := s.keep(c.context(), c.by, b, b.enrol, client); err != nil {
		return err
	}
	s.cfg.Logger.Info(b.noun+" enrolled", b.noun, client.Name, b.group, client.Group, "kind", client.Kind, "by", c.by.User)
	return nil
}

// keep stores a record and puts it into the registry, having made sure first
// that the registry will take it.
func (s *Server) keep(ctx context.Context, p *keystore.Principal, b book, op *keystore.Op, client certs.Client) error {
	if err := s.tryOut(b, client); err != nil {
		return err
	}
	if err := putClient(ctx, s.cfg.Store, p, op, b.kind, client, ""); err != nil {
		return err
	}
	return b.registry.Put(client)
}

// tryOut puts the record into a table of its own, so that one that the registry
// would refuse is never stored.
func (s *Server) tryOut(b book, c certs.Client) error {
	if err := s.apart(b, c); err != nil {
		return err
	}
	var others []certs.Client
	for _, o := range b.registry.List() {
		if o.Name != c.Name {
			others = append(others, o)
		}
	}
	_, err := certs.NewRegistry(s.cfg.CA.Certificate(), append(others, c), s.cfg.Now)
	return refuse(err)
}

// apart refuses a certificate that the other book has, or may have: whoever can
// fetch keys with it could then also enrol others, and the other way round.
func (s *Server) apart(b book, c certs.Client) error {
	other := s.admins()
	if b.kind == other.kind {
		other = s.clients()
	}
	for _, o := range other.registry.List() {
		if o.Revoked == nil && overlap(c, o) {
			return &admin.Error{Code: admin.CodeRefused, Message: fmt.Sprintf("the certificate is that of the %s %q already", other.noun, o.Name),
				Hint: "a client's certificate is for KMIP and an administrator's for the admin API; give each its own"}
		}
	}
	return nil
}

// overlap tells whether one certificate could be that of both records.
func overlap(a, b certs.Client) bool {
	for _, x := range a.Certificates {
		if b.Kind == certs.KindForeignCA && sameDN(x.Subject, b.Subject) {
			return true
		}
		for _, y := range b.Certificates {
			if x.SHA256 == y.SHA256 {
				return true
			}
		}
	}
	for _, y := range b.Certificates {
		if a.Kind == certs.KindForeignCA && sameDN(y.Subject, a.Subject) {
			return true
		}
	}
	return false
}

func sameDN(a, b string) bool {
	x, err1 := certs.ParseDN(a)
	y, err2 := certs.ParseDN(b)
	return err1 == nil && err2 == nil && x.Equal(y)
}

// expel shuts somebody out first and writes it down second: whatever the disk
// does, they are out from here on.
func (s *Server) expel(c *call, b book, name, reason string) (certs.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, err := b.get(name)
	if err != nil {
		return client, err
	}
	if reason = strings.TrimSpace(reason); len(reason) > maxReason {
		return client, badRequest("the reason has %d bytes; at most %d are kept", len(reason), maxReason)
	}
	if client.Revoked == nil { // else stored again below: the first time may have failed
		client = client.Revoke(s.cfg.Now(), reason)
		if err := b.registry.Put(client); err != nil {
			return client, err
		}
	}
	b.cut(client.Name)
	if err := putClient(c.context(), s.cfg.Store, c.by, b.revoke, b.kind, client, reason); err != nil {
		s.cfg.Logger.Error("a revocation holds only until the next start: it could not be stored", b.noun, client.Name, "err", err)
		return client, &admin.Error{Code: admin.CodeFailed,
			Message: fmt.Sprintf("%s %s is shut out now, but that could not be stored: after a restart it would be let in", b.noun, client.Name),
			Hint:    "see the server's log for the reason, mend it, and revoke again before the server restarts"}
	}
	s.cfg.Logger.Info(b.noun+" revoked", b.noun, client.Name, "reason", client.Revoked.Reason, "by", c.by.User)
	return client, nil
}

// refuse wraps what certs says about an admin's input: its texts are for people,
// also where they wrap no sentinel.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return &admin.Error{Code: admin.CodeRefused, Message: err.Error()}
}

// putClient writes a record down. The journal says whose it is, and why where the
// administrator gave a reason.
func putClient(ctx context.Context, store *keystore.Store, p *keystore.Principal, op *keystore.Op, kind keystore.Kind, c certs.Client, why string) error {
	value, err := json.Marshal(c)
	if err != nil {
		return err
	}
	about := "client " + c.Name
	if kind == keystore.KindAdmin {
		about = "admin " + c.Name
	}
	if why != "" {
		about += ": " + why
	}
	return do(ctx, store, p, op, func(tx *keystore.Tx) error {
		tx.Note(about)
		return tx.PutRecord(kind, c.Name, value)
	})
}
