package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
)

const restoreHelp = `Makes a data folder of a backup, on any machine: keys, clients, users, the
certificate authority and the server's certificate, so that clients and vCenter see
the server that they know. It takes the file, the identity (or passphrase) that
opens it, and the root key, which stays where it is.

All of it appears at once or not at all: it is built in DIR.restore, checked, and
renamed. Nothing that exists is ever overwritten; the backup is only read.

What was done after the backup was taken is not in it: keys made since are missing,
and what was destroyed, revoked or shut out since is back. If the old machine lives,
there are two of it afterwards: stop it.`

type restoreOptions struct {
	file  string
	open  unlock
	key   keyOptions
	hosts []string
	dev   bool
}

func (a *app) backupRestoreCommand(o *options) *cobra.Command {
	var r restoreOptions
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "make a data folder of a backup", Long: restoreHelp, Args: takes(1, "the backup's file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.dataFolder(cmd, o)
			if err != nil {
				return err
			}
			r.file = args[0]
			return a.restore(cmd, folder(data), r)
		},
	}
	r.open.flags(cmd)
	r.key.flags(cmd, a)
	f := cmd.Flags()
	f.StringArrayVar(&r.hosts, "host", nil, "make a new certificate, for this name or address, instead of the backup's; may be repeated")
	f.BoolVar(&r.dev, "dev", a.env(config.Env("dev")) == "true", "allow a temporary folder, for a store that may be lost")
	return cmd
}

func (a *app) restore(cmd *cobra.Command, f folder, o restoreOptions) error {
	if o.key.file != "" && o.key.passphrase != "" {
		return usage(cmd, "--root-key and --passphrase-file exclude each other")
	}
	if _, _, err := certs.ParseHosts(o.hosts); len(o.hosts) > 0 && err != nil {
		return usage(cmd, "--host: %w", err)
	}
	if err := checkRestore(f, o); err != nil {
		return err
	}
	b, err := a.openBackup(cmd, o.file, o.open)
	if err != nil {
		return err
	}
	r := &restorer{app: a, folder: f, options: o, backup: b}
	if err := errors.Join(r.run(cmd.Context()), b.close()); err != nil {
		return fmt.Errorf("restoring %s into %s: %w", o.file, f, err)
	}
	a.tellRestored(r)
	return nil
}

// checkRestore refuses what a restore must not touch, before anything is made.
func checkRestore(f folder, o restoreOptions) error {
	if err := checkPlace(string(f), o.dev); err != nil {
		return err
	}
	if err := checkEmptyFor(f, "a restore never overwrites: give a new folder, or move the old one away first"); err != nil {
		return err
	}
	if _, err := os.Lstat(f.restoring()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := durable.LockDir(f.restoring())
	if errors.Is(err, durable.ErrLocked) {
		return &failure{Code: exitInUse, Err: fmt.Errorf("another restore is at work on %s", f), Hint: "wait for it"}
	}
	if err != nil {
		return err
	}
	return errors.Join(refuse("nothing in it was ever in use; remove it and start again: rm -rf "+quote(f.restoring()),
		"an earlier restore of %s was interrupted", f), lock.Unlock())
}

// tellRestored says what there is now, what is not, and what to do next.
func (a *app) tellRestored(r *restorer) {
	m, f := &r.backup.Manifest, r.folder
	age := a.now().Sub(m.Created).Round(time.Minute)
	a.print("restored %d keys, %d destroyed ones that can be brought back, and %d clients and other records into %s\n", m.Objects, m.Tombstones, m.Records, f)
	a.print("  backup         %s\n", r.options.file)
	a.print("  taken          %s on %s, %s ago\n", date(m.Created), m.Host, age)
	if newest := m.Newest(); !newest.IsZero() {
		a.print("  newest key     %s\n", date(newest))
	}
	a.print("  certificate    %s\n", r.certificate)
	print := thumbprints(r.leaf)
	a.print("    SHA-1        %s\n    SHA-256      %s\n", print.SHA1, print.SHA256)
	a.print("\nwhat happened between %s and the loss of the machine is NOT in it:\n", date(m.Created))
	a.print("  - keys made in that time are missing; compare with what your clients use\n")
	a.print("  - keys destroyed or revoked in that time are back as they were: destroy and revoke them again\n")
	a.print("  - clients, users and admins shut out in that time are let in again: revoke them again\n")
	a.print("  - leases and usage limits count from where they were: what was used in that time can be used again\n")
	a.print("  - the journal goes on after sequence %d; what the old machine wrote after that is only in its own\n", m.Position.Seq)
	a.print("if the old machine, or another restore, still runs, there are two servers with the same keys that no longer agree: stop one for good\n")
	server := fmt.Sprintf("%s server --data %s", quote(a.program), quote(string(f)))
	switch {
	case r.options.key.passphrase != "":
		server += " --passphrase-file " + quote(r.options.key.passphrase)
	case r.options.key.file != "" && r.options.key.file != f.rootKey():
		server += " --root-key " + quote(r.options.key.file)
	}
	a.print("\nnext, serve it, and make a new backup of it:\n  %s\n  %s backup create --data %s\n", server, quote(a.program), quote(string(f)))
}

// reason is the first entry of the restored store's journal.
func (r *restorer) reason() string {
	m := &r.backup.Manifest
	path := r.options.file
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if len(path) > 200 {
		path = "…" + strings.ToValidUTF8(path[len(path)-200:], "")
	}
	return fmt.Sprintf("from a backup taken %s on %s at sequence %d, sha256 %s, file %s; what was done after that is not here",
		date(m.Created), m.Host, m.Position.Seq, r.backup.sha256(), path)
}
