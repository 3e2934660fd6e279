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

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

const rootKeyChangeHelp = `Gives the store another root key, or another passphrase: when somebody may have seen
the one it has, or has left. The server must not run. The keys stay as they are; only
what they are sealed with is sealed anew, in one step.

A root key file is replaced where it lies, and the old one is kept beside it, with
the date in its name: backups that were made before open only with the old one. Keep
it as long as you keep them, make a new backup now, and then put it away.

If it is interrupted, run it again: it finds out how far it came and goes on.`

func (a *app) rootKeyCommand(o *options) *cobra.Command {
	return noun("rootkey", "the key that opens the store", a.rootKeyChangeCommand(o))
}

func (a *app) rootKeyChangeCommand(o *options) *cobra.Command {
	var configFile, next string
	cmd := &cobra.Command{
		Use: "change", Short: "give the store another root key", Long: rootKeyChangeHelp, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(cmd); err != nil {
				return err
			}
			c, err := a.settings(cmd, &serverOptions{configFile: configFile})
			if err != nil {
				return err
			}
			done, err := a.changeRootKey(cmd.Context(), c, next)
			if err != nil {
				return err
			}
			return a.show(cmd, o, done, func(w io.Writer) { done.print(w) })
		},
	}
	addSettingFlags(cmd, "root-key", "passphrase-file", "dev")
	cmd.Flags().StringVar(&next, "new-passphrase-file", "", "the file with the new passphrase, where the store has one; - asks at the terminal")
	a.configFlag(cmd, &configFile)
	o.outputFlag(cmd)
	return cmd
}

// rootKeyChanged is what the command prints.
type rootKeyChanged struct {
	RootKey string `json:"root_key"`          // where the new one is
	Old     string `json:"old,omitempty"`     // where the old one is kept
	Resumed bool   `json:"resumed,omitempty"` // an earlier run was interrupted
}

func (r rootKeyChanged) print(w io.Writer) {
	if r.Resumed {
		line(w, "note", "an earlier change was interrupted; it is finished now")
	}
	line(w, "root key", r.RootKey)
	if r.Old != "" {
		line(w, "the old one", r.Old+", needed for backups that were made before")
	}
	line(w, "now", "keep a copy of the new one elsewhere, and make a new backup: keyreeve backup create")
}

// A rootChange is a change of the root key that is under way. What is new lies
// beside what is old, under a name of its own, until the store has taken it.
type rootChange struct {
	app    *app
	folder folder
	config config.Config

	current, next func() (*secret.Bytes, string, error)
	settle        func() (rootKeyChanged, error) // puts the new one in the old one's place
}

// changeRootKey stages the new key, has the store take it, proves that it opens
// the store, and puts it in place. Wherever that is interrupted, running it
// again finishes it.
func (a *app) changeRootKey(ctx context.Context, c config.Config, nextPassphrase string) (done rootKeyChanged, err error) {
	if err := needStore(c.Data); err != nil {
		return done, err
	}
	k := &rootChange{app: a, folder: folder(c.Data), config: c}
	_, err = os.Stat(k.folder.passphrase())
	switch {
	case err == nil:
		err = k.stagePassphrase(nextPassphrase)
	case errors.Is(err, fs.ErrNotExist) && nextPassphrase != "":
		return done, refuse("leave --new-passphrase-file out", "the store in %s was made with a root key file, not with a passphrase", k.folder)
	case errors.Is(err, fs.ErrNotExist):
		err = k.stageFile()
	}
	if err != nil {
		return done, err
	}
	resumed, err := k.commit(ctx)
	if err != nil {
		return done, err
	}
	if err := k.with(ctx, k.next, nil); err != nil {
		return done, fmt.Errorf("opening the store with its new root key: %w", err)
	}
	done, err = k.settle()
	done.Resumed = resumed
	return done, err
}

// commit has the store take the new key. It has it already when an earlier run
// came so far.
func (k *rootChange) commit(ctx context.Context) (resumed bool, err error) {
	err = k.with(ctx, k.current, func(v *vault) error { return k.rewrap(ctx, v) })
	if errors.Is(err, keystore.ErrWrongRootKey) || errors.Is(err, rootkey.ErrMissing) {
		if k.with(ctx, k.next, nil) == nil {
			return true, nil
		}
	}
	return false, err
}

// with opens the store with a key, for fn if there is one.
func (k *rootChange) with(ctx context.Context, key func() (*secret.Bytes, string, error), fn func(*vault) error) (err error) {
	c := k.config
	c.LogLevel = slog.LevelWarn
	v, err := k.app.open(ctx, k.folder, opening{config: c, logger: k.app.newLogger(c, &slog.LevelVar{}), key: key})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close(context.WithoutCancel(ctx))) }()
	if fn != nil {
		return fn(v)
	}
	return nil
}

var opChangeRootKey = keystore.Op{Name: "Change Root Key", Class: keystore.OpChange, Urgent: true}

// rewrap is the change itself: one commit, with its journal entry.
func (k *rootChange) rewrap(ctx context.Context, v *vault) error {
	from, _, err := k.current()
	if err != nil {
		return err
	}
	defer from.Clear()
	to, _, err := k.next()
	if err != nil {
		return err
	}
	defer to.Clear()
	by := &keystore.Principal{Client: "admin", User: fmt.Sprintf("uid %d", os.Getuid()), Remote: "command line", Admin: true}
	return v.store.Do(ctx, by, true, oneItem{&opChangeRootKey, func(tx *keystore.Tx) error { return tx.ChangeRootKey(from, to) }})
}

// oneItem is a message with one item.
type oneItem struct {
	op    *keystore.Op
	apply func(tx *keystore.Tx) error
}

// Run implements keystore.Work.
func (o oneItem) Run(b *keystore.Batch) error { return b.Do(o.op, o) }

// Apply implements keystore.Action.
func (o oneItem) Apply(tx *keystore.Tx) error { return o.apply(tx) }

// stageFile makes the new root key beside the old one, or finds the one of an
// earlier run.
func (k *rootChange) stageFile() error {
	path := k.config.RootKeyFile
	if path == "" {
		path = k.folder.rootKey()
	}
	stage := path + ".new"
	if err := k.app.stagedFile(stage, k.folder); err != nil {
		return err
	}
	k.current = func() (*secret.Bytes, string, error) { return take(rootkey.FromFile(path)) }
	k.next = func() (*secret.Bytes, string, error) { return take(rootkey.FromFile(stage)) }
	k.settle = func() (rootKeyChanged, error) {
		old := path + ".old-" + k.app.now().UTC().Format("20060102T150405Z")
		if err := os.Rename(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return rootKeyChanged{}, err
		} else if err != nil {
			old = "" // an earlier run has moved it
		}
		err := errors.Join(os.Rename(stage, path), durable.OS.SyncDir(filepath.Dir(path)))
		return rootKeyChanged{RootKey: path, Old: old}, err
	}
	return nil
}

// stagedFile makes the file, unless it is there and is a root key.
func (a *app) stagedFile(stage string, data folder) error {
	err := rootkey.CreateFile(stage, string(data))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	key, _, err := take(rootkey.FromFile(stage))
	key.Clear()
	return err
}

// stagePassphrase does the same with the parameters of a passphrase, which is
// asked for once and kept until the end.
func (k *rootChange) stagePassphrase(file string) error {
	if k.config.RootKeyFile != "" {
		return refuse("leave --root-key out", "the store in %s was made with a passphrase, not with a root key file", k.folder)
	}
	if file == "" {
		return refuse("give --new-passphrase-file FILE, or - to type it", "the store in %s has a passphrase, and there is no new one", k.folder)
	}
	old, err := k.app.passphrase(k.config.PassphraseFile, false)
	if err != nil {
		return err
	}
	next, err := k.app.passphrase(file, true)
	if err != nil {
		return err
	}
	if err := rootkey.CheckPassphrase(next); err != nil {
		return err
	}
	path := k.folder.passphrase()
	stage := path + ".new"
	if err := rootkey.CreateParams(stage, rootkey.Calibrate(passphraseTime, k.app.now)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	k.current, k.next = derived(path, old), derived(stage, next)
	k.settle = func() (rootKeyChanged, error) {
		err := errors.Join(os.Rename(stage, path), durable.OS.SyncDir(filepath.Dir(path)))
		return rootKeyChanged{RootKey: "the new passphrase"}, err
	}
	return nil
}

// derived is a root key that parameters make of a passphrase.
func derived(params string, passphrase *secret.Bytes) func() (*secret.Bytes, string, error) {
	return func() (*secret.Bytes, string, error) {
		p, err := rootkey.ReadParams(params)
		if err != nil {
			return nil, "", err
		}
		return take(rootkey.FromPassphrase(p, passphrase))
	}
}
