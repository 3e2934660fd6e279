package adminserver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/admin"
	"github.com/keyreeve/keyreeve/audit"
	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// add makes a key of a group, with what change does to it.
func (w *world) add(t *testing.T, group string, change func(o *keystore.Object)) string {
	t.Helper()
	o := w.object(t)
	if change != nil {
		change(o)
	}
	p := &keystore.Principal{Client: "lab", User: group + "-user", Group: group}
	must(t, w.store.Do(t.Context(), p, true, creation{[]*keystore.Object{o}}))
	return o.UniqueIdentifier.String()
}

// item is an attribute's value; fn writes it under the tag Attribute Value.
func item(t *testing.T, fn func(w *ttlv.Writer, tag ttlv.Tag)) ttlv.Item {
	t.Helper()
	var w ttlv.Writer
	fn(&w, 0x42000b)
	it, err := ttlv.Parse(w.Bytes())
	must(t, err)
	return it
}

func textItem(t *testing.T, text string) ttlv.Item {
	return item(t, func(w *ttlv.Writer, tag ttlv.Tag) { w.Text(tag, []byte(text)) })
}

func nameItem(t *testing.T, text string) ttlv.Item {
	return item(t, func(w *ttlv.Writer, tag ttlv.Tag) {
		all := w.Begin(tag)
		w.Text(0x420055, []byte(text))
		w.Enumeration(0x420054, 1)
		w.End(all)
	})
}

// Every edge that an administrator has, there and back, twice: the second time
// changes nothing and is no failure. The journal holds who and why.
func TestKeyChanges(t *testing.T) {
	w := newWorld(t)
	uid := w.add(t, "g", nil)
	ctx, c := t.Context(), w.client
	for _, step := range []struct {
		what  string
		do    func() (admin.KeyChanged, error)
		state string
	}{
		{"activate", func() (admin.KeyChanged, error) { return c.ActivateKey(ctx, uid, "why activate") }, "Active"},
		{"revoke", func() (admin.KeyChanged, error) {
			return c.RevokeKey(ctx, uid, admin.KeyRevocation{Reason: "why revoke", Code: admin.Superseded})
		}, "Deactivated"},
		{"reactivate", func() (admin.KeyChanged, error) { return c.ReactivateKey(ctx, uid, "why reactivate") }, "Active"},
		{"revoke again", func() (admin.KeyChanged, error) {
			return c.RevokeKey(ctx, uid, admin.KeyRevocation{Reason: "why revoke again"})
		}, "Deactivated"},
		{"destroy", func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, uid, "why destroy") }, "Destroyed"},
		{"recover", func() (admin.KeyChanged, error) { return c.RecoverKey(ctx, uid, "why recover") }, "Deactivated"},
		{"compromise", func() (admin.KeyChanged, error) {
			return c.RevokeKey(ctx, uid, admin.KeyRevocation{Reason: "why compromise", Code: admin.KeyCompromise})
		}, "Compromised"},
		{"destroy compromised", func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, uid, "why destroy 2") }, "Destroyed Compromised"},
	} {
		done, err := step.do()
		if err != nil || !done.Changed || done.Key.State != step.state {
			t.Fatalf("%s: %+v, %v", step.what, done, err)
		}
		if recoverable := !done.Key.RecoverableUntil.IsZero(); recoverable != strings.HasPrefix(step.state, "Destroyed") {
			t.Errorf("%s: recoverable until %v", step.what, done.Key.RecoverableUntil)
		}
		again, err := step.do()
		if err != nil || again.Changed || again.Key.State != step.state {
			t.Errorf("%s a second time: %+v, %v", step.what, again, err)
		}
		shown, err := c.Key(ctx, uid)
		if must(t, err); !cmp.Equal(shown, done.Key) {
			t.Errorf("%s: shown and answered differ:\n%s", step.what, cmp.Diff(done.Key, shown))
		}
	}
	reasons := w.reasons(t, uid)
	for _, want := range []string{"Activate Key: why activate", "Revoke Key: why revoke again", "Reactivate Key: why reactivate",
		"Destroy Key: why destroy", "Recover Key: why recover", "Revoke Key: why compromise"} {
		if !slices.Contains(reasons, want) {
			t.Errorf("the journal lacks %q: %q", want, reasons)
		}
	}
}

func (w *world) reasons(t *testing.T, uid string) (list []string) {
	t.Helper()
	must(t, w.journal.Flush())
	must(t, w.journal.Since(0, func(_ uint64, e audit.Event) error {
		if e.Outcome == audit.Success && e.Class == audit.Admin && e.HasObject && keystore.UID(e.Object).String() == uid {
			list = append(list, e.Operation+": "+e.Reason)
		}
		return nil
	}))
	return list
}

// What a state does not allow is refused with what to do, and changes nothing.
func TestKeyChangesRefused(t *testing.T) {
	w := newWorld(t)
	ctx, c := t.Context(), w.client
	fresh, active := w.add(t, "g", nil), w.add(t, "g", func(o *keystore.Object) { o.ActivationDate = keystore.At(1) })
	gone := "01890000-0000-7000-8000-000000000000"
	for name, tc := range map[string]struct {
		do   func() (admin.KeyChanged, error)
		code admin.Code
		hint string
	}{
		"destroy an active key":   {func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, active, "x") }, admin.CodeRefused, "revoke it first"},
		"revoke a pre-active key": {func() (admin.KeyChanged, error) { return c.RevokeKey(ctx, fresh, admin.KeyRevocation{Reason: "x"}) }, admin.CodeRefused, "only an active key"},
		"reactivate a pre-active": {func() (admin.KeyChanged, error) { return c.ReactivateKey(ctx, fresh, "x") }, admin.CodeRefused, "only a deactivated key"},
		"no reason":               {func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, fresh, " \n") }, admin.CodeBadRequest, ""},
		"a long reason":           {func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, fresh, strings.Repeat("x", 5000)) }, admin.CodeBadRequest, ""},
		"no such key":             {func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, gone, "x") }, admin.CodeNotFound, "key list"},
		"no identifier":           {func() (admin.KeyChanged, error) { return c.DestroyKey(ctx, "../x", "x") }, admin.CodeNotFound, ""},
		"no such code": {func() (admin.KeyChanged, error) {
			return c.RevokeKey(ctx, active, admin.KeyRevocation{Reason: "x", Code: "stolen"})
		}, admin.CodeBadRequest, ""},
		"a compromise to come": {func() (admin.KeyChanged, error) {
			return c.RevokeKey(ctx, active, admin.KeyRevocation{Reason: "x", Code: admin.KeyCompromise, OccurredAt: time.Now().Add(time.Hour)})
		}, admin.CodeRefused, ""},
	} {
		done, err := tc.do()
		e, _ := err.(*admin.Error)
		if code(err) != tc.code || !strings.Contains(e.Hint, tc.hint) || done.Changed {
			t.Errorf("%s: %+v %v %+v, want %s", name, done, err, e, tc.code)
		}
	}
	for uid, want := range map[string]string{fresh: "Pre-Active", active: "Active"} {
		if k, err := c.Key(ctx, uid); err != nil || k.State != want {
			t.Errorf("%s: %s, %v; want %s", uid, k.State, err, want)
		}
	}
}

// An administrator does not get around the inventories either.
func TestDestroyOfAKeyInUse(t *testing.T) {
	w := newWorld(t)
	uid := w.add(t, "lab", nil)
	p, vc := &keystore.Principal{Client: "admin", Admin: true}, keystore.VCenterID{0: 1}
	_, err := w.store.AssignVCenter(t.Context(), p, keystore.VCenterInfo{ID: vc, Name: "vc", Agent: "agent", Groups: []string{"lab"}})
	must(t, err)
	_, err = w.store.TakeInventory(t.Context(), p, &keystore.InventoryReport{
		VCenter: vc, Agent: "agent", Instance: keystore.UID{0: 1}, Number: 1, Time: time.Now().Unix(), Providers: []string{"kms"},
		Entries: []keystore.ReportEntry{{Key: uid, KeyUse: keystore.KeyUse{Kind: keystore.UseVM, Name: "db-1", UUID: "5001", Provider: "kms"}}},
	})
	must(t, err)
	done, err := w.client.DestroyKey(t.Context(), uid, "x")
	if code(err) != admin.CodeRefused || !strings.Contains(err.Error(), `VM "db-1"`) || done.Changed {
		t.Errorf("%+v, %v", done, err)
	}
	if k, err := w.client.Key(t.Context(), uid); err != nil || k.State != "Pre-Active" {
		t.Errorf("%s, %v", k.State, err)
	}
	_, err = w.client.RevokeKey(t.Context(), uid, admin.KeyRevocation{Reason: "stolen", Code: admin.KeyCompromise})
	must(t, err) // is never held back
}

// After the grace period nothing comes back, and that is said.
func TestRecoverTooLate(t *testing.T) {
	w := newWorld(t)
	uid := w.add(t, "g", nil)
	_, err := w.client.DestroyKey(t.Context(), uid, "x")
	must(t, err)
	w.ahead.Store(int64(31 * 24 * time.Hour))
	_, err = w.client.RecoverKey(t.Context(), uid, "x")
	if code(err) != admin.CodeRefused || !strings.Contains(err.Error(), "grace period is over") {
		t.Errorf("%v", err)
	}
	if k, err := w.client.Key(t.Context(), uid); err != nil || k.State != "Destroyed" || !k.RecoverableUntil.IsZero() {
		t.Errorf("%+v, %v", k, err)
	}
}

// show tells every attribute with its value, and never the key.
func TestKeyDetails(t *testing.T) {
	w := newWorld(t)
	link := item(t, func(w *ttlv.Writer, tag ttlv.Tag) {
		all := w.Begin(tag)
		w.Enumeration(0x42004b, 0x106)
		w.Text(0x42004c, []byte("other-key"))
		w.End(all)
	})
	uid := w.add(t, "g", func(o *keystore.Object) {
		o.HasUsageMask, o.CryptographicUsageMask = true, 0x0c|1<<30
		o.ActivationDate, o.ProtectStopDate = keystore.At(1), keystore.At(2)
		o.AddAttribute("Name", nameItem(t, "disk-7"))
		o.AddAttribute("x-env", textItem(t, "prod"))
		o.AddAttribute("x-env", textItem(t, "spare"))
		o.AddAttribute("x-n", item(t, func(w *ttlv.Writer, tag ttlv.Tag) { w.Integer(tag, -5) }))
		o.AddAttribute("x-raw", item(t, func(w *ttlv.Writer, tag ttlv.Tag) { w.ByteString(tag, []byte{0xca, 0xfe}) }))
		o.AddAttribute("Link", link)
	})
	k, err := w.client.Key(t.Context(), uid)
	must(t, err)
	want := []admin.Attribute{{Name: "x-env", Value: "prod"}, {Name: "x-env", Index: 1, Value: "spare"}, {Name: "x-n", Value: "-5"},
		{Name: "x-raw", Value: "cafe"}, {Name: "Link", Value: "Replacement Object, other-key"}}
	if diff := cmp.Diff(want, k.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Encrypt", "Decrypt", "0x40000000"}, k.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if fmt.Sprint(k.Names) != "[disk-7]" || k.ProtectStopDate.Unix() != 2 || k.User != "g-user" {
		t.Errorf("%+v", k)
	}
}

// Each filter finds what it names, and all of them hold together.
func TestKeyFilters(t *testing.T) {
	w := newWorld(t)
	first := w.add(t, "red", func(o *keystore.Object) {
		o.AddAttribute("Name", nameItem(t, "disk-7"))
		o.AddAttribute("x-env", textItem(t, "prod"))
		o.ActivationDate = keystore.At(1)
	})
	second := w.add(t, "blue", func(o *keystore.Object) {
		o.CryptographicLength = 128
		o.AddAttribute("Name", nameItem(t, "disk-7")) // of another group
		o.AddAttribute("x-env", textItem(t, "test"))
	})
	third := w.add(t, "red", func(o *keystore.Object) { o.Type, o.CryptographicAlgorithm = keystore.SecretData, 0 })
	all := []string{first, second, third}
	for _, tc := range []struct {
		name  string
		query admin.KeyQuery
		want  []string
	}{
		{"none", admin.KeyQuery{}, all},
		{"state", admin.KeyQuery{State: "active"}, all[:1]},
		{"state, as one types it", admin.KeyQuery{State: "PRE_ACTIVE"}, all[1:]},
		{"type", admin.KeyQuery{Type: "secret data"}, all[2:]},
		{"group", admin.KeyQuery{Group: "red"}, []string{first, third}},
		{"owner", admin.KeyQuery{Owner: "blue-user"}, all[1:2]},
		{"client", admin.KeyQuery{Client: "nobody"}, nil},
		{"name", admin.KeyQuery{Name: "disk-7"}, all[:2]},
		{"a piece of a name", admin.KeyQuery{Name: "disk"}, nil},
		{"attribute", admin.KeyQuery{Attributes: []string{"x-env=prod"}}, all[:1]},
		{"two attributes", admin.KeyQuery{Attributes: []string{"x-env=prod", "x-env=test"}}, nil},
		{"algorithm", admin.KeyQuery{Algorithm: "aes"}, all[:2]},
		{"algorithm with length", admin.KeyQuery{Algorithm: "AES-128"}, all[1:2]},
		{"created after now", admin.KeyQuery{CreatedAfter: time.Now().Add(time.Hour)}, nil},
		{"created before now", admin.KeyQuery{CreatedBefore: time.Now().Add(time.Hour), CreatedAfter: time.Now().Add(-time.Hour)}, all},
		{"together", admin.KeyQuery{Group: "red", Name: "disk-7", State: "active"}, all[:1]},
	} {
		page, err := w.client.Keys(t.Context(), tc.query)
		must(t, err)
		var got []string
		for _, k := range page.Keys {
			got = append(got, k.UniqueIdentifier)
		}
		if !slices.Equal(got, tc.want) || page.Next != "" {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	for _, bad := range []admin.KeyQuery{{State: "asleep"}, {Type: "x"}, {Algorithm: "AES-x"}, {Algorithm: "AES-1x"}, {Algorithm: "AES-0"}, {Algorithm: "x-1"},
		{Attributes: []string{"x-env"}}, {Attributes: []string{"=x"}}} {
		if _, err := w.client.Keys(t.Context(), bad); code(err) != admin.CodeBadRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
