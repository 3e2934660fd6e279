package keystore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/keystore"
)

// A restored backup has the inventory of its time: what it names stays in use
// until two complete reports after it do not, and what was made since is missing.
func TestInventoryOfARestoredBackup(t *testing.T) {
	r, s, keys := newSite(t, 4, nil)
	delete(s.Uses, keys[0])
	send(t, s) // one more, and it would be released
	backup := export(t, r)
	send(t, s)
	inUse(t, r, keys[0], false)
	late := newKey(t, r, "")
	s.Uses[late] = []string{"made since"}
	send(t, s)
	restored := backup.forked(t, r)
	restored.Clock.Add(r.Clock.Unix() - restored.Clock.Unix())
	s.Rig = restored
	send(t, s)
	inUse(t, restored, keys[0], true)
	info, err := s.Look()
	must(t, err)
	if info.Missing != 1 || !slices.Equal(info.Lost, []string{late.String()}) {
		t.Errorf("%+v", info)
	}
	send(t, s)
	inUse(t, restored, keys[0], false)
	inUse(t, restored, keys[1], true)
	inUse(t, restored, late, true)
}

// A key that two vCenters use is in use until neither does.
func TestTwoVCenters(t *testing.T) {
	r, first, keys := newSite(t, 4, nil)
	second, err := r.NewSite(2)
	must(t, err)
	second.Uses[keys[0]] = []string{"elsewhere"}
	second.Uses[keys[1]] = []string{"elsewhere"}
	send(t, second)
	delete(first.Uses, keys[0])
	send(t, first)
	send(t, first)
	err = r.Edit(keys[0], destroy)
	if !errors.Is(err, keystore.ErrInUse) || !strings.Contains(err.Error(), `"elsewhere"`) || strings.Contains(err.Error(), "more") {
		t.Errorf("Destroy = %v", err)
	}
	delete(second.Uses, keys[0])
	send(t, second)
	send(t, second)
	must(t, r.Edit(keys[0], destroy))
}
