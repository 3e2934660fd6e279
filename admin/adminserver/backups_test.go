package adminserver_test

import (
	"context"
	"testing"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

// fakeBackups makes none, and says what it was asked for.
type fakeBackups struct {
	asked []admin.BackupRequest
	by    []string
	stamp uint64
}

func (f *fakeBackups) Stamp() uint64 { return f.stamp }

func (f *fakeBackups) Create(_ context.Context, by *keystore.Principal, req admin.BackupRequest) (admin.Backup, error) {
	f.asked, f.by = append(f.asked, req), append(f.by, by.User)
	return admin.Backup{ID: "made", Path: req.To}, nil
}

func (f *fakeBackups) Refresh(_ context.Context, by *keystore.Principal) (admin.Backup, error) {
	f.by = append(f.by, by.User)
	return admin.Backup{ID: "refreshed"}, nil
}

func (f *fakeBackups) List(context.Context) ([]admin.Backup, error) {
	return []admin.Backup{{ID: "made"}}, nil
}

func (f *fakeBackups) Progress() admin.BackupProgress { return admin.BackupProgress{Phase: "writing"} }

// Where a backup goes and who opens it is for the owner: an operator elsewhere
// could otherwise have the store written to where they can fetch it.
func TestOnlyTheOwnerSaysWhereABackupGoes(t *testing.T) {
	w := newWorld(t)
	operator := w.remote(t, w.addAdmin(t, "olga", admin.RoleOperator))
	for name, req := range map[string]admin.BackupRequest{
		"to": {To: "/srv/x"}, "recipients": {Recipients: []string{"age1x"}}, "passphrase": {PassphraseFile: "/etc/x"},
	} {
		if _, err := operator.CreateBackup(t.Context(), req); code(err) != admin.CodeForbidden {
			t.Errorf("an operator's %s: %v", name, err)
		}
	}
	if _, err := operator.CreateBackup(t.Context(), admin.BackupRequest{}); err != nil {
		t.Errorf("an operator's backup by the settings: %v", err)
	}
	made, err := w.client.CreateBackup(t.Context(), admin.BackupRequest{To: "/srv/x", Recipients: []string{"age1x"}})
	if err != nil || made.Path != "/srv/x" {
		t.Errorf("the owner's: %+v, %v", made, err)
	}
	if _, err := w.client.CreateBackup(t.Context(), admin.BackupRequest{To: "relative"}); code(err) != admin.CodeBadRequest {
		t.Errorf("a relative path: %v", err)
	}
	if got := w.backups.by; len(got) != 2 || got[0] != "olga" {
		t.Errorf("asked by %q", got)
	}
	all, err := w.client.Backups(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("the list: %v, %v", all, err)
	}
	if p, err := w.client.BackupProgress(t.Context()); err != nil || p.Phase != "writing" {
		t.Errorf("progress: %v, %v", p, err)
	}
}

// An agent has a backup refreshed, and says neither where nor for whom.
func TestAgentRefreshesTheBackup(t *testing.T) {
	w := newWorld(t)
	agent := w.remote(t, w.addAdmin(t, "agatha", admin.RoleAgent))
	if made, err := agent.CreateBackup(t.Context(), admin.BackupRequest{}); err != nil || made.ID != "refreshed" {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := agent.CreateBackup(t.Context(), admin.BackupRequest{To: "/srv/x"}); code(err) != admin.CodeForbidden {
		t.Errorf("it says where: %v", err)
	}
	if len(w.backups.asked) != 0 {
		t.Errorf("it had a backup made: %+v", w.backups.asked)
	}
}
