package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// passphraseTime is how long a guess at the passphrase should take on this machine.
const passphraseTime = time.Second

// A builder makes a store in the staging folder and moves it into place.
type builder struct {
	app     *app
	folder  folder
	options initOptions
	server  certs.ServerRequest

	lock    *durable.Lock
	key     *secret.Bytes // the root key
	leaf    *x509.Certificate
	madeKey bool
	moved   bool // the store is in its place: from here on nothing is undone
}

// build leaves all or nothing. A step that is cut by a crash leaves the staging
// folder, which no command takes for a store.
func (b *builder) build(ctx context.Context) (err error) {
	stage := folder(b.folder.staging())
	if err := os.Mkdir(string(stage), 0o700); err != nil {
		return err
	}
	defer func() {
		b.key.Clear()
		if err != nil && !b.moved {
			err = errors.Join(err, b.undo(stage))
		}
		err = errors.Join(err, b.lock.Unlock())
	}()
	if b.lock, err = durable.LockDir(string(stage)); err != nil {
		return err
	}
	return inOrder(ctx, stage, []step{b.makeKey, b.makeStore, b.check, b.settle})
}

// A step is one of those that make a folder, in stage.
type step func(ctx context.Context, stage folder) error

// inOrder does the steps, and stops between two of them when ctx has ended.
func inOrder(ctx context.Context, stage folder, steps []step) error {
	for _, do := range steps {
		if err := errInterrupted(ctx); err != nil {
			return err
		}
		if err := do(ctx, stage); err != nil {
			return cmp.Or(errInterrupted(ctx), err)
		}
	}
	return nil
}

func (b *builder) undo(stage folder) error {
	err := os.RemoveAll(string(stage))
	if b.madeKey {
		err = errors.Join(err, os.Remove(b.options.key.file))
	}
	return err
}

// makeKey makes the root key, or the parameters that make a passphrase into one.
func (b *builder) makeKey(_ context.Context, stage folder) (err error) {
	if file := b.options.key.file; file != "" {
		if err := rootkey.CreateFile(file, string(b.folder)); err != nil {
			return err
		}
		b.madeKey = true
		b.key, err = rootkey.FromFile(file).RootKey()
		return err
	}
	passphrase, err := b.app.passphrase(b.options.key.passphrase, true)
	if err != nil {
		return err
	}
	defer passphrase.Clear()
	if err := rootkey.CheckPassphrase(passphrase); err != nil {
		return err
	}
	params := rootkey.Calibrate(passphraseTime, b.app.now)
	if err := rootkey.CreateParams(stage.passphrase(), params); err != nil {
		return err
	}
	b.key, err = rootkey.FromPassphrase(params, passphrase).RootKey()
	return err
}

// makeStore makes file and journal, and the store in them with its CA and the
// server's certificate.
func (b *builder) makeStore(ctx context.Context, stage folder) (err error) {
	if err := bolt.Create(stage.store(), bolt.Options{}); err != nil {
		return err
	}
	v := &vault{folder: stage, id: keystore.NewStoreID()}
	defer func() { err = errors.Join(err, v.close(context.WithoutCancel(ctx))) }()
	if v.backend, err = bolt.Open(stage.store(), bolt.Options{}); err != nil {
		return err
	}
	logger := slog.New(slog.DiscardHandler)
	if err := audit.Create(v.auditConfig(b.app, logger)); err != nil {
		return err
	}
	if v.journal, err = audit.Open(v.auditConfig(b.app, logger)); err != nil {
		return err
	}
	c := v.storeConfig(b.app, opening{config: config.Default(), logger: logger}, b.key)
	if err := keystore.Create(ctx, c); err != nil {
		return err
	}
	if v.store, err = keystore.Open(ctx, c); err != nil {
		return err
	}
	ca, err := adminserver.CreateCA(ctx, v.store, b.app.now, b.app.rand)
	if err != nil {
		return err
	}
	return b.issue(ca, stage)
}

func (b *builder) issue(ca *certs.CA, stage folder) error {
	server, err := ca.IssueServer(b.server)
	if err != nil {
		return err
	}
	defer server.Clear()
	b.leaf = server.Certificate
	return certs.WriteServer(stage.tls(), server)
}

// check loads the certificates as the server will.
func (b *builder) check(_ context.Context, stage folder) error {
	_, err := certs.LoadServer(stage.tls(), b.app.now())
	return err
}

// settle puts the whole folder into place in one step.
func (b *builder) settle(_ context.Context, stage folder) error {
	if err := settleFolder(stage, b.folder); err != nil {
		return err
	}
	b.moved = true
	return syncParent(b.folder)
}

func settleFolder(stage, to folder) error {
	if err := durable.OS.SyncDir(string(stage)); err != nil {
		return err
	}
	return moveInto(string(stage), string(to))
}

func syncParent(f folder) error {
	if err := durable.OS.SyncDir(filepath.Dir(string(f))); err != nil {
		return fmt.Errorf("it is made, but may not survive a power cut: %w", err)
	}
	return nil
}
