package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// A Memory is what runs leave to the next one, in a file. Losing it costs a
// canary, the rest of what was demanded, and that a selection which jumped
// meanwhile is not noticed; never a key: those are in the Ledger. It belongs to
// one goroutine.
type Memory struct {
	fsys durable.FS
	path string

	VCenters map[string]*Remembered `json:"vcenters"` // by instance UUID
}

// Remembered is what is known of one vCenter.
type Remembered struct {
	Policy    string     `json:"policy,omitempty"`    // Digest of the one under which Proven were
	Proven    int        `json:"proven,omitempty"`    // machines that were changed and verified
	Selection *Selection `json:"selection,omitempty"` // of the last run whose selection had not jumped
	Demand    *Demand    `json:"demand,omitempty"`    // what is left of it
}

// A Demand is that the keys of machines be exchanged whatever their age. It
// outlives the run, so that one that was broken off is gone on with.
type Demand struct {
	Deep bool `json:"deep,omitempty"`
	// Machines are the keys that each had, by Ref: it is done with when it has
	// none of them any more, and not twice.
	Machines map[string][]inventory.Key `json:"machines"`
}

// maxMemory bounds the file: a selection of 100,000 machines takes 2 MB.
const maxMemory = 64 << 20

// ReadMemory reads the file. One that is not there is an empty memory.
func ReadMemory(fsys durable.FS, path string) (*Memory, error) {
	m := &Memory{fsys: fsys, path: path, VCenters: map[string]*Remembered{}}
	data, err := durable.ReadFile(fsys, path, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(data, m)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what earlier runs have left: %s: %w; look at the plan, then remove the file", path, err)
	}
	return m, nil
}

// Of returns what is known of a vCenter.
func (m *Memory) Of(vcenter string) *Remembered {
	r := m.VCenters[vcenter]
	if r == nil {
		r = &Remembered{}
		if m.VCenters == nil {
			m.VCenters = map[string]*Remembered{}
		}
		m.VCenters[vcenter] = r
	}
	return r
}

// Save writes the file, whole or not at all.
func (m *Memory) Save() error {
	data, err := json.Marshal(m)
	if err == nil {
		err = durable.WriteFile(m.fsys, m.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping what the next run needs: %w", err)
	}
	return nil
}

// NewDemand asks for other keys for machines. Those that are plain are left out.
func NewDemand(s *inventory.Snapshot, deep bool, wanted func(*inventory.VM) bool) *Demand {
	d := &Demand{Deep: deep, Machines: map[string][]inventory.Key{}}
	for i := range s.VMs {
		if v := &s.VMs[i]; wanted(v) {
			if own := OwnKeys(v); len(own) > 0 {
				d.Machines[v.Ref] = own
			}
		}
	}
	return d
}

// Drops counts the machines of an earlier demand that this one is not about.
func (d *Demand) Drops(before *Demand) (n int) {
	if before == nil {
		return 0
	}
	for ref := range before.Machines {
		if _, also := d.Machines[ref]; !also {
			n++
		}
	}
	return n
}

// keep forgets the machines that are done with.
func (d *Demand) keep(left []string) {
	stays := setOf(left)
	maps.DeleteFunc(d.Machines, func(ref string, _ []inventory.Key) bool { return !stays[ref] })
}

// left are the machines that have a key still that was to go, by Ref in the
// order of the snapshot. One that cannot be read stays, and one that is gone
// does not.
func (d *Demand) left(s *inventory.Snapshot) (refs []string) {
	if d == nil {
		return nil
	}
	for i := range s.VMs {
		v := &s.VMs[i]
		if old, ok := d.Machines[v.Ref]; ok && (!v.Readable || share(old, OwnKeys(v))) {
			refs = append(refs, v.Ref)
		}
	}
	return refs
}

func share(a, b []inventory.Key) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
