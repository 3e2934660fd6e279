package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/certs"
	"github.com/keyreeve/keyreeve/internal/config"
)

// examine looks at everything. What cannot be seen is noted, and no reason to
// stop.
func (a *app) examine(cmd *cobra.Command, o *options, c config.Config) *patient {
	p := &patient{config: c, now: a.now()}
	a.askServer(cmd, o, p)
	p.lookAtFolder()
	p.lookAtSystem()
	p.lookAtPorts(cmd.Context())
	return p
}

func (a *app) askServer(cmd *cobra.Command, o *options, p *patient) {
	o.data = p.config.Data
	server, err := a.adminClient(cmd, o)
	if err != nil {
		p.statusErr = err
		return
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), doctorTime)
	defer cancel()
	st, err := server.Status(ctx)
	if err != nil {
		p.statusErr = err
		return
	}
	p.status = &st
	p.latestBackup = backupFactsOf(st.Backup, p.config.Backup.Dir)
	p.clients, _ = server.Clients(ctx) // an old server may have none to tell
}

// backupFactsOf is nil for a store that has nothing to lose yet.
func backupFactsOf(b admin.BackupStatus, dir string) *backupFacts {
	if b.Last == nil && b.NewestKey.IsZero() {
		return nil
	}
	facts := &backupFacts{dir: dir, behind: b.NewerKeys && b.Problem != "", problem: b.Failed}
	if b.Last != nil {
		facts.verified = b.Last.Created
	}
	return facts
}

// doctorTime bounds each thing that could hang.
const doctorTime = 5 * time.Second

func (p *patient) lookAtFolder() {
	f := folder(p.config.Data)
	if info, err := os.Stat(string(f)); err == nil {
		p.folderMode = info.Mode()
	}
	store, err := os.Stat(f.store())
	if p.storeErr = err; err == nil {
		p.newest = store.ModTime()
	}
	entries, err := os.ReadDir(f.journal())
	p.journalErr = err
	if err == nil && len(entries) == 0 {
		p.journalErr = errors.New("it is empty")
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(p.newest) {
			p.newest = info.ModTime()
		}
	}
	_, err = os.Stat(f.passphrase())
	p.passphrase = err == nil
	p.rootKey = lookAtRootKey(orElse(p.config.RootKeyFile, f.rootKey()))
	p.certificate = lookAtCertificate(f)
}

func lookAtRootKey(path string) rootKeyFile {
	k := rootKeyFile{path: path}
	if abs, err := filepath.Abs(path); err == nil {
		k.path = abs
	}
	info, err := os.Stat(k.path)
	if k.err = err; err == nil {
		k.mode = info.Mode()
	}
	return k
}

func lookAtCertificate(f folder) certificate {
	leaf, err := firstCertificate(f.certificate())
	if err != nil {
		return certificate{err: err}
	}
	c := certificate{expires: leaf.NotAfter}
	if ca, err := firstCertificate(filepath.Join(f.tls(), certs.ServerCAFile)); err == nil {
		c.caExpires = ca.NotAfter
	}
	return c
}

func (p *patient) lookAtSystem() {
	p.free, p.freeErr = freeSpace(existing(p.config.Data))
	p.fileSystem = fileSystemOf(existing(p.config.Data))
	p.clockSynced, p.clockErr = clockSynced()
	p.swap = swapDevices()
	p.openFiles = openFiles()
}

// existing is the path, or the nearest folder above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// lookAtPorts connects to what a server should answer on, or, while it is down,
// finds out whether it could listen there. The server says where it really is,
// since a setting may let the system choose.
func (p *patient) lookAtPorts(ctx context.Context) {
	if p.status == nil {
		p.kmipErr = canListen(p.config.Listen)
		p.metricsErr = unlessOff(p.config.MetricsListen, canListen)
		p.adminErr = unlessOff(p.config.AdminListen, canListen)
		return
	}
	p.config.Listen = p.status.Listen
	p.config.MetricsListen = orElse(p.status.Metrics, config.Off)
	p.config.AdminListen = orElse(p.status.AdminListen, config.Off)
	connect := func(address string) error { return reach(ctx, address) }
	p.kmipErr = connect(p.config.Listen)
	p.metricsErr = unlessOff(p.config.MetricsListen, connect)
	p.adminErr = unlessOff(p.config.AdminListen, connect)
}

func unlessOff(address string, try func(string) error) error {
	if address == config.Off {
		return nil
	}
	return try(address)
}

func canListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

// reach connects; an address of all interfaces is tried on loopback.
func reach(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	return c.Close()
}
