package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/ovhcloud"
)

func TestRenewBefore(t *testing.T) {
	leaf := &x509.Certificate{NotAfter: time.Date(2028, 6, 30, 0, 0, 0, 0, time.UTC)}
	for line, want := range map[string]string{
		"": "2028-05-31", "  renew_before: 48h\n": "2028-06-28", "  renew_before: off\n": "never", "  renew_before: 0\n": "never", "  renew_before: 0s\n": "never",
	} {
		c, err := parse([]byte(least + line))
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		got := "never"
		if from := c.renewFrom(leaf); !from.IsZero() {
			got = from.Format(time.DateOnly)
		}
		if got != want {
			t.Errorf("%q: renewed from %s on, want %s", line, got, want)
		}
	}
}

// The agent finds out which of vCenter's servers is its own, or leaves it to a
// person: with another one's name the wrong server would be looked at.
func TestAlias(t *testing.T) {
	const vcenter = least + "vcenter: {url: v, user: u, thumbprint: x}\n"
	const provider = "  - {name: %, client: c, servers: [&]}\n"
	with := func(name, servers string) string {
		return strings.NewReplacer("%", name, "&", servers).Replace(provider)
	}
	for content, want := range map[string]string{
		least: "name no key provider",
		vcenter + "providers:\n  - {name: p, client: c}\n": "kms-1", // as in the example
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.1}") + "  - {name: q, client: c, server_ca_file: f, servers: [{name: b, address: h}]}\n": "a",
		vcenter + "providers:\n  - {name: q, client: c, server_ca_file: f, servers: [{name: b, address: h}]}\n":                                                   "name no key provider",
		vcenter + "providers:\n  - {name: q, client: c, server_ca_file: f, servers: [{name: b, address: 192.0.2.1}]}\n":                                           "b",
		vcenter + "providers:\n" + with("p", "{name: a, address: nat.example}"):                                                                                   "a",
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.2}, {name: b, address: 192.0.2.1}"):                                                      "b",
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.2}, {name: b, address: 192.0.2.1, port: 1}"):                                             "which one is it?",
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.1}") + with("q", "{name: a, address: 192.0.2.1}"):                                        "a",
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.1}") + with("q", "{name: b, address: 192.0.2.1}"):                                        "call the key server a and b",
		vcenter + "providers:\n" + with("p", "{name: a, address: 192.0.2.1}") + with("q", "{name: b, address: h}, {name: c, address: h2}"):                        "which one is it?",
	} {
		c, err := parse([]byte(content))
		if err != nil {
			t.Errorf("%s: %v", content, err)
			continue
		}
		d, err := c.desiredProviders("")
		if err != nil {
			t.Error(err)
		}
		_, got, err := c.ours(d.Providers)
		if got != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %q, %v; want %s", content, got, err, want)
		}
	}
}

// A certificate that the server's CA would sign in place of another CA's cuts
// off every client that trusts that one.
func TestSameIssuer(t *testing.T) {
	own := &x509.Certificate{RawIssuer: []byte("own"), AuthorityKeyId: []byte{1}}
	for name, c := range map[string]*x509.Certificate{
		"another name": {RawIssuer: []byte("other"), AuthorityKeyId: []byte{1}},
		"another key":  {RawIssuer: []byte("own"), AuthorityKeyId: []byte{2}},
	} {
		if err := sameIssuer(c, own); !errors.Is(err, errOtherCA) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := sameIssuer(own, &x509.Certificate{RawIssuer: []byte("own"), AuthorityKeyId: []byte{1}}); err != nil {
		t.Error(err)
	}
}

// A person renews what the agent cannot.
func TestMayRenew(t *testing.T) {
	a, _ := testApp()
	c, err := parse([]byte(least + "vcenter: {url: v, user: u, thumbprint: x}\nproviders:\n  - {name: p, client: c, servers: [{name: a, address: h}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	l := &link{app: a, config: c}
	if err := l.mayRenew(&x509.Certificate{NotAfter: time.Now().Add(-time.Second)}); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
	if err := l.mayRenew(&x509.Certificate{NotAfter: time.Now().Add(time.Second)}); err != nil {
		t.Error(err)
	}
}

// What was put back is tried again, and not in every pass; the less time is left
// the sooner.
func TestAgain(t *testing.T) {
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{30 * 24 * time.Hour: 6 * time.Hour, 4 * time.Hour: time.Hour, time.Minute: 15 * time.Second} {
		if got := again(now, &x509.Certificate{NotAfter: now.Add(left)}).Sub(now); got != want {
			t.Errorf("%s left: after %s, want %s", left, got, want)
		}
	}
}

// Only what OVHcloud has judged is a refusal of the thumbprint.
func TestRefusesThumbprint(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":            {nil, false},
		"the task failed":    {fmt.Errorf("registering: %w", &ovhcloud.TaskError{}), true},
		"a wrong request":    {&ovhcloud.Error{Status: 400}, true},
		"no right":           {&ovhcloud.Error{Status: 403}, false},
		"not there":          {&ovhcloud.Error{Status: 503}, false},
		"not reached":        {errors.New("dial tcp: refused"), false},
		"another task, busy": {ovhcloud.ErrBlocked, false},
	} {
		if got := refusesThumbprint(tc.err); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
