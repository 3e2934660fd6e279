package adminserver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/users"
)

func enrol(t *testing.T, w *world, name, group string) {
	t.Helper()
	_, err := w.client.Enrol(t.Context(), admin.EnrolRequest{Name: name, Group: group, Kind: admin.KindCSR, CSR: request(t)})
	must(t, err)
}

// is says who a request of the client nas with that name and password is from.
func (w *world) is(t *testing.T, name, password string) string {
	t.Helper()
	user, err := w.users.Authenticate(t.Context(), users.Client{Name: "nas", Group: "storage"}, []kmip.Credential{
		{Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte(name), Password: []byte(password)}})
	if err != nil {
		return "refused"
	}
	return user
}

func wantCode(t *testing.T, what string, err error, code admin.Code) {
	t.Helper()
	var e *admin.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// A user is added, listed, given another password and removed; each holds at
// once, the store holds it too, and the journal says whom it was about.
func TestUserLifeCycle(t *testing.T) {
	w := newWorld(t)
	enrol(t, w, "nas", "storage")
	enrol(t, w, "nas-2", "storage")
	done, err := w.client.AddUser(t.Context(), admin.AddUserRequest{Name: `dom\Fred/1`, Client: "nas", Password: []byte("password1")})
	must(t, err)
	if diff := cmp.Diff([]string{"nas", "nas-2"}, done.Clients); diff != "" || done.Users != 1 || done.User.Group != "storage" || !done.User.HasPassword {
		t.Errorf("added: %+v", done)
	}
	tape, err := w.client.AddUser(t.Context(), admin.AddUserRequest{Name: "tape", Group: "storage", Device: &admin.Device{MediaIdentifier: "m"}})
	must(t, err)
	list, err := w.client.Users(t.Context())
	must(t, err)
	if diff := cmp.Diff([]admin.User{done.User, tape.User}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got := w.is(t, `dom\Fred/1`, "password1"); got != `dom\Fred/1` {
		t.Errorf("the new user is %q", got)
	}
	_, err = w.client.SetPassword(t.Context(), "storage", `dom\Fred/1`, []byte("password2"))
	must(t, err)
	if w.is(t, `dom\Fred/1`, "password1") != "refused" || w.is(t, `dom\Fred/1`, "password2") == "refused" {
		t.Error("the old password holds, or the new one does not")
	}
	stored, err := adminserver.LoadUsers(t.Context(), w.store)
	must(t, err)
	if diff := cmp.Diff(w.users.List(), stored, cmp.Comparer(func(a, b users.User) bool { return users.ID(a.Group, a.Name) == users.ID(b.Group, b.Name) })); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	_, err = w.client.RemoveUser(t.Context(), "storage", `dom\Fred/1`)
	must(t, err)
	if w.is(t, `dom\Fred/1`, "password2") != "refused" {
		t.Error("a removed user is let in")
	}
	_, err = w.client.RemoveUser(t.Context(), "storage", `dom\Fred/1`)
	wantCode(t, "removing it again", err, admin.CodeNotFound)
	if stored, err = adminserver.LoadUsers(t.Context(), w.store); err != nil || len(stored) != 1 {
		t.Errorf("stored: %d users, %v", len(stored), err)
	}
	about := map[string]string{}
	must(t, w.journal.Flush())
	must(t, w.journal.Since(0, func(_ uint64, e audit.Event) error { about[e.Operation+" "+e.Outcome.String()] = e.Reason; return nil }))
	for _, op := range []string{"Add User", "Set Password", "Remove User"} {
		want := `user "dom\\Fred/1" of group storage`
		if op == "Add User" {
			want = `user "tape" of group storage` // the last one
		}
		if got := about[op+" success"]; got != want {
			t.Errorf("the journal says of %s: %q, want %q", op, got, want)
		}
	}
	if about["Enrol Client success"] != "client nas-2" {
		t.Errorf("the journal says of Enrol Client: %q", about["Enrol Client success"])
	}
}

// What is refused leaves nothing behind.
func TestUserRefusals(t *testing.T) {
	w := newWorld(t)
	enrol(t, w, "nas", "storage")
	_, err := w.client.AddUser(t.Context(), admin.AddUserRequest{Name: "tape", Client: "nas", Device: &admin.Device{MediaIdentifier: "m"}, Password: []byte("p")})
	must(t, err)
	password := []byte("password")
	for name, tc := range map[string]struct {
		req  admin.AddUserRequest
		code admin.Code
	}{
		"taken":             {admin.AddUserRequest{Name: "tape", Client: "nas", Password: password}, admin.CodeExists},
		"same device":       {admin.AddUserRequest{Name: "twin", Client: "nas", Device: &admin.Device{MediaIdentifier: "m"}}, admin.CodeRefused},
		"empty device":      {admin.AddUserRequest{Name: "x", Client: "nas", Device: &admin.Device{}, Password: password}, admin.CodeRefused},
		"no password":       {admin.AddUserRequest{Name: "x", Client: "nas"}, admin.CodeRefused},
		"long password":     {admin.AddUserRequest{Name: "x", Client: "nas", Password: slices.Repeat(password, 200)}, admin.CodeRefused},
		"bad name":          {admin.AddUserRequest{Name: "x\x00", Client: "nas", Password: password}, admin.CodeRefused},
		"unknown client":    {admin.AddUserRequest{Name: "x", Client: "none", Password: password}, admin.CodeNotFound},
		"unknown group":     {admin.AddUserRequest{Name: "x", Group: "none", Password: password}, admin.CodeNotFound},
		"neither":           {admin.AddUserRequest{Name: "x", Password: password}, admin.CodeBadRequest},
		"client and group":  {admin.AddUserRequest{Name: "x", Client: "nas", Group: "storage", Password: password}, admin.CodeBadRequest},
		"group by a client": {admin.AddUserRequest{Name: "x", Group: "nas", Password: password}, admin.CodeNotFound},
	} {
		_, err := w.client.AddUser(t.Context(), tc.req)
		wantCode(t, name, err, tc.code)
		if err != nil && strings.Contains(err.Error(), "passwordpassword") {
			t.Errorf("%s: the error quotes the password", name)
		}
	}
	_, err = w.client.SetPassword(t.Context(), "storage", "none", password)
	wantCode(t, "a password for nobody", err, admin.CodeNotFound)
	_, err = w.client.SetPassword(t.Context(), "storage", "tape", nil)
	wantCode(t, "no new password", err, admin.CodeRefused)
	_, err = w.client.RemoveUser(t.Context(), "storage", strings.Repeat("x", 300))
	wantCode(t, "removing a name that nobody can have", err, admin.CodeNotFound)
	if n := len(w.users.List()); n != 1 {
		t.Errorf("%d users, want 1", n)
	}
	if stored, err := adminserver.LoadUsers(t.Context(), w.store); err != nil || len(stored) != 1 {
		t.Errorf("stored: %d users, %v", len(stored), err)
	}
}

// A user whose removal could not be stored is out at once, and removed for good
// when it is asked again.
func TestRemoveUserAgainAfterAFailure(t *testing.T) {
	w := newWorld(t)
	enrol(t, w, "nas", "storage")
	_, err := w.client.AddUser(t.Context(), admin.AddUserRequest{Name: "Fred", Client: "nas", Password: []byte("p")})
	must(t, err)
	w.users.Remove("storage", "Fred") // as after a failed commit: out of memory, still stored
	_, err = w.client.RemoveUser(t.Context(), "storage", "Fred")
	must(t, err)
	if stored, err := adminserver.LoadUsers(t.Context(), w.store); err != nil || len(stored) != 0 {
		t.Errorf("stored: %d users, %v", len(stored), err)
	}
}

func TestRequireUser(t *testing.T) {
	w := newWorld(t)
	enrol(t, w, "nas", "storage")
	for _, require := range []bool{true, false, true} {
		c, err := w.client.RequireUser(t.Context(), "nas", require)
		must(t, err)
		if c.RequireUser != require || w.registry.RequiresUser("nas") != require {
			t.Errorf("required %v: the record says %v", require, c.RequireUser)
		}
	}
	if w.registry.RequiresUser("none") {
		t.Error("a client that is not there needs a user")
	}
	_, err := w.client.RequireUser(t.Context(), "none", true)
	wantCode(t, "an unknown client", err, admin.CodeNotFound)
}
