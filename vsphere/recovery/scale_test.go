package recovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// lostWith is a new vCenter in which all machines are locked and none shows its
// configuration: half are in the backup, of the others vCenter wrote on a key.
func lostWith(machines int) *Facts {
	f := situation()
	f.Snapshot.VMs, f.Keys, f.Backup = nil, nil, backupOf("keyreeve", "kms")
	for i := range machines {
		v := inventory.VM{Ref: fmt.Sprint("vm-", i), Name: fmt.Sprint("m", i), Path: fmt.Sprint("/DC/vm/m", i), BIOS: fmt.Sprintf("42000000-0000-4000-8000-%012d", i), Locked: true}
		k := inventory.Key{ID: fmt.Sprint("k", i), Provider: "keyreeve"}
		key := admin.Key{UniqueIdentifier: k.ID, State: "Active", Group: "vcenter"}
		for _, a := range []string{"x-Product", "x-Vendor", "x-Component", "x-Name"} {
			key.Attributes = append(key.Attributes, admin.Attribute{Name: a, Value: "x"})
		}
		if i%2 == 0 {
			f.Backup.Machines = append(f.Backup.Machines, used(Used{Name: v.Name, Path: v.Path}, k))
		} else {
			key.Attributes = append(key.Attributes, admin.Attribute{Name: "x-Identifier", Value: v.BIOS})
		}
		f.Snapshot.VMs, f.Keys = append(f.Snapshot.VMs, v), append(f.Keys, key)
	}
	return f
}

// After a vCenter is lost all encrypted machines are locked: that is looked up,
// and not searched for, for each of them.
func TestManyLockedMachines(t *testing.T) {
	const machines = 10_000
	f, began := lostWith(machines), time.Now()
	list := Diagnose(*f)
	if err := Check(*f, nil, nil); err != nil || len(list) != machines || len(Ready(list)) != machines {
		t.Errorf("%d of %d can be unlocked; %v", len(Ready(list)), machines, err)
	}
	later := f.Snapshot.Time.Add(time.Hour)
	f.Snapshot.Time = later
	for _, u := range machinesOf(f.Snapshot, f.Backup) {
		if u.Seen.Equal(later) {
			t.Fatalf("%s was not carried over", u.Name)
		}
	}
	if took := time.Since(began); took > 20*time.Second { // it takes some 0.2 seconds, and a search for each more than a minute
		t.Errorf("%d machines took %s", machines, took)
	}
}
