package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/policy"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

const shipped = "../../deploy/keyreeve-agent.yaml"

// TestShippedSettings: the file that is shipped is taken, and every secret and
// its places stand in it.
func TestShippedSettings(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != session.Observe || c.OVHcloud.TaskTimeout != 30*time.Minute || c.VCenter.RequestsPerSecond != 20 || c.StateDir != "/var/lib/keyreeve-agent" {
		t.Errorf("%+v", c)
	}
	for _, s := range secretNames {
		line := []string{s.setting, s.variable(), s.credential()}
		if !slices.ContainsFunc(strings.Split(string(data), "\n"), func(l string) bool {
			return slices.Equal(strings.Fields(strings.TrimPrefix(l, "#")), line)
		}) {
			t.Errorf("the shipped file does not say that %s", strings.Join(line, ", "))
		}
	}
}

const least = "server:\n  socket: /run/s\n  kmip: 192.0.2.1:5696\n"

func TestLeastSettings(t *testing.T) {
	c, err := parse([]byte(least + "ovhcloud: {endpoint: ovh-eu}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != session.Observe || c.VCenter != nil || c.OVHcloud.Address != "192.0.2.1" || c.Log.Format != "text" {
		t.Errorf("%+v", c)
	}
}

// TestEnvironment: every setting of the shipped file that is one value can come
// from the environment instead, and nothing else can.
func TestEnvironment(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, path := range settingPaths(reflect.TypeFor[config](), "") {
		if value := file.at(path); !value.IsZero() {
			environ = append(environ, variable(path)+"="+fmt.Sprint(value))
		}
	}
	got, err := parse([]byte("providers: [{name: keyreeve, default: true, client: vcenter, trust: csr, default_for: [], servers: [{name: kms-1, address: 203.0.113.10}]}]\nabsent_providers: []\novhcloud: {replaces: []}\n"), environ...)
	if err != nil {
		t.Fatal(err)
	}
	file.PolicyNode, file.policy = nil, nil
	if len(environ) < 20 || !reflect.DeepEqual(got, file) {
		t.Errorf("of %d variables:\n%+v\n%+v\n%+v\n%+v", len(environ), got, file, got.VCenter, got.OVHcloud)
	}
}

func TestEnvironmentOverFile(t *testing.T) {
	whole := "server: {url: 'https://h:1', bundle: /b, kmip: 'h:1'}\nvcenter: {url: v, user: u, ca_file: /ca}\novhcloud: {endpoint: e, address: 192.0.2.9, client_id: i}\n"
	c, err := parse([]byte(whole), "HOME=/x", "KEYREEVE_MODE=x", "KEYREEVE_AGENT_CONFIG=/f", "KEYREEVE_AGENT_VCENTER_PASSWORD=hunter2", "KEYREEVE_AGENT_LOG_LEVEL=", "KEYREEVE_AGENT_EMPTY=",
		"KEYREEVE_AGENT_MODE=enforce", "KEYREEVE_AGENT_SERVER_SOCKET=/s", "KEYREEVE_AGENT_VCENTER_THUMBPRINT=AA", "KEYREEVE_AGENT_OVHCLOUD_APPLICATION_KEY=k")
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != session.Enforce || c.Server != (serverConfig{Socket: "/s", KMIP: "h:1", RenewBefore: "720h"}) || c.VCenter.Thumbprint != "AA" || c.VCenter.CAFile != "" || c.OVHcloud.ApplicationKey != "k" || c.OVHcloud.ClientID != "" || c.Log.Level != "info" {
		t.Errorf("%+v %+v %+v", c, c.VCenter, c.OVHcloud)
	}
	c, err = parse([]byte(least), "KEYREEVE_AGENT_SERVER_URL=https://h:1", "KEYREEVE_AGENT_SERVER_BUNDLE=/b", "KEYREEVE_AGENT_OVHCLOUD_ENDPOINT=ovh-ca")
	if err != nil || c.Server != (serverConfig{URL: "https://h:1", Bundle: "/b", KMIP: "192.0.2.1:5696", RenewBefore: "720h"}) || c.OVHcloud.Endpoint != "ovh-ca" || c.OVHcloud.Address != "192.0.2.1" {
		t.Errorf("%+v %v", c, err)
	}
}

func TestRefusedEnvironment(t *testing.T) {
	for pair, want := range map[string]string{
		"KEYREEVE_AGENT_SERVER_KMPI=h:1":                   "KEYREEVE_AGENT_SERVER_KMPI: no setting or secret has this variable",
		"KEYREEVE_AGENT_POLICY=x":                          "KEYREEVE_AGENT_POLICY: no setting",
		"KEYREEVE_AGENT_PROVIDERS=x":                       "KEYREEVE_AGENT_PROVIDERS: no setting",
		"KEYREEVE_AGENT_OVHCLOUD_REPLACES=192.0.2.2":       "KEYREEVE_AGENT_OVHCLOUD_REPLACES: no setting",
		"KEYREEVE_AGENT_PROVIDERS_A_B_PASSWORD=hunter2":    "KEYREEVE_AGENT_PROVIDERS_A_B_PASSWORD: no setting",
		"KEYREEVE_AGENT_SERVER=x":                          "KEYREEVE_AGENT_SERVER: no setting",
		"KEYREEVE_AGENT_RUN_EVERY=10":                      `KEYREEVE_AGENT_RUN_EVERY: "10" is no duration`,
		"KEYREEVE_AGENT_VCENTER_REQUESTS_PER_SECOND=quick": `KEYREEVE_AGENT_VCENTER_REQUESTS_PER_SECOND: "quick" is no number`,
		"KEYREEVE_AGENT_MODE=all":                          `with KEYREEVE_AGENT_MODE over it: mode: "all" is not one of`,
		"KEYREEVE_AGENT_VCENTER_USER=u":                    "with KEYREEVE_AGENT_VCENTER_USER over it: vcenter.url: missing",
		"KEYREEVE_AGENT_SERVER_BUNDLE=/b":                  "a socket needs none",
	} {
		if _, err := parse([]byte(least), pair); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", pair, err, want)
		}
	}
	_, err := parse([]byte(least), "KEYREEVE_AGENT_SERVER_SOCKET=/s", "KEYREEVE_AGENT_SERVER_URL=https://h:1")
	if err == nil || !strings.Contains(err.Error(), "server: socket and url exclude each other") {
		t.Error(err)
	}
}

// TestProviderWithoutServers gets ours: at OVHcloud where OVHcloud lets it
// through, elsewhere where the agent reaches it.
func TestProviderWithoutServers(t *testing.T) {
	providers := "vcenter: {url: v, user: u, thumbprint: x}\nproviders:\n  - {name: a, client: c}\n  - {name: b, client: d, servers: [{name: s, address: 192.0.2.1}]}\n"
	at := func(environ ...string) (list []string) {
		c, err := parse([]byte("server: {socket: /s, kmip: '192.0.2.1:1234'}\n"+providers), environ...)
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.desiredProviders("")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Providers {
			list = append(list, fmt.Sprint(p.Servers[0].Name, " ", p.Servers[0].Address, " ", p.Servers[0].Port))
		}
		return list
	}
	if got := at(); !slices.Equal(got, []string{"kms-1 192.0.2.1 1234", "s 192.0.2.1 0"}) { // 0 is 5696
		t.Error(got)
	}
	if got := at("KEYREEVE_AGENT_OVHCLOUD_ENDPOINT=ovh-eu", "KEYREEVE_AGENT_OVHCLOUD_ADDRESS=192.0.2.7"); got[0] != "kms-1 192.0.2.7 5696" {
		t.Error(got)
	}
}

// Each complaint names the line, or the setting, and what to do.
func TestRefusedSettings(t *testing.T) {
	vcenter := least + "vcenter:\n  url: https://v\n  user: u\n"
	for content, want := range map[string]string{
		"":                              "the file says nothing",
		"# nothing\n":                   "the file says nothing",
		"- a\n":                         "line 1",
		"a: [\n":                        "line 1",
		least + "mod: observe\n":        `line 4: unknown key "mod"`,
		least + "vcenter:\n  urll: x\n": `line 5: unknown key "urll"`,
		least + least:                   "line 4: mapping key \"server\" already defined",
		least + "---\n" + least:         "line 5: a second document begins",
		least + "mode: all\n":           `mode: "all" is not one of`,
		least + "log: {level: loud}\n":  `log.level: "loud" is not one of`,
		least + "log: {format: xml}\n":  "log.format",
		vcenter + "  password: hunter2\n  thumbprint: x\n":               "line 7: vcenter.password: a secret never stands in this file: put it into a file and name that as vcenter.password_file, or into the variable KEYREEVE_AGENT_VCENTER_PASSWORD, or have systemd hand it over (LoadCredential=vcenter-password:FILE)",
		least + "ovhcloud:\n  endpoint: e\n  consumer_key: hunter2\n":    "line 6: ovhcloud.consumer_key: a secret never stands in this file",
		least + "ovhcloud: {endpoint: e, application_secret: hunter2}\n": "line 4: ovhcloud.application_secret: a secret never",
		least + "ovhcloud: {endpoint: e, access_token: {x: hunter2}}\n":  "line 4: ovhcloud.access_token: a secret never",
		vcenter: "give thumbprint (SHA-256 of its certificate) or ca_file",
		vcenter + "  thumbprint: x\n  ca_file: y\n":                         "thumbprint and ca_file exclude each other",
		least + "vcenter: {user: u, thumbprint: x}\n":                       "vcenter.url: missing",
		least + "vcenter: {url: u, thumbprint: x}\n":                        "vcenter.user: missing",
		least + "ovhcloud: {service: s}\n":                                  "ovhcloud.endpoint: missing",
		least + "run: {every: 1s}\n":                                        "run.every: 1s is too short",
		least + "run: {metrics_listen: x}\n":                                "run.metrics_listen:",
		least + "policy: {rules: []}\n":                                     "policy: it needs vcenter",
		"mode: observe\n":                                                   "server: give socket",
		"server: {socket: /s, url: 'https://h:1', kmip: 'h:1'}\n":           "exclude each other",
		"server: {url: 'https://h:1', kmip: 'h:1'}\n":                       "server.bundle: missing",
		"server: {socket: /s, bundle: /b, kmip: 'h:1'}\n":                   "a socket needs none",
		"server: {url: 'http://h:1', bundle: /b, kmip: 'h:1'}\n":            "want https://HOST:PORT",
		"server: {url: 'https://h', bundle: /b, kmip: 'h:1'}\n":             "want https://HOST:PORT",
		least + "  renew_before: soon\n":                                    `server.renew_before: "soon": want a duration such as 720h, or off`,
		least + "  renew_before: -1h\n":                                     "server.renew_before:",
		"server: {socket: /s}\n":                                            "server.kmip: missing",
		"server: {socket: /s, kmip: h}\n":                                   "want HOST:PORT",
		"server: {socket: /s, kmip: 'kms:5696'}\novhcloud: {endpoint: e}\n": "ovhcloud.address: missing",
	} {
		_, err := parse([]byte(content))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", content, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

func testApp(environ ...string) (*app, *bytes.Buffer) {
	var out bytes.Buffer
	return &app{in: &bytes.Buffer{}, out: &out, err: &out, environ: environ, now: time.Now}, &out
}

func put(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecret: the environment wins over the file that is named, and that over
// what systemd hands over.
func TestSecret(t *testing.T) {
	file := put(t, "p", "of the file\n", 0o640)
	credential := put(t, "vcenter-password", "of systemd", 0o400)
	variable := "KEYREEVE_AGENT_VCENTER_PASSWORD=of the environment"
	folder := "CREDENTIALS_DIRECTORY=" + filepath.Dir(credential)
	for _, tc := range []struct {
		file    string
		environ []string
		want    string
	}{
		{file, []string{variable, folder}, "of the environment"},
		{file, []string{folder}, "of the file"},
		{"", []string{folder}, "of systemd"},
	} {
		a, _ := testApp(tc.environ...)
		s, err := a.secret(secretName{"vcenter.password"}, tc.file)
		if err != nil || string(s.Expose()) != tc.want {
			t.Errorf("%s: %v", tc.want, err)
		}
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	for name, tc := range map[string]struct{ setting, file, environ, want string }{
		"nowhere":             {"vcenter.password", "", "", "vcenter.password: missing: put it into a file"},
		"not among systemd's": {"vcenter.password", "", "CREDENTIALS_DIRECTORY=" + t.TempDir(), "missing: put it into a file"},
		"open to everybody":   {"vcenter.password", put(t, "p", "x", 0o644), "", "can be read by everybody (mode 0644): chmod o="},
		"empty":               {"vcenter.password", put(t, "p", "\n", 0o600), "", "is empty"},
		"too long":            {"vcenter.password", put(t, "p", strings.Repeat("x", maxSecret+1), 0o600), "", "which is no secret"},
		"no file":             {"ovhcloud.consumer_key", "/nowhere", "", "ovhcloud.consumer_key_file: "},
	} {
		a, _ := testApp(tc.environ)
		_, err := a.secret(secretName{tc.setting}, tc.file)
		if !errors.Is(err, errConfig) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLinksNoKeyStore: the agent holds credentials of vCenter, and not one line
// of what opens keys, nor the simulator.
func TestLinksNoKeyStore(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/keyreeve/keyreeve/vsphere/session") {
		t.Fatalf("go list printed only %d packages", len(deps))
	}
	for _, d := range deps {
		for _, never := range []string{"keyreeve/keystore", "go.etcd.io", "govmomi/simulator", "vsphere/vspheretest", "kmip/operations", "kmip/kmipserver", "keyreeve/users"} {
			if strings.Contains(d, never) {
				t.Errorf("the agent links %s", d)
			}
		}
	}
}

// TestReportNumbers: each is used once, over restarts too, and two agents do
// not count side by side.
func TestReportNumbers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second agent: %v", err)
	}
	a, err := first.nextReport("v1")
	if err != nil {
		t.Fatal(err)
	}
	first.close()
	second, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	b, err1 := second.nextReport("v1")
	c, err2 := second.nextReport("v2")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if len(a.Instance) != 36 || b.Instance != a.Instance || a.Number != 1 || b.Number != 2 || c.Number != 1 {
		t.Error(a, b, c)
	}
	if err := os.WriteFile(filepath.Join(dir, "reports.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := second.nextReport("v1"); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Error(err)
	}
}

// TestPause: a pass that failed is made again soon, but not for days at that
// rate, and no two agents keep step.
func TestPause(t *testing.T) {
	for _, tc := range []struct {
		failures int
		jitter   float64
		want     time.Duration
	}{
		{0, 0, 9 * time.Minute}, {0, 0.5, 10 * time.Minute}, {0, 1, 11 * time.Minute}, {1, 0.5, 30 * time.Second},
		{2, 0.5, time.Minute}, {5, 0.5, 8 * time.Minute}, {6, 0.5, 10 * time.Minute}, {10_000, 0.5, 10 * time.Minute},
	} {
		if got := pause(10*time.Minute, tc.failures, tc.jitter); got.Round(time.Millisecond) != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// TestExample: the example that is shipped is one that the agent takes.
func TestExample(t *testing.T) {
	example, err := os.ReadFile("../../deploy/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(example)
	if err != nil || len(c.policy.Rules) == 0 {
		t.Fatal(err)
	}
}

// TestOptionalPrivileges: what starts and stops machines is asked for where the
// policy may do that.
func TestOptionalPrivileges(t *testing.T) {
	for _, tc := range []struct {
		policy *policy.Policy
		id     string
		want   bool
	}{
		{nil, "VirtualMachine.Interact.PowerOff", true}, {&policy.Policy{}, "VirtualMachine.Interact.PowerOn", true},
		{&policy.Policy{ShutDown: true}, "VirtualMachine.Interact.PowerOn", false},
		{&policy.Policy{}, "Cryptographer.Encrypt", false}, {nil, "VirtualMachine.Config.Settings", false},
	} {
		if got := (&config{policy: tc.policy}).optional(tc.id); got != tc.want {
			t.Errorf("%s, shut down %v: %v", tc.id, tc.policy, got)
		}
	}
}
