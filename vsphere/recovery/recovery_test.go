package recovery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// situation is a vCenter with one locked machine that names k1 of the provider
// keyreeve, which is connected; and the key server has that key.
func situation() *Facts {
	return &Facts{
		Snapshot: &inventory.Snapshot{
			VCenter: "1", Time: now,
			VMs: []inventory.VM{
				{Ref: "vm-1", Name: "db", Path: "/DC/vm/db", File: "[ds] db/db.vmx", BIOS: "b-1", Locked: true, Readable: true, Key: inventory.Key{ID: "k1", Provider: "keyreeve"}},
				{Ref: "vm-2", Name: "web", Path: "/DC/vm/web", Readable: true},
			},
			Providers: []inventory.Provider{{Name: "keyreeve", Status: "green"}},
		},
		Keys:   []admin.Key{{UniqueIdentifier: "k1", State: "Active", Group: "vcenter"}},
		Ours:   []string{"keyreeve"},
		Groups: map[string]string{"keyreeve": "vcenter"},
		Now:    now,
	}
}

func (f *Facts) hide() { // the configuration of the locked machine
	f.Snapshot.VMs[0].Readable, f.Snapshot.VMs[0].Key = false, inventory.Key{}
}

func backupOf(provider string, at string, machines ...Used) *Backup {
	return &Backup{VCenter: "0", Time: now, Providers: []Provider{{Name: provider, Servers: []Server{{Name: "kms-1", Address: at, Port: 5696}}}}, Machines: machines}
}

func used(u Used, key inventory.Key) Used {
	u.Keys = []inventory.Key{key}
	return u
}

// One row a situation: what is said of the locked machine.
func TestDiagnose(t *testing.T) {
	k1 := inventory.Key{ID: "k1", Provider: "keyreeve"}
	for name, c := range map[string]struct {
		change  func(f *Facts)
		source  Source
		says    string // the problems; "": ready
		command string
	}{
		"ready":            {func(*Facts) {}, FromConfig, "", ""},
		"pre-active":       {func(f *Facts) { f.Keys[0].State = "Pre-Active" }, FromConfig, "", ""},
		"no such key":      {func(f *Facts) { f.Keys = nil }, FromConfig, "the key server has no key k1", ""},
		"revoked":          {func(f *Facts) { f.Keys[0].State = "Deactivated" }, FromConfig, "the key k1 was revoked", "keyreeve key reactivate k1 --reason TEXT"},
		"compromised":      {func(f *Facts) { f.Keys[0].State = "Compromised" }, FromConfig, "is compromised", ""},
		"destroyed":        {func(f *Facts) { f.Keys[0].State, f.Keys[0].RecoverableUntil = "Destroyed", now.Add(time.Hour) }, FromConfig, "can be brought back until 2026-11-26", "keyreeve key recover k1 --reason TEXT"},
		"destroyed long":   {func(f *Facts) { f.Keys[0].State, f.Keys[0].RecoverableUntil = "Destroyed", now.Add(-time.Hour) }, FromConfig, "for good: restore a backup", ""},
		"other group":      {func(f *Facts) { f.Keys[0].Group = "other" }, FromConfig, `of the group "other"`, ""},
		"no provider":      {func(f *Facts) { f.Snapshot.Providers = nil }, FromConfig, `vCenter has no key provider "keyreeve"`, "keyreeve-agent recover"},
		"not green":        {func(f *Facts) { f.Snapshot.Providers[0].Status = "yellow" }, FromConfig, "is yellow", ""},
		"providers unread": {func(f *Facts) { f.Snapshot.Unread = map[inventory.Facts]string{inventory.Providers: "no right"} }, FromConfig, "could not be read: no right", ""},
		"another server's": {func(f *Facts) { f.Snapshot.VMs[0].Key.Provider, f.Keys = "theirs", nil }, FromConfig, `no key provider "theirs"; it has to be added under exactly that name`, ""},
		"another server's, and there": {func(f *Facts) {
			f.Snapshot.VMs[0].Key.Provider, f.Keys = "theirs", nil
			f.Snapshot.Providers = append(f.Snapshot.Providers, inventory.Provider{Name: "theirs", Status: "green"})
		}, FromConfig, "", ""},
		"in the backup by its file": {func(f *Facts) {
			f.hide()
			f.Backup = backupOf("keyreeve", "kms", used(Used{Name: "old name", File: "[ds] db/db.vmx"}, k1), used(Used{Name: "db"}, inventory.Key{ID: "k9", Provider: "keyreeve"}))
		}, FromBackup, "", ""},
		"twice in the backup": {func(f *Facts) {
			f.hide()
			f.Backup = backupOf("keyreeve", "kms", used(Used{Name: "db"}, k1), used(Used{Name: "db"}, inventory.Key{ID: "k9", Provider: "keyreeve"}))
		}, FromNowhere, "", ""},
		"written on the key": {func(f *Facts) {
			f.hide()
			f.Keys[0].Attributes = []admin.Attribute{{Name: "x-Identifier", Value: "B-1"}}
			f.Keys = append(f.Keys, admin.Key{UniqueIdentifier: "k0", State: "Destroyed", InitialDate: now, Attributes: f.Keys[0].Attributes})
		}, FromAttributes, "", ""},
		"another's name on the key": {func(f *Facts) {
			f.hide()
			f.Keys[0].Attributes = []admin.Attribute{{Name: "x-Name", Value: "db"}, {Name: "x-Identifier", Value: "b-2"}}
		}, FromNowhere, "", ""},
		"nothing known, and not green": {func(f *Facts) { f.hide(); f.Snapshot.Providers[0].Status = "red" }, FromNowhere, "is red", ""},
		"nothing known at all":         {func(f *Facts) { f.hide(); f.Ours = nil }, FromNowhere, "not known which key provider", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation()
			c.change(f)
			list := Diagnose(*f)
			if len(list) != 1 || list[0].Name != "db" || list[0].Source != c.source {
				t.Fatalf("got %+v, want db known from %q", list, c.source)
			}
			text, command := "", ""
			for _, p := range list[0].Problems {
				text, command = text+p.Text, command+p.Command
			}
			if list[0].Ready() != (c.says == "") || !strings.Contains(text, c.says) || command != c.command {
				t.Errorf("it says %q, do %q; want %q, %q", text, command, c.says, c.command)
			}
		})
	}
}

// A machine whose key is gone stands before one whose provider is.
func TestDiagnoseOrder(t *testing.T) {
	f := situation()
	f.Snapshot.VMs = append(f.Snapshot.VMs,
		inventory.VM{Name: "theirs", Locked: true, Readable: true, Key: inventory.Key{ID: "x", Provider: "theirs"}},
		inventory.VM{Name: "lost", Locked: true, Readable: true, Key: inventory.Key{ID: "gone", Provider: "keyreeve"}})
	var names []string
	for _, m := range Diagnose(*f) {
		names = append(names, m.Name)
	}
	if !slices.Equal(names, []string{"lost", "theirs", "db"}) {
		t.Errorf("the order is %v", names)
	}
}

// What would make a provider for nothing is refused, and what is well is not.
func TestCheck(t *testing.T) {
	k1 := inventory.Key{ID: "k1", Provider: "keyreeve"}
	gone := func(f *Facts) { f.Snapshot.Providers = nil }
	for name, c := range map[string]struct {
		change func(f *Facts)
		wanted string
		says   string // "": nothing
	}{
		"the same name":   {gone, "keyreeve", ""},
		"another name":    {gone, "kr", `db name the key provider "keyreeve", which neither vCenter nor the settings have; the settings have "kr"`},
		"no provider":     {gone, "", "the settings have none"},
		"it is there":     {func(*Facts) {}, "kr", ""},
		"another group":   {func(f *Facts) { f.Groups["keyreeve"] = "other" }, "keyreeve", `are of the group vcenter, and the client by which the settings have vCenter known is of "other"`},
		"group not known": {func(f *Facts) { f.Groups = nil }, "keyreeve", ""},
		"by the backup":   {func(f *Facts) { gone(f); f.hide(); f.Backup = backupOf("keyreeve", "kms", used(Used{Name: "db"}, k1)) }, "kr", `"keyreeve"`},
		"not yet here": {func(f *Facts) {
			f.Snapshot.VMs = nil
			gone(f)
			f.Backup = backupOf("keyreeve", "kms", used(Used{Name: "db"}, k1))
		}, "kr", `"keyreeve"`},
		"another server's": {func(f *Facts) {
			gone(f)
			f.Keys, f.Backup = nil, backupOf("keyreeve", "elsewhere", used(Used{Name: "db"}, k1))
		}, "kr", ""},
		"of this server, which was elsewhere": {func(f *Facts) { gone(f); f.Backup = backupOf("keyreeve", "elsewhere", used(Used{Name: "db"}, k1)) }, "kr", `"keyreeve"`},
		"nothing is known":                    {func(f *Facts) { gone(f); f.hide() }, "kr", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := situation()
			c.change(f)
			var wanted []provider.Provider
			if c.wanted != "" {
				wanted = []provider.Provider{{Name: c.wanted, Servers: []provider.Server{{Name: "kms-1", Address: "kms"}}}}
			}
			err := Check(*f, wanted, []string{"kms.example:5696"})
			if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
		})
	}
}

// A backup that is made when a machine is locked already does not forget its
// key, nor when that was read.
func TestBackupCarriesOver(t *testing.T) {
	f := situation()
	before := &Backup{Machines: machinesOf(f.Snapshot, nil)}
	f.hide()
	f.Snapshot.Time = now.Add(time.Hour)
	list := machinesOf(f.Snapshot, before)
	if len(list) != 1 || !slices.Equal(list[0].Keys, []inventory.Key{{ID: "k1", Provider: "keyreeve"}}) || !list[0].Seen.Equal(now) {
		t.Errorf("it has %+v", list)
	}
	if list := machinesOf(f.Snapshot, nil); len(list) != 0 {
		t.Errorf("without a backup before it has %+v", list)
	}
}

// Parse takes what Marshal made, and nothing that only looks like it.
func TestParse(t *testing.T) {
	b := backupOf("keyreeve", "kms")
	b.Format, b.Version = format, version
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Parse(text); err != nil || got.Providers[0].Servers[0] != b.Providers[0].Servers[0] {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{
		"", "{}", string(text[:len(text)/2]), strings.Replace(string(text), `"version": 1`, `"version": 2`, 1),
		strings.Replace(string(text), `"vcenter": "0"`, `"vcenter": "0; reboot"`, 1), // it would be in a command that is copied
		strings.Replace(string(text), `"vcenter": "0"`, `"vcenter": ""`, 1), strings.Replace(string(text), "agent backup", "backup", 1),
	} {
		if _, err := Parse([]byte(wrong)); !errors.Is(err, ErrNoBackup) {
			t.Errorf("Parse(%.60q): %v", wrong, err)
		}
	}
}

// A machine that is not there any more stays in backups for a while; one that
// was decrypted does not.
func TestMachinesThatAreGone(t *testing.T) {
	f := situation()
	before := &Backup{Machines: machinesOf(f.Snapshot, nil)}
	later := *f.Snapshot
	later.VMs = later.VMs[1:]
	if list := machinesOf(&later, before); len(list) != 1 || list[0].Name != "db" {
		t.Errorf("of a machine that is gone: %+v", list)
	}
	later.Time = now.Add(keepGone)
	if list := machinesOf(&later, before); len(list) != 0 {
		t.Errorf("for good: %+v", list)
	}
	f.Snapshot.VMs[0].Key = inventory.Key{}
	if list := machinesOf(f.Snapshot, before); len(list) != 0 {
		t.Errorf("of one that was decrypted: %+v", list)
	}
}
