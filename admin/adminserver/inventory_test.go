package adminserver_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/keystore"
)

const vcenterUUID = "1f0e0d0c-0b0a-4908-8706-050403020100"

// An agentOf is an agent with its certificate, and what it would report next.
type agentOf struct {
	client *admin.Client
	head   admin.InventoryHeader
}

func (w *world) newAgent(t *testing.T, name string) *agentOf {
	t.Helper()
	return &agentOf{client: w.remote(t, w.addAdmin(t, name, admin.RoleAgent)),
		head: admin.InventoryHeader{Instance: "0a0a0a0a-0000-4000-8000-0000000000" + fmt.Sprintf("%02x", len(name)), Providers: []string{"kms"},
			Time: time.Now().Add(-time.Minute)}}
}

func (a *agentOf) next() admin.InventoryHeader {
	a.head.Number++
	a.head.Time = a.head.Time.Add(time.Second)
	return a.head
}

func (w *world) assign(t *testing.T, agent string, groups ...string) {
	t.Helper()
	_, err := w.client.AssignInventory(t.Context(), admin.AssignRequest{VCenter: vcenterUUID, Name: "vc", Agent: agent, Groups: groups})
	must(t, err)
}

// key makes a key of a group, and returns its identifier.
func (w *world) key(t *testing.T, group string) string {
	t.Helper()
	o := w.object(t)
	must(t, w.store.Do(t.Context(), &keystore.Principal{Client: "vc", Group: group}, true, creation{[]*keystore.Object{o}}))
	return o.UniqueIdentifier.String()
}

func uses(key, name string) admin.InventoryEntry {
	return admin.InventoryEntry{Key: key, User: admin.KeyUser{Kind: admin.UserVM, Name: name, UUID: "5001", BIOS: "4201", Provider: "kms"}}
}

// A report goes its whole way: sent by the agent over HTTPS in chunks, looked at
// by a viewer, confirmed by an operator.
func TestInventory(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t, "agent")
	var entries []admin.InventoryEntry
	for i := range 12 {
		entries = append(entries, uses(w.key(t, "vc"), fmt.Sprintf("vm-%02d", i)))
	}
	filler := strings.Repeat("x", 200)
	for i := range 2500 { // more than one chunk
		entries = append(entries, admin.InventoryEntry{Key: entries[0].Key,
			User: admin.KeyUser{Kind: admin.UserDisk, Name: "vm-00", Disk: fmt.Sprintf("%s %d", filler, i), UUID: "5001", Provider: "kms"}})
	}
	_, err := agent.client.ReportInventory(t.Context(), vcenterUUID, agent.next(), entries)
	if code(err) != admin.CodeRefused || !strings.Contains(err.Error(), "keyreeve inventory assign "+vcenterUUID) {
		t.Fatalf("before it was assigned: %v", err)
	}
	w.assign(t, "agent", "vc")
	head := agent.next()
	taken, err := agent.client.ReportInventory(t.Context(), vcenterUUID, head, entries)
	must(t, err)
	if diff := cmp.Diff(admin.InventoryTaken{Number: 2, Complete: true}, taken); diff != "" {
		t.Error(diff)
	}
	taken, err = agent.client.ReportInventory(t.Context(), vcenterUUID, head, entries)
	must(t, err)
	if !taken.Again {
		t.Errorf("the same report again: %+v", taken)
	}
	viewer := w.remote(t, w.addAdmin(t, "viewer", admin.RoleViewer))
	users, err := viewer.KeyUsers(t.Context(), entries[0].Key)
	must(t, err)
	if len(users) != 1 || users[0].Total != 2501 || users[0].VCenter != vcenterUUID {
		t.Fatalf("%+v", users)
	}
	if diff := cmp.Diff(entries[0].User, users[0].Users[0]); diff != "" {
		t.Error(diff)
	}
	var names []string
	for after := ""; ; {
		page, err := viewer.Inventory(t.Context(), vcenterUUID, admin.InventoryQuery{After: after, Limit: 5})
		must(t, err)
		for _, k := range page.Keys {
			names = append(names, k.Users[0].Name)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if got := strings.Join(names, " "); len(names) != 12 || !strings.HasPrefix(got, "vm-00 vm-01") {
		t.Errorf("%d keys: %s", len(names), got)
	}
	for range 2 {
		_, err = agent.client.ReportInventory(t.Context(), vcenterUUID, agent.next(), entries[:2])
		must(t, err)
	}
	list, err := viewer.Inventories(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Keys != 12 || list[0].Waiting != 10 || list[0].Number != 4 || list[0].Complete.IsZero() {
		t.Fatalf("%+v", list)
	}
	operator := w.remote(t, w.addAdmin(t, "operator", admin.RoleOperator))
	confirm := func(c *admin.Client, number, keys uint64, reason string) error {
		_, err := c.ConfirmInventory(t.Context(), vcenterUUID, admin.ConfirmRequest{Number: number, Keys: keys, Reason: reason})
		return err
	}
	for what, err := range map[string]error{
		"a viewer's": confirm(viewer, 4, 10, "sold"), "an agent's": confirm(agent.client, 4, 10, "sold"),
		"without a reason": confirm(operator, 4, 10, " "), "of other keys": confirm(operator, 4, 9, "sold"), "of another report": confirm(operator, 3, 10, "sold"),
	} {
		if err == nil {
			t.Errorf("%s confirmation was taken", what)
		}
	}
	must(t, confirm(operator, 4, 10, "sold"))
	users, err = viewer.KeyUsers(t.Context(), entries[5].Key)
	must(t, err)
	if len(users) != 0 {
		t.Errorf("still used: %+v", users)
	}
}

// What is forged, mixed up or half sent is nothing.
func TestForgedUploads(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t, "agent"), w.newAgent(t, "other")
	w.assign(t, "agent", "vc")
	key := w.key(t, "vc")
	entries := []admin.InventoryEntry{uses(key, "vm-1"), uses(w.key(t, "vc"), "vm-2")}
	good := func(a *agentOf) admin.InventoryHeader {
		h := a.next()
		h.Entries, h.Time = len(entries), h.Time.Truncate(time.Second)
		sum := admin.NewInventorySum(vcenterUUID, h)
		sum.Add(entries...)
		h.Digest = sum.String()
		return h
	}
	begin := func(a *agentOf, vcenter string, h admin.InventoryHeader) (string, error) {
		up, err := a.client.BeginInventory(t.Context(), vcenter, h)
		return up.Upload, err
	}
	add := func(a *agentOf, upload string, at int, e ...admin.InventoryEntry) error {
		_, err := a.client.AddInventory(t.Context(), vcenterUUID, upload, admin.InventoryChunk{Offset: at, Entries: e})
		return err
	}
	begun := func() string {
		up, err := begin(agent, vcenterUUID, good(agent))
		must(t, err)
		return up
	}
	for name, change := range map[string]func(h *admin.InventoryHeader){
		"no digest":         func(h *admin.InventoryHeader) { h.Digest = "" },
		"a short digest":    func(h *admin.InventoryHeader) { h.Digest = "00" },
		"no instance":       func(h *admin.InventoryHeader) { h.Instance = "" },
		"too many":          func(h *admin.InventoryHeader) { h.Entries = 500_001 },
		"fewer than none":   func(h *admin.InventoryHeader) { h.Entries = -1 },
		"number 0":          func(h *admin.InventoryHeader) { h.Number = 0 },
		"a number too high": func(h *admin.InventoryHeader) { h.Number = 1 << 60 },
	} {
		h := good(agent)
		change(&h)
		if _, err := begin(agent, vcenterUUID, h); err == nil {
			t.Errorf("%s: the upload began", name)
		}
	}
	if _, err := begin(other, vcenterUUID, good(other)); code(err) != admin.CodeRefused {
		t.Errorf("another agent's: %v", err)
	}
	if _, err := begin(agent, strings.Replace(vcenterUUID, "1f0e", "1f0f", 1), good(agent)); code(err) != admin.CodeRefused {
		t.Errorf("for another vCenter: %v", err)
	}
	for name, do := range map[string]func(at string) error{
		"half": func(up string) error { return add(agent, up, 0, entries[0]) },
		"in another order": func(up string) error {
			return errors.Join(add(agent, up, 0, entries[1]), add(agent, up, 1, entries[0]))
		},
		"another machine": func(up string) error { return add(agent, up, 0, entries[0], uses(key, "vm-3")) },
		"nothing":         func(string) error { return nil },
	} {
		up := begun()
		must(t, do(up))
		if _, err := agent.client.CommitInventory(t.Context(), vcenterUUID, up); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	first := begun()
	for name, err := range map[string]error{
		"a gap": add(agent, first, 1, entries[1]), "one too many": add(agent, first, 0, entries[0], entries[1], entries[1]),
		"an unknown kind": add(agent, first, 0, admin.InventoryEntry{Key: key, User: admin.KeyUser{Kind: "pod"}}),
	} {
		if code(err) != admin.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := add(other, first, 0, entries...); code(err) != admin.CodeNotFound {
		t.Errorf("into another agent's upload: %v", err)
	}
	begun()
	if err := add(agent, first, 0, entries...); code(err) != admin.CodeNotFound {
		t.Errorf("into an upload that was replaced: %v", err)
	}
	list, err := w.client.Inventories(t.Context())
	must(t, err)
	if list[0].Number != 0 || list[0].Keys != 0 {
		t.Errorf("something was taken: %+v", list[0])
	}
}

// An agent that was revoked reports no more; one made anew by its name goes on,
// and begins a new row.
func TestAgentMadeAnew(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t, "agent")
	w.assign(t, "agent", "vc")
	key := w.key(t, "vc")
	report := func(a *agentOf, e ...admin.InventoryEntry) error {
		_, err := a.client.ReportInventory(t.Context(), vcenterUUID, a.next(), e)
		return err
	}
	keep := uses(w.key(t, "vc"), "vm-2")
	must(t, report(agent, uses(key, "vm-1"), keep))
	must(t, report(agent, keep))
	_, err := w.client.RevokeAdmin(t.Context(), "agent", "its machine was stolen")
	must(t, err)
	if err := report(agent, keep); err == nil {
		t.Error("a revoked agent's report was taken")
	}
	anew := w.newAgent(t, "agent")
	anew.head.Instance = "0b0b0b0b-0000-4000-8000-000000000000"
	anew.head.Time = agent.head.Time.Add(time.Second)
	for i, used := range []int{1, 0} {
		must(t, report(anew, keep))
		users, err := w.client.KeyUsers(t.Context(), key)
		must(t, err)
		if len(users) != used {
			t.Errorf("after %d reports of the new one: %+v", i+1, users)
		}
	}
}

// Who may do what is a vCenter's life and death is an operator, with a record of
// the agent.
func TestAssignAndRemove(t *testing.T) {
	w := newWorld(t)
	w.newAgent(t, "agent")
	for name, req := range map[string]admin.AssignRequest{
		"no such agent": {VCenter: vcenterUUID, Agent: "ghost", Groups: []string{"vc"}},
		"no group":      {VCenter: vcenterUUID, Agent: "agent"},
		"an empty one":  {VCenter: vcenterUUID, Agent: "agent", Groups: []string{""}},
		"no UUID":       {VCenter: "vc", Agent: "agent", Groups: []string{"vc"}},
	} {
		if _, err := w.client.AssignInventory(t.Context(), req); err == nil {
			t.Errorf("%s: assigned", name)
		}
	}
	w.assign(t, "agent", "vc", "old-vc")
	remove := func(keys uint64, reason string) error {
		return w.client.RemoveInventory(t.Context(), vcenterUUID, admin.RemoveRequest{Keys: keys, Reason: reason})
	}
	if err := remove(1, "gone"); code(err) != admin.CodeRefused {
		t.Errorf("with a wrong number of keys: %v", err)
	}
	if err := remove(0, ""); code(err) != admin.CodeBadRequest {
		t.Errorf("without a reason: %v", err)
	}
	must(t, remove(0, "gone"))
	if err := remove(0, "gone"); code(err) != admin.CodeNotFound {
		t.Errorf("twice: %v", err)
	}
	if _, err := w.client.Inventory(t.Context(), vcenterUUID, admin.InventoryQuery{}); code(err) != admin.CodeNotFound {
		t.Errorf("showing it: %v", err)
	}
}
