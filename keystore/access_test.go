package keystore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// TestOperationPolicies: each policy × type of object × who asks. The row says
// which types another user of the group may look at (specification section
// 3.18.2, and our own group-read); nobody but the owner ever changes one, and
// another group never finds one.
func TestOperationPolicies(t *testing.T) {
	all := []keystore.ObjectType{keystore.Certificate, keystore.SymmetricKey, keystore.PublicKey, keystore.PrivateKey,
		keystore.SplitKey, keystore.Template, keystore.SecretData, keystore.OpaqueObject, keystore.PGPKey}
	public := []keystore.ObjectType{keystore.Certificate, keystore.PublicKey}
	butTemplates := slices.DeleteFunc(slices.Clone(all), func(o keystore.ObjectType) bool { return o == keystore.Template })
	for _, c := range []struct {
		name, policy string
		look         []keystore.ObjectType
	}{
		{"none", "", public},
		{"default", "default", public},
		{"group-read", "group-read", butTemplates},
		{"unknown", "of a newer version", nil},
		{"the empty name", "-", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			for _, kind := range all {
				uid := create(t, r, kt.Alice, "", func(o *keystore.Object) {
					o.Type = kind
					if c.policy != "" {
						o.AddAttribute("Operation Policy Name", kt.TextItem(strings.Trim(c.policy, "-")))
					}
				})
				checkAccess(t, r, fmt.Sprintf("type %d", kind), uid, slices.Contains(c.look, kind))
			}
		})
	}
	if got := keystore.PolicyNames(); !slices.Equal(got, []string{"default", "group-read"}) {
		t.Errorf("the policies are %q: a new one needs a row above", got)
	}
}

// checkAccess tries everything that leads to Alice's object, for everybody.
// shared says whether other users of the group may look at it.
func checkAccess(t *testing.T, r *kt.Rig, what string, uid keystore.UID, shared bool) {
	t.Helper()
	client := &keystore.Principal{Client: kt.Alice.Client, Group: kt.Alice.Group}
	namesake := &keystore.Principal{Client: "other", User: kt.Alice.User, Group: kt.Mallory.Group}
	others := error(nil)
	if !shared {
		others = keystore.ErrPermission
	}
	for _, c := range []struct {
		name         string
		p            *keystore.Principal
		look, change error
	}{
		{"the owner", kt.Alice, nil, nil},
		{"another user", kt.Bob, others, keystore.ErrPermission},
		{"the client without user", client, others, keystore.ErrPermission},
		{"another group", kt.Mallory, keystore.ErrNotFound, keystore.ErrNotFound},
		{"the same user name in another group", namesake, keystore.ErrNotFound, keystore.ErrNotFound},
		{"an administrator", kt.Admin, nil, nil},
	} {
		if _, _, err := r.Get(c.p, uid); !errors.Is(err, c.look) {
			t.Errorf("%s, %s: Object = %v, want %v", what, c.name, err, c.look)
		}
		if err := r.EditAs(c.p, kt.ChangeOp, uid, put); !errors.Is(err, c.change) {
			t.Errorf("%s, %s: Edit = %v, want %v", what, c.name, err, c.change)
		}
		if found := slices.Contains(locate(t, r, c.p, keystore.Query{}), uid); found != (c.look == nil) {
			t.Errorf("%s, %s: Locate finds it: %v", what, c.name, found)
		}
	}
}

// TestRefuse: what is refused before an object is touched is in the journal,
// with the reason that the principal is not told.
func TestRefuse(t *testing.T) {
	r := newRig(t, nil)
	wants(t, "Refuse", r.Do(kt.Alice, kt.ObserveOp, func(tx *keystore.Tx) error { return tx.Refuse("the password is wrong") }), keystore.ErrPermission)
	must(t, r.Journal.Flush())
	events := r.Tape.Events()
	last := events[len(events)-1]
	if last.Class != audit.Denial || last.Outcome != audit.Denied || last.Reason != "the password is wrong" || last.User != kt.Alice.User || last.HasObject {
		t.Errorf("the journal says %+v", last)
	}
}
