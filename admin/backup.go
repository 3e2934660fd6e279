package admin

import (
	"context"
	"net/http"
	"time"
)

// A Backup is one that was verified: restored into a scratch store and checked.
type Backup struct {
	ID         string    `json:"id"`
	Path       string    `json:"path"` // on the server's machine
	Created    time.Time `json:"created"`
	Verified   time.Time `json:"verified"`
	NewestKey  time.Time `json:"newest_key,omitzero"` // zero: the store had no key
	Objects    uint64    `json:"objects"`             // destroyed ones too
	Tombstones uint64    `json:"tombstones"`          // destroyed keys that can be brought back
	Records    uint64    `json:"records"`             // clients, users, …
	Sequence   uint64    `json:"sequence"`            // of the journal
	Size       int64     `json:"size"`                // bytes
	SHA256     string    `json:"sha256"`              // of the file
	Recipients []string  `json:"recipients,omitempty"`
	Scheduled  bool      `json:"scheduled,omitempty"`
	Restored   bool      `json:"restored,omitempty"` // this store came from it
	Present    bool      `json:"present"`            // a file of that size lies at Path now
}

// BackupRequest is the body of POST /v1/backups. Who is not the owner leaves all
// of it to the server's settings.
type BackupRequest struct {
	To             string   `json:"to,omitempty"`              // an absolute path: of a folder that exists, or of the file; empty: the folder in the settings
	Recipients     []string `json:"recipients,omitempty"`      // empty: those in the settings
	PassphraseFile string   `json:"passphrase_file,omitempty"` // instead of recipients
}

// BackupProgress is the answer to GET /v1/backups/progress.
type BackupProgress struct {
	Phase string `json:"phase,omitempty"` // writing or verifying; empty: none is being made
	Done  uint64 `json:"done"`            // records
	Total uint64 `json:"total"`
}

// BackupStatus is what Status says about backups.
type BackupStatus struct {
	Last      *Backup   `json:"last,omitempty"`      // the newest that was verified
	NewestKey time.Time `json:"newest_key,omitzero"` // in the store
	NewerKeys bool      `json:"newer_keys"`          // keys were made since the last verified backup
	Every     string    `json:"every,omitempty"`     // empty: there is no schedule
	Problem   string    `json:"problem,omitempty"`   // what has to be done something about
	Failed    string    `json:"failed,omitempty"`    // why the last attempt since the server's start failed; empty: it did not
}

// CreateBackup makes a backup and returns when it is verified.
func (c *Client) CreateBackup(ctx context.Context, req BackupRequest) (Backup, error) {
	return call[Backup](ctx, c, http.MethodPost, "/v1/backups", req)
}

// Backups lists what the server knows of its backups, newest first.
func (c *Client) Backups(ctx context.Context) ([]Backup, error) {
	return call[[]Backup](ctx, c, http.MethodGet, "/v1/backups", nil)
}

// BackupProgress tells how far the backup is that is being made.
func (c *Client) BackupProgress(ctx context.Context) (BackupProgress, error) {
	return call[BackupProgress](ctx, c, http.MethodGet, "/v1/backups/progress", nil)
}
