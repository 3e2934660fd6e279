package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
)

const backupHelp = `A backup is one age file. It holds all keys, destroyed ones that can still be
brought back, clients, users, the certificate authority and the server's own
certificate, sealed as they are in the store. The root key is never in it: to
restore takes the file, the identity (or passphrase) that opens it, and the root
key, so keep the three apart.

  keyreeve backup keygen --out backup.identity     make an identity, once
  keyreeve backup create --recipient age1…         make a backup, and prove it
  keyreeve backup verify FILE --identity F         prove that the identity opens it
  keyreeve backup restore FILE --data DIR --identity F --root-key F`

func (a *app) backupCommand(o *options) *cobra.Command {
	cmd := noun("backup", "make, prove and restore backups", a.backupKeygenCommand(), a.backupCreateCommand(o), a.backupListCommand(o),
		a.backupVerifyCommand(o), a.backupRestoreCommand(o))
	cmd.Long = backupHelp
	return cmd
}

func (a *app) backupKeygenCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen", Short: "make an identity that opens backups, and print its recipient", Args: noArgs,
		Long: `Makes an age identity, safe from quantum computers, in a new file with mode 0600,
and prints its recipient: that is what the server needs, and no secret. Move the
identity away from the server: it opens every backup made for its recipient.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usage(cmd, "--out is missing: the file to make")
			}
			return a.backupKeygen(out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to make")
	return cmd
}

func (a *app) backupKeygen(out string) error {
	text, recipient, err := backup.NewIdentity("opens keyreeve backups; made " + date(a.now()))
	if err != nil {
		return err
	}
	defer text.Clear()
	err = durable.CreateFile(durable.OS, filepath.Clean(out), text.Expose(), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return refuse("give another name", "%s is there already", out)
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.err, "made the identity %s: move it away from this machine, and keep it apart from backups and the root key\n", out)
	a.print("%s\n", recipient)
	return nil
}

// backups are made and listed by the server, or, where none runs, by us.
type backups interface {
	CreateBackup(ctx context.Context, req admin.BackupRequest) (admin.Backup, error)
	Backups(ctx context.Context) ([]admin.Backup, error)
	BackupProgress(ctx context.Context) (admin.BackupProgress, error)
}

// ownBackups makes them in this process.
type ownBackups struct{ *keeper }

func (b ownBackups) CreateBackup(ctx context.Context, req admin.BackupRequest) (admin.Backup, error) {
	by := &keystore.Principal{Client: "admin", User: fmt.Sprintf("uid %d", os.Getuid()), Remote: "command line", Admin: true}
	return b.Create(ctx, by, req)
}

func (b ownBackups) Backups(ctx context.Context) ([]admin.Backup, error) { return b.List(ctx) }

func (b ownBackups) BackupProgress(context.Context) (admin.BackupProgress, error) {
	return b.Progress(), nil
}

// withBackups calls fn with the server's backups, or opens the folder itself.
func (a *app) withBackups(cmd *cobra.Command, o *options, configFile string, fn func(backups) error) error {
	server, err := a.adminClient(cmd, o)
	if err != nil {
		return err
	}
	defer server.Close()
	_, err = server.Backups(cmd.Context())
	if !errors.Is(err, admin.ErrNotRunning) {
		if err != nil {
			return err
		}
		return fn(server)
	}
	c, err := a.settings(cmd, &serverOptions{configFile: configFile})
	if err != nil {
		return err
	}
	c.LogLevel = slog.LevelWarn
	logger := a.newLogger(c, &slog.LevelVar{})
	v, err := a.open(cmd.Context(), folder(c.Data), opening{config: c, logger: logger})
	if err != nil {
		return err
	}
	k, err := v.keeper(cmd.Context(), a, c, logger, nil)
	if err == nil {
		err = fn(ownBackups{k})
	}
	return errors.Join(err, v.close(context.WithoutCancel(cmd.Context())))
}

func (a *app) backupListCommand(o *options) *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use: "list", Short: "list the backups that were verified, newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withBackups(cmd, o, configFile, func(b backups) error {
				all, err := b.Backups(cmd.Context())
				if err != nil {
					return err
				}
				return a.show(cmd, o, all, func(w io.Writer) { listBackups(w, all) })
			})
		},
	}
	a.folderFlags(cmd, o, &configFile)
	return cmd
}

// folderFlags are those of a command that opens the folder where no server runs.
func (a *app) folderFlags(cmd *cobra.Command, o *options, configFile *string) {
	addSettingFlags(cmd, "root-key", "passphrase-file", "dev")
	a.configFlag(cmd, configFile)
	o.outputFlag(cmd)
}

func listBackups(w io.Writer, all []admin.Backup) {
	line(w, "TAKEN", "NEWEST KEY IN IT", "KEYS", "BYTES", "FILE", "PATH")
	for _, b := range all {
		state := "gone"
		if b.Present {
			state = "there"
		}
		if b.Restored {
			state = "restored from"
		}
		line(w, date(b.Created), dash(date(b.NewestKey)), fmt.Sprint(b.Objects), fmt.Sprint(b.Size), state, b.Path)
	}
}

const backupCreateHelp = `Makes a backup while the server serves, or of the folder where none runs. It is
read back from the disk, restored into a scratch store, and checked, and only then
has its name: a file that is there was verified. What only you can prove is that
you still have what opens it: keyreeve backup verify FILE --identity F.

--to is a folder that exists, or the file to make; without it the setting backup.dir
holds. Without --recipient and --for-passphrase the settings backup.recipients and
backup.passphrase_file hold. Nothing is ever overwritten.`

func (a *app) backupCreateCommand(o *options) *cobra.Command {
	var req admin.BackupRequest
	var configFile string
	cmd := &cobra.Command{
		Use: "create", Short: "make a backup, and prove it", Long: backupCreateHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := absolute(&req); err != nil {
				return err
			}
			return a.withBackups(cmd, o, configFile, func(b backups) error {
				stop := a.progressOf(cmd.Context(), b)
				made, err := b.CreateBackup(cmd.Context(), req)
				stop()
				if err != nil {
					return err
				}
				return a.show(cmd, o, made, func(w io.Writer) { a.tellBackup(w, made) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.To, "to", "", "folder for the backup, or the file to make")
	f.StringArrayVar(&req.Recipients, "recipient", nil, "who can open it: an age recipient (age1…), or a file with some; may be repeated")
	f.StringVar(&req.PassphraseFile, "for-passphrase", "", "instead: the file whose first line is the passphrase that opens it")
	a.folderFlags(cmd, o, &configFile)
	return cmd
}

// absolute makes paths such that the server, which runs elsewhere, finds them.
func absolute(req *admin.BackupRequest) (err error) {
	paths := []*string{&req.To, &req.PassphraseFile}
	for i := range req.Recipients {
		if !strings.HasPrefix(req.Recipients[i], "age1") {
			paths = append(paths, &req.Recipients[i])
		}
	}
	for _, path := range paths {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) tellBackup(w io.Writer, b admin.Backup) {
	field(w, "backup", b.Path)
	field(w, "taken", date(b.Created))
	field(w, "newest key in it", date(b.NewestKey))
	field(w, "keys", fmt.Sprint(b.Objects))
	field(w, "destroyed, can be brought back", fmt.Sprint(b.Tombstones))
	field(w, "clients and other records", fmt.Sprint(b.Records))
	field(w, "bytes", fmt.Sprint(b.Size))
	field(w, "sha256", b.SHA256)
	field(w, "opened by", strings.Join(b.Recipients, ", "))
	field(w, "verified", "read back, restored into a scratch store, and every record opened")
	field(w, "next", "copy it to another machine; prove that your identity opens it: keyreeve backup verify")
}
