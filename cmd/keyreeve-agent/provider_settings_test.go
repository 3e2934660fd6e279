package main

import (
	"fmt"
	"strings"
	"testing"
)

const behindVCenter = least + "vcenter: {url: v, user: u, thumbprint: x}\n"

// TestProviders: all that a provider can have reaches what is desired.
func TestProviders(t *testing.T) {
	pin := strings.Repeat("AA:", 31) + "AA"
	c, err := parse([]byte(behindVCenter+`
absent_providers: [old, older]
providers:
  - name: a b
    default: true
    default_for: [/DC0/host/C0, /DC0/host/F0]
    client: c
    group: g
    trust: ca
    ca_file: /ca.pem
    subject: CN=vcsa,O=X
    server_fingerprints: ["`+pin+`"]
    servers:
      - {name: kms.1, address: k1, port: 1, proxy: {address: p, port: 3128}, user: v}
      - {name: kms.2, address: k2, user: v, password_file: /p}
  - {name: b, client: d, trust: self-signed, subject: "CN=vc, OU=one, O=X, L=l, ST=s, C=FR, EMAILADDRESS=e@x"}
  - {name: c, client: e, trust: pair}
  - {name: d, client: f, subject: CN=x, server_ca_file: /roots.pem}
`), "KEYREEVE_AGENT_PROVIDERS_A_B_KMS_1_PASSWORD=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.desiredProviders("BB")
	if err != nil {
		t.Fatal(err)
	}
	a, b := d.Providers[0], d.Providers[1]
	for want, got := range map[string]any{
		"a b [old older]":                                                   d.Default + " " + fmt.Sprint(d.Absent),
		"[{/DC0/host/C0 10} {/DC0/host/F0 10}]":                             c.Providers[0].DefaultFor,
		"{ca c g [47 99 97 46 112 101 109] CN=vcsa,O=X <nil>}":              a.Client,
		"{[] [" + pin + "]} true":                                           fmt.Sprint(a.Server, a.OtherServers),
		"[{kms.1 k1 1 p 3128 v <nil> false} {kms.2 k2 0  0 v <nil> false}]": a.Servers,
		"{{} vc X one l s FR e@x}":                                          *b.Client.Request,
		"{[] [BB]} false":                                                   fmt.Sprint(b.Server, b.OtherServers),
		"pair <nil>":                                                        fmt.Sprint(d.Providers[2].Client.Method, " ", d.Providers[2].Client.Request),
		"x {[] []} true":                                                    fmt.Sprint(d.Providers[3].Client.Request.CommonName, " ", d.Providers[3].Server, d.Providers[3].OtherServers),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("\n got %v\nwant %s", got, want)
		}
	}
}

func TestRefusedProviders(t *testing.T) {
	one := behindVCenter + "providers:\n  - name: k\n    client: c\n"
	server := one + "    servers: [{name: s, address: a, "
	for content, want := range map[string]string{
		least + "providers: [{name: k, client: c}]\n":                                    "providers: they need vcenter",
		least + "absent_providers: [k]\n":                                                "providers: they need vcenter",
		one + "absent_providers: [k]\n":                                                  `key provider "k" is to be there and to be absent`,
		one + "    trust: magic\n":                                                       `trust "magic": want csr, self-signed, ca or pair`,
		one + "    trust: ca\n    ca_file: /f\n":                                         "providers: k: trust: ca needs ca_file, the CA that issued vCenter's certificate, and subject",
		one + "    trust: ca\n    subject: CN=x\n":                                       "trust: ca needs ca_file",
		one + "    trust: ca\n    ca_file: /f\n    subject: /CN=x\n":                     "OpenSSL's old form",
		one + "    ca_file: /f\n":                                                        "ca_file: it is for trust: ca",
		one + "    trust: pair\n    subject: CN=x\n":                                     "subject: with trust: pair the key server",
		one + "    subject: CN=x,DC=y\n":                                                 "providers: k: subject: subject CN=x,DC=y: vCenter takes CN, O, OU, L, ST, C and EMAILADDRESS, and no DC",
		one + "    subject: CN=x,O=y,O=z\n":                                              "vCenter takes one O",
		one + "    subject: O=z\n":                                                       "want a CN",
		one + "    subject: x\n":                                                         "bad distinguished name",
		one + "    server_fingerprints: [AA]\n":                                          `server_fingerprints: "AA": want SHA-256`,
		one + "    default_for: [C0]\n":                                                  "line 8: default_for: want the paths",
		one + "    default_for: [/a, {x: /b}]\n":                                         "line 8: default_for: want the paths",
		one + "    default_for: [/a]\n  - {name: l, client: d, default_for: [/b, /a]}\n": "providers: l: line 9: default_for: /a has a default provider already",
		server + "proxy: {address: p}}]\n":                                               "server s: a proxy needs address and port",
		server + "proxy: {port: 1}}]\n":                                                  "server s: a proxy needs address and port",
		server + "proxy: {host: p}}]\n":                                                  `line 8: unknown key "host"`,
		server + "password_file: /p}]\n":                                                 "server s: password_file needs user",
		server + "user: u, password: hunter2}]\n":                                        "line 8: providers.PROVIDER.SERVER.password: a secret never stands in this file",
		server + "user: u}, {name: S, address: b, user: v}]\n":                           "providers: k: server S: its password would have the variable of another server's, KEYREEVE_AGENT_PROVIDERS_K_S_PASSWORD: give password_file",
		one + "    default: true\n  - {name: l, client: d, default: true}\n":             "providers: more than one is the default",
	} {
		_, err := parse([]byte(content))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s:\n got %v\nwant %s", content, err, want)
		}
	}
}

// TestServerPassword: where it is looked for, and that it is missed.
func TestServerPassword(t *testing.T) {
	s := serverPassword("keyreeve", "kms-1")
	a, _ := testApp(s.variable() + "=hunter2")
	if got, err := a.secret(s, ""); err != nil || string(got.Expose()) != "hunter2" || s.variable() != "KEYREEVE_AGENT_PROVIDERS_KEYREEVE_KMS_1_PASSWORD" {
		t.Error(s.variable(), err)
	}
	a, _ = testApp()
	_, err := a.secret(s, "")
	if err == nil || !strings.Contains(err.Error(), "providers.keyreeve.kms-1.password: missing") || !strings.Contains(err.Error(), "LoadCredential=providers-keyreeve-kms-1-password:FILE") {
		t.Error(err)
	}
}
