package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/keystore/backup"
	"github.com/keyreeve/keyreeve/keystore/bolt"
)

// A restorer makes a data folder of a backup in the staging folder and moves it
// into place, as init does with a new one.
type restorer struct {
	app     *app
	folder  folder
	options restoreOptions
	backup  *openedBackup

	lock        *durable.Lock
	key         *secret.Bytes // the root key
	leaf        *x509.Certificate
	certificate string // where the server's came from, for people
	moved       bool   // it is in its place: from here on nothing is undone
}

func (r *restorer) steps() []step {
	return []step{r.takeKey, r.unpack, r.revive, r.look, r.settle}
}

// run leaves all or nothing. A step that is cut by a crash leaves the staging
// folder, which no command takes for a store.
func (r *restorer) run(ctx context.Context) (err error) {
	stage := folder(r.folder.restoring())
	if err := os.Mkdir(string(stage), 0o700); err != nil {
		return err
	}
	defer func() {
		r.key.Clear()
		if err != nil && !r.moved {
			err = errors.Join(err, os.RemoveAll(string(stage)))
		}
		err = errors.Join(err, r.lock.Unlock())
	}()
	if r.lock, err = durable.LockDir(string(stage)); err != nil {
		return err
	}
	return inOrder(ctx, stage, r.steps())
}

// takeKey comes first: with a wrong key the rest would be work for nothing.
func (r *restorer) takeKey(_ context.Context, stage folder) (err error) {
	r.key, err = r.app.rootKeyFor(r.backup, stage, r.folder, r.options.key)
	return err
}

// unpack puts the records into a store that nothing has vouched for yet.
func (r *restorer) unpack(ctx context.Context, stage folder) error {
	if err := bolt.Create(stage.store(), bolt.Options{}); err != nil {
		return err
	}
	b, err := bolt.Open(stage.store(), bolt.Options{})
	if err != nil {
		return err
	}
	count, stop := r.app.counterBar("restoring")
	_, err = r.backup.Restore(ctx, b, count)
	stop()
	return errors.Join(ofBackup(err), b.Close())
}

// revive gives the store its journal, checks every record of it, and takes the
// server's files out of it.
func (r *restorer) revive(ctx context.Context, stage folder) (err error) {
	v := &vault{folder: stage, id: r.backup.Manifest.StoreID}
	if v.backend, err = bolt.Open(stage.store(), bolt.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.backend.Close()) }()
	logger := slog.New(slog.DiscardHandler)
	c := v.storeConfig(r.app, opening{config: config.Default(), logger: logger}, r.key)
	err = r.backup.Revive(ctx, c, v.auditConfig(r.app, logger), r.reason(), func(s *keystore.Store) error {
		return errors.Join(r.takeFiles(ctx, s, stage), r.note(ctx, s))
	})
	return ofBackup(err)
}

// takeFiles puts the server's certificate back, or makes a new one where the
// backup has none or other hosts were asked for.
func (r *restorer) takeFiles(ctx context.Context, s *keystore.Store, stage folder) error {
	files, err := backup.Files(ctx, s)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			secret.Clear(f.Content)
		}
	}()
	if len(files) > 0 && len(r.options.hosts) == 0 {
		r.certificate = "the old one: clients and vCenter know it"
		return writeFiles(stage.tls(), files)
	}
	hosts := r.options.hosts
	if len(hosts) == 0 {
		hosts = ownHosts()
	}
	r.certificate = "NEW, for " + strings.Join(hosts, ", ") + ": clients and vCenter that pinned the old one must be told"
	ca, _, err := adminserver.Load(ctx, s, r.app.now, r.app.rand)
	if err != nil {
		return err
	}
	server, err := ca.IssueServer(certs.ServerRequest{Hosts: hosts})
	if err != nil {
		return err
	}
	defer server.Clear()
	return certs.WriteServer(stage.tls(), server)
}

// writeFiles writes only what a server has: a name is no path.
func writeFiles(dir string, files []backup.File) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if !slices.Contains(serverFileNames, f.Name) {
			return fmt.Errorf("%w: a server has no file %q", backup.ErrDamaged, f.Name)
		}
		if err := durable.CreateFile(durable.OS, filepath.Join(dir, f.Name), f.Content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// note writes down which backup this store came from: restoring it has proved it.
func (r *restorer) note(ctx context.Context, s *keystore.Store) error {
	m := &r.backup.Manifest
	path, err := filepath.Abs(r.options.file)
	if err != nil {
		return err
	}
	info, err := r.backup.file.Stat()
	if err != nil {
		return err
	}
	return backup.Note(ctx, s, &adminserver.System, backup.Made{
		ID: m.Created.Format("20060102T150405Z") + "-restored", Path: path, Created: m.Created, Verified: r.app.now().UTC(),
		NewestKey: m.Newest(), Stamp: m.Stamp, Objects: m.Objects, Tombstones: m.Tombstones, Records: m.Records,
		Sequence: m.Position.Seq, Size: info.Size(), SHA256: r.backup.sha256(), Restored: true,
	}, "this store was restored from it")
}

// look loads the certificate as the server will. One that has expired meanwhile
// the server issues anew, if it is ours.
func (r *restorer) look(_ context.Context, stage folder) (err error) {
	if r.leaf, err = firstCertificate(stage.certificate()); err != nil {
		return err
	}
	_, err = certs.LoadServer(stage.tls(), r.app.now())
	if errors.Is(err, certs.ErrOutsideDates) {
		r.certificate += " (outside its dates: the server makes a new one when it starts)"
		return nil
	}
	return err
}

// settle puts the whole folder into place in one step.
func (r *restorer) settle(_ context.Context, stage folder) error {
	if err := settleFolder(stage, r.folder); err != nil {
		return err
	}
	r.moved = true
	return syncParent(r.folder)
}
