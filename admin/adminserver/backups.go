package adminserver

import (
	"context"
	"path/filepath"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// Backups makes backups of the store that is served.
type Backups interface {
	Create(ctx context.Context, by *keystore.Principal, req admin.BackupRequest) (admin.Backup, error)
	// Refresh returns a verified backup that has every key: the last one if it
	// has them and lies where it was written, or a new one that is removed in its
	// time, as the schedule's are.
	Refresh(ctx context.Context, by *keystore.Principal) (admin.Backup, error)
	List(ctx context.Context) ([]admin.Backup, error)
	// Stamp is that of the newest identifier that the last verified backup has;
	// 0: there is none.
	Stamp() uint64
	Progress() admin.BackupProgress
}

// createBackup lets only the owner say where a backup goes and who can open it:
// an operator elsewhere could have files written, and read, that are not theirs.
// An agent has one made before it encrypts; that it can only refresh keeps a
// stolen certificate of its from filling the disk.
func (s *Server) createBackup(c *call, req admin.BackupRequest) (admin.Backup, error) {
	if c.role != admin.RoleOwner && (req.To != "" || len(req.Recipients) > 0 || req.PassphraseFile != "") {
		return admin.Backup{}, &admin.Error{Code: admin.CodeForbidden, Message: "where a backup goes and who can open it is for the owner to say, at the server's socket",
			Hint: "leave it out, and the server's settings hold"}
	}
	if c.role == admin.RoleAgent {
		return s.cfg.Backups.Refresh(c.context(), c.by)
	}
	for _, path := range []string{req.To, req.PassphraseFile} {
		if path != "" && !filepath.IsAbs(path) {
			return admin.Backup{}, badRequest("%q is no absolute path", path)
		}
	}
	return s.cfg.Backups.Create(c.context(), c.by, req)
}

func (s *Server) listBackups(c *call, _ none) ([]admin.Backup, error) {
	return s.cfg.Backups.List(c.context())
}

func (s *Server) backupProgress(*call, none) (admin.BackupProgress, error) {
	return s.cfg.Backups.Progress(), nil
}
