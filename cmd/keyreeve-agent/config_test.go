package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestSecret: a file that is named wins over the environment, and that over
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
		{file, []string{variable, folder}, "of the file"},
		{"", []string{variable, folder}, "of the environment"},
		{"", []string{folder}, "of systemd"},
	} {
		a, _ := testApp(tc.environ...)
		s, err := a.secret("vcenter.password", tc.file)
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
		_, err := a.secret(tc.setting, tc.file)
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

// TestPause: a pass that failed is made again soon, and no two agents keep step.
func TestPause(t *testing.T) {
	for _, tc := range []struct {
		failed bool
		jitter float64
		want   time.Duration
	}{
		{false, 0, 9 * time.Minute}, {false, 0.5, 10 * time.Minute}, {false, 1, 11 * time.Minute}, {true, 0.5, 30 * time.Second},
	} {
		if got := pause(10*time.Minute, tc.failed, tc.jitter); got.Round(time.Millisecond) != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// TestExample: the policy that is shipped is one that the agent takes.
func TestExample(t *testing.T) {
	example, err := os.ReadFile("../../deploy/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(append([]byte(least+"vcenter: {url: v, user: u, thumbprint: x}\n"), example...))
	if err != nil || len(c.policy.Rules) == 0 {
		t.Fatal(err)
	}
}

func TestPaused(t *testing.T) {
	for path, want := range map[string]string{
		"": "", "/nowhere/at/all": "", put(t, "pause", "move of the rack\n", 0o600): "move of the rack",
	} {
		if got, err := paused(path); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if got, _ := paused(t.TempDir()); got == "" {
		t.Error("a pause that cannot be read does not pause")
	}
}
