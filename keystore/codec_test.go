package keystore_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyreeve/keyreeve/keystore"
	kt "github.com/keyreeve/keyreeve/keystore/keystoretest"
)

// everything is an object with every field set.
func everything() *keystore.Object {
	o := kt.NewKey(keystore.UID{15: 1}, bytes.Repeat([]byte{1}, 32), "disk-1")
	o.State, o.Group, o.User, o.Client = active, "vcenter", "alice", "vcenter-1"
	o.LeaseTime, o.Fresh, o.RevocationReason, o.RevocationMessage = 3600, true, 1, "näher"
	for i, d := range []*keystore.Date{
		&o.InitialDate, &o.ActivationDate, &o.ProcessStartDate, &o.ProtectStopDate, &o.DeactivationDate,
		&o.DestroyDate, &o.CompromiseOccurrenceDate, &o.CompromiseDate, &o.ArchiveDate, &o.LastChangeDate,
	} {
		*d = keystore.At(int64(i) - 2) // 0 and before 1970 too
	}
	o.AddAttribute("x-purpose", kt.TextItem("a"))
	o.AddAttribute("x-purpose", kt.TextItem(""))
	return o
}

func TestRecordRoundTrip(t *testing.T) {
	for name, o := range map[string]*keystore.Object{"everything": everything(), "nothing": {}} {
		once := keystore.EncodeRecord(o)
		again, err := keystore.DecodeRecord(once)
		if err != nil || !bytes.Equal(once, again) {
			t.Errorf("%s: %v, %s", name, err, cmp.Diff(once, again))
		}
	}
}

// FuzzRecord: decoding never panics, and what is taken is written back alike
// once it has been written by us.
func FuzzRecord(f *testing.F) {
	f.Add(keystore.EncodeRecord(everything()))
	f.Add(keystore.EncodeRecord(&keystore.Object{}))
	f.Add([]byte{0x54, 0, 1, 1, 0, 0, 0, 0})
	sum := sha256.Sum256(nil)
	f.Add(sum[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = keystore.DecodeLoosely(b)
		once, err := keystore.DecodeRecord(b)
		if err != nil {
			return
		}
		again, err := keystore.DecodeRecord(once)
		if err != nil || !bytes.Equal(once, again) {
			t.Errorf("decoding what was encoded: %v, %x != %x", err, once, again)
		}
	})
}

func TestAttributes(t *testing.T) {
	o := &keystore.Object{}
	for i := range 3 {
		if n := o.AddAttribute("x-a", kt.TextItem(strings.Repeat("v", i))); n != int32(i) {
			t.Errorf("instance %d got index %d", i, n)
		}
	}
	if !o.RemoveAttribute("x-a", 1) || o.RemoveAttribute("x-a", 1) || o.RemoveAttribute("x-b", 0) {
		t.Error("RemoveAttribute")
	}
	if a, ok := o.Attribute("x-a", 2); !ok || len(o.Attributes()) != 2 || a.Index != 2 {
		t.Errorf("after removing index 1: %v", o.Attributes())
	}
	if n := o.AddAttribute("x-a", kt.TextItem("")); n != 3 {
		t.Errorf("the next index is %d", n)
	}
	if !o.ReplaceAttribute("x-a", 0, kt.TextItem("new")) || o.ReplaceAttribute("x-a", 1, kt.TextItem("new")) {
		t.Error("ReplaceAttribute")
	}
}

func TestParseUID(t *testing.T) {
	const text = "018bcfe5-6800-7000-bb4d-0d42136b9a6f"
	u, ok := keystore.ParseUID([]byte(text))
	if !ok || u.String() != text {
		t.Errorf("ParseUID(%q) = %v, %v", text, u, ok)
	}
	if upper, ok := keystore.ParseUID([]byte(strings.ToUpper(text))); !ok || upper != u {
		t.Error("upper case is refused")
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.Replace(text, "-", "0", 1), strings.Replace(text, "b", "g", 1),
		strings.Replace(text, "0", "-", 1), "{" + text[1:], strings.Replace(text, "0", "\x00", 1), strings.Replace(text, "0", "/", 1)} {
		if u, ok := keystore.ParseUID([]byte(bad)); ok {
			t.Errorf("ParseUID(%q) = %v", bad, u)
		}
	}
	b := []byte(text)
	if n := testing.AllocsPerRun(10, func() { u, ok = keystore.ParseUID(b) }); n != 0 {
		t.Errorf("ParseUID allocates %v times", n)
	}
}

func TestNewUID(t *testing.T) {
	r := newRig(t, nil)
	last := r.Store.NewUID()
	for i := range 10_000 {
		if i == 5000 {
			r.Clock.Add(-3600)
		}
		u := r.Store.NewUID()
		if bytes.Compare(u[:], last[:]) <= 0 || u[6]>>4 != 7 || u[8]>>6 != 2 {
			t.Fatalf("%v follows %v", u, last)
		}
		last = u
	}
	r.Clock.Add(7200)
	u := r.Store.NewUID()
	if made := time.UnixMilli(int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])); made.Unix() != r.Clock.Unix() {
		t.Errorf("made at %v, says %v", r.Clock.Now(), made)
	}
}
