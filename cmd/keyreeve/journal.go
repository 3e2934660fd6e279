package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/keyreeve/keyreeve/admin/adminserver"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/audit/forward"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// journalKeeping is what works beside the journal while the server serves: the
// signing and archiving, and the export.
type journalKeeping struct {
	keeper     *audit.Keeper // nil: nothing is signed
	forwarders []*forward.Forwarder
	file       *forward.File // nil: no export to a file
	working    sync.WaitGroup
}

// keepJournal prepares all that. A journal that contradicts what was signed ends
// the start; a disk that is full, or a key that cannot be made now, does not:
// the keys have to be served.
func (s *service) keepJournal(ctx context.Context) error {
	if err := checkJournalSettings(&s.config); err != nil {
		return err
	}
	if err := s.openExport(); err != nil {
		return err
	}
	signer, err := adminserver.LoadSigner(ctx, s.vault.store)
	if err != nil {
		s.logger.Error("the journal is not signed", "err", err)
		return nil
	}
	if err := publishKey(s.vault.folder.journal(), signer); err != nil {
		s.logger.Error("the public key of the journal was not written", "err", err)
	}
	s.journal.keeper = audit.NewKeeper(audit.KeeperConfig{
		Journal: s.vault.journal, Signer: signer, Every: s.config.Audit.CheckpointEvery, Entries: uint64(s.config.Audit.CheckpointEntries),
		Archive: retention(&s.config), Logger: s.logger, Now: s.app.now,
		Archived: func() uint64 { return s.vault.store.Info().Archived },
		Allow:    s.vault.store.ArchiveJournal,
		Exported: s.exported, Publish: s.publish,
	})
	err = s.journal.keeper.Sign()
	if errors.Is(err, audit.ErrForked) {
		s.journal.keeper = nil
		return err
	}
	if err != nil {
		s.logger.Error("the journal is not signed now, and is tried again", "err", err)
	}
	return nil
}

func checkJournalSettings(c *config.Config) error {
	a := &c.Audit
	switch {
	case a.Syslog != config.Off && a.SyslogCA == "":
		return fmt.Errorf("%w: audit.syslog needs audit.syslog_ca, the file with the CA of the syslog server", config.ErrInvalid)
	case a.ArchiveTo != "" && a.ArchiveTo != config.Delete && !filepath.IsAbs(a.ArchiveTo):
		return fmt.Errorf("%w: audit.archive_to: %q is no absolute path, nor %s", config.ErrInvalid, a.ArchiveTo, config.Delete)
	case a.ArchiveTo == folder(c.Data).journal():
		return fmt.Errorf("%w: audit.archive_to is the journal's own folder", config.ErrInvalid)
	case a.ArchiveTo == "" && (a.ArchiveAfter > 0 || a.ArchiveAbove > 0):
		return fmt.Errorf("%w: audit.archive_after and audit.archive_above need audit.archive_to: a folder, or %s", config.ErrInvalid, config.Delete)
	}
	return nil
}

func retention(c *config.Config) audit.Retention {
	r := audit.Retention{After: c.Audit.ArchiveAfter, Above: int64(c.Audit.ArchiveAbove), Keep: c.Audit.KeepAtLeast, Folder: c.Audit.ArchiveTo}
	if r.Folder == config.Delete {
		r.Folder, r.Delete = "", true
	}
	return r
}

// publishKey leaves the public key in the journal's folder.
func publishKey(dir string, signer *audit.Signer) error {
	path, text := publicKeyPath(dir), publicKeyPEM(signer.Public())
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return durable.WriteFile(durable.OS, path, text, 0o644)
}

// openExport makes the forwarders that the settings ask for.
func (s *service) openExport() error {
	metrics := forward.NewMetrics(s.metrics)
	if path := s.config.Audit.ExportFile; path != "" {
		s.journal.file = forward.NewFile(durable.OS, path, int64(s.config.Audit.ExportFileSize), s.vault.inJournal, s.app.now)
		if err := s.addForwarder("file", s.journal.file, metrics); err != nil {
			return err
		}
	}
	if address := s.config.Audit.Syslog; address != config.Off {
		sink, err := s.syslog(address)
		if err != nil {
			return err
		}
		return s.addForwarder("syslog", sink, metrics)
	}
	return nil
}

func (s *service) addForwarder(name string, sink forward.Sink, metrics *forward.Metrics) error {
	f, err := forward.New(forward.Config{
		Name: name, Journal: s.vault.journal, Store: s.vault.id, Sink: sink, Position: s.vault.folder.exported(name),
		Now: s.app.now, Logger: s.logger, Metrics: metrics,
	})
	s.journal.forwarders = append(s.journal.forwarders, f)
	return err
}

// inJournal tells whether the journal passes through a position.
func (v *vault) inJournal(p audit.Position) bool {
	hash, ok, err := v.journal.HashAt(p.Seq)
	return err == nil && ok && hash == p.Hash
}

func (s *service) syslog(address string) (forward.Sink, error) {
	pem, err := os.ReadFile(s.config.Audit.SyslogCA)
	if err != nil {
		return nil, fmt.Errorf("audit.syslog_ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: audit.syslog_ca: %s holds no certificate in PEM", config.ErrInvalid, s.config.Audit.SyslogCA)
	}
	name := s.config.Audit.SyslogName
	if name == "" {
		if name, _, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("%w: audit.syslog: %w", config.ErrInvalid, err)
		}
	}
	host, _ := os.Hostname() // without one the messages say so
	return forward.NewSyslog(forward.SyslogConfig{
		Address: address, TLS: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12},
		Format: forward.Format{Host: host}, Now: s.app.now,
	}), nil
}

// exported returns up to where all exports have the journal.
func (s *service) exported() uint64 {
	least := ^uint64(0)
	for _, f := range s.journal.forwarders {
		least = min(least, f.Settled())
	}
	return least
}

func (s *service) publish(c audit.Checkpoint) {
	for _, f := range s.journal.forwarders {
		f.Publish(c)
	}
}

// work runs keeper and forwarders until ctx ends.
func (j *journalKeeping) work(ctx context.Context) {
	if j.keeper != nil {
		j.working.Go(func() { j.keeper.Run(ctx) })
	}
	for _, f := range j.forwarders {
		j.working.Go(func() { f.Run(ctx) })
	}
}

// lastCheckpoint signs the journal as it was closed.
func (s *service) lastCheckpoint() {
	if s.journal.keeper == nil {
		return
	}
	if err := s.journal.keeper.Sign(); err != nil {
		s.logger.Error("the journal's end was not signed", "err", err)
	}
}
