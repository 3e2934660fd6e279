package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/bolt"
	"github.com/keyreeve/keyreeve/keystore/rootkey"
)

// A vault is a data folder that is open: its lock, file, journal and store.
type vault struct {
	folder  folder
	lock    *durable.Lock
	backend *bolt.Backend
	journal *audit.Journal
	store   *keystore.Store
	id      [16]byte
	keyFrom string // where the root key came from, for people
}

// An opening is how a vault is opened.
type opening struct {
	config   config.Config
	logger   *slog.Logger
	registry prometheus.Registerer // nil: nothing is counted
	// before, if not nil, runs when the files are open and nothing in them has
	// been trusted or changed yet.
	before func(context.Context, *vault) error
	// key, if not nil, gets the root key in place of the configuration.
	key func() (*secret.Bytes, string, error)
}

// open opens the folder, or fails and leaves nothing open.
func (a *app) open(ctx context.Context, f folder, how opening) (*vault, error) {
	if err := needStore(string(f)); err != nil {
		return nil, err
	}
	if err := checkClosed(string(f)); err != nil {
		return nil, err
	}
	v := &vault{folder: f}
	if err := a.openParts(ctx, v, how); err != nil {
		return nil, errors.Join(err, v.close(ctx))
	}
	return v, nil
}

func (a *app) openParts(ctx context.Context, v *vault, how opening) (err error) {
	if v.lock, err = durable.LockDir(string(v.folder)); err != nil {
		return err
	}
	if v.backend, err = bolt.Open(v.folder.store(), bolt.Options{}); err != nil {
		return err
	}
	if v.id, err = keystore.StoreID(ctx, v.backend); err != nil {
		return err
	}
	if how.before != nil {
		if err := how.before(ctx, v); err != nil {
			return err
		}
	}
	get := how.key
	if get == nil {
		get = func() (*secret.Bytes, string, error) {
			return a.rootKey(v.folder, keyOptions{file: how.config.RootKeyFile, passphrase: how.config.PassphraseFile})
		}
	}
	key, from, err := get()
	if err != nil {
		return v.folder.interrupted(err)
	}
	defer key.Clear()
	v.keyFrom = from
	journal := v.auditConfig(a, how.logger)
	journal.SegmentBytes, journal.SegmentAge = int64(how.config.Audit.SegmentSize), how.config.Audit.SegmentAge
	if how.registry != nil {
		journal.Metrics = audit.NewMetrics(how.registry)
	}
	if v.journal, err = audit.Open(journal); err != nil {
		return err
	}
	v.store, err = keystore.Open(ctx, v.storeConfig(a, how, key))
	return v.folder.interrupted(err)
}

// interrupted says of a root key that is wrong or gone that a change of it was
// interrupted, if that is how it looks.
func (f folder) interrupted(err error) error {
	if !errors.Is(err, keystore.ErrWrongRootKey) && !errors.Is(err, rootkey.ErrMissing) {
		return err
	}
	for _, staged := range []string{f.rootKey() + ".new", f.passphrase() + ".new"} {
		if _, gone := os.Stat(staged); gone == nil {
			return &failure{Code: exitWrongKey, Err: err, Hint: "there is " + staged + ": a change of the root key was interrupted; finish it with keyreeve rootkey change"}
		}
	}
	return err
}

func (v *vault) auditConfig(a *app, logger *slog.Logger) audit.Config {
	return audit.Config{Dir: v.folder.journal(), StoreID: v.id, Now: a.now, Logger: logger}
}

// close closes what is open, in the order in which each needs the next.
func (v *vault) close(ctx context.Context) (err error) {
	if v.store != nil {
		err = v.store.Close(ctx)
	}
	if v.journal != nil {
		err = errors.Join(err, v.journal.Close())
	}
	if v.backend != nil {
		err = errors.Join(err, v.backend.Close())
	}
	return errors.Join(err, v.lock.Unlock())
}
