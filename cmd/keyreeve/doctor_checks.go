package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/config"
)

// A patient is all that the checks judge. The checks themselves look at nothing
// else, so each can be shown any case.
type patient struct {
	config config.Config
	now    time.Time

	status    *admin.Status // nil: the server does not answer
	statusErr error
	clients   []admin.ClientRecord

	storeErr   error // of the store's file
	folderMode fs.FileMode
	journalErr error
	newest     time.Time // when store or journal were last written

	clockSynced  bool
	clockErr     error // nobody can say whether it is
	free         uint64
	freeErr      error
	fileSystem   fileSystem
	swap         []string // devices without encryption
	openFiles    uint64   // that a process of ours may have
	certificate  certificate
	rootKey      rootKeyFile
	kmipErr      error // connecting to, or while the server is down listening on, its address
	metricsErr   error
	adminErr     error
	passphrase   bool // the root key comes from one
	latestBackup *backupFacts
}

// A fileSystem is where the data folder lies.
type fileSystem struct {
	kind        string // as in /proc/mounts; empty: unknown
	fastCommits bool   // ext4 that makes fast commits
}

type certificate struct {
	expires, caExpires time.Time
	err                error
}

type rootKeyFile struct {
	path string
	mode fs.FileMode
	err  error
}

// backupFacts say when a backup was last found good.
type backupFacts struct {
	dir      string // where they lie, where a folder is set
	verified time.Time
	behind   bool // there are keys that are newer
	problem  string
}

// checks are in the order in which a person should read them.
var checks = []struct {
	name  string
	check func(*patient) []finding
}{
	{"server", checkServer},
	{"store", checkStore},
	{"journal", checkJournal},
	{"root key", checkRootKey},
	{"disk", checkDisk},
	{"file system", checkFileSystem},
	{"clock", checkClock},
	{"ports", checkPorts},
	{"certificate", checkCertificate},
	{"clients", checkClients},
	{"memory", checkMemory},
	{"limits", checkOpenFiles},
	{"backup", checkBackup},
	{"export", checkExports},
	{"inventory", checkInventories},
	{"settings", checkSettings},
}

func diagnose(p *patient) []finding {
	found := []finding{}
	for _, c := range checks {
		for _, f := range c.check(p) {
			f.Check = c.name
			found = append(found, f)
		}
	}
	return found
}

func one(f finding) []finding { return []finding{f} }

func checkServer(p *patient) []finding {
	switch {
	case p.status == nil && errors.Is(p.statusErr, admin.ErrNotRunning):
		return one(fail("start it: keyreeve server --data "+quote(p.config.Data), "the server is not running"))
	case p.status == nil:
		return one(fail("run this as root or as the server's user", "the server cannot be asked: %v", p.statusErr))
	case !p.status.Ready:
		return one(fail("its log says more; stop it, mend what it names, start it, run keyreeve verify", "the server is not ready: %s", p.status.Problem))
	}
	return one(ok("it serves %d keys to %d clients since %s", p.status.Objects, p.status.Clients, date(p.status.Started)))
}

func checkStore(p *patient) []finding {
	if p.storeErr != nil {
		return one(fail("check --data; if the store is lost, put back a backup", "there is no store to be read: %v", p.storeErr))
	}
	if p.folderMode.Perm()&0o077 != 0 {
		return one(fail("chmod 700 "+quote(p.config.Data), "the data folder is open to others: its mode is %#o", p.folderMode.Perm()))
	}
	return one(ok("it is there; keyreeve verify checks what is in it"))
}

func checkJournal(p *patient) []finding {
	if p.journalErr != nil {
		return one(fail("without it the store does not open: put back a backup of both", "the journal cannot be read: %v", p.journalErr))
	}
	return one(ok("it is there"))
}

func checkRootKey(p *patient) []finding {
	k := p.rootKey
	inside := func(dir string) bool {
		below, err := filepath.Rel(dir, k.path)
		return err == nil && below != ".." && !strings.HasPrefix(below, "../")
	}
	switch {
	case p.passphrase:
		return one(ok("it comes from a passphrase"))
	case errors.Is(k.err, fs.ErrNotExist):
		return one(fail("put it back from where a copy of it is kept: without it nothing opens", "there is no root key file %s", k.path))
	case k.err != nil:
		return one(warn("run this as root or as the server's user", "the root key file cannot be looked at: %v", k.err))
	case k.mode.Perm()&0o077 != 0:
		return one(fail("chmod 600 "+quote(k.path), "the root key file %s is open to others: its mode is %#o", k.path, k.mode.Perm()))
	case inside(p.config.Data):
		return one(fail("move it out and name it with root_key_file", "the root key file is inside the data folder: a copy of the folder opens everything"))
	case p.latestBackup != nil && p.latestBackup.dir != "" && inside(p.latestBackup.dir):
		return one(fail("move it elsewhere and name it with root_key_file", "the root key file lies with the backups: whoever takes both has every key"))
	}
	return one(ok("%s is there, and closed to others; keep a copy of it apart from backups", k.path))
}

func checkDisk(p *patient) []finding {
	const room = 1 << 30
	switch {
	case p.freeErr != nil:
		return one(warn("run this as root or as the server's user", "the free space is not known: %v", p.freeErr))
	case p.free < p.config.MinFree:
		return one(fail("free space on the disk of "+p.config.Data+": no key is made any more", "%s are free, less than min_free", bytesText(p.free)))
	case p.free < max(4*p.config.MinFree, room):
		return one(warn("free space on the disk of "+p.config.Data+" before it runs out", "%s are free", bytesText(p.free)))
	}
	return one(ok("%s are free", bytesText(p.free)))
}

func bytesText(n uint64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// unfit says what is wrong with file systems that do not keep what they were
// told to keep, or make it slow.
var unfit = map[string]finding{
	"nfs":     fail("move the data folder to a disk of this machine", "NFS: its locks and syncs are not to be relied on"),
	"nfs4":    fail("move the data folder to a disk of this machine", "NFS: its locks and syncs are not to be relied on"),
	"cifs":    fail("move the data folder to a disk of this machine", "SMB: its locks and syncs are not to be relied on"),
	"9p":      fail("move the data folder to a disk of this machine", "9p: its syncs are not to be relied on"),
	"tmpfs":   fail("move the data folder to a disk", "tmpfs: the store is gone with the next start of the machine"),
	"ramfs":   fail("move the data folder to a disk", "ramfs: the store is gone with the next start of the machine"),
	"overlay": warn("mount a volume for the data folder", "overlayfs: the store is gone with its container"),
	"btrfs":   warn("set chattr +C on the folder before the store is made, or use ext4 or xfs", "btrfs: copy on write makes each sync slow"),
	"zfs":     warn("give it a log device, or use ext4 or xfs", "ZFS: each sync is slow without a log device of its own"),
}

func checkFileSystem(p *patient) []finding {
	f := p.fileSystem
	if bad, known := unfit[f.kind]; known {
		if p.config.Dev && bad.Level == levelFail {
			bad.Level = levelWarn // --dev says that the store may be lost
		}
		return one(bad)
	}
	switch {
	case f.kind == "":
		return one(warn("", "it is not known which one the data folder is on"))
	case f.fastCommits:
		return one(warn("turn it off: tune2fs -O ^fast_commit, with the file system unmounted", "ext4 with fast_commit: kernels before 5.10.94, 5.15.17 and 5.16.3 lose synced data with it"))
	}
	return one(ok("%s", f.kind))
}

func checkClock(p *patient) []finding {
	const slack = time.Minute
	switch {
	case p.newest.Sub(p.now) > slack:
		return one(fail("set the clock; dates of keys stand still until it has caught up",
			"the clock is %s behind the time at which the store was last written", p.newest.Sub(p.now).Round(time.Second)))
	case p.clockErr != nil:
		return one(warn("see that a time service runs, such as systemd-timesyncd or chrony", "nobody can say whether the clock is kept right: %v", p.clockErr))
	case !p.clockSynced:
		return one(warn("see that a time service runs, such as systemd-timesyncd or chrony", "nothing keeps the clock right"))
	}
	return one(ok("it is kept right"))
}

func checkPorts(p *patient) []finding {
	down := p.status == nil
	judge := func(what, address string, err error, setting string) finding {
		switch {
		case err == nil && down:
			return ok("%s: %s is free", what, address)
		case err == nil:
			return ok("%s: %s answers", what, address)
		case down:
			return fail("stop what has it, or choose another with "+setting, "%s: the server could not listen on %s: %v", what, address, err)
		}
		return fail("see what is between: a firewall, a network that is down", "%s: %s does not answer: %v", what, address, err)
	}
	found := one(judge("kmip", p.config.Listen, p.kmipErr, "listen"))
	if p.config.AdminListen != config.Off {
		found = append(found, judge("admin", p.config.AdminListen, p.adminErr, "admin_listen"))
	}
	if p.config.MetricsListen != config.Off {
		found = append(found, judge("metrics", p.config.MetricsListen, p.metricsErr, "metrics_listen"))
	}
	return found
}

// soon is how long before its end a certificate should be looked after.
const soon = 30 * 24 * time.Hour

func checkCertificate(p *patient) []finding {
	c := p.certificate
	if c.err != nil {
		return one(fail("put certificate and key back into "+folder(p.config.Data).tls(), "the server's certificate cannot be read: %v", c.err))
	}
	var found []finding
	for _, end := range []struct {
		what, do string
		at       time.Time
	}{
		{"the server's certificate", "put a new one into " + folder(p.config.Data).tls() + " and send the server SIGHUP; tell clients that pinned the old one", c.expires},
		{"the certificate of its CA", "clients that trust it need another one before then", c.caExpires},
	} {
		if f, due := ending(p.now, end.at, end.what, end.do); due {
			found = append(found, f)
		}
	}
	if found == nil {
		found = one(ok("it is good until %s", date(c.expires)))
	}
	return found
}

func ending(now, at time.Time, what, do string) (finding, bool) {
	switch left := at.Sub(now); {
	case at.IsZero() || left > soon:
		return finding{}, false
	case left <= 0:
		return fail(do, "%s has ended on %s", what, date(at)), true
	default:
		return warn(do, "%s ends on %s", what, date(at)), true
	}
}

func checkClients(p *patient) []finding {
	if p.status == nil {
		return nil // only the server knows them
	}
	var found []finding
	for _, c := range p.clients {
		if c.Revoked != nil || c.IgnoreDates {
			continue
		}
		if f, due := ending(p.now, c.Expires, "the certificate of client "+c.Name, "give it a new one before it is shut out"); due {
			f.Level = levelWarn // the server is well
			found = append(found, f)
		}
	}
	switch {
	case found != nil:
	case !slices.ContainsFunc(p.clients, func(c admin.ClientRecord) bool { return c.Revoked == nil }):
		found = one(warn("let one in: keyreeve client add", "no client may use the server"))
	default:
		found = one(ok("none ends within %d days", soon/(24*time.Hour)))
	}
	return found
}

func checkMemory(p *patient) []finding {
	if len(p.swap) > 0 {
		return one(warn("turn swap off, or encrypt it: keys in memory can reach it", "swap on %s", strings.Join(p.swap, ", ")))
	}
	return one(ok("there is no swap that keys could reach"))
}

func checkOpenFiles(p *patient) []finding {
	need := uint64(p.config.Limits.Connections) + 64
	if p.openFiles < need {
		return one(warn("raise it (ulimit -n, or LimitNOFILE= of the service), or lower limits.connections",
			"a process may open %d files; %d connections need %d", p.openFiles, p.config.Limits.Connections, need))
	}
	return one(ok("%d open files are enough", p.openFiles))
}

func checkSettings(p *patient) []finding {
	var found []finding
	if p.config.Dev {
		found = append(found, warn("run it without --dev once it matters", "dev is on: the store may lie in a folder that is emptied"))
	}
	if p.config.LegacySuites {
		found = append(found, warn("turn it off once no old client needs it", "legacy_suites is on: no forward secrecy for who uses them"))
	}
	if p.config.RecordFile != "" {
		found = append(found, warn("take record_file out and restart", "record_file is set: every KMIP message is recorded"))
	}
	if found == nil {
		found = one(ok("nothing in them is for tests only"))
	}
	return found
}
