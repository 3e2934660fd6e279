package adminserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/users"
)

// LoadUsers opens all user records.
func LoadUsers(ctx context.Context, store *keystore.Store) (list []users.User, err error) {
	err = do(ctx, store, &System, &opLoadUsers, func(tx *keystore.Tx) error {
		list = nil // this may run again
		return tx.Records(keystore.KindUser, func(id string, value []byte) error {
			u, err := decodeUser(id, value)
			list = append(list, u)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("loading the users: %w", err)
	}
	return list, nil
}

func decodeUser(id string, value []byte) (u users.User, err error) {
	if err := json.Unmarshal(value, &u); err != nil {
		return u, fmt.Errorf("%w: user record %q: %w", keystore.ErrCorrupt, id, err)
	}
	if users.ID(u.Group, u.Name) != id {
		return u, fmt.Errorf("%w: the user record of %q is stored as that of %q", keystore.ErrCorrupt, users.ID(u.Group, u.Name), id)
	}
	return u, nil
}

func (s *Server) listUsers(*call, none) ([]admin.User, error) {
	list := []admin.User{} // an empty list is [], not null
	for _, u := range s.cfg.Users.List() {
		list = append(list, userRecord(u))
	}
	return list, nil
}

func (s *Server) addUser(c *call, req admin.AddUserRequest) (answer admin.UserChanged, err error) {
	password := secret.Own(req.Password)
	defer password.Clear()
	group, err := s.groupOf(req.Client, req.Group)
	if err != nil {
		return answer, err
	}
	now := s.cfg.Now()
	u := users.User{Name: req.Name, Group: group, Device: deviceOf(req.Device), Created: now}
	if req.Password != nil {
		u.Changed = now
		if u.Password, err = users.NewHash(password); err != nil {
			return answer, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.cfg.Users.Get(group, req.Name); known {
		return answer, &admin.Error{Code: admin.CodeExists, Message: fmt.Sprintf("group %s has a user %q already", group, req.Name),
			Hint: "give it another password with keyreeve user passwd, or remove it first"}
	}
	return s.keepUser(c, &opAddUser, u, "user added")
}

// keepUser writes a record down, and then has it hold.
func (s *Server) keepUser(c *call, op *keystore.Op, u users.User, said string) (answer admin.UserChanged, err error) {
	if err := s.cfg.Users.Check(u); err != nil {
		return answer, err
	}
	value, err := json.Marshal(u)
	if err != nil {
		return answer, err
	}
	defer secret.Clear(value)
	id := users.ID(u.Group, u.Name)
	err = do(c.context(), s.cfg.Store, c.by, op, func(tx *keystore.Tx) error {
		tx.Note(aboutUser(u.Group, u.Name))
		return tx.PutRecord(keystore.KindUser, id, value)
	})
	if err != nil {
		return answer, err
	}
	if err := s.cfg.Users.Put(u); err != nil {
		return answer, err
	}
	s.cfg.Logger.Info(said, "user", u.Name, "group", u.Group, "by", c.by.User)
	return s.userChanged(u), nil
}

// aboutUser is what the journal says of whom an act is about.
func aboutUser(group, name string) string { return fmt.Sprintf("user %q of group %s", name, group) }

func (s *Server) setPassword(c *call, req admin.PasswordRequest) (answer admin.UserChanged, err error) {
	password := secret.Own(req.Password)
	defer password.Clear()
	hash, err := users.NewHash(password)
	if err != nil {
		return answer, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.cfg.Users.Get(c.path("group"), c.path("name"))
	if !ok {
		return answer, noUser(c)
	}
	u.Password, u.Changed = hash, s.cfg.Now()
	return s.keepUser(c, &opPassword, u, "user's password changed")
}

// removeUser shuts the user out first and writes it down second: whatever the
// disk does, its credential is not taken from here on. A record that could not
// be removed is removed when this is asked again.
func (s *Server) removeUser(c *call, _ none) (answer admin.UserChanged, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	group, name := c.path("group"), c.path("name")
	u, known := s.cfg.Users.Get(group, name)
	if !known {
		u = users.User{Group: group, Name: name}
	}
	s.cfg.Users.Remove(group, name)
	err = do(c.context(), s.cfg.Store, c.by, &opRemove, func(tx *keystore.Tx) error {
		tx.Note(aboutUser(group, name))
		return tx.DeleteRecord(keystore.KindUser, users.ID(group, name))
	})
	switch {
	case errors.Is(err, keystore.ErrNotFound), errors.Is(err, keystore.ErrInvalid):
		return answer, noUser(c)
	case err != nil:
		s.cfg.Logger.Error("a removal holds only until the next start: it could not be stored", "user", name, "group", group, "err", err)
		return answer, &admin.Error{Code: admin.CodeFailed,
			Message: fmt.Sprintf("user %q is shut out now, but that could not be stored: after a restart it would be let in", name),
			Hint:    "see the server's log for the reason, mend it, and remove it again before the server restarts"}
	}
	s.cfg.Logger.Info("user removed", "user", name, "group", group, "by", c.by.User)
	return s.userChanged(u), nil
}

func noUser(c *call) error {
	return &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("group %s has no user %q", c.path("group"), c.path("name")),
		Hint: "keyreeve user list shows all"}
}

// groupOf finds the group that is named, by itself or by a client. A group
// without clients is most likely a typing error: nobody could bring the user's
// credential.
func (s *Server) groupOf(client, group string) (string, error) {
	switch {
	case (client == "") == (group == ""):
		return "", badRequest("name the client or the group that the user belongs to, one of the two")
	case client != "":
		c, ok := s.cfg.Registry.Get(client)
		if !ok {
			return "", s.clients().missing(client)
		}
		return c.Group, nil
	case len(s.clientsOf(group)) == 0:
		return "", &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("no client belongs to a group %q", group), Hint: "keyreeve client list shows the groups"}
	}
	return group, nil
}

// clientsOf lists the clients that may bring a group's credentials.
func (s *Server) clientsOf(group string) []string {
	names := []string{} // an empty list is [], not null
	for _, c := range s.cfg.Registry.List() {
		if c.Group == group && c.Revoked == nil {
			names = append(names, c.Name)
		}
	}
	return names
}

func (s *Server) userChanged(u users.User) admin.UserChanged {
	return admin.UserChanged{User: userRecord(u), Clients: s.clientsOf(u.Group), Users: s.cfg.Users.Has(u.Group)}
}

func userRecord(u users.User) admin.User {
	out := admin.User{Name: u.Name, Group: u.Group, HasPassword: u.Password != nil, Created: u.Created, PasswordChanged: u.Changed}
	if u.Device != nil {
		d := admin.Device(*u.Device)
		out.Device = &d
	}
	return out
}

func deviceOf(d *admin.Device) *users.Device {
	if d == nil {
		return nil
	}
	out := users.Device(*d)
	return &out
}

// requireUser says whether a client's requests must name a user. It holds for
// requests that arrive from here on, on connections that are open too.
func (s *Server) requireUser(c *call, req admin.RequireUserRequest) (r admin.ClientRecord, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, err := s.clients().get(c.path("name"))
	if err != nil {
		return r, err
	}
	client.RequireUser = req.RequireUser
	if err := s.keep(c.context(), c.by, s.clients(), &opRequire, client); err != nil {
		return r, err
	}
	s.cfg.Logger.Info("client changed", "client", client.Name, "require_user", client.RequireUser, "by", c.by.User)
	return clientRecord(client), nil
}
