package config_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/internal/config"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyreeve.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The file that is shipped says every default, and has every setting.
func TestShippedFile(t *testing.T) {
	got, _, err := config.Load("../../deploy/keyreeve.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Data, want.IndexedAttributes = "/var/lib/keyreeve", []string{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the shipped file is not the defaults (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile("../../deploy/keyreeve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		leaf := name[strings.LastIndex(name, ".")+1:]
		i := strings.Index("\n"+string(data), "\n"+strings.Repeat("  ", strings.Count(name, "."))+leaf+":")
		if i < 0 {
			t.Errorf("setting %s is not in the shipped file", name)
			continue
		}
		before := strings.TrimRight(string(data[:i]), "\n")
		if last := before[strings.LastIndex(before, "\n")+1:]; !strings.HasPrefix(strings.TrimSpace(last), "#") {
			t.Errorf("setting %s has no comment above it", name)
		}
	}
}

func TestEverySettingCanBeSetThreeWays(t *testing.T) {
	values := map[string]string{
		"data": "/d", "listen": "127.0.0.1:1", "metrics_listen": "off", "admin_socket": "/s", "admin_listen": "127.0.0.1:5697", "log_format": "json",
		"log_level": "debug", "root_key_file": "/r", "passphrase_file": "/p", "legacy_suites": "true", "refuse_inactive": "true", "make_fresh_keys": "true", "dev": "true",
		"grace_period": "1h", "indexed_attributes": "[x-a, x-b]", "lease_time": "2h", "min_free": "1GiB", "drain_timeout": "3s",
		"record_file": "/rec", "record_hide": "[names, addresses]", "record_size": "2MiB",
		"backup.dir": "/b", "backup.every": "24h", "backup.recipients": "[age1x, /r.txt]", "backup.passphrase_file": "/bp",
		"backup.keep_daily": "5", "backup.keep_weekly": "6",
		"audit.segment_size": "1MiB", "audit.segment_age": "1h", "audit.checkpoint_every": "1m", "audit.checkpoint_entries": "5",
		"audit.archive_to": "/a", "audit.archive_after": "2h", "audit.archive_above": "3MiB", "audit.keep_at_least": "3h",
		"audit.export_file": "/e", "audit.export_file_size": "4MiB", "audit.syslog": "logs:6514", "audit.syslog_ca": "/c", "audit.syslog_name": "n",
		"limits.handshake": "4s", "limits.first_byte": "5s", "limits.request": "6s", "limits.idle": "7s", "limits.write": "8s",
		"limits.message_size": "2048", "limits.response_size": "4096", "limits.depth": "9", "limits.items": "100", "limits.batch_items": "11",
		"limits.connections": "12", "limits.per_address": "13", "limits.pending": "14",
	}
	want := config.Config{
		Data: "/d", Listen: "127.0.0.1:1", MetricsListen: "off", AdminSocket: "/s", AdminListen: "127.0.0.1:5697", LogFormat: "json",
		LogLevel: slog.LevelDebug, RootKeyFile: "/r", PassphraseFile: "/p", LegacySuites: true, RefuseInactive: true, MakeFreshKeys: true, Dev: true,
		GracePeriod: time.Hour, IndexedAttributes: []string{"x-a", "x-b"}, LeaseTime: 2 * time.Hour, MinFree: 1 << 30, DrainTimeout: 3 * time.Second,
		RecordFile: "/rec", RecordHide: []string{"names", "addresses"}, RecordSize: 2 << 20,
		Backup: config.Backup{Dir: "/b", Every: 24 * time.Hour, Recipients: []string{"age1x", "/r.txt"}, PassphraseFile: "/bp", KeepDaily: 5, KeepWeekly: 6},
		Audit: config.Audit{SegmentSize: 1 << 20, SegmentAge: time.Hour, CheckpointEvery: time.Minute, CheckpointEntries: 5,
			ArchiveTo: "/a", ArchiveAfter: 2 * time.Hour, ArchiveAbove: 3 << 20, KeepAtLeast: 3 * time.Hour,
			ExportFile: "/e", ExportFileSize: 4 << 20, Syslog: "logs:6514", SyslogCA: "/c", SyslogName: "n"},
		Limits: config.Limits{Handshake: 4 * time.Second, FirstByte: 5 * time.Second, Request: 6 * time.Second, Idle: 7 * time.Second,
			Write: 8 * time.Second, MessageSize: 2048, ResponseSize: 4096, Depth: 9, Items: 100, BatchItems: 11, Connections: 12, PerAddress: 13, Pending: 14},
	}
	var yaml strings.Builder
	groups := map[string]string{}
	var environ []string
	var set config.Config
	for _, name := range config.Names() {
		value, ok := values[name]
		if !ok {
			t.Fatalf("setting %s has no value in this test", name)
		}
		plain := strings.Trim(value, "[]")
		environ = append(environ, config.Env(name)+"="+plain)
		if err := set.Set(name, plain); err != nil {
			t.Error(err)
		}
		if group, leaf, ok := strings.Cut(name, "."); ok {
			groups[group] += "  " + leaf + ": " + value + "\n"
		} else {
			yaml.WriteString(name + ": " + value + "\n")
		}
	}
	for group, leaves := range groups {
		yaml.WriteString(group + ":\n" + leaves)
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("Set (-want +got):\n%s", diff)
	}
	got, _, err := config.Load(file(t, yaml.String()), nil)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("file: %v (-want +got):\n%s", err, diff)
	}
	got, unknown, err := config.Load("", environ)
	if diff := cmp.Diff(want, got); diff != "" || err != nil || unknown != nil {
		t.Errorf("environment: %v, unknown %v (-want +got):\n%s", err, unknown, diff)
	}
}

func TestEnvironmentIsOverTheFile(t *testing.T) {
	got, unknown, err := config.Load(file(t, "listen: :1\nlease_time: 5s\n"),
		[]string{"KEYREEVE_LISTEN=:2", "HOME=/x", "KEYREEVE_LEASE_TIME=", "KEYREEVE_OTHER=", "KEYREEVE_PORT=tcp://10.0.0.1:5696", "KEYREEVE_CONFIG=/etc/x"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != ":2" || got.LeaseTime != 5*time.Second {
		t.Errorf("listen %s, lease time %s", got.Listen, got.LeaseTime)
	}
	if diff := cmp.Diff([]string{"KEYREEVE_PORT"}, unknown); diff != "" {
		t.Errorf("unknown variables (-want +got):\n%s", diff)
	}
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	for _, content := range []string{"", "\n", "# nothing\n", "---\n# nothing\n"} {
		got, _, err := config.Load(file(t, content), nil)
		if diff := cmp.Diff(config.Default(), got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", content, err, diff)
		}
	}
}

// Each complaint names the line and what is wrong with it.
func TestRefusedFiles(t *testing.T) {
	for content, want := range map[string]string{
		"data: /d\nlisen: :5696\n":              `line 2: unknown key "lisen"`,
		"limits:\n  idel: 1m\n":                 `line 2: unknown key "limits.idel"`,
		"listen: :1\n\nlisten: :2\n":            `line 3: "listen" is set a second time`,
		"limits:\n  idle: 1m\nlimits: {}\n":     `line 3: "limits" is set a second time`,
		"limits: 5\n":                           `line 1: "limits" holds settings of its own`,
		"listen: 5696\n":                        `line 1: listen: "5696" is not an address`,
		"listen: {port: 5}\n":                   `line 1: unknown key "listen.port"`,
		"listen:\n":                             "line 1: listen: no value",
		"log_level: loud\n":                     `line 1: log_level: "loud" is not one of`,
		"log_format: xml\n":                     `line 1: log_format: "xml" is not one of`,
		"legacy_suites: yes\n":                  `line 1: legacy_suites: "yes" is neither true nor false`,
		"lease_time: 30\n":                      `line 1: lease_time: "30" is not a duration`,
		"grace_period: -1h\n":                   "line 1: grace_period: -1h is too short",
		"limits:\n  idle: 0s\n":                 "line 2: limits.idle: 0s is too short",
		"limits:\n  depth: 100000\n":            "line 2: limits.depth: 100000 is not between 8 and 64",
		"limits:\n  depth: deep\n":              `line 2: limits.depth: "deep" is not a whole number`,
		"min_free: lots\n":                      `line 1: min_free: "lots"`,
		"min_free: 5000000000GiB\n":             "line 1: min_free:",
		"indexed_attributes: [Name]\n":          `line 1: indexed_attributes: "Name" is not a custom attribute`,
		"indexed_attributes: [[x-a]]\n":         "a list inside a list",
		"- listen\n":                            "line 1: want settings as name: value",
		"listen: [\n":                           "line 1:",
		"data: &a /d\n":                         "want a plain value",
		"data: *a\n":                            "line 1:",
		"data: !!binary aGk=\n":                 "want a plain value",
		"listen: :1\n---\nlisten: :2\n":         "line 3: a second document",
		"just words\n":                          "line 1: want settings as name: value",
		"limits: {idle: {idle: {idle: 1}}}\n":   `unknown key "limits.idle.idle"`,
		"root_key: inline-secret-of-somebody\n": `line 1: unknown key "root_key"`,
	} {
		_, _, err := config.Load(file(t, content), nil)
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", content, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "inline-secret") {
			t.Errorf("a value under an unknown key is printed: %v", err)
		}
	}
}

func TestRefusedEnvironment(t *testing.T) {
	_, _, err := config.Load("", []string{"KEYREEVE_LIMITS_IDLE=soon"})
	if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), `KEYREEVE_LIMITS_IDLE: "soon" is not a duration`) {
		t.Error(err)
	}
}

func TestMissingFile(t *testing.T) {
	_, _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil)
	if !errors.Is(err, config.ErrInvalid) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	var c config.Config
	if err := c.Set("nothing", "1"); !errors.Is(err, config.ErrInvalid) {
		t.Error(err)
	}
}

// Whatever the file holds, it is taken or refused with a sentence.
func FuzzFile(f *testing.F) {
	f.Add("listen: :5696\nlimits:\n  idle: 1m\n")
	f.Add("indexed_attributes: [x-a]\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 1<<10 {
			return // the library is slow on those, and the file is the operator's own
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := config.Load(path, nil); err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}

// Every mistake is told, in one go, and every setting says where it comes from.
func TestExplain(t *testing.T) {
	path := file(t, "listen: :1\nlisen: :2\nlimits:\n  idle: soon\n  depth: 9\nlog_level: loud\nlease_time: 5s\n")
	e := config.Explain(path, []string{"KEYREEVE_LISTEN=:3", "KEYREEVE_LIMITS_ITEMS=many", "KEYREEVE_PORT=1"})
	wants := []string{`line 2: unknown key "lisen"`, "line 4: limits.idle", "line 6: log_level", "KEYREEVE_LIMITS_ITEMS"}
	if len(e.Problems) != len(wants) {
		t.Fatalf("problems: %v", e.Problems)
	}
	for i, want := range wants {
		if err := e.Problems[i]; !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("problem %v, want %q", err, want)
		}
	}
	got := map[string]string{}
	for _, o := range e.Origins {
		got[o.Name] = o.Value + " from " + strings.TrimPrefix(o.From, path)
	}
	for name, want := range map[string]string{
		"listen": ":3 from KEYREEVE_LISTEN", "limits.depth": "9 from :5", "lease_time": "5s from :7", "limits.idle": "10m0s from default",
		"grace_period": "720h0m0s from default", "min_free": "64MiB from default", "log_level": "info from default",
		"indexed_attributes": "[] from default", "record_hide": "[names, attributes, usernames, addresses] from default",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if len(got) != len(config.Names()) || len(e.Unknown) != 1 {
		t.Errorf("%d of %d settings, unknown %v", len(got), len(config.Names()), e.Unknown)
	}
}

// What is shown of a setting sets it: config check prints what a file may say.
func TestShownValuesCanBeSet(t *testing.T) {
	e := config.Explain("", nil)
	want := e.Config
	for _, o := range e.Origins {
		if err := e.Config.Set(o.Name, strings.Trim(o.Value, "[]")); err != nil && o.Value != "" {
			t.Error(err)
		}
	}
	want.IndexedAttributes = []string{}
	if diff := cmp.Diff(want, e.Config); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
