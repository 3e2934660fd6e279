package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/durable"
)

// certificates are the server's certificate in use, in the folder tls, and
// another in tls.other: the next one, until it is put to use, and the one before
// afterwards. The two folders change places in one step of the file system, so
// that whatever happens the server finds a whole one.
type certificates struct {
	folder   folder
	ca       *certs.CA
	reloader *certs.Reloader
	now      func() time.Time
	logger   *slog.Logger
}

func (f folder) otherTLS() string { return f.tls() + ".other" }

// stagedMark lies beside a certificate that was made to be the next one.
func (f folder) stagedMark() string { return filepath.Join(f.otherTLS(), "staged") }

// Show implements adminserver.Certificates.
func (c *certificates) Show() (admin.ServerCertificates, error) {
	out := admin.ServerCertificates{Current: serverCertificate(c.reloader)}
	other, err := certs.NewReloader(c.folder.otherTLS(), c.now)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, certs.ErrOutsideDates) {
		return out, nil // none, or one that cannot be used any more
	}
	if err != nil {
		return out, err
	}
	there := serverCertificate(other)
	_, err = os.Stat(c.folder.stagedMark())
	there.Staged = err == nil
	out.Other = &there
	return out, nil
}

func serverCertificate(r *certs.Reloader) admin.ServerCertificate {
	leaf := r.Leaf()
	return admin.ServerCertificate{
		Thumbprints: thumbprints(leaf), PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), Subject: certs.SubjectOf(leaf), Hosts: hostsOf(leaf),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
}

// Stage implements adminserver.Certificates.
func (c *certificates) Stage(req admin.StageRequest) (admin.ServerCertificates, error) {
	leaf := c.reloader.Leaf()
	ask := certs.ServerRequest{Hosts: req.Hosts, KeyType: keyTypeOf(leaf)}
	if len(ask.Hosts) == 0 {
		ask.Hosts = hostsOf(leaf)
	}
	if req.KeyType != "" {
		kind, err := certs.ParseKeyType(req.KeyType)
		if err != nil {
			return admin.ServerCertificates{}, &admin.Error{Code: admin.CodeBadRequest, Message: err.Error()}
		}
		ask.KeyType = kind
	}
	issued, err := c.ca.IssueServer(ask)
	if err != nil {
		return admin.ServerCertificates{}, err
	}
	defer issued.Clear()
	if err := os.RemoveAll(c.folder.otherTLS()); err != nil {
		return admin.ServerCertificates{}, err
	}
	if err := certs.WriteServer(c.folder.otherTLS(), issued); err != nil {
		return admin.ServerCertificates{}, err
	}
	if err := durable.WriteFile(durable.OS, c.folder.stagedMark(), nil, 0o600); err != nil {
		return admin.ServerCertificates{}, err
	}
	c.logger.Info("the server's next certificate is staged, and not in use yet", "sha256", certs.SHA256(issued.Certificate))
	return c.Show()
}

// Use implements adminserver.Certificates.
func (c *certificates) Use(sha256 string) (admin.ServerCertificates, error) {
	all, err := c.Show()
	switch {
	case err != nil:
		return all, err
	case strings.EqualFold(all.Current.SHA256, sha256):
		return all, nil
	case all.Other == nil || !strings.EqualFold(all.Other.SHA256, sha256):
		return all, &admin.Error{Code: admin.CodeNotFound, Message: fmt.Sprintf("the server has no certificate %s", sha256),
			Hint: "keyreeve certificate show lists those that it has; keyreeve certificate stage makes one"}
	}
	if err := c.unmark(); err != nil {
		return all, err
	}
	if err := exchange(c.folder.tls(), c.folder.otherTLS()); err != nil {
		return all, fmt.Errorf("putting the certificate in place: %w", err)
	}
	err = durable.OS.SyncDir(filepath.Dir(c.folder.tls()))
	if err == nil {
		err = c.reloader.Reload()
	}
	if err != nil {
		return all, errors.Join(err, exchange(c.folder.tls(), c.folder.otherTLS()))
	}
	c.logger.Warn("the server has another certificate; clients that pinned the one before must be told",
		"sha1", certs.SHA1(c.reloader.Leaf()), "sha256", certs.SHA256(c.reloader.Leaf()))
	return c.Show()
}

// unmark takes the mark away with which the certificate in use has come: with it,
// it would pass for a staged one when it goes. That is done before and not after
// the exchange, so that whatever ends the server in between does no harm.
func (c *certificates) unmark() error {
	err := os.Remove(filepath.Join(c.folder.tls(), filepath.Base(c.folder.stagedMark())))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, durable.OS.SyncDir(c.folder.tls()))
}
