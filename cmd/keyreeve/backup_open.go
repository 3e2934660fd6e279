package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
)

// An openedBackup is a file that is being read.
type openedBackup struct {
	*backup.Archive
	path string
	file *os.File
	sum  hash.Hash
}

// unlock says what opens a backup.
type unlock struct {
	identity   string
	passphrase string
}

func (u *unlock) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.identity, "identity", "", "the file with the age identity that opens the backup")
	cmd.Flags().StringVar(&u.passphrase, "backup-passphrase", "", "instead: the file with the backup's passphrase in its first line; - asks at the terminal")
}

// openBackup opens a file and reads its manifest.
func (a *app) openBackup(cmd *cobra.Command, path string, u unlock) (*openedBackup, error) {
	own, err := a.identities(cmd, u)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{Code: exitNotFound, Err: fmt.Errorf("there is no backup %s", path)}
	}
	if err != nil {
		return nil, err
	}
	b := &openedBackup{path: path, file: f, sum: sha256.New()}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), refuse("", "%s is no file", path))
	}
	if b.Archive, err = backup.Open(io.TeeReader(f, b.sum), own); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return b, nil
}

func (b *openedBackup) close() error { return b.file.Close() }

// sha256 is the file's, once it was read to its end.
func (b *openedBackup) sha256() string { return hex.EncodeToString(b.sum.Sum(nil)) }

const maxIdentity = 1 << 16

func (a *app) identities(cmd *cobra.Command, u unlock) (own backup.Identities, err error) {
	switch {
	case u.identity != "" && u.passphrase != "":
		return own, usage(cmd, "--identity and --backup-passphrase exclude each other")
	case u.passphrase != "":
		passphrase, err := a.passphrase(u.passphrase, false)
		if err != nil {
			return own, err
		}
		defer passphrase.Clear()
		return backup.PassphraseIdentity(passphrase)
	case u.identity == "":
		return own, usage(cmd, "give what opens the backup: --identity FILE or --backup-passphrase FILE")
	}
	text, err := durable.ReadFile(durable.OS, u.identity, maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return own, &failure{Code: exitWrongKey, Err: fmt.Errorf("there is no identity %s", u.identity),
			Hint: "put it back from where you keep it; without it the backup does not open"}
	}
	if err != nil {
		return own, err
	}
	held := secret.Own(text)
	defer held.Clear()
	own, err = backup.ParseIdentities(held)
	if err != nil {
		return own, &failure{Code: exitWrongKey, Err: fmt.Errorf("%s: %w", u.identity, err), Hint: "keyreeve backup keygen made it, or age-keygen"}
	}
	return own, nil
}

// rootKeyFor gets the root key of a backup's store before anything of it is
// unpacked. What makes a passphrase into one is in the manifest, and goes into
// stage; beside is the data folder by which a root key file lies.
func (a *app) rootKeyFor(b *openedBackup, stage, beside folder, k keyOptions) (*secret.Bytes, error) {
	if b.Manifest.Parameters != nil {
		if err := durable.CreateFile(durable.OS, stage.passphrase(), b.Manifest.Parameters, 0o600); err != nil {
			return nil, err
		}
	} else if k.file == "" && beside != "" {
		k.file = beside.rootKey()
	}
	key, _, err := a.rootKey(stage, k)
	if err != nil {
		return nil, err
	}
	if err := keystore.CheckRootKey(b.Manifest.Meta, key); err != nil {
		key.Clear()
		return nil, fmt.Errorf("%s: %w", b.path, err)
	}
	return key, nil
}
