package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// User is what GET /v1/users lists: somebody inside a group, known by a KMIP
// credential. Group and name together are unique.
type User struct {
	Name            string    `json:"name"`
	Group           string    `json:"group"`
	Device          *Device   `json:"device,omitempty"` // not there: Username and Password
	HasPassword     bool      `json:"has_password"`
	Created         time.Time `json:"created"`
	PasswordChanged time.Time `json:"password_changed,omitzero"`
}

// Device is a Device credential without its password: the fields that the
// device sends, empty for those that it does not.
type Device struct {
	SerialNumber      string `json:"serial_number,omitempty"`
	DeviceIdentifier  string `json:"device_identifier,omitempty"`
	NetworkIdentifier string `json:"network_identifier,omitempty"`
	MachineIdentifier string `json:"machine_identifier,omitempty"`
	MediaIdentifier   string `json:"media_identifier,omitempty"`
}

// AddUserRequest is the body of POST /v1/users. The group is named by itself or
// by one of its clients.
type AddUserRequest struct {
	Name     string  `json:"name"`
	Client   string  `json:"client,omitempty"`
	Group    string  `json:"group,omitempty"`
	Device   *Device `json:"device,omitempty"`
	Password []byte  `json:"password,omitempty"` // only a device may have none
}

// UserChanged is the answer to what adds, changes or removes a user.
type UserChanged struct {
	User User `json:"user"`
	// Clients are those of the group, which may bring the credentials of its users.
	Clients []string `json:"clients"`
	// Users is how many the group has now. From the first one on, credentials
	// that its clients send are checked; before, they are ignored.
	Users int `json:"users"`
}

// PasswordRequest is the body of POST /v1/users/{group}/{name}/password.
type PasswordRequest struct {
	Password []byte `json:"password"`
}

// RequireUserRequest is the body of POST /v1/clients/{name}/require-user.
type RequireUserRequest struct {
	RequireUser bool `json:"require_user"`
}

// Users lists all users, by group and name.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	return call[[]User](ctx, c, http.MethodGet, "/v1/users", nil)
}

// AddUser adds a user.
func (c *Client) AddUser(ctx context.Context, req AddUserRequest) (UserChanged, error) {
	return call[UserChanged](ctx, c, http.MethodPost, "/v1/users", req)
}

// RemoveUser forgets a user. What it owns stays.
func (c *Client) RemoveUser(ctx context.Context, group, name string) (UserChanged, error) {
	return call[UserChanged](ctx, c, http.MethodPost, userPath(group, name)+"/remove", struct{}{})
}

// SetPassword gives a user another password. The old one is refused at once.
func (c *Client) SetPassword(ctx context.Context, group, name string, password []byte) (UserChanged, error) {
	return call[UserChanged](ctx, c, http.MethodPost, userPath(group, name)+"/password", PasswordRequest{password})
}

// RequireUser says whether each request of a client must name a user.
func (c *Client) RequireUser(ctx context.Context, client string, require bool) (ClientRecord, error) {
	return call[ClientRecord](ctx, c, http.MethodPost, "/v1/clients/"+url.PathEscape(client)+"/require-user", RequireUserRequest{require})
}

func userPath(group, name string) string {
	return "/v1/users/" + url.PathEscape(group) + "/" + url.PathEscape(name)
}
