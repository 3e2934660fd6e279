package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/config"
)

var someday = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// healthy is a patient in whom nothing is found.
func healthy() *patient {
	c := config.Default()
	c.Data, c.AdminListen = "/var/lib/keyreeve", "127.0.0.1:5697"
	return &patient{
		config: c, now: someday,
		status: &admin.Status{Ready: true, Objects: 3, Clients: 1, Started: someday.Add(-time.Hour),
			Journal:   admin.JournalStatus{Exports: []admin.Export{{To: "syslog", CaughtUp: someday}}},
			Inventory: admin.InventoryStatus{VCenters: 1, Keys: 2, Oldest: someday.Add(-time.Minute)}},
		clients:    []admin.ClientRecord{{Name: "lab", Expires: someday.Add(300 * 24 * time.Hour)}},
		folderMode: fs.ModeDir | 0o700, newest: someday.Add(-time.Minute),
		clockSynced: true, free: 100 << 30, fileSystem: fileSystem{kind: "ext4"}, openFiles: 1 << 20,
		certificate:  certificate{expires: someday.Add(300 * 24 * time.Hour), caExpires: someday.Add(3000 * 24 * time.Hour)},
		rootKey:      rootKeyFile{path: "/var/lib/keyreeve.rootkey", mode: 0o600},
		latestBackup: &backupFacts{dir: "/backup", verified: someday.Add(-time.Hour)},
	}
}

func TestDoctorFindsNothingInTheHealthy(t *testing.T) {
	found := diagnose(healthy())
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.Check] = true
		if f.Level != levelOK || f.Do != "" {
			t.Errorf("%+v", f)
		}
	}
	for _, c := range checks {
		if !seen[c.name] {
			t.Errorf("%s says nothing", c.name)
		}
	}
}

// TestDoctorFindings shows each check each case that it knows.
func TestDoctorFindings(t *testing.T) {
	down := func(p *patient) { p.status, p.statusErr = nil, fmt.Errorf("%w: nobody", admin.ErrNotRunning) }
	for _, tt := range []struct {
		sick  func(*patient)
		check string
		level level
		says  string
	}{
		{down, "server", levelFail, "not running"},
		{func(p *patient) { p.status, p.statusErr = nil, fs.ErrPermission }, "server", levelFail, "cannot be asked"},
		{func(p *patient) { p.status.Ready, p.status.Problem = false, "fsync failed" }, "server", levelFail, "fsync failed"},
		{func(p *patient) { p.storeErr = fs.ErrNotExist }, "store", levelFail, "no store"},
		{func(p *patient) { p.folderMode = fs.ModeDir | 0o755 }, "store", levelFail, "open to others"},
		{func(p *patient) { p.journalErr = fs.ErrNotExist }, "journal", levelFail, "cannot be read"},
		{func(p *patient) { p.rootKey.err = fs.ErrNotExist }, "root key", levelFail, "no root key file"},
		{func(p *patient) { p.rootKey.err = fs.ErrPermission }, "root key", levelWarn, "cannot be looked at"},
		{func(p *patient) { p.rootKey.mode = 0o640 }, "root key", levelFail, "open to others"},
		{func(p *patient) { p.rootKey.path = p.config.Data + "/rootkey" }, "root key", levelFail, "inside the data folder"},
		{func(p *patient) { p.rootKey.path = "/backup/rootkey" }, "root key", levelFail, "with the backups"},
		{func(p *patient) { p.passphrase, p.rootKey.err = true, fs.ErrNotExist }, "root key", levelOK, "passphrase"},
		{func(p *patient) { p.free = 1 << 20 }, "disk", levelFail, "1.0 MiB are free"},
		{func(p *patient) { p.free = 512 << 20 }, "disk", levelWarn, "512.0 MiB are free"},
		{func(p *patient) { p.freeErr = fs.ErrPermission }, "disk", levelWarn, "not known"},
		{func(p *patient) { p.fileSystem.kind = "nfs4" }, "file system", levelFail, "NFS"},
		{func(p *patient) { p.fileSystem.kind = "tmpfs" }, "file system", levelFail, "tmpfs"},
		{func(p *patient) { p.fileSystem.kind, p.config.Dev = "tmpfs", true }, "file system", levelWarn, "tmpfs"},
		{func(p *patient) { p.fileSystem.kind = "overlay" }, "file system", levelWarn, "overlayfs"},
		{func(p *patient) { p.fileSystem.kind = "btrfs" }, "file system", levelWarn, "btrfs"},
		{func(p *patient) { p.fileSystem.kind = "zfs" }, "file system", levelWarn, "ZFS"},
		{func(p *patient) { p.fileSystem.kind = "" }, "file system", levelWarn, "not known"},
		{func(p *patient) { p.fileSystem.fastCommits = true }, "file system", levelWarn, "fast_commit"},
		{func(p *patient) { p.newest = p.now.Add(2 * time.Hour) }, "clock", levelFail, "2h0m0s behind"},
		{func(p *patient) { p.clockSynced = false }, "clock", levelWarn, "nothing keeps"},
		{func(p *patient) { p.clockErr = fs.ErrPermission }, "clock", levelWarn, "nobody can say"},
		{func(p *patient) { p.kmipErr = errors.New("refused") }, "ports", levelFail, "does not answer: refused"},
		{func(p *patient) { p.metricsErr = errors.New("refused") }, "ports", levelFail, "metrics: 127.0.0.1:9696"},
		{func(p *patient) { down(p); p.kmipErr = errors.New("address in use") }, "ports", levelFail, "could not listen on :5696"},
		{func(p *patient) { down(p) }, "ports", levelOK, "kmip: :5696 is free"},
		{func(p *patient) { p.certificate.err = fs.ErrNotExist }, "certificate", levelFail, "cannot be read"},
		{func(p *patient) { p.certificate.expires = p.now.Add(-time.Hour) }, "certificate", levelFail, "has ended on"},
		{func(p *patient) { p.certificate.expires = p.now.Add(29 * 24 * time.Hour) }, "certificate", levelWarn, "ends on"},
		{func(p *patient) { p.certificate.caExpires = p.now.Add(time.Hour) }, "certificate", levelWarn, "of its CA ends"},
		{func(p *patient) { p.clients[0].Expires = p.now.Add(time.Hour) }, "clients", levelWarn, "client lab ends"},
		{func(p *patient) { p.clients[0].Expires = p.now.Add(-time.Hour) }, "clients", levelWarn, "client lab has ended"},
		{func(p *patient) { p.clients[0].Revoked = &admin.Revocation{} }, "clients", levelWarn, "no client may"},
		{func(p *patient) { p.swap = []string{"/dev/sda2"} }, "memory", levelWarn, "/dev/sda2"},
		{func(p *patient) { p.openFiles = 1024 }, "limits", levelWarn, "1024 files"},
		{func(p *patient) { p.latestBackup.verified = time.Time{} }, "backup", levelFail, "no backup"},
		{func(p *patient) { p.latestBackup.verified = p.now.Add(-9 * 24 * time.Hour) }, "backup", levelWarn, "is of 2026-11-17"},
		{func(p *patient) { p.latestBackup.behind = true }, "backup", levelWarn, "newer than"},
		{func(p *patient) { p.latestBackup.problem = "disk full" }, "backup", levelFail, "disk full"},
		{func(p *patient) { p.adminErr = errors.New("refused") }, "ports", levelFail, "admin: 127.0.0.1:5697 does not answer"},
		{func(p *patient) { down(p); p.adminErr = errors.New("address in use") }, "ports", levelFail, "could not listen on 127.0.0.1:5697"},
		{func(p *patient) { e := &p.status.Journal.Exports[0]; e.Behind, e.CaughtUp = 7, p.now.Add(-time.Hour) }, "export", levelFail, "syslog: 7 entries"},
		{func(p *patient) { e := &p.status.Journal.Exports[0]; e.Behind = 7 }, "export", levelOK, "keeps up"},
		{func(p *patient) { p.status.Inventory.Missing = 2 }, "inventory", levelFail, "2 keys in use are not in this store"},
		{func(p *patient) { p.status.Inventory.Destroyed = 2 }, "inventory", levelFail, "2 keys in use are destroyed"},
		{func(p *patient) { p.status.Inventory.Waiting = 2 }, "inventory", levelWarn, "2 keys are not named"},
		{func(p *patient) { p.status.Inventory.Never = 1 }, "inventory", levelWarn, "without a complete report: 1"},
		{func(p *patient) { p.status.Inventory.Oldest = p.now.Add(-2 * time.Hour) }, "inventory", levelWarn, "is of 2026-11-26 10:00"},
		{func(p *patient) { p.config.Dev = true }, "settings", levelWarn, "dev is on"},
		{func(p *patient) { p.config.LegacySuites = true }, "settings", levelWarn, "forward secrecy"},
		{func(p *patient) { p.config.RecordFile = "/x" }, "settings", levelWarn, "recorded"},
	} {
		t.Run(tt.check+"/"+tt.says, func(t *testing.T) {
			p := healthy()
			tt.sick(p)
			var matching []finding
			for _, f := range diagnose(p) {
				if f.Check == tt.check && f.Level == tt.level && strings.Contains(f.Detail, tt.says) {
					matching = append(matching, f)
				}
			}
			if len(matching) != 1 {
				t.Fatalf("found %d times among %+v", len(matching), diagnose(p))
			}
			if f := matching[0]; f.Level != levelOK && f.Do == "" && f.Check != "file system" {
				t.Errorf("it does not say what to do: %+v", f)
			}
		})
	}
}

func TestSwapsIn(t *testing.T) {
	const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for text, want := range map[string]string{
		"":      "",
		heading: "",
		heading + "/dev/sda2                               partition\t2097148\t\t0\t\t-2\n":               "/dev/sda2",
		heading + "/swap\\040file\t\t\tfile\t\t2097148\t\t0\t\t-2\n":                                      `/swap\040file`,
		heading + "/dev/dm-1 partition 1 0 -2\n/dev/zram0 partition 1 0 100\n/dev/sdb partition 1 0 -3\n": "/dev/sdb",
	} {
		if got := strings.Join(swapsIn(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMountOf(t *testing.T) {
	for text, want := range map[string]string{
		"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue": "98:0 ext3 /dev/root",
		"22 27 0:21 / /proc rw,relatime - proc proc rw":                                  "0:21 proc proc",
		"nonsense": "  ",
	} {
		device, kind, source := mountOf(text)
		if got := device + " " + kind + " " + source; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if f := fileSystemOf("/proc"); f.kind != "proc" {
		t.Errorf("/proc is a %q", f.kind)
	}
}
