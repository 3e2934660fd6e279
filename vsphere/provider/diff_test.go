package provider_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

var (
	noon    = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	yes, no = types.NewBool(true), types.NewBool(false)
	cluster = types.ManagedObjectReference{Type: "ClusterComputeResource", Value: "domain-c1"}
)

func validFor(days int) *provider.Cert {
	return &provider.Cert{SHA1: "AA:BB", NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(0, 0, days)}
}

// green is a server that is connected.
func green(name, address string) provider.ServerState {
	return provider.ServerState{Name: name, Address: address, Port: 5696, Status: "green", Connection: "Connected", TrustsServer: yes, TrustsClient: yes, Cert: validFor(400)}
}

func with(s provider.ServerState, change func(*provider.ServerState)) provider.ServerState {
	change(&s)
	return s
}

func has(name string, servers ...provider.ServerState) provider.Observed {
	return provider.Observed{Name: name, Type: "vCenter", Overall: "green", Servers: servers, Client: validFor(400)}
}

func as(o provider.Observed, change func(*provider.Observed)) provider.Observed {
	change(&o)
	return o
}

var given = provider.ServerTrust{CA: []*x509.Certificate{{}}}

func wants(name string, servers ...provider.Server) provider.Provider {
	return provider.Provider{Name: name, Servers: servers, Server: given, Client: provider.ClientTrust{Client: "vcenter"}}
}

func at(name, address string) provider.Server { return provider.Server{Name: name, Address: address} }

func words(p provider.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, string(s.Kind))
	}
	for range p.Blocked {
		out = append(out, "BLOCKED")
	}
	return strings.Join(out, " ")
}

// Each row is a situation, and what is to be done in it.
func TestDiff(t *testing.T) {
	const k, a = "keyreeve", "192.0.2.9"
	one := provider.Desired{Providers: []provider.Provider{wants(k, at("kms-1", a))}}
	two := provider.Desired{Providers: []provider.Provider{wants(k, at("kms-1", a), at("kms-2", "192.0.2.10"))}}
	method := func(m provider.Method) provider.Desired {
		w := wants(k, at("kms-1", a))
		w.Client.Method, w.Client.CA, w.Client.Subject = m, []byte("x"), "CN=vcenter"
		return provider.Desired{Providers: []provider.Provider{w}}
	}
	server := func(change func(*provider.Server)) provider.Desired {
		s := at("kms-1", a)
		change(&s)
		return provider.Desired{Providers: []provider.Provider{wants(k, s)}}
	}
	untrusting := one
	untrusting.Providers = []provider.Provider{wants(k, at("kms-1", a))}
	untrusting.Providers[0].Server = provider.ServerTrust{}
	withDefault := one
	withDefault.Default = k
	onCluster := one
	onCluster.EntityDefaults = []provider.EntityDefault{{Entity: cluster, Path: "/DC0/host/C0", Provider: k}}
	gone := provider.Desired{Absent: []string{"old"}}
	replaced := withDefault
	replaced.Absent = []string{"old"}
	old := has("old", green("kms-9", "192.0.2.99"))
	oldDefault := as(old, func(o *provider.Observed) { o.Default = true })
	unused := map[string]provider.Uses{"old": {}}
	used := map[string]provider.Uses{"old": {Keys: 2, Names: []string{"vm-1"}}}
	unseen := map[string]provider.Uses{"old": {Unseen: []string{"the machine vm-2 is locked"}}}
	ok := has(k, green("kms-1", a))
	for _, row := range []struct {
		name    string
		have    []provider.Observed
		desired provider.Desired
		uses    map[string]provider.Uses
		entity  string // the default of the cluster
		want    string
		warns   int
		says    string // in what is blocked or warned of
	}{
		{name: "a bare vCenter", desired: one, want: "add-server trust-server trust-client"},
		{name: "a bare vCenter, two servers", desired: two, want: "add-server add-server trust-server trust-server trust-client"},
		{name: "a bare vCenter, and nothing to compare with", desired: untrusting, want: "add-server BLOCKED", says: "first use"},
		{name: "a bare vCenter, and a default", desired: withDefault, want: "add-server trust-server trust-client set-default"},
		{name: "all as desired", have: []provider.Observed{ok}, desired: one},
		{name: "somebody else's provider is left alone", have: []provider.Observed{ok, old}, desired: one, uses: used},
		{name: "a person's provider of that name is taken over", have: []provider.Observed{ok}, desired: untrusting},
		{name: "the name is a native provider's", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Type = "nativeProvider" })}, desired: one, want: "BLOCKED", says: "another name"},
		{name: "the name is a trusted provider's", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Type = "trustAuthority" })}, desired: one, want: "BLOCKED", says: "trustAuthority"},
		{name: "an old vCenter that names no type", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Type = "" })}, desired: one},
		{name: "it was renamed under encrypted machines", have: []provider.Observed{has("old", green("kms-1", a))}, desired: one, uses: used, want: "BLOCKED", says: "never changes"},
		{name: "it was renamed, and nobody knows who uses it", have: []provider.Observed{has("old", green("kms-1", a))}, desired: one, want: "BLOCKED", says: "not known"},
		{name: "it was renamed, and a machine that may use it is locked", have: []provider.Observed{has("old", green("kms-1", a))}, desired: one, uses: unseen, want: "add-server trust-server trust-client", warns: 1, says: "not known"},
		{name: "it is to go, and a machine that may use it is locked", have: []provider.Observed{old}, desired: gone, uses: unseen, want: "BLOCKED", says: "vm-2 is locked"},
		{name: "it was renamed while nobody uses it", have: []provider.Observed{has("old", green("kms-1", a))}, desired: one, uses: unused, want: "add-server trust-server trust-client", warns: 1, says: "absent"},
		{name: "another provider with the same server is desired too", have: []provider.Observed{has("old", green("kms-1", a))}, desired: provider.Desired{Providers: []provider.Provider{wants("old", at("kms-1", a)), wants(k, at("kms-1", a))}}, want: "add-server trust-server trust-client"},
		{name: "a second server", have: []provider.Observed{ok}, desired: two, want: "add-server trust-server"},
		{name: "another address", have: []provider.Observed{has(k, green("kms-1", "192.0.2.8"))}, desired: one, want: "update-server trust-server", says: ""},
		{name: "another port", have: []provider.Observed{ok}, desired: server(func(s *provider.Server) { s.Port = 5697 }), want: "update-server trust-server"},
		{name: "an address in another case", have: []provider.Observed{has(k, green("kms-1", "KMS.example.com"))}, desired: server(func(s *provider.Server) { s.Address = "kms.example.com" })},
		{name: "a proxy", have: []provider.Observed{ok}, desired: server(func(s *provider.Server) { s.ProxyAddress, s.ProxyPort = "192.0.2.1", 3128 }), want: "update-server"},
		{name: "a proxy that goes", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.ProxyAddress, s.ProxyPort = "192.0.2.1", 3128 }))}, desired: one, want: "update-server"},
		{name: "a user", have: []provider.Observed{ok}, desired: server(func(s *provider.Server) { s.User = "vsphere" }), want: "update-server"},
		{name: "a new password", have: []provider.Observed{ok}, desired: server(func(s *provider.Server) { s.SetPassword = true }), want: "update-server"},
		{name: "a new password for a server that takes nothing yet", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsClient, s.Status = no, "red" }))}, desired: server(func(s *provider.Server) { s.SetPassword = true }), want: "update-server"},
		{name: "another user for a server that takes nothing yet", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsClient, s.Status, s.User = no, "red", "x" }))}, desired: server(func(s *provider.Server) { s.User = "vsphere" }), want: "update-server"},
		{name: "the same server under another alias", have: []provider.Observed{has(k, green("person's", a))}, desired: one, warns: 1, says: "taken over"},
		{name: "the same server under another alias, with another user", have: []provider.Observed{has(k, green("person's", a))}, desired: server(func(s *provider.Server) { s.User = "vsphere" }), want: "update-server", warns: 1},
		{name: "a server too many", have: []provider.Observed{has(k, green("kms-1", a), green("kms-2", "192.0.2.10"))}, desired: one, want: "remove-server"},
		{name: "a server too many, and the desired one is down", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.Status = "red" }), green("kms-2", "192.0.2.10"))}, desired: one, want: "BLOCKED", says: "stays until"},
		{name: "all servers are to be others", have: []provider.Observed{has(k, green("kms-7", "192.0.2.7"))}, desired: one, want: "add-server trust-server BLOCKED", says: "stays until"},
		{name: "vCenter does not trust the server", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsServer, s.TrustsClient, s.Status = no, no, "red" }))}, desired: one, want: "trust-server"},
		{name: "vCenter does not say whether it trusts the server", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsServer = nil }))}, desired: one, want: "trust-server"},
		{name: "vCenter does not trust it, and nothing to compare with", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsServer, s.Status = no, "red" }))}, desired: untrusting, want: "BLOCKED", says: "first use"},
		{name: "vCenter does not reach the server", have: []provider.Observed{has(k, provider.ServerState{Name: "kms-1", Address: a, Port: 5696, Status: "red", Connection: "connection refused", TrustsServer: no, TrustsClient: no})}, desired: one, want: "BLOCKED", says: "connection refused"},
		{name: "the server's certificate ends soon", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.Cert = validFor(10) }))}, desired: one, warns: 1, says: "ends at"},
		{name: "the server's certificate has ended", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.Cert = validFor(-1) }))}, desired: one, want: "BLOCKED", says: "ended at"},
		{name: "vCenter has no certificate", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = nil })}, desired: one, want: "trust-client"},
		{name: "the server does not take vCenter's certificate", have: []provider.Observed{has(k, with(green("kms-1", a), func(s *provider.ServerState) { s.TrustsClient, s.Status = no, "red" }))}, desired: one, want: "trust-client"},
		{name: "one of two servers does not take it", have: []provider.Observed{has(k, green("kms-1", a), with(green("kms-2", "192.0.2.10"), func(s *provider.ServerState) { s.TrustsClient, s.Status = no, "red" }))}, desired: two, want: "BLOCKED", says: "one store"},
		{name: "one of two servers is down", have: []provider.Observed{has(k, green("kms-1", a), provider.ServerState{Name: "kms-2", Address: "192.0.2.10", Port: 5696, Status: "red", TrustsServer: yes, TrustsClient: no})}, desired: two},
		{name: "vCenter's certificate ends soon", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(29) })}, desired: one, want: "renew-client"},
		{name: "vCenter's certificate ends, and not soon", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(31) })}, desired: one},
		{name: "vCenter's certificate has ended", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(-1) })}, desired: one, want: "renew-client"},
		{name: "vCenter's own certificate ends soon", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(1) })}, desired: method(provider.SelfSigned), want: "renew-client"},
		{name: "an uploaded pair ends soon", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(1) })}, desired: method(provider.Pair), want: "renew-client"},
		{name: "a foreign CA's certificate ends soon", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Client = validFor(1) })}, desired: method(provider.ForeignCA), warns: 1, says: "renew it there"},
		{name: "vCenter's certificate is not valid yet", have: []provider.Observed{as(ok, func(o *provider.Observed) {
			o.Client = &provider.Cert{NotBefore: noon.AddDate(0, 0, 1), NotAfter: noon.AddDate(1, 0, 0)}
		})}, desired: one, want: "BLOCKED", says: "clock"},
		{name: "there is no default", have: []provider.Observed{ok}, desired: withDefault, want: "set-default"},
		{name: "another one is the default", have: []provider.Observed{ok, oldDefault}, desired: withDefault, uses: used, want: "set-default"},
		{name: "it is the default", have: []provider.Observed{as(ok, func(o *provider.Observed) { o.Default = true })}, desired: withDefault},
		{name: "somebody else's default is left alone", have: []provider.Observed{ok, oldDefault}, desired: one, uses: used},
		{name: "a default that is not there", have: []provider.Observed{ok}, desired: provider.Desired{Default: "ghost"}, want: "BLOCKED", says: "no such provider"},
		{name: "a default that is somebody else's provider", have: []provider.Observed{old}, desired: provider.Desired{Default: "old"}, uses: used, want: "set-default"},
		{name: "a cluster's default", have: []provider.Observed{ok}, desired: onCluster, want: "set-entity-default"},
		{name: "a cluster's default that is another", have: []provider.Observed{ok, old}, desired: onCluster, uses: used, entity: "old", want: "set-entity-default"},
		{name: "a cluster's default that is right", have: []provider.Observed{ok}, desired: onCluster, entity: k},
		{name: "a cluster's default that is not there", desired: provider.Desired{EntityDefaults: []provider.EntityDefault{{Entity: cluster, Path: "/C0", Provider: "ghost"}}}, want: "BLOCKED", says: "no such provider"},
		{name: "it goes", have: []provider.Observed{old}, desired: gone, uses: unused, want: "remove-provider"},
		{name: "it is gone", desired: gone},
		{name: "it stays while keys are in use", have: []provider.Observed{old}, desired: gone, uses: used, want: "BLOCKED", says: "2 of its keys are in use (vm-1)"},
		{name: "it stays while nobody knows", have: []provider.Observed{old}, desired: gone, want: "BLOCKED", says: "not known"},
		{name: "a native one is not ours to remove", have: []provider.Observed{as(old, func(o *provider.Observed) { o.Type = "nativeProvider" })}, desired: gone, uses: unused, want: "BLOCKED", says: "not ours"},
		{name: "the default goes without a successor", have: []provider.Observed{oldDefault}, desired: gone, uses: unused, want: "BLOCKED", says: "successor"},
		{name: "the default goes with its successor", have: []provider.Observed{ok, oldDefault}, desired: replaced, uses: unused, want: "set-default remove-provider"},
		{name: "a cluster's default goes without a successor", have: []provider.Observed{old}, desired: gone, uses: unused, entity: "old", want: "BLOCKED", says: "/DC0/host/C0"},
		{name: "a cluster's default goes with its successor", have: []provider.Observed{ok, old}, desired: provider.Desired{Providers: one.Providers, EntityDefaults: onCluster.EntityDefaults, Absent: []string{"old"}}, uses: unused, entity: "old", want: "set-entity-default remove-provider"},
	} {
		s := provider.State{Time: noon, Providers: row.have, Uses: row.uses, EntityDefaults: map[types.ManagedObjectReference]string{}}
		if row.entity != "" {
			s.EntityDefaults[cluster], s.Paths = row.entity, map[types.ManagedObjectReference]string{cluster: "/DC0/host/C0"}
		}
		p, err := provider.Diff(s, row.desired)
		want := strings.Fields(row.want)
		got := strings.Fields(words(p))
		if err != nil || len(got) != len(want) || p.InSync() != (row.want == "") {
			t.Errorf("%s: %q, want %q (%v) %v", row.name, got, row.want, err, p.Blocked)
			continue
		}
		for _, w := range want {
			if strings.Count(words(p), w) != strings.Count(row.want, w) {
				t.Errorf("%s: %q, want %q", row.name, got, row.want)
			}
		}
		text := ""
		for _, b := range append(p.Blocked, p.Warnings...) {
			text += b.Text + "\n"
		}
		if len(p.Warnings) != row.warns || !strings.Contains(text, row.says) {
			t.Errorf("%s: %d warnings, says %q", row.name, len(p.Warnings), text)
		}
	}
}

// Servers come before their trust, trust before the default, and a provider
// goes after its successor.
func TestOrder(t *testing.T) {
	d := provider.Desired{Providers: []provider.Provider{wants("new", at("kms-1", "192.0.2.9"))}, Default: "new", Absent: []string{"old"}}
	old := as(has("old", green("kms-9", "192.0.2.99")), func(o *provider.Observed) { o.Default = true })
	p, err := provider.Diff(provider.State{Time: noon, Providers: []provider.Observed{old}, Uses: map[string]provider.Uses{"old": {}}}, d)
	if got := words(p); err != nil || got != "add-server trust-server trust-client set-default remove-provider" {
		t.Errorf("%q %v", got, err)
	}
}

// What contradicts itself is refused.
func TestCheck(t *testing.T) {
	good := func() provider.Desired {
		return provider.Desired{Providers: []provider.Provider{wants("k", at("kms-1", "192.0.2.9"))}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*provider.Desired){
		"twice":               func(d *provider.Desired) { d.Providers = append(d.Providers, d.Providers[0]) },
		"absent too":          func(d *provider.Desired) { d.Absent = []string{"k"} },
		"absent default":      func(d *provider.Desired) { d.Absent, d.Default = []string{"x"}, "x" },
		"no name":             func(d *provider.Desired) { d.Providers[0].Name = "" },
		"a line break":        func(d *provider.Desired) { d.Providers[0].Name = "a\nb" },
		"no server":           func(d *provider.Desired) { d.Providers[0].Servers = nil },
		"an alias twice":      func(d *provider.Desired) { d.Providers[0].Servers = append(d.Providers[0].Servers, at("kms-1", "x")) },
		"a URL":               func(d *provider.Desired) { d.Providers[0].Servers[0].Address = "https://kms" },
		"a port":              func(d *provider.Desired) { d.Providers[0].Servers[0].Port = 70000 },
		"half a proxy":        func(d *provider.Desired) { d.Providers[0].Servers[0].ProxyAddress = "p" },
		"password alone":      func(d *provider.Desired) { d.Providers[0].Servers[0].Password = secret.Own([]byte("x")) },
		"no client":           func(d *provider.Desired) { d.Providers[0].Client.Client = "" },
		"a bare CA":           func(d *provider.Desired) { d.Providers[0].Client.Method = provider.ForeignCA },
		"an unknown method":   func(d *provider.Desired) { d.Providers[0].Client.Method = "magic" },
		"a default of nobody": func(d *provider.Desired) { d.EntityDefaults = []provider.EntityDefault{{Entity: cluster}} },
		"an absent default of a cluster": func(d *provider.Desired) {
			d.EntityDefaults, d.Absent = []provider.EntityDefault{{Entity: cluster, Provider: "x"}}, []string{"x"}
		},
		"a cluster twice": func(d *provider.Desired) {
			d.EntityDefaults = []provider.EntityDefault{{Entity: cluster, Provider: "k"}, {Entity: cluster, Provider: "k"}}
		},
	} {
		d := good()
		spoil(&d)
		if d.Check() == nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := provider.Diff(provider.State{}, d); err == nil {
			t.Errorf("%s: Diff takes it", name)
		}
	}
}

// A status that is not Normal is explained, in the order in which a connection
// comes about.
func TestReasons(t *testing.T) {
	for _, row := range []struct {
		name string
		o    provider.Observed
		says string // "": Normal
	}{
		{"connected", has("k", green("a", "x")), ""},
		{"no server", has("k"), "no server"},
		{"a native provider, which has none", as(has("k"), func(o *provider.Observed) { o.Type = "nativeProvider" }), ""},
		{"a native provider that is not well", as(has("k"), func(o *provider.Observed) { o.Type, o.Overall = "nativeProvider", "red" }), `"red"`},
		{"not reached", has("k", provider.ServerState{Name: "a", Status: "red", Connection: "timed out", TrustsServer: no, TrustsClient: no}), "timed out"},
		{"server expired", has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status, s.Cert = "red", validFor(-1) })), "its certificate ended"},
		{"server from tomorrow", has("k", with(green("a", "x"), func(s *provider.ServerState) {
			s.Status, s.Cert = "red", &provider.Cert{NotBefore: noon.AddDate(0, 0, 1), NotAfter: noon.AddDate(1, 0, 0)}
		})), "clock"},
		{"vCenter distrusts", has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status, s.TrustsServer = "red", no })), "AA:BB"},
		{"green and distrusted", has("k", with(green("a", "x"), func(s *provider.ServerState) { s.TrustsClient = no })), "does not take"},
		{"vCenter has nothing to show", as(has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status, s.TrustsClient = "red", no })), func(o *provider.Observed) { o.Client = nil }), "no certificate to show"},
		{"vCenter expired", as(has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status, s.TrustsClient = "red", no })), func(o *provider.Observed) { o.Client = validFor(-1) }), "vCenter's certificate ended"},
		{"server distrusts", has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status, s.TrustsClient = "red", no })), "not enrolled"},
		{"no reason", has("k", with(green("a", "x"), func(s *provider.ServerState) { s.Status = "gray" })), `"gray"`},
		{"no reason for the whole", as(has("k", green("a", "x")), func(o *provider.Observed) { o.Overall = "yellow" }), "yellow"},
		{"a text that forges lines", has("k", provider.ServerState{Name: "a\nb", Status: "red", Connection: "x\n\x1b[31m"}), "a b"},
	} {
		got := strings.Join(row.o.Reasons(noon), "; ")
		if (got == "") != (row.says == "") || !strings.Contains(got, row.says) || strings.ContainsAny(got, "\n\x1b") {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}

// "Cannot generate key" is explained by the status and by our own probe.
func TestExplainGenerate(t *testing.T) {
	ok := has("k", green("a", "x"))
	red := has("k", provider.ServerState{Name: "a", Status: "red"})
	probe := func(s provider.Stage) error {
		return &provider.ProofError{Stage: s, Server: "x:5696", Err: errText("boom")}
	}
	for _, row := range []struct {
		o     *provider.Observed
		probe error
		says  string
	}{
		{nil, nil, "no such key provider"},
		{&ok, nil, "for a moment"},
		{&red, nil, "does not get to it"},
		{&red, probe(provider.StageDial), "down or not reached"},
		{&red, probe(provider.StageHandshake), "let even us in"},
		{&ok, probe(provider.StageCreate), "green and the server gives no keys"},
		{&ok, probe(provider.StageGet), "root key"},
		{&red, probe(provider.StageGet), "answers and gives no keys"},
	} {
		if got := provider.ExplainGenerate(row.o, noon, row.probe); !strings.Contains(got, row.says) {
			t.Errorf("%q, want %q", got, row.says)
		}
	}
}

type errText string

func (e errText) Error() string { return string(e) }
