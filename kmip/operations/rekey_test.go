package operations_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/operations"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

func (r *rig) rekey(v kmip.Version, in *kmip.ReKeyRequest) answer {
	r.t.Helper()
	return r.do(v, kmip14.OperationReKey, in)
}

func (r *rig) rekeyed(v kmip.Version, in *kmip.ReKeyRequest) []byte {
	r.t.Helper()
	a := r.rekey(v, in)
	r.good(a)
	return a.payload.Find(kmip14.TagUniqueIdentifier).Value()
}

// What the replacement has of the old key, and what becomes of that one
// (section 4.4, table 172).
func TestRekey(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			r := newRig(t)
			old := r.create(kmip.NameAttribute("a"), kmip.NameAttribute("b"), kmip.TextAttribute("Object Group", "g"), kmip.TextAttribute("x-own", "1"),
				kmip.TextAttribute("x-own", "2"), usageLimits(7), cryptographicParameters(), kmip.TextAttribute("Contact Information", "Joe"),
				application("ssl", "www"), kmip.BooleanAttribute("Sensitive", false), kmip.TextAttribute("Comment", "c"))
			r.change(old, func(o *keystore.Object) {
				o.ReplaceAttribute("Usage Limits", 0, object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
					w.LongInteger(kmip14.TagUsageLimitsTotal, 7)
					w.LongInteger(kmip14.TagUsageLimitsCount, 1)
					w.Enumeration(kmip14.TagUsageLimitsUnit, 1)
				}))
				o.AddAttribute("Link", linkValue(kmip14.LinkTypeParentLink, "elsewhere"))
			})
			oldKey := r.bytesOf(v, old)
			r.now.Add(60)
			uid := r.rekeyed(v, &kmip.ReKeyRequest{UniqueIdentifier: old})
			for name, want := range map[string]string{
				"Name": "{a 1} {b 1}", "Object Group": "g", "x-own": "1 2", "Usage Limits": "{7 7 1}", "Cryptographic Parameters": "{1 3 4}",
				"Contact Information": "Joe", "Application Specific Information": "{ssl www}", "Comment": "c", "Cryptographic Algorithm": "3",
				"Cryptographic Length": "256", "Cryptographic Usage Mask": "12", "State": "1", "Fresh": "true",
				"Initial Date": "1700000060", "Original Creation Date": "1700000060", "Link": fmt.Sprintf("{%d %s}", kmip14.LinkTypeReplacedObjectLink, old),
				"Revocation Reason": "", "Compromise Date": "", "Destroy Date": "", "Deactivation Date": "",
			} {
				if got := r.all(uid, name); got != want {
					t.Errorf("the replacement's %s is %q, want %q", name, got, want)
				}
			}
			for name, want := range map[string]string{"Name": "", "Object Group": "g", "State": "1", "Initial Date": "1700000000", "Usage Limits": "{7 1 1}",
				"Link": fmt.Sprintf("{%d elsewhere} {%d %s}", kmip14.LinkTypeParentLink, kmip14.LinkTypeReplacementObjectLink, uid), "Last Change Date": "1700000060"} {
				if got := r.all(old, name); got != want {
					t.Errorf("the old key's %s is %q, want %q", name, got, want)
				}
			}
			key := r.bytesOf(v, uid)
			if bytes.Equal(key, oldKey) || len(key) != 32 {
				t.Errorf("the new key has %d bytes, or is the old one", len(key))
			}
			if got := r.bytesOf(v, old); !bytes.Equal(got, oldKey) {
				t.Error("the old key is not what it was")
			}
			sum := sha256.Sum256(key)
			if got := r.attribute(v, uid, "Digest").Find(kmip14.TagDigestValue).Value(); !bytes.Equal(got, sum[:]) {
				t.Error("the digest is not the new key's")
			}
			found := r.locate(v, &kmip.LocateRequest{Attributes: []kmip.Attribute{kmip.NameAttribute("a")}}).UniqueIdentifiers
			if len(found) != 1 || !bytes.Equal(found[0], uid) {
				t.Errorf("the Name leads to %s, not to %s", found, uid)
			}
		})
	}
}

func linkValue(t kmip14.LinkType, to string) ttlv.Item {
	return object(kmip14.TagAttributeValue, func(w *ttlv.Writer) {
		w.Enumeration(kmip14.TagLinkType, uint32(t))
		w.TextString(kmip14.TagLinkedObjectIdentifier, to)
	})
}

// Dates follow section 4.4, table 171. 0: not set.
func TestRekeyDates(t *testing.T) {
	const now, hour, never = began + 1000, 3600, 0
	offset := func(n uint32) *uint32 { return &n }
	date := func(name string, at int64) kmip.Attribute { return kmip.DateTimeAttribute(name, at) }
	for _, tc := range []struct {
		name   string
		old    [4]int64 // Activation, Process Start, Protect Stop, Deactivation
		offset *uint32
		given  []kmip.Attribute
		want   [4]int64
		state  kmip14.State
	}{
		{"no dates", [4]int64{}, nil, nil, [4]int64{}, kmip14.StatePreActive},
		{"no Offset: copied", [4]int64{began, began + 1, began + 2, now + hour}, nil, nil, [4]int64{began, began + 1, began + 2, now + hour}, kmip14.StateActive},
		{"no Offset: what is past stays past", [4]int64{began, never, never, began + 500}, nil, nil, [4]int64{began, never, never, began + 500}, kmip14.StateDeactivated},
		{"Offset 0", [4]int64{began, began + 10, began + 20, began + 500}, offset(0), nil, [4]int64{now, now + 10, now + 20, now + 500}, kmip14.StateActive},
		{"Offset of an hour", [4]int64{began, never, never, began + 500}, offset(hour), nil, [4]int64{now + hour, never, never, now + hour + 500}, kmip14.StatePreActive},
		{"Offset back in time", [4]int64{now + 5*hour, never, never, now + 6*hour}, offset(0), nil, [4]int64{now, never, never, now + hour}, kmip14.StateActive},
		{"Offset and no Activation Date", [4]int64{}, offset(hour), nil, [4]int64{now + hour}, kmip14.StatePreActive},
		{"Offset and no Activation Date, but an end", [4]int64{0, 0, 0, now + 9*hour}, offset(hour), nil, [4]int64{now + hour, 0, 0, now + 9*hour}, kmip14.StatePreActive},
		{"given", [4]int64{began, never, never, began + 500}, nil, []kmip.Attribute{date("Activation Date", now-9), date("Deactivation Date", now+9)},
			[4]int64{now - 9, never, never, now + 9}, kmip14.StateActive},
		{"one given", [4]int64{began, never, never, began + 500}, nil, []kmip.Attribute{date("Deactivation Date", now+9)}, [4]int64{began, never, never, now + 9}, kmip14.StateActive},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			names := [...]string{"Activation Date", "Process Start Date", "Protect Stop Date", "Deactivation Date"}
			var list []kmip.Attribute
			for i, at := range tc.old {
				if at != 0 {
					list = append(list, date(names[i], at))
				}
			}
			in := &kmip.ReKeyRequest{UniqueIdentifier: r.create(list...), Template: template(tc.given)}
			if tc.offset != nil {
				in.Offset, in.HasOffset = *tc.offset, true
			}
			r.now.Store(now)
			uid := r.rekeyed(kmip.V1_1, in)
			for i, at := range tc.want {
				want := ""
				if at != 0 {
					want = fmt.Sprint(at)
				}
				if got := r.all(uid, names[i]); got != want {
					t.Errorf("%s is %q, want %q", names[i], got, want)
				}
			}
			if got := r.state(uid); got != tc.state {
				t.Errorf("the replacement is %v, want %v", got, tc.state)
			}
		})
	}
}

func TestRekeyRefusals(t *testing.T) {
	const denied, field = kmip14.ResultReasonPermissionDenied, kmip14.ResultReasonInvalidField
	for name, tc := range map[string]struct {
		old    func(r *rig) []byte
		in     kmip.ReKeyRequest
		reason kmip14.ResultReason
	}{
		"absent":     {func(*rig) []byte { return []byte("0192f0c1-2345-7abc-8def-0123456789ab") }, kmip.ReKeyRequest{}, kmip14.ResultReasonItemNotFound},
		"no key":     {func(r *rig) []byte { return nil }, kmip.ReKeyRequest{}, kmip14.ResultReasonItemNotFound},
		"destroyed":  {func(r *rig) []byte { return r.inState(kmip14.StateDestroyed) }, kmip.ReKeyRequest{}, denied},
		"a password": {func(r *rig) []byte { return r.taken(kmip.V1_1, kmip14.ObjectTypeSecretData, secretData(1, raw, key32)) }, kmip.ReKeyRequest{}, denied},
		"archived": {func(r *rig) []byte {
			uid := r.create()
			r.change(uid, func(o *keystore.Object) { o.ArchiveDate = keystore.At(began) })
			return uid
		}, kmip.ReKeyRequest{}, kmip14.ResultReasonObjectArchived},
		"replaced": {func(r *rig) []byte {
			uid := r.create()
			r.rekeyed(kmip.V1_1, &kmip.ReKeyRequest{UniqueIdentifier: uid})
			return uid
		}, kmip.ReKeyRequest{}, denied},
		"Offset and a date": {func(r *rig) []byte { return r.create() }, kmip.ReKeyRequest{HasOffset: true,
			Template: template([]kmip.Attribute{kmip.DateTimeAttribute("Deactivation Date", 1)})}, kmip14.ResultReasonInvalidMessage},
		"Offset and a date of a Template": {func(r *rig) []byte {
			r.template("t", kmip.DateTimeAttribute("Activation Date", 1))
			return r.create()
		}, kmip.ReKeyRequest{HasOffset: true, Template: named([]string{"t"})}, kmip14.ResultReasonInvalidMessage},
		"a Template that is not there": {func(r *rig) []byte { return r.create() }, kmip.ReKeyRequest{Template: named([]string{"t"})}, kmip14.ResultReasonItemNotFound},
		"a read-only attribute": {func(r *rig) []byte { return r.create() },
			kmip.ReKeyRequest{Template: template([]kmip.Attribute{kmip.EnumerationAttribute("State", kmip14.StateActive)})}, field},
		"an end before the beginning": {func(r *rig) []byte { return r.create(kmip.DateTimeAttribute("Activation Date", began)) },
			kmip.ReKeyRequest{Template: template([]kmip.Attribute{kmip.DateTimeAttribute("Deactivation Date", began-1)})}, field},
		"a date that overflows": {func(r *rig) []byte {
			return r.create(kmip.DateTimeAttribute("Activation Date", began), kmip.DateTimeAttribute("Deactivation Date", math.MaxInt64))
		}, kmip.ReKeyRequest{HasOffset: true, Offset: 9}, field},
		"a distance that overflows": {func(r *rig) []byte { return r.create(kmip.DateTimeAttribute("Activation Date", math.MinInt64)) },
			kmip.ReKeyRequest{HasOffset: true, Offset: 9}, field},
		"another's Name": {func(r *rig) []byte {
			r.create(kmip.NameAttribute("taken"))
			return r.create()
		}, kmip.ReKeyRequest{Template: template([]kmip.Attribute{kmip.NameAttribute("taken")})}, field},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tc.in.UniqueIdentifier = tc.old(r)
			before := r.store.Info().Objects
			if a := r.rekey(kmip.V1_1, &tc.in); a.reason != tc.reason {
				t.Errorf("got %v (%v), want %v", a.reason, a.err, tc.reason)
			}
			if after := r.store.Info().Objects; after != before {
				t.Errorf("a refused Re-key left %d objects, there were %d", after, before)
			}
		})
	}
}

// A refused Re-key leaves the old key its Names.
func TestRekeyIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("taken"))
	old := r.create(kmip.NameAttribute("mine"))
	if a := r.rekey(kmip.V1_1, &kmip.ReKeyRequest{UniqueIdentifier: old, Template: template([]kmip.Attribute{kmip.NameAttribute("taken")})}); a.err == nil {
		t.Fatal("two keys have one Name")
	}
	if got := r.all(old, "Name") + r.all(old, "Link"); got != "{mine 1}" {
		t.Errorf("after a refused Re-key the old key has %q", got)
	}
}

// Template and request say more of the replacement, and win over the old key.
func TestRekeyByTemplate(t *testing.T) {
	r := newRig(t)
	r.template("t", kmip.TextAttribute("Contact Information", "Ann"), kmip.IntegerAttribute("Cryptographic Length", 128), kmip.TextAttribute("Object Group", "h"))
	old := r.create(kmip.NameAttribute("n"), kmip.TextAttribute("Contact Information", "Joe"), kmip.TextAttribute("Object Group", "g"))
	uid := r.rekeyed(kmip.V1_1, &kmip.ReKeyRequest{UniqueIdentifier: old, Template: named([]string{"t"}, kmip.IntegerAttribute("Cryptographic Usage Mask", 4))})
	for name, want := range map[string]string{"Contact Information": "Ann", "Cryptographic Length": "128", "Object Group": "g h", "Cryptographic Usage Mask": "4", "Name": "{n 1}"} {
		if got := r.all(uid, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if n := len(r.bytesOf(kmip.V1_1, uid)); n != 16 {
		t.Errorf("the new key has %d bytes", n)
	}
}

// A key that was registered with its parity bits counted is replaced by one of
// the same strength.
func TestRekeyDES(t *testing.T) {
	r := newRig(t)
	key := symmetricKey(raw, key32[:24], kmip14.CryptographicAlgorithmDES3, 192)
	old := r.taken(kmip.V1_1, kmip14.ObjectTypeSymmetricKey, key, mask())
	uid := r.rekeyed(kmip.V1_1, &kmip.ReKeyRequest{UniqueIdentifier: old})
	if got := r.blockOf(r.get(kmip.V1_1, uid)); got.CryptographicLength != 168 || len(got.Bytes()) != 24 {
		t.Errorf("the new key has %d bits and %d bytes", got.CryptographicLength, len(got.Bytes()))
	}
}

// A key in whatever State but destroyed can be replaced, the compromised one
// above all. The batch goes on with the new key.
func TestRekeyInStates(t *testing.T) {
	r := newRig(t)
	for _, s := range []kmip14.State{kmip14.StatePreActive, kmip14.StateActive, kmip14.StateDeactivated, kmip14.StateCompromised} {
		uid := r.inState(s)
		if s == kmip14.StateDeactivated { // a life of some length, for the replacement to have one
			uid = r.create(kmip.DateTimeAttribute("Activation Date", began-10), kmip.DateTimeAttribute("Deactivation Date", began))
		}
		answers := r.send(kmip.V1_1, ask{op: kmip14.OperationReKey, payload: &kmip.ReKeyRequest{UniqueIdentifier: uid, HasOffset: true}},
			ask{op: kmip14.OperationGetAttributes, payload: &kmip.GetAttributesRequest{Names: [][]byte{[]byte("State")}}})
		for _, a := range answers {
			r.good(a)
		}
		made := answers[0].payload.Find(kmip14.TagUniqueIdentifier).Value()
		if got := answers[1].payload.Find(kmip14.TagUniqueIdentifier).Value(); !bytes.Equal(got, made) {
			t.Errorf("%v: the ID Placeholder is %s, want the new key %s", s, got, made)
		}
		if got := r.state(made); got != kmip14.StateActive {
			t.Errorf("%v: the new key is %v", s, got)
		}
		if got := r.state(uid); got != s {
			t.Errorf("the old key went from %v to %v", s, got)
		}
	}
}

// Many clients ask for a replacement at the same time: one gets it.
func TestRekeyRace(t *testing.T) {
	r := newRig(t)
	old := r.create(kmip.NameAttribute("n"))
	var wait sync.WaitGroup
	won := make(chan []byte, 16)
	for range cap(won) {
		client := r.as(operations.Principal{Client: "vcenter", Group: "lab"})
		wait.Go(func() {
			if a := client.rekey(kmip.V1_1, &kmip.ReKeyRequest{UniqueIdentifier: old}); a.err == nil {
				won <- a.payload.Find(kmip14.TagUniqueIdentifier).Value()
			} else if a.reason != kmip14.ResultReasonPermissionDenied {
				t.Errorf("a loser is told %v", a.err)
			}
		})
	}
	wait.Wait()
	close(won)
	if len(won) != 1 {
		t.Fatalf("%d replacements were made", len(won))
	}
	if got := r.all(old, "Link"); got != fmt.Sprintf("{%d %s}", kmip14.LinkTypeReplacementObjectLink, <-won) {
		t.Errorf("the old key's links are %s", got)
	}
	if n := r.store.Info().Objects; n != 2 {
		t.Errorf("there are %d objects, want 2", n)
	}
}

// bytesOf gets a key and returns its bytes.
func (r *rig) bytesOf(v kmip.Version, uid []byte) []byte {
	r.t.Helper()
	block := r.blockOf(r.get(v, uid))
	return bytes.Clone(block.Bytes())
}
