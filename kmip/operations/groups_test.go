package operations_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
)

const (
	fresh    = kmip14.ObjectGroupMemberGroupMemberFresh
	byTurn   = kmip14.ObjectGroupMemberGroupMemberDefault
	notFound = "ItemNotFound"
)

func ofGroup(group string, member kmip14.ObjectGroupMember, more ...kmip.Attribute) *kmip.LocateRequest {
	return &kmip.LocateRequest{MaximumItems: 1, HasMaximumItems: true, ObjectGroupMember: member,
		Attributes: append([]kmip.Attribute{kmip.TextAttribute("Object Group", group)}, more...)}
}

// take locates a member and gets it, in one message. It returns the member's
// identifier, or the Result Reason of what failed.
func (r *rig) takeMember(group string, member kmip14.ObjectGroupMember) string {
	r.t.Helper()
	all := r.send(kmip.V1_1, ask{op: kmip14.OperationLocate, payload: ofGroup(group, member)}, ask{op: kmip14.OperationGet, payload: &kmip.GetRequest{}})
	for _, a := range all {
		if a.err != nil {
			return a.reason.String()
		}
	}
	return string(all[1].payload.Find(kmip14.TagUniqueIdentifier).Value())
}

// members makes n keys in the group, and returns their identifiers.
func (r *rig) members(group string, n int) (out []string) {
	for range n {
		r.now.Add(1)
		out = append(out, string(r.create(kmip.TextAttribute("Object Group", group))))
	}
	return out
}

// The default member goes round, whether it is got in the message that locates
// it or in one of its own, and only by being got.
func TestDefaultMemberGoesRound(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("apart=%v", apart), func(t *testing.T) {
			r := newRig(t)
			m := r.members("g", 3)
			other := r.members("h", 2)
			next := func(group string) string {
				if !apart {
					return r.takeMember(group, byTurn)
				}
				found := r.locate(kmip.V1_1, ofGroup(group, byTurn)).UniqueIdentifiers
				if again := r.locate(kmip.V1_1, ofGroup(group, byTurn)).UniqueIdentifiers; len(found) != 1 || len(again) != 1 || !bytes.Equal(again[0], found[0]) {
					t.Fatalf("without a Get the default member is %s, then %s", found, again)
				}
				r.get(kmip.V1_1, found[0])
				return string(found[0])
			}
			for i, want := range []string{m[0], m[1], m[2], m[0], m[1]} {
				if got := next("g"); got != want {
					t.Errorf("time %d: %s, want %s", i, got, want)
				}
			}
			if got := next("h"); got != other[0] {
				t.Errorf("another group begins with %s, want %s", got, other[0])
			}
			before := show(r.attribute(kmip.V1_1, []byte(m[2]), "Last Change Date"))
			r.now.Add(100)
			if got := next("g"); got != m[2] {
				t.Errorf("after two others the third is %s, want %s", got, m[2])
			}
			if after := show(r.attribute(kmip.V1_1, []byte(m[2]), "Last Change Date")); after != before {
				t.Errorf("handing a member out again changed its Last Change Date from %s to %s", before, after)
			}
		})
	}
}

// Who comes new, who is destroyed, and who should not be used any more.
func TestDefaultMembersComeAndGo(t *testing.T) {
	r := newRig(t)
	m := r.members("g", 4)
	expect := func(want string) {
		t.Helper()
		if got := r.takeMember("g", byTurn); got != want {
			t.Errorf("the default member is %s, want %s", got, want)
		}
	}
	expect(m[0])
	r.good(r.identifier(kmip14.OperationDestroy, []byte(m[1])))
	r.good(r.revoke([]byte(m[2]), kmip14.RevocationReasonCodeKeyCompromise))
	expect(m[3])
	m = append(m, r.members("g", 1)...)
	expect(m[4])
	expect(m[0])
	for _, uid := range []string{m[0], m[3], m[4]} {
		r.good(r.identifier(kmip14.OperationDestroy, []byte(uid)))
	}
	expect(notFound)
	if got := r.takeMember("nobody's", byTurn); got != notFound {
		t.Errorf("a group without members has %s", got)
	}
	stranger := r.as(operations.Principal{Client: "other", Group: "other"})
	if got := stranger.takeMember("g", byTurn); got != notFound {
		t.Errorf("a stranger is given %s", got)
	}
}

// A group of the same name in another client's group has a turn of its own.
func TestTurnsOfOthers(t *testing.T) {
	r := newRig(t)
	other := r.as(operations.Principal{Client: "other", Group: "other"})
	other.now.Store(began)
	mine, theirs := r.members("g", 2), other.members("g", 2)
	for i := range 4 {
		if got, want := r.takeMember("g", byTurn), mine[i%2]; got != want {
			t.Errorf("mine is %s, want %s", got, want)
		}
		if i%2 == 0 {
			if got, want := other.takeMember("g", byTurn), theirs[i/2]; got != want {
				t.Errorf("theirs is %s, want %s", got, want)
			}
		}
	}
}

// Clients that race for fresh members, or for the member whose turn it is, each
// in one message: no member is handed out twice.
func TestRaceForMembers(t *testing.T) {
	for _, member := range []kmip14.ObjectGroupMember{fresh, byTurn} {
		t.Run(fmt.Sprint(member), func(t *testing.T) {
			r := newRig(t)
			r.members("g", 32)
			var wait sync.WaitGroup
			got := make(chan string, 32)
			for range 8 {
				client := r.as(operations.Principal{Client: "vcenter", Group: "lab"})
				wait.Go(func() {
					for range 4 {
						got <- client.takeMember("g", member)
					}
				})
			}
			wait.Wait()
			close(got)
			seen := map[string]bool{}
			for uid := range got {
				if seen[uid] || uid == notFound {
					t.Errorf("%s is handed out twice", uid)
				}
				seen[uid] = true
			}
			want := string(notFound)
			if last := r.takeMember("g", fresh); last != want {
				t.Errorf("after all were handed out, %s is fresh", last)
			}
		})
	}
}

// With the setting, a Locate of a fresh member of the group default makes one;
// in no other case, and without the setting never.
func TestFreshKeyOnDemand(t *testing.T) {
	r := newRig(t, func(c *operations.Config) { c.MakeFreshKeys = true })
	for _, tc := range []struct {
		name string
		in   *kmip.LocateRequest
	}{
		{"another group", ofGroup("g", fresh)},
		{"the default member", ofGroup("default", byTurn)},
		{"no member", ofGroup("default", 0)},
		{"another algorithm", ofGroup("default", fresh, kmip.EnumerationAttribute("Cryptographic Algorithm", kmip14.CryptographicAlgorithmCamellia))},
		{"another name", ofGroup("default", fresh, kmip.NameAttribute("n"))},
		{"a second group", ofGroup("default", fresh, kmip.TextAttribute("Object Group", "g"))},
		{"no items", &kmip.LocateRequest{HasMaximumItems: true, ObjectGroupMember: fresh, Attributes: []kmip.Attribute{kmip.TextAttribute("Object Group", "default")}}},
	} {
		if got := r.locate(kmip.V1_1, tc.in).UniqueIdentifiers; len(got) != 0 || r.store.Info().Objects != 0 {
			t.Errorf("%s: found %s, there are %d objects", tc.name, got, r.store.Info().Objects)
		}
	}
	first := r.locate(kmip.V1_1, ofGroup("default", fresh, kmip.EnumerationAttribute("Cryptographic Algorithm", aesAlg))).UniqueIdentifiers
	if len(first) != 1 {
		t.Fatalf("found %d fresh members", len(first))
	}
	if got := r.takeMember("default", fresh); got != string(first[0]) {
		t.Errorf("while one is fresh, %s is made", got)
	}
	for name, want := range map[string]string{"Fresh": "false", "Object Group": "default", "Cryptographic Length": "256", "State": "1"} {
		if got := r.all(first[0], name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if second := r.takeMember("default", fresh); second == string(first[0]) || len(second) != 36 {
		t.Errorf("the second fresh member is %s", second)
	}
	if n := len(r.bytesOf(kmip.V1_1, first[0])); n != 32 {
		t.Errorf("the key has %d bytes", n)
	}
	off := newRig(t)
	if got := off.takeMember("default", fresh); got != notFound {
		t.Errorf("without the setting: %s", got)
	}
	if off.ops.Row(kmip14.OperationLocate).Op == r.ops.Row(kmip14.OperationLocate).Op {
		t.Error("the setting of one server changes the table of another")
	}
}
