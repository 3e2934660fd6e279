package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// Facts are what is judged by.
type Facts struct {
	Snapshot *inventory.Snapshot
	Keys     []admin.Key // all that the key server has
	Backup   *Backup     // nil: there is none
	// Ours are the names of the key providers whose keys the key server holds:
	// those of the settings, and those at its addresses.
	Ours []string
	// Groups are the groups by which the key server knows vCenter, by provider;
	// without an entry it is not known.
	Groups map[string]string
	Now    time.Time
}

// A Source is where it is known from which keys a machine names.
type Source string

// The sources, from the surest.
const (
	FromConfig     Source = "its configuration"
	FromBackup     Source = "the backup"
	FromAttributes Source = "what vCenter wrote on the key"
	FromNowhere    Source = ""
)

// A Problem is something in the way of unlocking.
type Problem struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"` // that removes it; empty: no single one does
	// Lost says that it is the key itself that is not to be had.
	Lost bool `json:"lost,omitempty"`
}

// A Machine is one that is locked.
type Machine struct {
	Ref      string          `json:"ref"`
	Name     string          `json:"name"`
	Path     string          `json:"path"`
	Keys     []inventory.Key `json:"keys"`   // that it names; the provider may be empty: not known
	Source   Source          `json:"source"` // of Keys
	Seen     time.Time       `json:"seen,omitzero"`
	Problems []Problem       `json:"problems,omitempty"` // none: it can be unlocked now, as far as is known
}

// Label is the machine's path, or else its name and reference.
func (m *Machine) Label() string {
	if m.Path != "" {
		return m.Path
	}
	return m.Name + " (" + m.Ref + ")"
}

// Ready tells that nothing is known to be in the way.
func (m *Machine) Ready() bool { return len(m.Problems) == 0 }

// lost tells that one of its keys is not to be had.
func (m *Machine) lost() bool {
	return slices.ContainsFunc(m.Problems, func(p Problem) bool { return p.Lost })
}

// Diagnose says of each locked machine why it is locked: those whose keys are
// not to be had first, then those that wait for something else.
func Diagnose(f Facts) []Machine {
	list := []Machine{}
	x := f.index()
	for i := range f.Snapshot.VMs {
		v := &f.Snapshot.VMs[i]
		if !v.Locked {
			continue
		}
		m := Machine{Ref: v.Ref, Name: v.Name, Path: v.Path}
		m.Keys, m.Source, m.Seen = f.named(v, x)
		m.Problems = f.problems(&m, x.keys)
		list = append(list, m)
	}
	rank := func(m Machine) int {
		switch {
		case m.lost():
			return 0
		case !m.Ready():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(list, func(a, b Machine) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// Ready are the machines that can be unlocked.
func Ready(list []Machine) []Machine {
	return slices.DeleteFunc(slices.Clone(list), func(m Machine) bool { return !m.Ready() })
}

// An index finds in Facts what is asked for each machine: after a vCenter was lost
// all of them are locked.
type index struct {
	keys     map[string]*admin.Key // by Unique Identifier
	written  map[string]*admin.Key // by the machine's BIOS UUID, in lower case
	machines machinesBy            // of the backup
}

func (f *Facts) index() *index {
	x := &index{keys: make(map[string]*admin.Key, len(f.Keys)), written: map[string]*admin.Key{}, machines: f.Backup.index()}
	for i := range f.Keys {
		k := &f.Keys[i]
		x.keys[k.UniqueIdentifier] = k
		for _, a := range k.Attributes {
			if bios := strings.ToLower(a.Value); a.Name == "x-Identifier" && bios != "" && better(k, x.written[bios]) {
				x.written[bios] = k
			}
		}
	}
	return x
}

// better tells which of two keys on which vCenter wrote the same machine's UUID is
// taken: the newest; one that is destroyed only where there is no other. A name
// does not count: it is given twice, and stays on the key when the machine is
// renamed.
func better(k, than *admin.Key) bool {
	if than == nil {
		return true
	}
	gone := func(k *admin.Key) bool { return strings.HasPrefix(k.State, "Destroyed") }
	if gone(k) != gone(than) {
		return gone(than)
	}
	return k.InitialDate.After(than.InitialDate)
}

// named are the keys that a machine names, and how it is known.
func (f *Facts) named(v *inventory.VM, x *index) ([]inventory.Key, Source, time.Time) {
	if keys := v.Keys(); len(keys) > 0 {
		return keys, FromConfig, f.Snapshot.Time
	}
	if was := x.machines.machine(v); was != nil {
		return was.Keys, FromBackup, was.Seen
	}
	if k := x.written[strings.ToLower(v.BIOS)]; k != nil {
		return []inventory.Key{{ID: k.UniqueIdentifier}}, FromAttributes, k.InitialDate
	}
	return []inventory.Key{}, FromNowhere, time.Time{}
}

// problems are what is in the way of a machine. One of which the key is not
// known can be tried once all our providers work: vCenter knows what it needs.
func (f *Facts) problems(m *Machine, known map[string]*admin.Key) (list []Problem) {
	add := func(p *Problem) {
		if p != nil && !slices.Contains(list, *p) {
			list = append(list, *p)
		}
	}
	for _, k := range m.Keys {
		add(f.keyProblem(k, known[k.ID]))
	}
	names := f.providersOf(m)
	for _, name := range names {
		add(f.providerProblem(name))
	}
	if len(names) == 0 {
		add(&Problem{Text: "it is not known which key provider it names, and vCenter has none of this key server"})
	}
	return list
}

// ProvidersOf are the providers that have to work for any of the machines.
func (f *Facts) ProvidersOf(list []Machine) (names []string) {
	for i := range list {
		for _, name := range f.providersOf(&list[i]) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// providersOf are those that have to work for a machine.
func (f *Facts) providersOf(m *Machine) (names []string) {
	for _, k := range m.Keys {
		if k.Provider != "" && !slices.Contains(names, k.Provider) {
			names = append(names, k.Provider)
		}
	}
	if len(names) == 0 {
		return f.Ours
	}
	return names
}

func (f *Facts) providerProblem(name string) *Problem {
	switch p := f.Snapshot.Provider(name); {
	case f.Snapshot.Unread[inventory.Providers] != "":
		return &Problem{Text: "vCenter's key providers could not be read: " + f.Snapshot.Unread[inventory.Providers]}
	case p == nil && slices.Contains(f.Ours, name):
		return &Problem{Text: fmt.Sprintf("vCenter has no key provider %q", name), Command: "keyreeve-agent recover"}
	case p == nil:
		return &Problem{Text: fmt.Sprintf("vCenter has no key provider %q; it has to be added under exactly that name%s", name, f.was(name))}
	case p.Status != "green":
		why := p.Problem
		if why == "" {
			why = "keyreeve-agent provider list says more"
		}
		return &Problem{Text: fmt.Sprintf("the key provider %q is %s: %s", name, cmp.Or(p.Status, "not connected"), why)}
	}
	return nil
}

// was says where the servers of a provider were that is not ours.
func (f *Facts) was(name string) string {
	if f.Backup == nil || f.Backup.provider(name) == nil {
		return ""
	}
	var at []string
	for _, s := range f.Backup.provider(name).Servers {
		at = append(at, s.at())
	}
	if len(at) == 0 {
		return ", from its own backup: it had no KMIP servers"
	}
	return ", with its servers " + strings.Join(at, ", ")
}

// keyProblem is why the key server does not give a key, or vCenter does not use
// it. Of a provider that is not ours it knows nothing.
func (f *Facts) keyProblem(named inventory.Key, k *admin.Key) *Problem {
	switch {
	case k == nil && named.Provider != "" && !slices.Contains(f.Ours, named.Provider):
		return nil
	case k == nil:
		return &Problem{Lost: true, Text: fmt.Sprintf("the key server has no key %s: restore a backup of its store that has it (keyreeve backup restore)", named.ID)}
	}
	if p := f.stateProblem(k); p != nil {
		return p
	}
	if group, ok := f.Groups[named.Provider]; ok && k.Group != group {
		return &Problem{Text: fmt.Sprintf("the key %s is of the group %q, and the key server knows vCenter in the group %q, which does not see it", named.ID, k.Group, group)}
	}
	return nil
}

func (f *Facts) stateProblem(k *admin.Key) *Problem {
	id := k.UniqueIdentifier
	switch {
	case k.State == "Active" || k.State == "Pre-Active":
		return nil
	case k.State == "Deactivated":
		return &Problem{Lost: true, Text: fmt.Sprintf("the key %s was revoked%s", id, reason(k)), Command: "keyreeve key reactivate " + id + " --reason TEXT"}
	case k.State == "Compromised":
		return &Problem{Lost: true, Text: fmt.Sprintf("the key %s is compromised%s, and nothing undoes that: restore the machine from its own backup", id, reason(k))}
	case k.RecoverableUntil.After(f.Now):
		return &Problem{Lost: true, Text: fmt.Sprintf("the key %s was destroyed%s, and can be brought back until %s", id, at(k.DestroyDate), k.RecoverableUntil.UTC().Format(time.DateOnly)),
			Command: "keyreeve key recover " + id + " --reason TEXT"}
	}
	return &Problem{Lost: true, Text: fmt.Sprintf("the key %s was destroyed%s for good: restore a backup of the key server's store from before (keyreeve backup restore)", id, at(k.DestroyDate))}
}

func reason(k *admin.Key) string {
	if k.RevocationMessage == "" {
		return ""
	}
	return " (" + k.RevocationMessage + ")"
}

func at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " at " + t.UTC().Format(time.DateOnly)
}
