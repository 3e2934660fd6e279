package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/keystore"
)

const backupVerifyHelp = `Proves that a backup brings the store back, with what you would have after the loss
of the machine: the file, the identity (or passphrase) that opens it, and the root
key. It is decrypted, restored into a scratch store in the temporary folder, every
record is opened and every index entry looked up. No server is needed, and nothing
but the scratch store is written.

The root key is --root-key FILE, or the one that lies beside --data DIR; or the
passphrase of the store, in --passphrase-file FILE.`

// A proof is what backup verify found.
type proof struct {
	Path       string    `json:"path"`
	SHA256     string    `json:"sha256"`
	StoreID    string    `json:"store_id"`
	Created    time.Time `json:"created"`
	Host       string    `json:"host"`
	Server     string    `json:"server"` // version that wrote it
	NewestKey  time.Time `json:"newest_key,omitzero"`
	Objects    uint64    `json:"objects"`
	Tombstones uint64    `json:"tombstones"`
	Records    uint64    `json:"records"`
	Sequence   uint64    `json:"sequence"` // of the journal
}

func proofOf(b *openedBackup) proof {
	m := &b.Manifest
	return proof{
		Path: b.path, SHA256: b.sha256(), StoreID: hexadecimal(m.StoreID), Created: m.Created, Host: m.Host, Server: m.Server,
		NewestKey: m.Newest(), Objects: m.Objects, Tombstones: m.Tombstones, Records: m.Records, Sequence: m.Position.Seq,
	}
}

func (a *app) backupVerifyCommand(o *options) *cobra.Command {
	var u unlock
	var k keyOptions
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "prove that a backup brings the store back", Long: backupVerifyHelp, Args: takes(1, "the backup's file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.backupVerify(cmd, o, args[0], u, k)
			if err != nil {
				return err
			}
			return a.show(cmd, o, p, func(w io.Writer) { p.fields(w) })
		},
	}
	u.flags(cmd)
	k.flags(cmd, a)
	o.outputFlag(cmd)
	return cmd
}

// flags are those of commands that get a root key for a store that is not there.
func (k *keyOptions) flags(cmd *cobra.Command, a *app) {
	cmd.Flags().StringVar(&k.file, "root-key", a.env(config.Env("root_key_file")), "the store's root key file (default: DIR.rootkey)")
	cmd.Flags().StringVar(&k.passphrase, "passphrase-file", a.env(config.Env("passphrase_file")), "the file with the store's passphrase, where it was made with one; - asks at the terminal")
}

func (a *app) backupVerify(cmd *cobra.Command, o *options, path string, u unlock, k keyOptions) (p proof, err error) {
	b, err := a.openBackup(cmd, path, u)
	if err != nil {
		return p, err
	}
	defer func() { _ = b.close() }()
	stage, err := os.MkdirTemp("", "keyreeve-verify-")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	beside := folder("")
	if data := orElse(o.data, a.env(config.Env("data"))); data != "" {
		if data, err = filepath.Abs(data); err != nil {
			return p, err
		}
		beside = folder(data)
	}
	if b.Manifest.Parameters == nil && k.file == "" && beside == "" {
		return p, usage(cmd, "give the store's root key: --root-key FILE, or --data DIR if it lies beside that")
	}
	key, err := a.rootKeyFor(b, folder(stage), beside, k)
	if err != nil {
		return p, err
	}
	defer key.Clear()
	scratch, err := scratchStore(filepath.Join(stage, "store"))
	if err != nil {
		return p, err
	}
	count, stop := a.counterBar("verifying")
	_, err = b.Verify(cmd.Context(), scratch, key, count)
	stop()
	if err := errors.Join(err, scratch.Remove()); err != nil {
		return p, fmt.Errorf("%s: %w", path, ofBackup(err))
	}
	return proofOf(b), nil
}

// ofBackup keeps the hints for a damaged store away from a damaged backup.
func ofBackup(err error) error {
	if errors.Is(err, keystore.ErrCorrupt) || errors.Is(err, keystore.ErrInvalid) {
		return &failure{Code: exitDamaged, Err: err, Hint: "the backup is not what was written, or was made by somebody without the root key; take another one"}
	}
	return err
}

func (p *proof) fields(w io.Writer) {
	field(w, "backup", p.Path)
	field(w, "of store", p.StoreID+" on "+p.Host)
	field(w, "taken", date(p.Created))
	field(w, "newest key in it", date(p.NewestKey))
	field(w, "keys", fmt.Sprint(p.Objects))
	field(w, "destroyed, can be brought back", fmt.Sprint(p.Tombstones))
	field(w, "clients and other records", fmt.Sprint(p.Records))
	field(w, "sha256", p.SHA256)
	field(w, "result", "it brings the store back: every record opens with this root key")
}
