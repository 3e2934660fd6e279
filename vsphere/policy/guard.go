package policy

import (
	"fmt"
	"slices"

	"github.com/keyreeve/keyreeve/vsphere/inventory"
)

// Guard holds back what must not be done now, for reasons that are not the
// machine's. What is left in Actions may be done; nothing else may.
func Guard(p *Policy, s *inventory.Snapshot, plan Plan, f Facts) Plan {
	g := &guard{p: p, s: s, f: &f, path: findKeyPath(p, s, &f), jumped: jump(p, &plan, &f)}
	actions := plan.Actions
	plan.Actions, plan.Held = nil, slices.Clone(plan.Held)
	for _, a := range actions {
		because := g.all(&a)
		if len(because) == 0 {
			because = g.pace(&a)
		}
		if len(because) > 0 {
			plan.hold(a, because)
			continue
		}
		plan.Actions = append(plan.Actions, a)
	}
	plan.close()
	return plan
}

// Make is Diff and Guard.
func Make(p *Policy, s *inventory.Snapshot, f Facts) Plan { return Guard(p, s, Diff(p, s, f), f) }

type guard struct {
	p      *Policy
	s      *inventory.Snapshot
	f      *Facts
	path   keyPath
	jumped string

	changes, canaries int // let through so far
}

// all is everything that is in the way of an action.
func (g *guard) all(a *Action) (list []Because) {
	add := func(is bool, r Reason, detail string) {
		if is {
			list = append(list, Because{r, detail})
		}
	}
	add(g.f.Paused != "", Paused, g.f.Paused)
	add(g.f.Another != "", AnotherAgent, g.f.Another)
	for _, privilege := range g.f.Missing[a.Op] {
		add(true, NoPrivilege, privilege)
	}
	for _, u := range g.unread(a) {
		add(true, FactsUnread, u)
	}
	add(!g.p.inWindow(g.f.Now), OutsideWindow, "")
	add(g.jumped != "", SelectionJumped, g.jumped)
	add(g.f.Failed[a.Ref] != "", Failed, g.f.Failed[a.Ref])
	if a.Op.usesKeys() {
		list = append(list, g.keys(a)...)
	}
	return list
}

// keys is what is in the way of making a key and using it.
func (g *guard) keys(a *Action) (list []Because) {
	for _, what := range g.path.unknown {
		list = append(list, Because{KeyPathUnknown, what})
	}
	if !g.p.BackupWaived && (!g.f.Backup.Verified || g.f.Backup.Problem != "") {
		list = append(list, Because{NoBackup, g.f.Backup.Problem})
	}
	if g.f.Ready != "" {
		list = append(list, Because{ServerNotReady, g.f.Ready})
	}
	if g.f.Probe != "" {
		list = append(list, Because{ProbeFailed, g.f.Probe})
	}
	list = append(list, g.provider(a.Provider)...)
	if a.Op == EncryptOp {
		list = append(list, g.storagePolicy(a.StoragePolicy)...)
	}
	return list
}

func (g *guard) provider(name string) []Because {
	p := g.s.Provider(name)
	switch {
	case g.s.Unread[inventory.Providers] != "":
		return nil // unread says so
	case p == nil:
		return []Because{{NoProvider, name}}
	case p.Kind == "nativeProvider" || p.Kind == "trustAuthority" || !slices.Contains(g.f.Providers, name):
		return []Because{{ProviderForeign, name}}
	case p.Status != "green":
		return []Because{{ProviderNotGreen, fmt.Sprintf("%s is %s: %s", name, p.Status, p.Problem)}}
	}
	return nil
}

func (g *guard) storagePolicy(name string) []Because {
	p := g.s.Policy(name)
	switch {
	case g.s.Unread[inventory.Policies] != "":
		return nil // unread says so
	case p == nil:
		return []Because{{NoStoragePolicy, name}}
	case !p.Encrypts:
		return []Because{{PlainPolicy, p.Name}}
	}
	return nil
}

// unread says what the policy judges by and was not read: a machine without
// tags is then no machine without tags.
func (g *guard) unread(a *Action) (list []string) {
	judged := append(g.p.judges(), inventory.Tasks)
	if a.Op.usesKeys() {
		judged = append(judged, inventory.Providers)
	}
	if a.Op == EncryptOp {
		judged = append(judged, inventory.Policies)
	}
	for _, facts := range judged {
		if why := g.s.Unread[facts]; why != "" {
			list = append(list, string(facts)+": "+why)
		}
	}
	return list
}

// judges are the facts by which rules match.
func (p *Policy) judges() (list []inventory.Facts) {
	for _, row := range []struct {
		facts inventory.Facts
		kind  string
	}{{inventory.Tags, Tag}, {inventory.Attributes, Attribute}, {inventory.Folders, Folder}} {
		if p.uses(row.kind) {
			list = append(list, row.facts)
		}
	}
	return list
}

// blind tells whether rules match by what was not read.
func (p *Policy) blind(s *inventory.Snapshot) bool {
	return slices.ContainsFunc(p.judges(), func(f inventory.Facts) bool { return s.Unread[f] != "" })
}

// pace bounds how much is done at a time.
func (g *guard) pace(a *Action) []Because {
	limit := g.p.Limits.Changes
	if g.f.Changes > 0 {
		limit = g.f.Changes
	}
	if g.f.Changed+g.changes >= limit {
		return []Because{{Limit, fmt.Sprintf("%d in a run", limit)}}
	}
	if a.Op.usesKeys() && g.f.Proven < g.p.Limits.Canary {
		if g.canaries >= g.p.Limits.Canary-g.f.Proven {
			return []Because{{CanaryFirst, fmt.Sprintf("%d of %d are verified", g.f.Proven, g.p.Limits.Canary)}}
		}
		g.canaries++
	}
	g.changes++
	return nil
}

// floor is how many machines may always come or go: a percentage of few is none.
const floor = 2

// jump says how the selection changed more than it may: a tag that was lost or
// set by mistake, a folder that was moved.
func jump(p *Policy, plan *Plan, f *Facts) string {
	now := plan.Selection
	if f.Last == nil || f.Confirmed == now.Digest {
		return ""
	}
	came, went := 0, 0
	for _, ref := range now.Refs {
		if _, was := slices.BinarySearch(f.Last.Refs, ref); !was {
			came++
		}
	}
	for _, ref := range f.Last.Refs {
		if _, is := slices.BinarySearch(now.Refs, ref); !is {
			went++
		}
	}
	if may := max(floor, len(f.Last.Refs)*p.Limits.Jump/100); came > may || went > may {
		return fmt.Sprintf("%d machines came, %d went, of %d; confirm %s", came, went, len(f.Last.Refs), now.Digest)
	}
	return ""
}
