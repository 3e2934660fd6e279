package ovhcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A User is one of the service's vCenter users.
type User struct {
	ID              int64
	Login           string
	EncryptionRight bool
}

// EncryptionRight checks that the vCenter user may manage encryption: without
// the flag of OVHcloud's, vCenter refuses all about key providers, whatever
// role the user has. The error wraps ErrNoEncryptionRight; or ErrRightUnknown,
// when these API credentials do not read users, or the login is of a directory
// that OVHcloud does not keep. login is as one logs in to vCenter, with or
// without a domain.
func (s *Service) EncryptionRight(ctx context.Context, login string) error {
	users, err := s.Users(ctx)
	if answer, ok := errors.AsType[*Error](err); ok && answer.Status == http.StatusForbidden {
		return fmt.Errorf("%w: %w", ErrRightUnknown, err)
	}
	if err != nil {
		return err
	}
	var names []string
	for _, u := range users {
		if !sameLogin(u.Login, login) {
			names = append(names, u.Login)
			continue
		}
		if u.EncryptionRight {
			return nil
		}
		return fmt.Errorf("%w: the OVHcloud user %s (%d) of %s may not manage encryption: set encryptionRight of this user in OVHcloud's control panel (Users, Modify, Encryption management)", ErrNoEncryptionRight, u.Login, u.ID, s.Name)
	}
	return fmt.Errorf("%w: %s has no vCenter user %q; it has %s", ErrRightUnknown, s.Name, login, strings.Join(names, ", "))
}

// Users lists the service's vCenter users, by ID.
func (s *Service) Users(ctx context.Context) (users []User, err error) {
	var ids []int64
	if err := s.client.call(ctx, "listing the vCenter users of "+s.Name, http.MethodGet, s.path("/user"), nil, &ids); err != nil {
		return nil, err
	}
	slices.Sort(ids)
	for _, id := range ids {
		var u struct {
			Login           string `json:"login"`
			Name            string `json:"name"`
			EncryptionRight bool   `json:"encryptionRight"`
		}
		err := s.client.call(ctx, fmt.Sprintf("reading vCenter user %d of %s", id, s.Name), http.MethodGet, s.path("/user/%d", id), nil, &u)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if u.Login == "" {
			u.Login = u.Name
		}
		users = append(users, User{ID: id, Login: clean(u.Login), EncryptionRight: u.EncryptionRight})
	}
	return users, nil
}

// sameLogin compares without domain and case, as vCenter's logins are.
func sameLogin(a, b string) bool { return strings.EqualFold(bare(a), bare(b)) }

func bare(login string) string {
	if _, name, ok := strings.Cut(login, `\`); ok {
		login = name
	}
	name, _, _ := strings.Cut(login, "@")
	return name
}
