package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
)

// An Archive is a backup that is being read. It is read once, from the front.
type Archive struct {
	in       unpacker
	Manifest Manifest
}

// Open reads a backup's head and its manifest, which nothing has vouched for
// yet. Errors: ErrNotBackup, ErrIdentity, ErrDamaged, ErrVersion, and the
// reader's.
func Open(in io.Reader, own Identities) (*Archive, error) {
	a, err := open(bufio.NewReaderSize(in, 256<<10), own)
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	return a, nil
}

func open(in io.Reader, own Identities) (*Archive, error) {
	plain, err := decrypt(in, own)
	if err != nil {
		return nil, err
	}
	a := &Archive{in: unpacker{in: plain}}
	if err := a.in.begin(); err != nil {
		return nil, err
	}
	a.Manifest = a.in.manifest
	return a, nil
}

// Restore puts all records into an empty backend. Only when it returns nil has
// the file been read to its end and agreed with its digest; whether the records
// are a store is for keystore's CheckCopy and Fork to say. progress may be nil.
func (a *Archive) Restore(ctx context.Context, b keystore.Backend, progress func(done, total uint64)) (Summary, error) {
	importer, err := keystore.NewImporter(ctx, b)
	if err != nil {
		return Summary{}, err
	}
	a.in.progress = progress
	s, err := a.in.rest(importer)
	if err != nil {
		return s, err
	}
	return s, importer.Finish()
}

// Verify restores the backup into an empty backend and checks all of it with the
// root key: after that the file is known to bring the store back.
func (a *Archive) Verify(ctx context.Context, scratch keystore.Backend, root *secret.Bytes, progress func(done, total uint64)) (keystore.Report, error) {
	if err := keystore.CheckRootKey(a.Manifest.Meta, root); err != nil {
		return keystore.Report{}, err
	}
	if _, err := a.Restore(ctx, scratch, progress); err != nil {
		return keystore.Report{}, err
	}
	report, snapshot, err := keystore.CheckCopy(ctx, scratch, root)
	if err != nil {
		return report, err
	}
	return report, a.agrees(report, snapshot)
}

// agrees holds what was found in the restored store against the manifest.
func (a *Archive) agrees(r keystore.Report, s keystore.Snapshot) error {
	m := &a.Manifest
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	same := s.StoreID == m.StoreID && s.Generation == m.Generation && s.Commits == m.Commits && s.Position == m.Position && s.Stamp == m.Stamp &&
		uint64(r.Objects) == m.Objects && uint64(r.Tombstones) == m.Tombstones && uint64(r.Records) == m.Records
	if !same {
		return fmt.Errorf("%w: its manifest is not that of its content", ErrDamaged)
	}
	return nil
}

// Revive makes the restored backend a store with a journal of its own, which
// begins where the backup's ended, and checks both. dir is where the journal
// will be; the reason is its first entry's. What it opened is closed again.
func (a *Archive) Revive(ctx context.Context, c keystore.Config, j audit.Config, reason string, finish func(*keystore.Store) error) (err error) {
	at := a.Manifest.Position
	j.StoreID, c.StoreID = a.Manifest.StoreID, a.Manifest.StoreID
	if err := audit.CreateAfter(j, at, at.Seq); err != nil {
		return err
	}
	journal, err := audit.Open(j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	c.Journal = journal
	if err := keystore.Fork(ctx, c, reason); err != nil {
		return err
	}
	store, err := keystore.Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	if err := finish(store); err != nil {
		return err
	}
	report, err := store.Check(ctx)
	return errors.Join(err, report.Err())
}
