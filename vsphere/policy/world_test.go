package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

const basePolicy = `policy:
  rules:
    - name: finance
      match: {folder: /DC0/vm/finance/**}
      encrypt: {provider: keyreeve}
      rekey: {maxAge: 365d}
    - name: plain
      match: {folder: /DC0/vm/plain/**}
      vMotion: required
`

const encryptionID = "4d5f673c-536f-11e6-beb8-9e71128cae77"

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) // a Thursday

// A world is one in which the machine vm can be encrypted at once.
type world struct {
	policy string
	s      *inventory.Snapshot
	f      Facts
	vm     *inventory.VM // of s
}

func machine(ref, path string) inventory.VM {
	return inventory.VM{
		Ref: ref, Name: path[strings.LastIndex(path, "/")+1:], Path: path, Readable: true, Connection: "connected", Power: "poweredOff",
		BIOS: "42-" + ref, Instance: "50-" + ref, Hardware: 19, ChangeVersion: "1", Size: 10 << 30, Host: "host-1", Cluster: "C0",
		Datastore: "ds", Disks: []inventory.Disk{{Device: 2000, Label: "Hard disk 1", Datastore: "ds", Size: 10 << 30}},
	}
}

func newWorld() *world {
	kms, vcsa := machine("vm-8", "/DC0/vm/infra/kms"), machine("vm-9", "/DC0/vm/infra/vcsa")
	kms.Addresses, vcsa.Addresses = []string{"10.0.0.5"}, []string{"10.0.0.6"}
	w := &world{policy: basePolicy, s: &inventory.Snapshot{
		VCenter: "vc", VMs: []inventory.VM{machine("vm-1", "/DC0/vm/finance/a"), kms, vcsa},
		Hosts:      []inventory.Host{{Ref: "host-1", Name: "esx-1", UUID: "h1", Connection: "connected", Crypto: "prepared"}},
		Datastores: []inventory.Datastore{{Ref: "ds-1", Name: "ds", Free: 100 << 30, Accessible: true}},
		Providers:  []inventory.Provider{{Name: "keyreeve", Kind: "vCenter", Default: true, Status: "green"}},
		Policies:   []inventory.Policy{{ID: encryptionID, Name: DefaultStoragePolicy, Encrypts: true}, {ID: "plain", Name: "Datastore Default"}},
		Unread:     map[inventory.Facts]string{},
	}}
	w.vm = &w.s.VMs[0]
	w.f = Facts{
		Now: now, Keys: map[string]KeyFact{}, Providers: []string{"keyreeve"}, Backup: Backup{Verified: true},
		Server: []Machine{{Name: "kms-1", Addresses: []string{"10.0.0.5"}}}, VCenter: []Machine{{Addresses: []string{"10.0.0.6"}}},
	}
	return w
}

// key makes a key in the key server.
func (w *world) key(id, state string, age time.Duration) inventory.Key {
	w.f.Keys[id] = KeyFact{State: state, Made: now.Add(-age)}
	return inventory.Key{ID: id, Provider: "keyreeve"}
}

const day = 24 * time.Hour

// encrypted encrypts the machine under a key of some age.
func (w *world) encrypted(age time.Duration) {
	k := w.key("k1", "Active", age)
	w.vm.Key, w.vm.Disks[0].Key, w.vm.MigrateEncrypted, w.vm.StoragePolicy = k, k, Required, encryptionID
}

// plain moves the machine to where only vMotion has a rule.
func (w *world) plain() { w.vm.Path = "/DC0/vm/plain/a" }

// replace edits the policy.
func (w *world) replace(old, new string) {
	if !strings.Contains(w.policy, old) {
		panic("the policy has no " + old)
	}
	w.policy = strings.Replace(w.policy, old, new, 1)
}

func (w *world) add(text string) { w.policy += text }

func (w *world) plan(t *testing.T) Plan {
	t.Helper()
	p, err := Read([]byte(w.policy))
	if err != nil {
		t.Fatal(err)
	}
	return Make(p, w.s, w.f)
}

// outcome is a plan in few words.
func outcome(p *Plan) string {
	var out []string
	for _, a := range p.Actions {
		out = append(out, "do "+a.what())
	}
	for _, h := range p.Held {
		var names []string
		for _, b := range h.Because {
			names = append(names, string(b.Reason))
		}
		out = append(out, fmt.Sprintf("%s %s: %s", h.word(), h.Op, strings.Join(names, ", ")))
	}
	for _, a := range p.Alarms {
		out = append(out, "alarm "+string(a.Reason))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "; ")
}
