package adminserver

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// Bounds of a report that is being uploaded. It is held in memory: half of one
// must never be taken for a whole, and is gone with the process.
const (
	maxUploadEntries = 500_000
	maxUploadBytes   = 128 << 20
	uploadIdle       = 15 * time.Minute
)

// uploads are the reports under way, one for each vCenter. A new one takes the
// place of one that was left.
type uploads struct {
	mu   sync.Mutex
	open map[keystore.VCenterID]*upload
}

type upload struct {
	id      string
	agent   string
	report  keystore.InventoryReport
	entries int // that the header announced
	digest  string
	sum     *admin.InventorySum
	bytes   int
	used    time.Time
}

// begin puts an upload in its place, and forgets what was left.
func (u *uploads) begin(up *upload, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, old := range u.open {
		if now.Sub(old.used) > uploadIdle {
			delete(u.open, id)
		}
	}
	if u.open == nil {
		u.open = make(map[keystore.VCenterID]*upload)
	}
	up.used = now
	u.open[up.report.VCenter] = up
}

// with runs fn on an upload that is the caller's own; nobody else uses it then.
func (u *uploads) with(c *call, now time.Time, fn func(up *upload) error) error {
	id, err := c.vcenter()
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.open[id]
	if up == nil || up.id != c.path("upload") || up.agent != c.by.User {
		return &admin.Error{Code: admin.CodeNotFound, Message: "there is no such upload: it was replaced by another, or left for too long, or the server was restarted", Hint: "send the report again from its beginning"}
	}
	up.used = now
	return fn(up)
}

// beginUpload judges the header, so that a report that will be refused is not
// sent first.
func (s *Server) beginUpload(c *call, head admin.InventoryHeader) (out admin.InventoryUpload, err error) {
	id, err := c.vcenter()
	if err != nil {
		return out, err
	}
	up, err := newUpload(id, c, head)
	if err != nil {
		return out, err
	}
	if err := s.cfg.Store.CheckInventory(c.context(), c.by, &up.report); err != nil {
		return out, err
	}
	s.uploads.begin(up, s.cfg.Now())
	return admin.InventoryUpload{Upload: up.id}, nil
}

func newUpload(id keystore.VCenterID, c *call, head admin.InventoryHeader) (*upload, error) {
	instance, ok := keystore.ParseUID([]byte(head.Instance))
	if !ok {
		return nil, badRequest("the agent's instance %q is not a UUID", head.Instance)
	}
	if head.Entries < 0 || head.Entries > maxUploadEntries {
		return nil, badRequest("%d entries: at most %d are taken", head.Entries, maxUploadEntries)
	}
	digest, err := hex.DecodeString(head.Digest)
	if err != nil || len(digest) != len(keystore.InventoryReport{}.Digest) {
		return nil, badRequest("the digest %q is not a SHA-256 in hexadecimal", head.Digest)
	}
	up := &upload{
		id: rand.Text(), agent: c.by.User, entries: head.Entries, digest: strings.ToLower(head.Digest),
		sum: admin.NewInventorySum(c.path("vcenter"), head),
		report: keystore.InventoryReport{VCenter: id, Agent: c.by.User, Instance: instance, Number: head.Number, Time: head.Time.Unix(),
			Partial: head.Partial, Providers: head.Providers},
	}
	copy(up.report.Digest[:], digest)
	return up, nil
}

var useKinds = map[string]keystore.UseKind{admin.UserVM: keystore.UseVM, admin.UserDisk: keystore.UseDisk, admin.UserHost: keystore.UseHost}

func (s *Server) addToUpload(c *call, chunk admin.InventoryChunk) (out admin.InventoryUpload, err error) {
	err = s.uploads.with(c, s.cfg.Now(), func(up *upload) error {
		out, err = up.add(chunk)
		return err
	})
	return out, err
}

func (up *upload) add(chunk admin.InventoryChunk) (out admin.InventoryUpload, err error) {
	received := len(up.report.Entries)
	if chunk.Offset != received || received+len(chunk.Entries) > up.entries {
		return out, badRequest("a chunk of %d entries at %d: %d of %d have come", len(chunk.Entries), chunk.Offset, received, up.entries)
	}
	var entries []keystore.ReportEntry
	for i, e := range chunk.Entries {
		kind, ok := useKinds[e.User.Kind]
		if !ok {
			return out, badRequest("entry %d: unknown kind %q: want vm, disk or host", received+i, e.User.Kind)
		}
		u := e.User
		up.bytes += len(e.Key) + len(u.Name) + len(u.Disk) + len(u.UUID) + len(u.BIOS) + len(u.Provider)
		entries = append(entries, keystore.ReportEntry{Key: e.Key,
			KeyUse: keystore.KeyUse{Kind: kind, Name: u.Name, Disk: u.Disk, UUID: u.UUID, BIOS: u.BIOS, Provider: u.Provider}})
	}
	if up.bytes > maxUploadBytes {
		return out, badRequest("the report's texts have more than %d bytes", maxUploadBytes)
	}
	up.sum.Add(chunk.Entries...)
	up.report.Entries = append(up.report.Entries, entries...)
	return admin.InventoryUpload{Upload: up.id, Received: len(up.report.Entries)}, nil
}

// commitUpload has the report taken as a whole. The upload ends with it, however
// it ends.
func (s *Server) commitUpload(c *call, _ none) (out admin.InventoryTaken, err error) {
	var report *keystore.InventoryReport
	err = s.uploads.with(c, s.cfg.Now(), func(up *upload) error {
		if err := up.whole(); err != nil {
			return err
		}
		report = &up.report
		delete(s.uploads.open, report.VCenter)
		return nil
	})
	if err != nil {
		return out, err
	}
	taken, err := s.cfg.Store.TakeInventory(c.context(), c.by, report)
	if err != nil {
		return out, err
	}
	s.cfg.Logger.Debug("inventory taken", "vcenter", report.VCenter.String(), "number", report.Number, "entries", len(report.Entries), "partial", taken.Reasons, "again", taken.Again)
	return admin.InventoryTaken{Number: report.Number, Complete: len(taken.Reasons) == 0, Again: taken.Again, Reasons: taken.Reasons}, nil
}

// whole compares what came with what the header announced.
func (up *upload) whole() error {
	if n := len(up.report.Entries); n != up.entries {
		return badRequest("%d of %d entries have come; send the rest, then commit", n, up.entries)
	}
	if sum := up.sum.String(); sum != up.digest {
		return refuse(fmt.Errorf("the digest of what came is %s, the header says %s: the report was changed or mixed up on its way", sum, up.digest))
	}
	return nil
}
