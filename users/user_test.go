package users_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/users"
)

func TestValidate(t *testing.T) {
	good := hash("p")
	change := func(f func(h *users.Hash)) *users.Hash {
		h := *good
		f(&h)
		return &h
	}
	for _, c := range []struct {
		name string
		user users.User
		want string // "": taken
	}{
		{"plain", users.User{Name: "Fred", Group: "g", Password: good}, ""},
		{"a domain's", users.User{Name: `VSPHERE.LOCAL\Jörg Müller`, Group: "g", Password: good}, ""},
		{"a last letter that ends in the byte of a space", users.User{Name: "Nicolà", Group: "g", Password: good}, ""},
		{"another", users.User{Name: "Солдатских", Group: "g", Device: &users.Device{SerialNumber: "Å"}}, ""},
		{"a space of another alphabet", users.User{Name: "Fred\u3000", Group: "g", Password: good}, "begins or ends with a space"},
		{"a slash", users.User{Name: "a/b", Group: "g", Password: good}, ""},
		{"no name", users.User{Group: "g", Password: good}, "the name is empty"},
		{"a long name", users.User{Name: strings.Repeat("a", 129), Group: "g", Password: good}, "129 bytes"},
		{"a line end", users.User{Name: "Fred\n", Group: "g", Password: good}, "begins or ends with a space"},
		{"an escape", users.User{Name: "F\x1b[2Jred", Group: "g", Password: good}, "U+001B"},
		{"no UTF-8", users.User{Name: "F\xff", Group: "g", Password: good}, "not UTF-8"},
		{"a space before", users.User{Name: " Fred", Group: "g", Password: good}, "begins or ends with a space"},
		{"no group", users.User{Name: "Fred", Password: good}, "no group"},
		{"no password", users.User{Name: "Fred", Group: "g"}, "no password"},
		{"a device", users.User{Name: "d", Group: "g", Device: &users.Device{MediaIdentifier: "m"}}, ""},
		{"a device without fields", users.User{Name: "d", Group: "g", Device: &users.Device{}, Password: good}, "at least one"},
		{"a device's long field", users.User{Name: "d", Group: "g", Device: &users.Device{SerialNumber: strings.Repeat("x", 257)}}, "257 bytes"},
		{"too much memory", users.User{Name: "f", Group: "g", Password: change(func(h *users.Hash) { h.Memory = 1 << 20 })}, "out of bounds"},
		{"too many passes", users.User{Name: "f", Group: "g", Password: change(func(h *users.Hash) { h.Passes = 17 })}, "out of bounds"},
		{"no threads", users.User{Name: "f", Group: "g", Password: change(func(h *users.Hash) { h.Threads = 0 })}, "out of bounds"},
		{"half a hash", users.User{Name: "f", Group: "g", Password: change(func(h *users.Hash) { h.Sum = h.Sum[:16] })}, "cut short"},
	} {
		err := c.user.Validate()
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, users.ErrBadUser) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestNewHashBounds(t *testing.T) {
	for _, password := range []string{"", strings.Repeat("x", 1025)} {
		if _, err := users.NewHash(secret.Own([]byte(password))); !errors.Is(err, users.ErrPassword) {
			t.Errorf("%d bytes: %v", len(password), err)
		}
	}
	a, errA := users.NewHash(secret.Own([]byte("p")))
	b, errB := users.NewHash(secret.Own([]byte("p")))
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(a.Sum, b.Sum) {
		t.Error("two users with one password have one hash")
	}
}

// Older records keep the parameters that they were made with.
func TestParametersAreTheRecords(t *testing.T) {
	r := newRig(t, users.User{Name: "old", Group: "storage", Password: &users.Hash{Memory: 64, Passes: 1, Threads: 2,
		Salt: []byte("saltsalt"), Sum: []byte("\x17\x7e\x80\x6b\xe6\x4f\x90\x92\xe2\xa9\x23\xc2\x29\x56\x86\x91\x4b\x38\x4a\xd6\xac\xc7\xe5\xf4\x21\x9a\x17\x04\x31\xc0\xd3\x51")}})
	r.wants("old", userAndPassword("old", "password"))
}

// Two users may not have one credential: whose the objects are would be a guess.
func TestConflictsAreRefused(t *testing.T) {
	r := newRig(t, tape())
	twin := tape()
	twin.Name = "twin"
	for what, err := range map[string]error{"Check": r.Check(twin), "Put": r.Put(twin)} {
		if !errors.Is(err, users.ErrConflict) || !strings.Contains(err.Error(), `"tape" and "twin"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := len(r.List()); got != 1 {
		t.Errorf("%d users, want 1", got)
	}
	other := twin
	other.Group = "other"
	if err := r.Put(other); err != nil {
		t.Errorf("the same device in another group: %v", err)
	}
	if _, err := users.NewRegistry(users.Config{}, []users.User{tape(), tape()}); !errors.Is(err, users.ErrBadUser) {
		t.Errorf("two records of one name: %v", err)
	}
	if r.Has("storage") != 1 || r.Has("other") != 1 || r.Has("none") != 0 {
		t.Error("Has counts wrongly")
	}
	if u, ok := r.Get("other", "twin"); !ok || u.Name != "twin" {
		t.Errorf("Get = %v, %v", u, ok)
	}
}
