package policy

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

func TestExample(t *testing.T) {
	file, err := os.ReadFile("../../deploy/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	limits := defaults().Limits
	limits.Changes = 500
	if len(p.Rules) != 3 || p.BackupWaived || p.ShutDown || p.Limits != limits || p.Rules[1].Rekey.MaxAge != 365*day || len(p.Protect) != 2 {
		t.Errorf("%+v", p)
	}
}

// A mistake is told with its line, and nothing of a file with one holds.
func TestRefusedFiles(t *testing.T) {
	const rule = "policy:\n  rules:\n    - name: a\n      match: {name: x}\n"
	for _, tc := range []struct{ name, file, want string }{
		{"empty", "", "no policy"},
		{"another section only", "vcenter: {}\n", "no policy"},
		{"no YAML", "policy: [", "line 1"},
		{"a plain value", "policy: yes\n", "line 1: the policy: want name: value"},
		{"no rules", "policy:\n  timezone: UTC\n", "line 2: there is no rule"},
		{"an unknown key", rule + "      encrypt: {provider: p}\n  backups: waived\n", `line 6: unknown key "backups" in the policy`},
		{"an unknown key in a rule", rule + "      encypt: {provider: p}\n", `line 5: unknown key "encypt" in a rule`},
		{"an unknown key in a match", "policy:\n  rules:\n    - name: a\n      match: {nmae: x}\n      vMotion: required\n", `line 4: unknown key "nmae" in a match`},
		{"a key twice", rule + "      vMotion: required\n      vMotion: disabled\n", "line 6"},
		{"two mistakes", rule + "      vMotion: maybe\n      rekey: never\n", "line 6: rekey"},
		{"vMotion of what is encrypted", rule + "      encrypt: {provider: p}\n      vMotion: opportunistic\n", "line 6: vMotion: opportunistic cannot be"},
		{"the same the other way round", rule + "      vMotion: disabled\n      encrypt: {provider: p}\n", "line 5: vMotion: disabled cannot be"},
		{"decrypt", rule + "      encrypt: none\n", "line 5: encrypt: want leave"},
		{"no provider", rule + "      encrypt: {disks: all}\n", "line 5: encrypt: want a provider"},
		{"a rule that says nothing", rule, "line 3: the rule \"a\" says nothing"},
		{"a rule without a name", "policy:\n  rules:\n    - match: {name: x}\n      vMotion: required\n", "line 3: the rule has no name"},
		{"a rule without a match", "policy:\n  rules:\n    - name: a\n      vMotion: required\n", "line 3: the rule \"a\" matches nothing"},
		{"an empty match", "policy:\n  rules:\n    - name: a\n      match: {}\n      vMotion: required\n", "line 4: "},
		{"an empty list of values", "policy:\n  rules:\n    - name: a\n      match: {name: []}\n      vMotion: required\n", "line 4: the list is empty"},
		{"two rules of a name", rule + "      vMotion: required\n    - name: a\n      match: {name: y}\n      vMotion: required\n", "line 6: the rule of line 3 is called \"a\" too"},
		{"a bad glob", "policy:\n  rules:\n    - name: a\n      match: {name: '[x'}\n      vMotion: required\n", "line 4: name: \"[x\": syntax error"},
		{"a folder from nowhere", "policy:\n  rules:\n    - name: a\n      match: {folder: vm/x}\n      vMotion: required\n", "line 4: folder"},
		{"a tag without its category", "policy:\n  rules:\n    - name: a\n      match: {tag: x}\n      vMotion: required\n", "line 4: tag"},
		{"an address that is none", "policy:\n  rules:\n    - name: a\n      match: {address: x}\n      vMotion: required\n", "line 4: address"},
		{"shutting down at any time", rule + "      encrypt: {provider: p}\n  onPoweredOn: shutdown\n", "onPoweredOn: shutdown needs windows"},
		{"a bad window", rule + "      vMotion: required\n  windows: [sometimes]\n", "line 6: windows"},
		{"a bad zone", rule + "      vMotion: required\n  timezone: Mars/Here\n", "line 6: timezone"},
		{"a number out of bounds", rule + "      vMotion: required\n  limits:\n    changes: 0\n", "line 7: want a number from 1"},
		{"an age of nothing", rule + "      rekey: {maxAge: 0d}\n", "line 5: want a time"},
		{"an age that overflows", rule + "      rekey: {maxAge: 999999999d}\n", "line 5: want a time"},
		{"an alias", "a: &a {name: x}\npolicy:\n  rules:\n    - name: a\n      match: *a\n      vMotion: required\n", "line 5"},
		{"matches in matches in matches", "policy:\n  rules:\n    - name: a\n      match: " + strings.Repeat("{not: ", 30) + "{name: x}" + strings.Repeat("}", 30) + "\n      vMotion: required\n", "line 4: matches nest too deep"},
		{"a place that is none", rule + "      vMotion: required\n  keyPath: {server: here}\n", "line 6: want find, outside"},
	} {
		if p, err := Read([]byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) || p != nil {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestMatches(t *testing.T) {
	v := machine("vm-1", "/DC0/vm/finance/eu/a-01")
	v.Tags, v.Attributes, v.Pool, v.Addresses = []string{"data:secret", "env:prod", "path:a/b"}, map[string]string{"owner": "finance", "app": "eu/shop"}, "/DC0/host/C0/Resources/gold", []string{"10.0.0.7"}
	for match, want := range map[string]bool{
		"{folder: /DC0/vm/finance/**}":                      true,
		"{folder: /DC0/vm/finance/eu}":                      true,
		"{folder: /DC0/vm/finance}":                         false, // not below it
		"{folder: /DC0/vm/finance/*}":                       true,
		"{folder: /DC0/vm/fin/**}":                          false, // a name is matched whole
		"{folder: /**/eu}":                                  true,
		"{folder: /**}":                                     true,
		"{folder: '/*/vm/*/eu'}":                            true,
		"{name: 'a-*'}":                                     true,
		"{name: a}":                                         false,
		"{name: A-01}":                                      false,
		"{name: [b-01, a-01]}":                              true,
		"{tag: 'data:secret'}":                              true,
		"{tag: 'data:*'}":                                   true,
		"{tag: 'dat:*'}":                                    false,
		"{tag: ['x:y', 'env:prod']}":                        true,
		"{tag: 'path:*'}":                                   true, // a slash in it is nothing special
		"{tag: 'path:a/*'}":                                 true,
		"{tag: 'path:a?b'}":                                 true,
		"{attribute: {app: '*'}}":                           true,
		"{cluster: C0}":                                     true,
		"{pool: /DC0/host/C0/Resources/**}":                 true,
		"{pool: /DC0/host/C0/Resources}":                    false,
		"{datastore: ds}":                                   true,
		"{attribute: {owner: fin*}}":                        true,
		"{attribute: {owner: '*', nobody: '*'}}":            false, // what is not set fits nothing
		"{uuid: 42-VM-1}":                                   true,
		"{address: 10.0.0.0/24}":                            true,
		"{address: 10.0.0.8}":                               false,
		"{name: 'a-*', cluster: C1}":                        false,
		"{name: 'a-*', not: {cluster: C1}}":                 true,
		"{not: {name: 'a-*'}}":                              false,
		"{any: [{cluster: C1}, {cluster: C0}]}":             true,
		"{any: [{cluster: C1}, {cluster: C2}]}":             false,
		"{cluster: C0, any: [{name: b}], not: {name: c}}":   false,
		"{any: [{not: {any: [{name: x}, {cluster: C1}]}}]}": true,
	} {
		p, err := Read([]byte("policy:\n  rules:\n    - name: r\n      match: " + match + "\n      vMotion: required\n"))
		if err != nil {
			t.Errorf("%s: %v", match, err)
		} else if got := p.Rules[0].Match.Fits(&v); got != want {
			t.Errorf("%s: %v", match, got)
		}
	}
	nowhere := inventory.VM{}
	for _, kind := range []string{Folder, Name, Tag, Cluster, Pool, Datastore, Attribute, UUID} {
		term := Term{Kind: kind, Values: []string{"/**", "*", ""}}
		if term.fits(&nowhere) {
			t.Errorf("%s fits a machine of which nothing is known", kind)
		}
	}
}

func TestWindows(t *testing.T) {
	for _, tc := range []struct {
		window, moment string // 2026-11-26 is a Thursday
		want           bool
	}{
		{"thu 12:00-13:00", "2026-11-26T12:00:00Z", true},
		{"thu 12:00-13:00", "2026-11-26T13:00:00Z", false},
		{"thu 22:00-04:00", "2026-11-27T03:59:00Z", true},
		{"thu 22:00-04:00", "2026-11-26T03:00:00Z", false}, // that night began on Wednesday
		{"sat,sun 22:00-04:00", "2026-11-30T01:00:00Z", true},
		{"fri-mon 01:00-02:00", "2026-11-29T01:30:00Z", true},
		{"fri-mon 01:00-02:00", "2026-12-01T01:30:00Z", false},
		{"daily 00:00-23:59", "2026-11-26T23:58:00Z", true},
	} {
		w, err := parseWindow(tc.window)
		at, _ := time.Parse(time.RFC3339, tc.moment)
		if err != nil || w.contains(at) != tc.want {
			t.Errorf("%s at %s: %v, %v", tc.window, tc.moment, !tc.want, err)
		}
	}
	for _, bad := range []string{"", "thu", "thu 12:00", "thu 12:00-12:00", "thu 25:00-26:00", "someday 01:00-02:00", "mon-xyz 01:00-02:00"} {
		if _, err := parseWindow(bad); err == nil {
			t.Errorf("%q is a window", bad)
		}
	}
}

// Whatever a machine and a vCenter are like: what is on the path of keys or
// protected gets no key, and nothing gets one without backup and provider.
func TestWhatNeverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		odds := func(name string) bool { return rapid.Bool().Draw(rt, name) }
		for i := range w.s.VMs {
			v := &w.s.VMs[i]
			v.Path = "/DC0/vm/finance/" + v.Name
			if odds("encrypted") {
				v.Key = w.key("k"+v.Ref, rapid.SampledFrom([]string{"Active", "Compromised", "Destroyed"}).Draw(rt, "state"), 400*day)
			}
			v.Power = rapid.SampledFrom([]string{"poweredOn", "poweredOff", "suspended"}).Draw(rt, "power")
			v.Readable, v.Locked, v.Template = odds("readable"), odds("locked"), odds("template")
			v.Snapshots = rapid.IntRange(0, 1).Draw(rt, "snapshots")
		}
		protect := odds("protect")
		if protect {
			w.add("  protect: [{name: a}]\n")
		}
		backup, green := odds("backup"), odds("green")
		w.f.Backup.Verified = backup
		if !green {
			w.s.Providers[0].Status = "red"
		}
		if odds("demand") {
			w.f.Demand = []string{"vm-1", "vm-8", "vm-9"}
		}
		p := w.plan(t)
		for _, a := range p.Actions {
			v := w.vm
			if a.Ref != "vm-1" || protect || !backup || !green || !v.Readable || v.Locked || v.Template ||
				a.Op.rewrites() && (v.Power != "poweredOff" || v.Snapshots > 0) || strings.HasPrefix(w.f.Keys[v.Key.ID].State, "Destroyed") {
				rt.Errorf("%+v of %+v", a, *v)
			}
		}
	})
}

func TestPlanIsStable(t *testing.T) {
	var first []byte
	for range 20 {
		w := newWorld()
		w.more(5)
		slices.Reverse(w.s.VMs)
		w.encrypted(day)
		p := w.plan(t)
		var out bytes.Buffer
		for _, write := range []error{p.WriteTable(&out), p.WriteJSON(&out), p.WriteHTML(&out)} {
			if write != nil {
				t.Fatal(write)
			}
		}
		if first == nil {
			first = out.Bytes()
		}
		if !bytes.Equal(first, out.Bytes()) {
			t.Fatal("the same plan is written otherwise")
		}
	}
}

func TestRender(t *testing.T) {
	w := newWorld()
	w.vm.Path, w.vm.Power = "/DC0/vm/finance/<b>\x1b[2Jx", "poweredOn"
	w.s.Partial = []string{"a host is away"}
	p := w.plan(t)
	var table, page, data bytes.Buffer
	if err := p.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"waiting encrypt", "finance (line 5)", "powered-on: shut it down", "blocked: 3 machines, 0 in sync, 2 without a rule; 0 to do, 1 waiting, 0 blocked, 0 alarms", "not all was seen: a host is away"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, table.String())
		}
	}
	if strings.Contains(table.String(), "\x1b") {
		t.Error("a name moves the cursor")
	}
	if strings.Contains(page.String(), "<b>") || !strings.Contains(page.String(), "&lt;b&gt;") {
		t.Error("a name is HTML")
	}
	back, err := ReadJSON(&data)
	if err != nil || len(back.Held) != 1 || back.Held[0].Ref != "vm-1" || back.Selection.Digest != p.Selection.Digest {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestStates(t *testing.T) {
	for _, tc := range []struct {
		p    Plan
		want State
	}{
		{Plan{}, InSync}, {Plan{Held: make([]Held, 1)}, Blocked}, {Plan{Alarms: make([]Alarm, 1)}, Blocked},
		{Plan{Held: make([]Held, 1), Actions: make([]Action, 1)}, Drift},
	} {
		if got := tc.p.State(); got != tc.want {
			t.Errorf("%v, want %v", got, tc.want)
		}
	}
}

// Diff and Guard are pure: no context, no client, no clock, no randomness.
func TestJudgementIsPure(t *testing.T) {
	for _, name := range []string{"diff.go", "check.go", "guard.go", "keypath.go", "match.go", "plan.go", "reason.go", "window.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Base(name), text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if slices.Contains([]string{`"context"`, `"os"`, `"net"`, `"net/http"`, `"math/rand"`, `"math/rand/v2"`, `"crypto/rand"`, `"log/slog"`}, imp.Path.Value) ||
				strings.Contains(imp.Path.Value, "govmomi") {
				t.Errorf("%s imports %s", name, imp.Path.Value)
			}
		}
		if bytes.Contains(text, []byte("time.Now")) || bytes.Contains(text, []byte("time.Since")) {
			t.Errorf("%s looks at a clock", name)
		}
	}
}

// The pause file says why, and one that cannot be read pauses too.
func TestPaused(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(note, []byte("move of the rack\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"": "", "/nowhere/at/all": "", note: "move of the rack"} {
		if got := (&Policy{PauseFile: file}).Paused(); got != want {
			t.Errorf("%s: %q", file, got)
		}
	}
	if (&Policy{PauseFile: t.TempDir()}).Paused() == "" {
		t.Error("a pause that cannot be read does not pause")
	}
}

// What a new demand leaves out of the one before is told to people.
func TestDemandDrops(t *testing.T) {
	demand := func(refs ...string) *Demand {
		d := &Demand{Machines: map[string][]inventory.Key{}}
		for _, ref := range refs {
			d.Machines[ref] = nil
		}
		return d
	}
	for _, tc := range []struct {
		before, next *Demand
		want         int
	}{
		{nil, demand("a"), 0}, {demand("a", "b"), demand("a", "b", "c"), 0}, {demand("a", "b", "c"), demand("b"), 2},
	} {
		if got := tc.next.Drops(tc.before); got != tc.want {
			t.Errorf("%v after %v: %d, want %d", tc.next, tc.before, got, tc.want)
		}
	}
}
