package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// keyPath are the machines that keys depend on. An encrypted key server whose
// own key is in it never starts again, and takes all others with it.
type keyPath struct {
	machines map[string]string // by Ref: why
	unknown  []string          // what was neither found nor is said to be elsewhere
}

func findKeyPath(p *Policy, s *inventory.Snapshot, f *Facts) keyPath {
	k := keyPath{machines: map[string]string{}}
	k.find(s, "the key server", &p.Server, f.Server)
	k.find(s, "vCenter", &p.VCenter, f.VCenter)
	for i := range s.Providers {
		k.servers(s, &s.Providers[i])
	}
	return k
}

// servers puts the machines of a provider's servers on the path: the settings know
// one of them. Those that are not found are not missed: vCenter may have them by a
// name, or by the address of a way to them.
func (k *keyPath) servers(s *inventory.Snapshot, p *inventory.Provider) {
	for _, server := range p.Servers {
		if at, err := netip.ParseAddrPort(server); err == nil {
			m := Machine{Addresses: []string{at.Addr().String()}}
			k.add(s, "a key server of "+p.Name, m.is)
		}
	}
}

// find looks for the machines of a thing. What the facts find is on the path
// even when the file says that it is elsewhere: the doubt is for the machine.
func (k *keyPath) find(s *inventory.Snapshot, what string, place *Place, machines []Machine) {
	for _, m := range machines {
		found := k.add(s, what+" "+m.Name, func(v *inventory.VM) bool { return m.is(v) })
		if !found && !place.Outside && len(place.At) == 0 {
			k.unknown = append(k.unknown, what+" "+m.Name)
		}
	}
	for _, at := range place.At {
		said := func(v *inventory.VM) bool { return v.Path == at || isUUID(v, at) || hasAddress(v, at) }
		if !k.add(s, what, said) {
			k.unknown = append(k.unknown, what+" at "+at)
		}
	}
	appliance := what == "vCenter" && k.add(s, what, func(v *inventory.VM) bool { return strings.Contains(v.Product, "vCenter Server") })
	if len(machines) == 0 && len(place.At) == 0 && !place.Outside && !appliance {
		k.unknown = append(k.unknown, what)
	}
}

func isUUID(v *inventory.VM, id string) bool {
	return id != "" && (strings.EqualFold(v.BIOS, id) || strings.EqualFold(v.Instance, id))
}

func (k *keyPath) add(s *inventory.Snapshot, why string, is func(*inventory.VM) bool) (found bool) {
	for i := range s.VMs {
		if v := &s.VMs[i]; is(v) {
			k.machines[v.Ref], found = strings.TrimSpace(why), true
		}
	}
	return found
}

// is tells whether a machine of the vCenter is the one.
func (m *Machine) is(v *inventory.VM) bool {
	if m.BIOS != "" && (isUUID(v, m.BIOS) || isUUID(v, swapped(m.BIOS))) {
		return true
	}
	return slices.ContainsFunc(m.Addresses, func(a string) bool {
		addr, err := netip.ParseAddr(a)
		return err == nil && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() && hasAddress(v, a) // every machine has those
	})
}

// swapped is a UUID with the bytes of its first three parts in reverse: so a
// guest with SMBIOS 2.6 and later reads what vCenter shows of its machine.
func swapped(id string) string {
	parts := strings.Split(id, "-")
	if len(parts) != 5 {
		return id
	}
	for i, p := range parts[:3] {
		var b strings.Builder
		for at := len(p) - 2; at >= 0; at -= 2 {
			b.WriteString(p[at : at+2])
		}
		parts[i] = b.String()
	}
	return strings.Join(parts, "-")
}
