package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyreeve/keyreeve/internal/secret"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// What a backup is in the journal.
var (
	opCreate = keystore.Op{Name: "Create Backup", Class: keystore.OpChange, Urgent: true}
	opForget = keystore.Op{Name: "Remove Backup", Class: keystore.OpChange}
	opFiles  = keystore.Op{Name: "Keep Server Files", Class: keystore.OpChange, Urgent: true}
	opTake   = keystore.Op{Name: "Read Server Files", Class: keystore.OpObserve}
	opRead   = keystore.Op{Name: "Read Backups", Class: keystore.OpNone}
)

// system is who acts when the server itself does.
var system = keystore.Principal{Client: "server", Admin: true}

// A Made is a backup that was verified: what the store keeps about it.
type Made struct {
	ID         string    `json:"id"`
	Path       string    `json:"path"`
	Created    time.Time `json:"created"`              // of the snapshot
	Verified   time.Time `json:"verified"`             // when the file had been restored and checked
	NewestKey  time.Time `json:"newest_key,omitzero"`  // zero: the store had no key
	Stamp      uint64    `json:"stamp"`                // the same, exactly
	Objects    uint64    `json:"objects"`              // destroyed ones too
	Tombstones uint64    `json:"tombstones"`           // destroyed keys that can be brought back
	Records    uint64    `json:"records"`              // clients, users, …
	Sequence   uint64    `json:"sequence"`             // of the journal
	Size       int64     `json:"size"`                 // bytes
	SHA256     string    `json:"sha256"`               // of the file
	Recipients []string  `json:"recipients,omitempty"` // shortened
	Scheduled  bool      `json:"scheduled,omitempty"`  // made by the schedule, which removes it again
	Restored   bool      `json:"restored,omitempty"`   // this store was restored from it
}

// Identifiers of records of KindBackup: one for each backup, and one that holds
// the server's files.
const (
	madePrefix  = "made/"
	filesRecord = "files"
)

// maxMade is how many records are kept: an admin may make backups by cron.
const maxMade = 500

type work func(*keystore.Batch) error

func (w work) Run(b *keystore.Batch) error { return w(b) }

type action func(*keystore.Tx) error

func (a action) Apply(tx *keystore.Tx) error { return a(tx) }

func do(ctx context.Context, s *keystore.Store, p *keystore.Principal, op *keystore.Op, fn func(*keystore.Tx) error) error {
	return s.Do(ctx, p, op.Class == keystore.OpChange, work(func(b *keystore.Batch) error { return b.Do(op, action(fn)) }))
}

// List returns what the store knows of its backups, newest first.
func List(ctx context.Context, s *keystore.Store) (all []Made, err error) {
	err = do(ctx, s, &system, &opRead, func(tx *keystore.Tx) error {
		all = all[:0]
		return tx.Records(keystore.KindBackup, func(id string, value []byte) error {
			if id == filesRecord {
				return nil
			}
			var m Made
			if err := json.Unmarshal(value, &m); err != nil {
				return fmt.Errorf("%w: the record of backup %q: %w", keystore.ErrCorrupt, id, err)
			}
			all = append(all, m)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading what backups there are: %w", err)
	}
	slices.SortStableFunc(all, func(a, b Made) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID)) })
	return all, nil
}

// Note writes a backup down: from here on it counts. The reason is for the journal.
func Note(ctx context.Context, s *keystore.Store, p *keystore.Principal, m Made, reason string) error {
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	old, err := List(ctx, s)
	if err != nil {
		return err
	}
	return do(ctx, s, p, &opCreate, func(tx *keystore.Tx) error {
		for i := maxMade - 1; i < len(old); i++ {
			if err := tx.DeleteRecord(keystore.KindBackup, madePrefix+old[i].ID); err != nil {
				return err
			}
		}
		return errors.Join(tx.Explain(reason), tx.PutRecord(keystore.KindBackup, madePrefix+m.ID, value))
	})
}

// forget removes the record of a backup whose file is gone.
func forget(ctx context.Context, s *keystore.Store, m Made, reason string) error {
	return do(ctx, s, &system, &opForget, func(tx *keystore.Tx) error {
		return errors.Join(tx.Explain(reason), tx.DeleteRecord(keystore.KindBackup, madePrefix+m.ID))
	})
}

// A File is one of the server's own files that a backup has to bring back: its
// TLS key and certificate.
type File struct {
	Name    string
	Content []byte
}

// keepFiles seals the files as a record, so that they are in the snapshot; not
// when they are there already.
func keepFiles(ctx context.Context, s *keystore.Store, files []File) error {
	if len(files) == 0 {
		return nil
	}
	var w ttlv.Writer
	all := w.Begin(tagFiles)
	for _, f := range files {
		one := w.Begin(tagFile)
		w.TextString(tagName, f.Name)
		w.ByteString(tagContent, f.Content)
		w.End(one)
	}
	w.End(all)
	defer func() { secret.Clear(w.Bytes()) }()
	same := false
	err := do(ctx, s, &system, &opRead, func(tx *keystore.Tx) error {
		old, err := tx.Record(keystore.KindBackup, filesRecord)
		same = err == nil && bytes.Equal(old, w.Bytes())
		if errors.Is(err, keystore.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil || same {
		return err
	}
	return do(ctx, s, &system, &opFiles, func(tx *keystore.Tx) error {
		return tx.PutRecord(keystore.KindBackup, filesRecord, w.Bytes())
	})
}

// Files returns the server's files as they were at the last backup; none if the
// store has never been backed up. The caller clears their content.
func Files(ctx context.Context, s *keystore.Store) (files []File, err error) {
	err = do(ctx, s, &system, &opTake, func(tx *keystore.Tx) error {
		files = nil
		value, err := tx.Record(keystore.KindBackup, filesRecord)
		if errors.Is(err, keystore.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		files, err = decodeFiles(value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the server's files: %w", err)
	}
	return files, nil
}

func decodeFiles(value []byte) (files []File, err error) {
	it, err := ttlv.Parse(value)
	if err != nil {
		return nil, err
	}
	r, err := it.Items()
	if err != nil {
		return nil, err
	}
	for !r.Done() {
		one, _ := r.Take(tagFile)
		name, err1 := one.Find(tagName).Text()
		content, err2 := one.Find(tagContent).Bytes()
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%w: the record of the server's files: %w", keystore.ErrCorrupt, err)
		}
		files = append(files, File{string(name), append([]byte{}, content...)})
	}
	return files, nil
}
