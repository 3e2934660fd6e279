package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/internal/config"
	"github.com/keyreeve/keyreeve/keystore"
)

// What an agent had made is removed in its time where no schedule is set, too:
// it has one made whenever there are new keys.
func TestRefreshedBackupsDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	data, backups, identity := filepath.Join(dir, "data"), filepath.Join(dir, "backups"), filepath.Join(dir, "identity")
	var out bytes.Buffer
	for _, args := range [][]string{{"init", "--data", data, "--key-type", "p256"}, {"backup", "keygen", "--out", identity}} {
		out.Reset()
		if code := testApp(&out).run(t.Context(), args); code != exitDone {
			t.Fatal(out.String())
		}
	}
	recipient := out.String()[strings.LastIndex(out.String(), "age1"):]
	recipient, _, _ = strings.Cut(recipient, "\n")
	if err := os.Mkdir(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := opened(t, data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.app.now = func() time.Time { return now }
	s.config.MinFree, s.config.Backup = 0, config.Backup{Dir: backups, Recipients: []string{recipient}, KeepDaily: 2}
	k, err := s.vault.keeper(t.Context(), s.app, s.config, s.logger, nil)
	if err != nil {
		t.Fatal(err)
	}
	by := &keystore.Principal{Admin: true, User: "agent"}
	var last admin.Backup
	for day := range 6 {
		made, err := k.Refresh(t.Context(), by)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := k.Refresh(t.Context(), by); err != nil || again.ID != made.ID {
			t.Errorf("day %d: another backup of the same keys: %v", day, err)
		}
		if day > 0 { // the one of the day before is whole again
			if err := os.Truncate(last.Path, last.Size); err != nil {
				t.Fatal(err)
			}
		}
		last = made
		if err := os.Truncate(made.Path, made.Size+1); err != nil { // no backup any more, so that the next is due
			t.Fatal(err)
		}
		now = now.Add(25 * time.Hour)
	}
	if left := names(t, backups); len(left) != 2 {
		t.Errorf("after six days there are %v", left)
	}
}
