package inventory

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
)

// Entries are all uses of all keys, in a stable order: what the server takes.
// Keys of providers that the server does not answer for are among them, so that
// a provider with a new name releases nothing; the server knows its own.
func (s *Snapshot) Entries() (list []admin.InventoryEntry) {
	for i := range s.VMs {
		list = s.VMs[i].entries(list)
	}
	for _, h := range s.Hosts {
		if h.Key != (Key{}) {
			list = append(list, admin.InventoryEntry{Key: h.Key.ID, User: admin.KeyUser{Kind: admin.UserHost, Name: h.Name, UUID: h.UUID, Provider: h.Key.Provider}})
		}
	}
	return list
}

func (v *VM) entries(list []admin.InventoryEntry) []admin.InventoryEntry {
	start := len(list)
	user := admin.KeyUser{Kind: admin.UserVM, Name: v.Name, UUID: v.Instance, BIOS: v.BIOS}
	add := func(k Key, kind, disk string) {
		u := user
		u.Kind, u.Disk, u.Provider = kind, disk, k.Provider
		e := admin.InventoryEntry{Key: k.ID, User: u}
		if k != (Key{}) && !slices.Contains(list[start:], e) {
			list = append(list, e)
		}
	}
	add(v.Key, admin.UserVM, "")
	for _, d := range v.Disks {
		add(d.Key, admin.UserDisk, d.Label)
		for _, k := range d.Chain {
			add(k, admin.UserDisk, d.Label+" (below)")
		}
	}
	for _, k := range v.SnapshotKeys {
		add(k, admin.UserDisk, "snapshot")
	}
	return list
}

// keys are all that something uses, by provider and id.
func (s *Snapshot) keys() []Key {
	seen := map[Key]bool{}
	for i := range s.VMs {
		for _, k := range s.VMs[i].Keys() {
			seen[k] = true
		}
	}
	for _, h := range s.Hosts {
		if h.Key != (Key{}) {
			seen[h.Key] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), compareKeys)
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Provider, b.Provider), strings.Compare(a.ID, b.ID))
}

// Report is what the server is to be told: a header for the number, the
// installation of the agent, and the providers that the server answers for,
// and the entries. See admin.Client.ReportInventory.
func (s *Snapshot) Report(instance string, number uint64, providers []string) (admin.InventoryHeader, []admin.InventoryEntry) {
	return admin.InventoryHeader{Instance: instance, Number: number, Time: s.Time, Partial: s.Partial, Providers: providers}, s.Entries()
}

// Usage is what the two sides know of keys together.
type Usage struct {
	Keys    []KeyUse `json:"keys"`    // that something in the vCenter uses
	Missing []KeyUse `json:"missing"` // those of them that the key server does not have, or has destroyed: an alarm
	Orphans []Orphan `json:"orphans"` // that the key server has and nothing here uses, oldest first
	// Sure is false when not all of the vCenter was seen: then an orphan may
	// be none.
	Sure bool `json:"sure"`
}

// A KeyUse is a key and what uses it.
type KeyUse struct {
	Key   Key             `json:"key"`
	State string          `json:"state,omitempty"` // in the key server; empty: it has no such key
	Made  time.Time       `json:"made,omitzero"`
	Users []admin.KeyUser `json:"users"`
}

// An Orphan is a key that nothing uses that was seen.
type Orphan struct {
	ID    string        `json:"id"`
	State string        `json:"state"`
	Age   time.Duration `json:"age"`           // nanoseconds
	Was   string        `json:"was,omitempty"` // what vCenter wrote on it: component and name
}

// Join compares the uses of keys with the keys that the server has for this
// vCenter: all of them, of the groups that are the vCenter's. providers are
// those that the server answers for; a key of another provider is not missing.
func (s *Snapshot) Join(keys []admin.Key, providers []string, now time.Time) Usage {
	u := Usage{Sure: len(s.Partial) == 0}
	have := make(map[string]*admin.Key, len(keys))
	for i := range keys {
		have[keys[i].UniqueIdentifier] = &keys[i]
	}
	used := map[string]bool{}
	for _, use := range s.uses() {
		used[use.Key.ID] = true
		if k := have[use.Key.ID]; k != nil {
			use.State, use.Made = k.State, k.InitialDate
		}
		u.Keys = append(u.Keys, use)
		if slices.Contains(providers, use.Key.Provider) && (use.State == "" || strings.HasPrefix(use.State, "Destroyed")) {
			u.Missing = append(u.Missing, use)
		}
	}
	for _, k := range keys {
		if !used[k.UniqueIdentifier] && !strings.HasPrefix(k.State, "Destroyed") {
			u.Orphans = append(u.Orphans, Orphan{k.UniqueIdentifier, k.State, now.Sub(k.InitialDate), written(k)})
		}
	}
	slices.SortFunc(u.Orphans, func(a, b Orphan) int { return cmp.Or(cmp.Compare(b.Age, a.Age), strings.Compare(a.ID, b.ID)) })
	return u
}

// uses are the entries by key.
func (s *Snapshot) uses() (list []KeyUse) {
	at := map[Key]int{}
	for _, e := range s.Entries() {
		k := Key{e.Key, e.User.Provider}
		i, ok := at[k]
		if !ok {
			i = len(list)
			at[k] = i
			list = append(list, KeyUse{Key: k})
		}
		list[i].Users = append(list[i].Users, e.User)
	}
	slices.SortFunc(list, func(a, b KeyUse) int { return compareKeys(a.Key, b.Key) })
	return list
}

// written is what vCenter wrote on a key when it was first used.
func written(k admin.Key) string {
	component, name := "", ""
	for _, a := range k.Attributes {
		switch a.Name {
		case "x-Component":
			component = a.Value
		case "x-Name":
			name = a.Value
		}
	}
	return strings.TrimSpace(component + " " + name)
}

// ProvidersAt are the key providers of which a server is at one of the
// addresses, host:port, as vCenter was given them.
func (s *Snapshot) ProvidersAt(addresses ...string) []string {
	names := []string{}
	for _, p := range s.Providers {
		if slices.ContainsFunc(p.Servers, func(a string) bool { return slices.Contains(addresses, a) }) {
			names = append(names, p.Name)
		}
	}
	return names
}
