package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// A keeper makes backups of an open vault: for the admin API, for the schedule,
// and for the command line where no server runs.
type keeper struct {
	app    *app
	config config.Config
	vault  *vault
	maker  *backup.Maker
	logger *slog.Logger
}

// keeper returns a keeper of the vault; metrics may be nil.
func (v *vault) keeper(ctx context.Context, a *app, c config.Config, logger *slog.Logger, metrics *backup.Metrics) (*keeper, error) {
	host, _ := os.Hostname() // for people; a machine without a name has none
	cfg := backup.Config{
		Store: v.store, Scratch: scratchStore, Files: v.folder.serverFiles,
		Version: version(), Host: host, Now: a.now, Logger: logger, Metrics: metrics,
	}
	var err error
	cfg.Parameters, err = durable.ReadFile(durable.OS, v.folder.passphrase(), maxPassphrase)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	maker, err := backup.NewMaker(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &keeper{a, c, v, maker, logger}, nil
}

// scratchStore makes an empty store in a folder that does not exist yet.
func scratchStore(dir string) (backup.Scratch, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return backup.Scratch{}, err
	}
	path := folder(dir).store()
	err := bolt.Create(path, bolt.Options{})
	if err != nil {
		return backup.Scratch{}, errors.Join(err, os.RemoveAll(dir))
	}
	b, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return backup.Scratch{}, errors.Join(err, os.RemoveAll(dir))
	}
	return backup.Scratch{Backend: b, Remove: func() error { return errors.Join(b.Close(), os.RemoveAll(dir)) }}, nil
}

// serverFileNames are what a backup holds of the folder's tls.
var serverFileNames = []string{certs.ServerCertificateFile, certs.ServerKeyFile, certs.ServerCAFile}

const maxServerFile = 1 << 20

func (f folder) serverFiles() (files []backup.File, err error) {
	for _, name := range serverFileNames {
		content, err := durable.ReadFile(durable.OS, filepath.Join(f.tls(), name), maxServerFile)
		if err != nil {
			return files, err
		}
		files = append(files, backup.File{Name: name, Content: content})
	}
	return files, nil
}

// Create implements adminserver.Backups.
func (k *keeper) Create(ctx context.Context, by *keystore.Principal, req admin.BackupRequest) (admin.Backup, error) {
	return k.create(ctx, by, req, false)
}

func (k *keeper) create(ctx context.Context, by *keystore.Principal, req admin.BackupRequest, scheduled bool) (admin.Backup, error) {
	to, err := k.recipients(req)
	if err != nil {
		return admin.Backup{}, told(err)
	}
	path, err := k.path(req.To)
	if err != nil {
		return admin.Backup{}, told(err)
	}
	made, err := k.maker.Create(ctx, backup.Request{Path: path, Recipients: to, By: by, Scheduled: scheduled})
	if err != nil {
		return admin.Backup{}, told(err)
	}
	return described(made), nil
}

// Refresh implements adminserver.Backups.
func (k *keeper) Refresh(ctx context.Context, by *keystore.Principal) (admin.Backup, error) {
	if now := k.maker.Standing(); now.Last != nil && !now.NewerKeys {
		if last := described(*now.Last); last.Present {
			return last, nil
		}
	}
	made, err := k.create(ctx, by, admin.BackupRequest{}, true)
	if err == nil && k.config.Backup.Every == 0 { // nothing else would ever remove it
		k.schedule().Retain(ctx)
	}
	return made, err
}

// schedule is what the settings say of backups that nobody asks for by name.
func (k *keeper) schedule() *backup.Schedule {
	b := k.config.Backup
	return &backup.Schedule{Maker: k.maker, Every: b.Every, Dir: b.Dir, KeepDaily: b.KeepDaily, KeepWeekly: b.KeepWeekly, Logger: k.logger}
}

// recipients are those of the request, or those of the settings.
func (k *keeper) recipients(req admin.BackupRequest) (backup.Recipients, error) {
	list, file := req.Recipients, req.PassphraseFile
	if len(list) == 0 && file == "" {
		list, file = k.config.Backup.Recipients, k.config.Backup.PassphraseFile
	}
	switch {
	case len(list) > 0 && file != "":
		return backup.Recipients{}, refuse("choose one of them", "a backup is for recipients or for a passphrase, not for both")
	case file != "":
		passphrase, err := k.app.passphraseFrom(file)
		if err != nil {
			return backup.Recipients{}, err
		}
		defer passphrase.Clear()
		if err := rootkey.CheckPassphrase(passphrase); err != nil {
			return backup.Recipients{}, fmt.Errorf("the backup's %w", err)
		}
		return backup.FromPassphrase(passphrase)
	case len(list) == 0:
		return backup.Recipients{}, refuse("make an identity with keyreeve backup keygen --out FILE, and give what it prints with --recipient or in the setting backup.recipients",
			"nobody could open the backup: there is no recipient")
	}
	return parseRecipients(list)
}

// parseRecipients takes recipients themselves and paths of files with some.
func parseRecipients(list []string) (backup.Recipients, error) {
	var text strings.Builder
	for _, one := range list {
		if !strings.HasPrefix(one, "age1") {
			content, err := durable.ReadFile(durable.OS, one, maxServerFile)
			if err != nil {
				return backup.Recipients{}, refuse("give an age recipient (age1…) or a file with some", "recipient: %w", err)
			}
			one = string(content)
		}
		text.WriteString(one + "\n")
	}
	return backup.ParseRecipients(text.String())
}

// path is where the file goes: into a folder that exists under a name of its
// own, or to the path itself.
func (k *keeper) path(to string) (string, error) {
	if to == "" {
		to = k.config.Backup.Dir
	}
	if to == "" {
		return "", refuse("give --to FILE or DIR, or set backup.dir", "there is no place for backups")
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, k.maker.FileName(k.app.now()))
	}
	inside, err := durable.Inside(to, string(k.vault.folder))
	if err != nil {
		return "", err
	}
	if inside {
		return "", refuse("take another disk, or another machine's", "%s is in the data folder, and would be lost with it", to)
	}
	return to, k.room(filepath.Dir(to))
}

// room refuses a disk that the file and the scratch store would fill: it may be
// the one on which keys are made.
func (k *keeper) room(dir string) error {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return refuse("make it, or give another one; the server's user must be able to write there", "there is no folder %s for the backup", dir)
	}
	info, err := os.Stat(k.vault.folder.store())
	if err != nil {
		return err
	}
	free, err := freeSpace(dir)
	if err != nil {
		return err
	}
	if need := 2*uint64(info.Size()) + k.config.MinFree; free < need {
		return &failure{Code: exitDiskFull, Err: fmt.Errorf("%s has %d bytes free, and a backup and the store that it is tried out in take up to %d", dir, free, need),
			Hint: "free space there, or take another disk"}
	}
	return nil
}

// List implements adminserver.Backups.
func (k *keeper) List(ctx context.Context) ([]admin.Backup, error) {
	all, err := backup.List(ctx, k.vault.store)
	if err != nil {
		return nil, err
	}
	out := make([]admin.Backup, 0, len(all))
	for _, m := range all {
		out = append(out, described(m))
	}
	return out, nil
}

// Stamp implements adminserver.Backups.
func (k *keeper) Stamp() uint64 {
	if last := k.maker.Standing().Last; last != nil {
		return last.Stamp
	}
	return 0
}

// Progress implements adminserver.Backups.
func (k *keeper) Progress() admin.BackupProgress { return admin.BackupProgress(k.maker.Progress()) }

func described(m backup.Made) admin.Backup {
	info, err := os.Stat(m.Path)
	return admin.Backup{
		ID: m.ID, Path: m.Path, Created: m.Created, Verified: m.Verified, NewestKey: m.NewestKey,
		Objects: m.Objects, Tombstones: m.Tombstones, Records: m.Records, Sequence: m.Sequence,
		Size: m.Size, SHA256: m.SHA256, Recipients: m.Recipients, Scheduled: m.Scheduled, Restored: m.Restored,
		Present: err == nil && info.Size() == m.Size,
	}
}

// status is what admin.Status says of backups.
func (k *keeper) status() admin.BackupStatus {
	s := k.maker.Standing()
	out := admin.BackupStatus{NewestKey: s.NewestKey, NewerKeys: s.NewerKeys, Problem: s.Problem(k.app.now(), k.patience())}
	if s.Failed != nil {
		out.Failed = s.Failed.Error()
	}
	if s.Last != nil {
		last := described(*s.Last)
		out.Last = &last
	}
	if k.config.Backup.Every > 0 {
		out.Every = k.config.Backup.Every.String()
	}
	return out
}

// told turns what an admin can mend into an answer of the API.
func told(err error) error {
	code, hint := judge(err)
	is := admin.CodeFailed
	switch {
	case errors.Is(err, fs.ErrExist):
		is = admin.CodeExists
	case errors.Is(err, backup.ErrDamaged): // of a file that the disk does not give back
		is, hint = admin.CodeDamaged, "the disk of the backup did not give back what was written; take another one"
	case code == exitDiskFull:
		is = admin.CodeDiskFull
	case code == exitDamaged:
		return err // of the store: the API has its words
	case errors.Is(err, backup.ErrBusy), errors.Is(err, backup.ErrRecipient), code == exitRefused, code == exitWrongKey,
		errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		is = admin.CodeRefused
	}
	return &admin.Error{Code: is, Message: err.Error(), Hint: hint}
}
