package keystoretest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/keyreeve/keyreeve/keystore"
)

// A Site is a vCenter with its agent: it reports what Uses says.
type Site struct {
	Rig      *Rig
	ID       keystore.VCenterID
	Agent    string
	Instance keystore.UID
	Number   uint64
	Uses     map[keystore.UID][]string // names of the machines that use a key
}

// NewSite assigns a vCenter of group vcenter to an agent.
func (r *Rig) NewSite(n byte) (*Site, error) {
	s := &Site{Rig: r, Agent: fmt.Sprintf("agent-%d", n), Uses: make(map[keystore.UID][]string)}
	s.ID[0], s.Instance[0] = n, n
	return s, s.Assign("vcenter")
}

// Assign names the agent and the groups.
func (s *Site) Assign(groups ...string) error {
	_, err := s.Rig.Store.AssignVCenter(background, Admin, keystore.VCenterInfo{ID: s.ID, Name: fmt.Sprintf("vc-%d", s.ID[0]), Agent: s.Agent, Groups: groups})
	return err
}

// Report returns the next report, one minute after the last.
func (s *Site) Report(partial ...string) *keystore.InventoryReport {
	s.Number++
	s.Rig.Clock.Add(60)
	r := &keystore.InventoryReport{
		VCenter: s.ID, Agent: s.Agent, Instance: s.Instance, Number: s.Number, Time: s.Rig.Clock.Unix(),
		Partial: partial, Providers: []string{"kms"},
	}
	for key, names := range s.Uses {
		for _, name := range names {
			r.Entries = append(r.Entries, Entry(key.String(), name))
		}
	}
	slices.SortFunc(r.Entries, func(a, b keystore.ReportEntry) int {
		return slices.Compare([]string{a.Key, a.Name}, []string{b.Key, b.Name})
	})
	return Sum(r)
}

// Entry says that a machine uses a key.
func Entry(key, name string) keystore.ReportEntry {
	return keystore.ReportEntry{Key: key, KeyUse: keystore.KeyUse{Kind: keystore.UseVM, Name: name, UUID: "uuid of " + name, BIOS: "bios of " + name, Provider: "kms"}}
}

// Sum sets the digest of a report.
func Sum(r *keystore.InventoryReport) *keystore.InventoryReport {
	r.Digest = [32]byte{}
	r.Digest = sha256.Sum256(fmt.Appendf(nil, "%v", *r))
	return r
}

// Take gives a report to the store.
func (s *Site) Take(r *keystore.InventoryReport) (keystore.Taken, error) {
	return s.Rig.Store.TakeInventory(background, Admin, r)
}

// Send reports what is used now.
func (s *Site) Send(partial ...string) (keystore.Taken, error) { return s.Take(s.Report(partial...)) }

// Look returns what the store knows of the vCenter.
func (s *Site) Look() (info keystore.VCenterInfo, err error) {
	err = s.Rig.Do(Admin, ObserveOp, func(tx *keystore.Tx) error {
		info, err = tx.VCenter(s.ID)
		return err
	})
	return info, err
}

// InUse tells whether any vCenter uses the key.
func (r *Rig) InUse(key keystore.UID) (used bool, err error) {
	err = r.Do(Admin, ObserveOp, func(tx *keystore.Tx) error {
		used, err = tx.InUse(key)
		return err
	})
	return used, err
}

// reported: what a report names is in use over a restart, and two complete ones
// release it.
func reported(r *Rig) error {
	site, err := r.NewSite(1)
	if err != nil {
		return err
	}
	var keys []keystore.UID
	for i := range 3 {
		uid, _, err := r.Key(fmt.Sprintf("disk-%d", i))
		if err != nil {
			return err
		}
		keys = append(keys, uid)
		site.Uses[uid] = []string{fmt.Sprintf("vm-%d", i)}
	}
	if _, err := site.Send(); err != nil {
		return err
	}
	delete(site.Uses, keys[0])
	for n, want := range []error{keystore.ErrInUse, keystore.ErrInUse, nil} {
		if err := r.Reopen(); err != nil {
			return err
		}
		if err := r.Edit(keys[0], destroy); !errors.Is(err, want) || want == nil && err != nil {
			return fmt.Errorf("after %d reports without it, Destroy = %v, want %v", n, err, want)
		}
		if n == 2 {
			break
		}
		if _, err := site.Send(); err != nil {
			return err
		}
	}
	if err := r.Edit(keys[1], destroy); !errors.Is(err, keystore.ErrInUse) {
		return fmt.Errorf("a key in use: Destroy = %v", err)
	}
	return nil
}

// The workload of a crash in a report: keys enough for several transactions.
const crashKeys = 210

// reportedCrash turns the power off one step later each time while a report is
// taken that keeps keys, marks one, and releases one. Whatever is left, no key
// that the last taken report names, nor one that the report under way names and
// that was told to be taken, may be destroyed; and the next reports lead to
// where an uninterrupted store is.
func reportedCrash(fresh func() *Rig) error { return atEachStep(fresh, reportedCrashAt) }

func reportedCrashAt(r *Rig, at int) (off bool, err error) {
	if err := errors.Join(r.Create(), r.Open()); err != nil {
		return false, err
	}
	site, err := r.NewSite(1)
	if err != nil {
		return false, err
	}
	var keys []keystore.UID
	for range 30 {
		uid, _, err := r.Key("")
		if err != nil {
			return false, err
		}
		keys = append(keys, uid)
		site.Uses[uid] = []string{"vm-" + uid.String()}
	}
	send := func() error { _, err := site.Send(); return err }
	err = send()
	delete(site.Uses, keys[0])
	err = errors.Join(err, send(), r.Shut())
	if err != nil {
		return false, err
	}
	power := PowerOff(0)
	wrapBackend, wrapJournal := r.WrapBackend, r.WrapJournal
	r.WrapBackend = func(b keystore.Backend) keystore.Backend { return power.Backend(chainBackend(wrapBackend, b)) }
	r.WrapJournal = func(j keystore.Journal) keystore.Journal { return chainJournal(wrapJournal, power.Journal(j)) }
	if err := r.Open(); err != nil {
		return false, err
	}
	power.mu.Lock()
	power.at = len(power.steps) + at
	power.mu.Unlock()
	delete(site.Uses, keys[1]) // marked; keys[0] is released
	for range crashKeys {
		site.Uses[r.Store.NewUID()] = []string{"new"}
	}
	told := send() == nil
	where := fmt.Sprintf("power off at step %d %q", at, power.Steps()[len(power.Steps())-1])
	off = power.Off()
	if err := r.Crash(); err != nil {
		return off, err
	}
	r.WrapBackend, r.WrapJournal = wrapBackend, wrapJournal
	if err := r.Open(); err != nil {
		return off, fmt.Errorf("%s: %w", where, err)
	}
	if err := errors.Join(site.guarded(keys, told), check(r.Store), site.recovers(keys)); err != nil {
		return off, fmt.Errorf("%s: %w", where, err)
	}
	return off, errors.Join(check(r.Store), r.Shut())
}

// guarded: what was told to be in use is.
func (s *Site) guarded(keys []keystore.UID, told bool) error {
	for i, key := range keys[1:] {
		if used, err := s.Rig.InUse(key); err != nil || !used {
			return fmt.Errorf("key %d is not in use any more: %v", i+1, err)
		}
	}
	info, err := s.Look()
	if err != nil || told && info.Number != s.Number {
		return fmt.Errorf("told that report %d was taken, the store has %d: %v", s.Number, info.Number, err)
	}
	if !told {
		return nil
	}
	for key := range s.Uses {
		if used, err := s.Rig.InUse(key); err != nil || !used {
			return fmt.Errorf("a key that was told to be in use is not: %v", err)
		}
	}
	return nil
}

// recovers: two more reports, and the keys in use are those that are named.
func (s *Site) recovers(keys []keystore.UID) error {
	for range 3 {
		if _, err := s.Send(); err != nil {
			return err
		}
	}
	info, err := s.Look()
	if err != nil || info.Keys != uint64(len(s.Uses)) {
		return fmt.Errorf("after three more reports %d keys are in use, %d are named: %v", info.Keys, len(s.Uses), err)
	}
	for _, key := range keys[:2] {
		if used, err := s.Rig.InUse(key); err != nil || used {
			return fmt.Errorf("key %s is still in use: %v", key, err)
		}
	}
	return nil
}
