package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/program"
	"github.com/keyreeve/keyreeve/vsphere/inventory"
	"github.com/keyreeve/keyreeve/vsphere/recovery"
)

func (a *app) backupCommand(o *options) *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use: "backup --out FILE", Short: "write down what a new vCenter has to be told if this one is lost", Args: noArgs,
		Long: `Writes what recover needs once vCenter is gone: the names of its key providers, which
machines name and which can never change, their servers, the defaults, the records
by which the key server knows vCenter, which machine uses which key, and the text
of the settings. Keep it away from vCenter and from what vCenter's machines keep.

There is no secret in it, and no key: keys are in the key server, and in the
backups of its store (keyreeve backup create). A file that has the backup of
another vCenter is not overwritten. run writes one into state_dir by itself after
each inventory; what that could not see stays as it was. recover finds that one.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usage(cmd, "say where to: --out FILE")
			}
			return a.with(cmd, o, func(ctx context.Context, l *link) error { return a.backup(ctx, l, out) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file; it is replaced as a whole")
	return cmd
}

func (a *app) backup(ctx context.Context, l *link, out string) error {
	snapshot, err := l.read(ctx)
	if err != nil {
		return err
	}
	b, err := l.writeBackup(ctx, snapshot, out)
	if err != nil {
		return err
	}
	for _, why := range b.Partial {
		_, _ = fmt.Fprintf(a.err, "not all was seen: %s\n", program.Printable(why))
	}
	a.print("%s: vCenter %s, key providers: %d, machines with keys: %d\nkeyreeve-agent recover --from %s needs it if vCenter is lost; no secret is in it. Keep a copy elsewhere.\n",
		out, program.Printable(b.VCenter), len(b.Providers), len(b.Machines), out)
	return nil
}

// writeBackup replaces the file, unless it is of another vCenter: the backup of
// a lost one is what its machines are unlocked by, and the same command goes on
// being run after vCenter was rebuilt.
func (l *link) writeBackup(ctx context.Context, s *inventory.Snapshot, path string) (*recovery.Backup, error) {
	before, err := readBackup(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		before = nil
	case err != nil:
		return nil, fmt.Errorf("what is in its place is left there: %w", err)
	case before.VCenter != s.VCenter:
		return nil, &failure{Code: exitBlocked, Err: fmt.Errorf("%s is the backup of vCenter %s, and this is vCenter %s: it is left there", path, before.VCenter, s.VCenter),
			Hint: "name another file; the old one is what keyreeve-agent recover --from takes"}
	}
	b, err := l.makeBackup(ctx, s, before)
	if err != nil {
		return nil, err
	}
	text, err := b.Marshal()
	if err != nil {
		return nil, err
	}
	return b, durable.WriteFile(durable.OS, path, text, 0o600)
}

func (l *link) makeBackup(ctx context.Context, s *inventory.Snapshot, before *recovery.Backup) (*recovery.Backup, error) {
	session, err := l.vCenter(ctx)
	if err != nil {
		return nil, err
	}
	b, err := recovery.Make(ctx, session.Client(), s, before)
	if err != nil {
		return nil, err
	}
	for _, p := range l.config.Providers {
		record, err := l.client(ctx, p)
		if err != nil {
			return nil, err
		}
		if record != nil {
			b.Clients = append(b.Clients, recovery.Client{Provider: p.Name, Name: record.Name, Group: record.Group, Kind: record.Kind, Renew: record.AgentRenewable})
		}
	}
	r, err := readReports(l.config.StateDir)
	if err != nil {
		return nil, err
	}
	b.Instance, b.Reports, b.Settings = r.Instance, r.Numbers, l.config.text
	return b, nil
}

// client is the record by which the key server knows vCenter; nil: none yet.
func (l *link) client(ctx context.Context, p providerConfig) (*admin.ClientRecord, error) {
	server, err := l.keyServer()
	if err != nil {
		return nil, err
	}
	record, err := server.Client(ctx, p.Client)
	if answer, ok := errors.AsType[*admin.Error](err); ok && answer.Code == admin.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the key server for client %s: %w", p.Client, err)
	}
	return &record, nil
}

const (
	backupPrefix = "last-inventory-"
	maxBackup    = 256 << 20 // of 100,000 machines it has some 50 MB
)

// keep writes a backup into the state folder, one for each vCenter: that of a
// lost one stays when its successor is looked at. What a snapshot that is not
// complete lacks is taken over from the one before: a host that is away for
// weeks keeps no other machine's new key out of it.
func (l *link) keep(ctx context.Context, s *inventory.Snapshot) {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdefABCDEF-", r) {
			return r
		}
		return '_' // vCenter's text leads out of no folder
	}, s.VCenter)
	if _, err := l.writeBackup(ctx, s, filepath.Join(l.config.StateDir, backupPrefix+name+".json")); err != nil && ctx.Err() == nil {
		l.logger.Warn("what recover needs could not be written down", "err", err)
	}
}

func readBackup(path string) (*recovery.Backup, error) {
	text, err := durable.ReadFile(durable.OS, path, maxBackup)
	if err != nil {
		return nil, err
	}
	b, err := recovery.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// findBackup reads the named backup, or else the newest in the state folder. lost
// tells whether those of other vCenters come first, or the one of this vCenter.
// None is no error.
func (l *link) findBackup(named, vcenter string, lost bool) (b *recovery.Backup, path string, err error) {
	if named != "" {
		if b, err = readBackup(named); err != nil {
			return nil, "", &failure{Code: exitUsage, Err: fmt.Errorf("reading the backup: %w", err), Hint: "keyreeve-agent backup --out FILE makes one"}
		}
		return b, named, nil
	}
	paths, err := filepath.Glob(filepath.Join(l.config.StateDir, backupPrefix+"*.json"))
	if err != nil {
		return nil, "", err
	}
	for _, p := range paths {
		next, err := readBackup(p)
		if err != nil {
			l.logger.Warn("a backup cannot be read", "err", err)
			continue
		}
		first := func(b *recovery.Backup) bool { return (b.VCenter != vcenter) == lost }
		if b == nil || first(next) && !first(b) || first(next) == first(b) && next.Time.After(b.Time) {
			b, path = next, p
		}
	}
	return b, path, nil
}
