package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/session"
)

const unsavedKeys = "keys of machines that were in none"

// unsaved counts the keys of machines that are in no backup: of this run's last
// machines, of a run that was killed, or made by somebody else.
func (s *sight) unsaved() int {
	if s == nil {
		return 0
	}
	found := map[string]bool{}
	for i := range s.snapshot.VMs {
		for _, k := range s.snapshot.VMs[i].Keys() {
			if fact, ours := s.facts.Keys[k.ID]; ours && !fact.BackedUp {
				found[k.ID] = true
			}
		}
	}
	return len(found)
}

// saved notes that a backup was made after all that was seen.
func (s *sight) saved() {
	if s == nil {
		return
	}
	for id, fact := range s.facts.Keys {
		fact.BackedUp = true
		s.facts.Keys[id] = fact
	}
}

// backupLack says why a backup of the key server is to be made before machines
// are encrypted; empty: there is one, or the policy waives it.
func (l *link) backupLack(ctx context.Context) (string, error) {
	if l.config.policy == nil || l.config.policy.BackupWaived || l.config.Mode != session.Enforce {
		return "", nil
	}
	server, err := l.keyServer()
	if err != nil {
		return "", err
	}
	status, err := server.Status(ctx)
	if err != nil || status.Backup.Last != nil {
		return "", err
	}
	return "no verified backup of it exists", nil
}

// firstBackup has the backup made without which nothing is encrypted.
func (l *link) firstBackup(ctx context.Context) error {
	why, err := l.backupLack(ctx)
	if err != nil || why == "" {
		return err
	}
	err = l.backUp(ctx, why)
	if e, ok := errors.AsType[*admin.Error](err); ok {
		l.say("FAILED: backup: %s", e.Message)
		l.say("hint: %s; on the key server", e.Hint)
		return nil // the plan holds the machines back
	}
	return err
}

// backUp has the key server make a backup, restore it beside itself and check
// it, to where its own settings say.
func (l *link) backUp(ctx context.Context, why string) error {
	server, err := l.keyServer()
	if err != nil {
		return err
	}
	made, err := server.CreateBackup(ctx, admin.BackupRequest{})
	if err != nil {
		return fmt.Errorf("having the key server make a backup: %w", err)
	}
	l.seen.saved()
	l.say("done: backup: %s, since %s; verified, %d keys: %s", made.ID, why, made.Objects, program.Printable(made.Path))
	return nil
}

// planBackup adds the key server's backup to a plan, by what was seen of the
// machines.
func (l *link) planBackup(ctx context.Context, p *plan) error {
	why, err := l.backupLack(ctx)
	if n := l.seen.unsaved(); why == "" && n > 0 && l.config.Mode == session.Enforce && !l.config.policy.BackupWaived {
		why = fmt.Sprintf("%s: %d", unsavedKeys, n)
	}
	if err == nil && why != "" {
		p.add("backup", isChange, "have the key server make one and verify it: "+why)
	}
	return err
}
