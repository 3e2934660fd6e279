package users_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gemalto/kmip-go/kmip14"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/users"
)

// A rig is a registry with a clock that is set by hand.
type rig struct {
	*users.Registry
	t       *testing.T
	now     atomic.Int64 // seconds
	metrics *prometheus.Registry
}

func newRig(t *testing.T, list ...users.User) *rig {
	t.Helper()
	r := &rig{t: t, metrics: prometheus.NewRegistry()}
	r.now.Store(1_700_000_000)
	var err error
	r.Registry, err = users.NewRegistry(users.Config{Now: func() time.Time { return time.Unix(r.now.Load(), 0) }, Metrics: r.metrics}, list)
	if err != nil {
		t.Fatal(err)
	}
	r.CheapDecoy()
	return r
}

// hashes returns how many passwords were hashed so far.
func (r *rig) hashes() int {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "keyreeve_users_hashes_total" {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	r.t.Fatal("no metric of hashes")
	return 0
}

// nas is the client of most tests.
var nas = users.Client{Name: "nas", Group: "storage"}

// says asks who a request of nas with these credentials is from.
func (r *rig) says(credentials ...kmip.Credential) string {
	r.t.Helper()
	return r.saysTo(nas, credentials...)
}

// saysTo returns "" for the client itself, a user's name, or "refused: why".
func (r *rig) saysTo(c users.Client, credentials ...kmip.Credential) string {
	r.t.Helper()
	user, err := r.Authenticate(r.t.Context(), c, credentials)
	if e, ok := errors.AsType[*users.Error](err); ok {
		if user != "" {
			r.t.Errorf("an error, and the user %q too", user)
		}
		return "refused: " + e.Reason
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return user
}

func (r *rig) wants(want string, credentials ...kmip.Credential) {
	r.t.Helper()
	if got := r.says(credentials...); got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

// hash is cheap: what it costs is not what most tests are about.
func hash(password string) *users.Hash { return users.CheapHash([]byte(password)) }

func named(name, password string) users.User {
	return users.User{Name: name, Group: "storage", Password: hash(password)}
}

// tape is a device with a password, gate one without.
func tape() users.User {
	return users.User{Name: "tape", Group: "storage", Password: hash("secret"), Device: &users.Device{SerialNumber: "s1", MediaIdentifier: "m1"}}
}

func gate() users.User {
	return users.User{Name: "gate", Group: "storage", Device: &users.Device{NetworkIdentifier: "n1"}}
}

func userAndPassword(name, password string) kmip.Credential {
	return kmip.Credential{Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte(name), Password: []byte(password)}
}

func device(change ...func(*kmip.Credential)) kmip.Credential {
	c := kmip.Credential{Type: kmip14.CredentialTypeDevice, DeviceSerialNumber: []byte("s1"), MediaIdentifier: []byte("m1"), Password: []byte("secret")}
	for _, f := range change {
		f(&c)
	}
	return c
}

const (
	unknown     = "refused: no user of the group has this credential"
	mistyped    = "refused: the user's password is wrong"
	noUser      = "refused: the client must name a user, and the request has no credential"
	unsupported = "refused: the request has a credential of a type that is not supported"
	ambiguous   = "refused: the request has credentials of several users"
)

// TestTable holds every cell of the table of credentials and clients, and the
// table in docs/kmip-profile.md to have the same rows.
func TestTable(t *testing.T) {
	documented := documentedTable(t)
	fred, barney := userAndPassword("Fred", "password1"), userAndPassword("Barney", "secret2")
	attestation, vendor := kmip.Credential{Type: kmip14.CredentialTypeAttestation}, kmip.Credential{Type: 0x80000001}
	noPassword := kmip.Credential{Type: kmip14.CredentialTypeUsernameAndPassword, Username: []byte("Fred")}
	list := []users.User{named("Fred", "password1"), named("Barney", "secret2"), tape(), gate()}
	without, with := newRig(t), newRig(t, list...)
	must := nas
	must.RequireUser = true
	for _, row := range []struct {
		name                     string
		sent                     []kmip.Credential
		without, with            string
		required, requiredButNot string // with users in the group, and with none
	}{
		{"none", nil, "", "", noUser, noUser},
		{"user and password", []kmip.Credential{fred}, "", "Fred", "Fred", unknown},
		{"device", []kmip.Credential{device()}, "", "tape", "tape", unknown},
		{"wrong password", []kmip.Credential{userAndPassword("Fred", "secret2")}, "", mistyped, mistyped, unknown},
		{"no password", []kmip.Credential{noPassword}, "", mistyped, mistyped, unknown},
		{"unknown user", []kmip.Credential{userAndPassword("Wilma", "password1")}, "", unknown, unknown, unknown},
		{"unknown device", []kmip.Credential{device(func(c *kmip.Credential) { c.MediaIdentifier = nil })}, "", unknown, unknown, unknown},
		{"attestation", []kmip.Credential{attestation}, "", unsupported, unsupported, unsupported},
		{"a vendor's type", []kmip.Credential{vendor}, "", unsupported, unsupported, unsupported},
		{"the same user twice", []kmip.Credential{fred, fred}, "", "Fred", "Fred", unknown},
		{"two users", []kmip.Credential{fred, barney}, "", ambiguous, ambiguous, unknown},
		{"a user and a device", []kmip.Credential{device(), fred}, "", ambiguous, ambiguous, unknown},
		{"right and wrong", []kmip.Credential{fred, userAndPassword("Barney", "x")}, "", mistyped, mistyped, unknown},
		{"wrong and right", []kmip.Credential{userAndPassword("Wilma", "x"), fred}, "", unknown, unknown, unknown},
		{"right and unsupported", []kmip.Credential{fred, attestation}, "", unsupported, unsupported, unsupported},
	} {
		for _, cell := range []struct {
			client string
			got    string
			want   string
		}{
			{"without users", without.says(row.sent...), row.without},
			{"with users", with.says(row.sent...), row.with},
			{"user required", with.saysTo(must, row.sent...), row.required},
			{"user required, none there", without.saysTo(must, row.sent...), row.requiredButNot},
		} {
			if cell.got != cell.want {
				t.Errorf("credentials %s, client %s: %q, want %q", row.name, cell.client, cell.got, cell.want)
			}
		}
		want := fmt.Sprintf("| %s | %s | %s | %s |", row.name, inWords(row.without), inWords(row.with), inWords(row.required))
		if !slices.Contains(documented, want) {
			t.Errorf("docs/kmip-profile.md does not have the row\n%s", want)
		}
		documented = slices.DeleteFunc(documented, func(line string) bool { return line == want })
	}
	for _, row := range documented {
		t.Errorf("docs/kmip-profile.md has a row that is not tested:\n%s", row)
	}
}

// documentedTable returns the rows of the table of credentials.
func documentedTable(t *testing.T) (rows []string) {
	t.Helper()
	page, err := os.ReadFile("../docs/kmip-profile.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| credentials | client without users | client with users | user required |\n|---|---|---|---|\n")
	if !found {
		t.Fatal("docs/kmip-profile.md has no table of credentials")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	return strings.Split(table, "\n")
}

func inWords(said string) string {
	switch {
	case said == "":
		return "the client itself"
	case strings.HasPrefix(said, "refused"):
		return "refused"
	}
	return "that user"
}

// A device's credential fits with just the fields that were enrolled.
func TestDeviceIsMatchedExactly(t *testing.T) {
	all := users.User{Name: "all", Group: "storage", Password: hash("p"), Device: &users.Device{SerialNumber: "s", DeviceIdentifier: "d",
		NetworkIdentifier: "n", MachineIdentifier: "a", MediaIdentifier: "m"}}
	r := newRig(t, tape(), gate(), all)
	full := kmip.Credential{Type: kmip14.CredentialTypeDevice, DeviceSerialNumber: []byte("s"), DeviceIdentifier: []byte("d"),
		NetworkIdentifier: []byte("n"), MachineIdentifier: []byte("a"), MediaIdentifier: []byte("m"), Password: []byte("p")}
	r.wants("all", full)
	r.wants("tape", device())
	r.wants("gate", kmip.Credential{Type: kmip14.CredentialTypeDevice, NetworkIdentifier: []byte("n1")})
	for name, change := range map[string]func(*kmip.Credential){
		"a field more":        func(c *kmip.Credential) { c.MachineIdentifier = []byte("a") },
		"an empty field more": func(c *kmip.Credential) { c.MachineIdentifier = []byte{} },
		"a field less":        func(c *kmip.Credential) { c.DeviceSerialNumber = nil },
		"another value":       func(c *kmip.Credential) { c.DeviceSerialNumber = []byte("S1") },
		"values swapped": func(c *kmip.Credential) {
			c.DeviceSerialNumber, c.MediaIdentifier = c.MediaIdentifier, c.DeviceSerialNumber
		},
		"in another field":     func(c *kmip.Credential) { c.DeviceIdentifier, c.DeviceSerialNumber = c.DeviceSerialNumber, nil },
		"values run together":  func(c *kmip.Credential) { c.DeviceSerialNumber, c.MediaIdentifier = []byte("s1m1"), nil },
		"nothing but password": func(c *kmip.Credential) { c.DeviceSerialNumber, c.MediaIdentifier = nil, nil },
	} {
		if got := r.says(device(change)); got != unknown {
			t.Errorf("%s: %q, want %q", name, got, unknown)
		}
	}
	r.wants(mistyped, device(func(c *kmip.Credential) { c.Password = []byte("Secret") }))
	r.wants(mistyped, device(func(c *kmip.Credential) { c.Password = nil }))
	r.wants(mistyped, kmip.Credential{Type: kmip14.CredentialTypeDevice, NetworkIdentifier: []byte("n1"), Password: []byte("")})
	r.wants(unknown, userAndPassword("tape", "secret"))
	r.wants(unknown, userAndPassword("gate", ""))
}

// A user of one group is nobody in another, whatever the client.
func TestUsersBelongToTheirGroup(t *testing.T) {
	r := newRig(t, named("Fred", "password1"), users.User{Name: "Fred", Group: "vcenter", Password: hash("other")})
	right := userAndPassword("Fred", "password1")
	r.wants("Fred", right)
	second := users.Client{Name: "nas-2", Group: "storage"}
	if got := r.saysTo(second, right); got != "Fred" {
		t.Errorf("another client of the group: %q", got)
	}
	if got := r.saysTo(users.Client{Name: "vcenter", Group: "vcenter"}, right); got != mistyped {
		t.Errorf("the user of the same name in another group: %q", got)
	}
	// "a/b" in group "g" must not be "b" in a group "g/a".
	r.wants(unknown, userAndPassword("../vcenter/Fred", "other"))
}

// A success is remembered: the next request costs no hash. It is forgotten with
// the password, with the user, and with time, and it is one client's.
func TestRightIsRemembered(t *testing.T) {
	r := newRig(t, named("Fred", "password1"))
	right := userAndPassword("Fred", "password1")
	costs := func(what string, hashes int, do func()) {
		t.Helper()
		before := r.hashes()
		do()
		if got := r.hashes() - before; got != hashes {
			t.Errorf("%s: %d hashes, want %d", what, got, hashes)
		}
	}
	costs("the first time", 1, func() { r.wants("Fred", right) })
	costs("again", 0, func() { r.wants("Fred", right); r.wants("Fred", right) })
	costs("from another client", 1, func() { r.saysTo(users.Client{Name: "nas-2", Group: "storage"}, right) })
	costs("a wrong password each time", 2, func() {
		r.wants(mistyped, userAndPassword("Fred", "x"))
		r.wants(mistyped, userAndPassword("Fred", "x"))
	})
	costs("an unknown user each time", 2, func() {
		r.wants(unknown, userAndPassword("Wilma", "x"))
		r.wants(unknown, userAndPassword("Wilma", "x"))
	})
	costs("a device's field beside it", 1, func() { r.wants("Fred", withDevice(right)) })
	r.now.Add(16 * 60)
	costs("after a quarter of an hour", 1, func() { r.wants("Fred", right) })

	if err := r.Put(named("Fred", "password2")); err != nil {
		t.Fatal(err)
	}
	costs("the old password", 1, func() { r.wants(mistyped, right) })
	costs("the new one", 1, func() { r.wants("Fred", userAndPassword("Fred", "password2")) })
	if err := r.Put(named("Fred", "password1")); err != nil {
		t.Fatal(err)
	}
	costs("the first one, set again", 1, func() { r.wants("Fred", right) })
	r.Put(named("Barney", "b")) // so that the group has users
	if !r.Remove("storage", "Fred") || r.Remove("storage", "Fred") {
		t.Error("Remove does not say whether there was one")
	}
	costs("a user that was removed", 1, func() { r.wants(unknown, right) })
	r.Put(named("Fred", "password3"))
	costs("the old password of a user added again", 1, func() { r.wants(mistyped, right) })
}

// withDevice is a credential with a field that its type does not have.
func withDevice(c kmip.Credential) kmip.Credential {
	c.DeviceSerialNumber = []byte("s")
	return c
}

// A device whose user has no password: a credential with one costs a hash too.
func TestEveryRefusalCostsAHash(t *testing.T) {
	r := newRig(t, named("Fred", "password1"), gate())
	withPassword := kmip.Credential{Type: kmip14.CredentialTypeDevice, NetworkIdentifier: []byte("n1"), Password: []byte("x")}
	for name, c := range map[string]kmip.Credential{
		"wrong password": userAndPassword("Fred", "x"), "unknown user": userAndPassword("x", "x"),
		"unknown device": device(), "a password too many": withPassword,
	} {
		before := r.hashes()
		if got := r.says(c); !strings.HasPrefix(got, "refused") {
			t.Errorf("%s: %q", name, got)
		}
		if got := r.hashes() - before; got != 1 {
			t.Errorf("%s: %d hashes, want 1", name, got)
		}
	}
}

// What a refusal says holds nothing of what was claimed: a password is easily
// typed into the field for the name.
func TestRefusalsQuoteNothing(t *testing.T) {
	r := newRig(t, named("Fred", "password1"))
	for _, c := range []kmip.Credential{userAndPassword("hunter2", "hunter2"), userAndPassword("Fred", "hunter2"), device(func(c *kmip.Credential) { c.DeviceSerialNumber = []byte("hunter2") })} {
		_, err := r.Authenticate(t.Context(), nas, []kmip.Credential{c})
		if e, ok := errors.AsType[*users.Error](err); !ok || strings.Contains(e.Reason+e.User, "hunter2") {
			t.Errorf("%v", err)
		}
	}
}

func TestAuthenticateEndsWithItsContext(t *testing.T) {
	r := newRig(t, named("Fred", "password1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	held := make(chan struct{})
	release := r.Hold(nas.Name)
	go func() {
		defer close(held)
		if _, err := r.Authenticate(ctx, nas, []kmip.Credential{userAndPassword("Fred", "password1")}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
	}()
	<-held
	release()
	r.wants("Fred", userAndPassword("Fred", "password1"))
}

// A user that is removed while its credential waits to be checked is gone.
func TestRemovedWhileWaiting(t *testing.T) {
	r := newRig(t, named("Fred", "password1"), named("Barney", "b"))
	release := r.Hold(nas.Name)
	got := make(chan string)
	go func() { got <- r.says(userAndPassword("Fred", "password1")) }()
	r.AwaitWaiting(nas.Name, 2)
	r.Remove("storage", "Fred")
	release()
	if said := <-got; said != unknown {
		t.Errorf("got %q, want %q", said, unknown)
	}
}

// Requests of one client that come at once with one credential cost one hash.
func TestOneHashForAHerd(t *testing.T) {
	r := newRig(t, named("Fred", "password1"))
	release := r.Hold(nas.Name)
	got := make(chan string)
	for range 9 {
		go func() { got <- r.says(userAndPassword("Fred", "password1")) }()
	}
	r.AwaitWaiting(nas.Name, 10)
	release()
	for range 9 {
		if said := <-got; said != "Fred" {
			t.Errorf("got %q", said)
		}
	}
	if n := r.hashes(); n != 1 {
		t.Errorf("%d hashes, want 1", n)
	}
}

// A record survives being stored, and holds the password in no form but the hash.
func TestRecordAsJSON(t *testing.T) {
	u := tape()
	data, err := json.Marshal(u)
	if err != nil || strings.Contains(string(data), "secret\"") {
		t.Fatalf("%s, %v", data, err)
	}
	var back users.User
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	newRig(t, back).wants("tape", device())
}
