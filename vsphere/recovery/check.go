package recovery

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/provider"
)

// ErrMismatch is wrapped when what is wanted would unlock nothing.
var ErrMismatch = errors.New("the settings do not fit what the machines name")

func (s Server) at() string { return net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port))) }

// Check compares the key providers that are to be made with what machines name,
// locked ones here and all in the backup: a provider under another name, or one
// that vCenter uses in another group, unlocks none of them, and would have to
// be removed again by hand. addresses are those of the key server, host:port.
func Check(f Facts, wanted []provider.Provider, addresses []string) error {
	x := f.index()
	users := f.users(x)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if f.Snapshot.Provider(name) == nil && !isWanted(wanted, name) && !f.foreign(name, users[name], x, wanted, addresses) {
			problems = append(problems, fmt.Errorf("%w: %s name the key provider %q, which neither vCenter nor the settings have; the settings have %s: a key provider under another name unlocks none of them",
				ErrMismatch, some(users[name].machines), name, quoted(wanted)))
		}
	}
	return errors.Join(append(problems, f.checkGroups(users, x)...)...)
}

// checkGroups looks whether vCenter will see the keys.
func (f *Facts) checkGroups(users map[string]*use, x *index) (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(users)) {
		group, sure := f.Groups[name]
		if !sure {
			continue
		}
		others := map[string]bool{}
		for _, id := range users[name].keys {
			if k := x.keys[id]; k != nil && k.Group != group {
				others[k.Group] = true
			}
		}
		if len(others) > 0 {
			problems = append(problems, fmt.Errorf("%w: keys of the key provider %q are of the group %s, and the client by which the settings have vCenter known is of %q: it would not see them; name the client and the group of before",
				ErrMismatch, name, strings.Join(slices.Sorted(maps.Keys(others)), ", "), group))
		}
	}
	return problems
}

// A use is who names a provider, and with which keys.
type use struct {
	machines, keys []string
	labels         map[string]bool // of the machines
}

// users are those that name a provider, by its name.
func (f *Facts) users(x *index) map[string]*use {
	out := map[string]*use{}
	note := func(label string, keys []inventory.Key) {
		for _, k := range keys {
			if k.Provider == "" {
				continue
			}
			u := out[k.Provider]
			if u == nil {
				u = &use{labels: map[string]bool{}}
				out[k.Provider] = u
			}
			if !u.labels[label] {
				u.labels[label] = true
				u.machines = append(u.machines, label)
			}
			u.keys = append(u.keys, k.ID)
		}
	}
	for i := range f.Snapshot.VMs {
		if v := &f.Snapshot.VMs[i]; v.Locked {
			keys, _, _ := f.named(v, x)
			note(v.Name, keys)
		}
	}
	if f.Backup != nil {
		for _, m := range f.Backup.Machines {
			note(m.Name, m.Keys)
		}
	}
	return out
}

func isWanted(wanted []provider.Provider, name string) bool {
	return slices.ContainsFunc(wanted, func(p provider.Provider) bool { return p.Name == name })
}

// foreign tells that a provider was another key server's, by the backup: none
// of its servers is where ours is, or is to be. One whose keys ours has was ours,
// at another address.
func (f *Facts) foreign(name string, u *use, x *index, wanted []provider.Provider, addresses []string) bool {
	if f.Backup == nil || f.Backup.provider(name) == nil || slices.ContainsFunc(u.keys, func(id string) bool { return x.keys[id] != nil }) {
		return false
	}
	ours := slices.Clone(addresses)
	for _, p := range wanted {
		for _, s := range p.Servers {
			port := s.Port
			if port == 0 {
				port = provider.KMIPPort
			}
			ours = append(ours, Server{Address: s.Address, Port: port}.at())
		}
	}
	return !slices.ContainsFunc(f.Backup.provider(name).Servers, func(s Server) bool { return slices.Contains(ours, s.at()) })
}

// some names the first machines.
func some(names []string) string {
	text := strings.Join(names[:min(3, len(names))], ", ")
	if more := len(names) - 3; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func quoted(wanted []provider.Provider) string {
	names := []string{}
	for _, p := range wanted {
		names = append(names, strconv.Quote(p.Name))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
