package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// A differ compares one snapshot with one policy.
type differ struct {
	p    *Policy
	s    *inventory.Snapshot
	f    *Facts
	path keyPath
	plan Plan

	// By reference and by name: to look each machine's up in lists takes minutes
	// where there are many.
	hosts    map[string]*inventory.Host
	stores   map[string]*inventory.Datastore
	demanded map[string]bool
}

func newDiffer(p *Policy, s *inventory.Snapshot, f *Facts) *differ {
	d := &differ{p: p, s: s, f: f, path: findKeyPath(p, s, f), hosts: make(map[string]*inventory.Host, len(s.Hosts)),
		stores: make(map[string]*inventory.Datastore, len(s.Datastores)), demanded: setOf(f.Demand)}
	for i := range s.Hosts {
		d.hosts[s.Hosts[i].Ref] = &s.Hosts[i]
	}
	for i := range s.Datastores {
		d.stores[s.Datastores[i].Name] = &s.Datastores[i]
	}
	return d
}

func setOf(refs []string) map[string]bool {
	set := make(map[string]bool, len(refs))
	for _, ref := range refs {
		set[ref] = true
	}
	return set
}

// Diff says what each machine lacks, and what of its own keeps it from being
// done. The plan is not yet one to act by: see Guard.
func Diff(p *Policy, s *inventory.Snapshot, f Facts) Plan {
	d := newDiffer(p, s, &f)
	d.plan = Plan{VCenter: s.VCenter, Time: f.Now, Partial: s.Partial, Machines: len(s.VMs)}
	for i := range s.VMs {
		d.vm(&s.VMs[i])
	}
	for i := range s.Hosts {
		d.host(&s.Hosts[i])
	}
	d.plan.close()
	return d.plan
}

// A wish is what the rules want of one machine; facets are nil where no rule
// says anything.
type wish struct {
	encrypt *Encrypt
	rekey   *Rekey
	vMotion *VMotion
	names   [3]string // of the rules
}

// wishes takes each facet from the first rule that has it and fits.
func (p *Policy) wishes(v *inventory.VM) (w wish) {
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.Match.Fits(v) {
			continue
		}
		if w.encrypt == nil && r.Encrypt != nil {
			w.encrypt, w.names[0] = r.Encrypt, r.Name
		}
		if w.rekey == nil && r.Rekey != nil {
			w.rekey, w.names[1] = r.Rekey, r.Name
		}
		if w.vMotion == nil && r.VMotion != nil {
			w.vMotion, w.names[2] = r.VMotion, r.Name
		}
	}
	if w.encrypt != nil && w.encrypt.Leave {
		w.encrypt = nil
	}
	if w.rekey != nil && w.rekey.Leave {
		w.rekey = nil
	}
	if w.vMotion != nil && w.vMotion.Mode == "" {
		w.vMotion = nil
	}
	return w
}

func (d *differ) vm(v *inventory.VM) {
	d.alarms(v)
	w := d.p.wishes(v)
	if w.encrypt != nil {
		d.plan.Selection.Refs = append(d.plan.Selection.Refs, v.Ref)
	}
	demanded := d.demanded[v.Ref]
	if w == (wish{names: w.names}) && !demanded {
		d.plan.Unruled++
		return
	}
	before := len(d.plan.Actions) + len(d.plan.Held)
	crypto := d.keys(v, w, demanded)
	d.vMotion(v, w, crypto)
	if len(d.plan.Actions)+len(d.plan.Held) == before {
		d.plan.InSync++
	}
}

// action begins one.
func action(v *inventory.VM, op Op, why string) Action {
	path := v.Path
	if path == "" {
		path = v.Name
	}
	return Action{Ref: v.Ref, Path: path, Instance: v.Instance, Op: op, Why: why, ChangeVersion: v.ChangeVersion, Host: v.Host}
}

// keys plans what has to do with keys: one thing at a time. It tells whether
// the machine is encrypted or to be.
func (d *differ) keys(v *inventory.VM, w wish, demanded bool) bool {
	if !v.Readable {
		if w.encrypt != nil || w.rekey != nil || demanded {
			d.plan.hold(action(v, EncryptOp, "it is not known what it lacks"), d.state(v, EncryptOp))
		}
		return true // who knows
	}
	if w.encrypt != nil {
		if a, because := d.lacking(v, w); a.Op != "" {
			d.settle(v, a, slices.Concat(because, d.contradiction(v, w), d.lost(v)))
			return true
		}
	}
	if a, because := d.stale(v, w, demanded); a.Op != "" {
		d.settle(v, a, because)
	}
	return v.Encrypted()
}

// settle makes an action of what nothing is in the way of.
func (d *differ) settle(v *inventory.VM, a Action, because []Because) {
	because = append(because, d.state(v, a.Op)...)
	because = append(because, d.parts(v, &a)...)
	if d.p.ShutDown && len(because) == 1 && because[0].Reason == PoweredOn {
		a.ShutDown, because = true, nil
	}
	if len(because) > 0 {
		d.plan.hold(a, because)
		return
	}
	d.plan.Actions = append(d.plan.Actions, a)
}

// lacking says what of a machine is plain that should not be.
func (d *differ) lacking(v *inventory.VM, w wish) (a Action, because []Because) {
	e := w.encrypt
	home := v.Key == (inventory.Key{})
	var disks []int32
	for _, disk := range v.Disks {
		if e.wants(disk.Label) && disk.Key == (inventory.Key{}) {
			disks = append(disks, disk.Device)
		}
	}
	for _, label := range e.Disks {
		if !slices.ContainsFunc(v.Disks, func(disk inventory.Disk) bool { return disk.Label == label }) {
			because = append(because, Because{NoSuchDisk, label})
		}
	}
	if !home && len(disks) == 0 && len(because) == 0 {
		return a, nil
	}
	a = action(v, EncryptOp, lacks(home, len(disks)))
	a.Rule, a.Line, a.Home, a.Disks, a.Provider, a.StoragePolicy = w.names[0], e.Line, home, disks, e.Provider, e.StoragePolicy
	if p := d.s.Policy(e.StoragePolicy); p != nil {
		a.StoragePolicy = p.ID
	}
	if home {
		a.VMotion = Required
	}
	return a, because
}

func lacks(home bool, disks int) string {
	switch {
	case home && disks > 0:
		return fmt.Sprintf("its home and %d of its disks are plain", disks)
	case home:
		return "its home is plain"
	case disks > 0:
		return fmt.Sprintf("%d of its disks are plain", disks)
	}
	return "a disk that the rule names is not there"
}

func (e *Encrypt) wants(label string) bool {
	return !e.NoDisks && (len(e.Disks) == 0 || slices.Contains(e.Disks, label))
}

// contradiction: a machine that one rule encrypts and another gives a vMotion
// that encrypted machines cannot have. Each rule alone is right, so that only
// here it shows.
func (d *differ) contradiction(_ *inventory.VM, w wish) []Because {
	if w.vMotion == nil || w.vMotion.Mode == Required {
		return nil
	}
	return []Because{{VMotionFixed, fmt.Sprintf("line %d says %s, and line %d encrypts", w.vMotion.Line, w.vMotion.Mode, w.encrypt.Line)}}
}

// stale says whether a machine needs other keys.
func (d *differ) stale(v *inventory.VM, w wish, demanded bool) (a Action, because []Because) {
	own := OwnKeys(v)
	if len(own) == 0 {
		return a, nil
	}
	why, because := d.staleness(own, w, demanded)
	if why == "" {
		return a, nil
	}
	op := ShallowOp
	if demanded && d.f.DemandDeep || !demanded && w.rekey != nil && w.rekey.Deep {
		op = DeepOp
	}
	a = action(v, op, why)
	a.Rule, a.Provider, a.Home = w.names[1], own[0].Provider, v.Key != (inventory.Key{})
	if w.rekey != nil {
		a.Line = w.rekey.Line
	}
	if demanded {
		a.Rule, a.Line = "on demand", 0
	}
	if w.encrypt != nil {
		a.Provider = w.encrypt.Provider
	}
	for _, disk := range v.Disks {
		if disk.Key != (inventory.Key{}) {
			a.Disks = append(a.Disks, disk.Device)
		}
	}
	return a, append(because, d.lost(v)...)
}

// OwnKeys are those of the home and the disks as they are now: what a recrypt
// exchanges. What a disk is built on keeps its keys, as snapshots do: who took
// those for a reason would recrypt the machine for ever.
func OwnKeys(v *inventory.VM) []inventory.Key {
	bare := inventory.VM{Key: v.Key}
	for _, d := range v.Disks {
		bare.Disks = append(bare.Disks, inventory.Disk{Key: d.Key})
	}
	return bare.Keys()
}

// staleness says why keys have to go; empty: they need not.
func (d *differ) staleness(own []inventory.Key, w wish, demanded bool) (why string, because []Because) {
	if demanded {
		return "somebody asked for it", nil
	}
	for _, k := range own {
		if w.encrypt != nil && k.Provider != w.encrypt.Provider {
			why = fmt.Sprintf("its key is of the provider %s", k.Provider)
			if w.rekey == nil {
				because = []Because{{OtherProvider, fmt.Sprintf("line %d wants %s", w.encrypt.Line, w.encrypt.Provider)}}
			}
			return why, because
		}
	}
	if w.rekey == nil {
		return "", nil
	}
	for _, k := range own {
		fact, known := d.f.Keys[k.ID]
		ours := slices.Contains(d.f.Providers, k.Provider)
		switch {
		case known && (fact.State == "Compromised" || fact.State == "Deactivated"):
			return fmt.Sprintf("its key %s is %s", k.ID, strings.ToLower(fact.State)), nil
		case w.rekey.MaxAge == 0:
		case known && d.f.Now.Sub(fact.Made) > w.rekey.MaxAge:
			return fmt.Sprintf("its key %s is %d days old", k.ID, int(d.f.Now.Sub(fact.Made).Hours()/24)), nil
		case !known && d.f.Keys == nil || !known && !ours:
			why, because = "its key may be too old", []Because{{AgeUnknown, k.String()}}
		}
	}
	return why, because
}

// lost says which keys of the home, the disks and what they are built on cannot
// be had. A recrypt needs the old one; and a disk that is encrypted beside what is
// lost is lost with it, while plain it can be saved.
func (d *differ) lost(v *inventory.VM) (because []Because) {
	bare := *v
	bare.SnapshotKeys = nil
	for _, k := range bare.Keys() {
		if r := d.missing(k); r != "" {
			because = append(because, Because{r, k.String()})
		}
	}
	return because
}

// missing says how a key is missing in the key server; empty: it is there, or
// no business of its.
func (d *differ) missing(k inventory.Key) Reason {
	if d.f.Keys == nil || !slices.Contains(d.f.Providers, k.Provider) {
		return ""
	}
	fact, known := d.f.Keys[k.ID]
	switch {
	case !known:
		return KeyMissing
	case strings.HasPrefix(fact.State, "Destroyed"):
		return KeyDestroyed
	}
	return ""
}

// vMotion plans the encrypted vMotion of a plain machine.
func (d *differ) vMotion(v *inventory.VM, w wish, crypto bool) {
	if w.vMotion == nil || !v.Readable {
		return
	}
	a := action(v, VMotionOp, "")
	a.Rule, a.Line, a.VMotion = w.names[2], w.vMotion.Line, w.vMotion.Mode
	if crypto {
		if v.Encrypted() && w.vMotion.Mode != Required {
			a.Why = "it is encrypted"
			d.plan.hold(a, []Because{{VMotionFixed, fmt.Sprintf("line %d says %s", w.vMotion.Line, w.vMotion.Mode)}})
		}
		return
	}
	now := v.MigrateEncrypted
	if now == "" {
		now = Opportunistic // what vSphere makes of nothing
	}
	if now == w.vMotion.Mode {
		return
	}
	a.Why = "its encrypted vMotion is " + now
	d.settle(v, a, nil)
}
