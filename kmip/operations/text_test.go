package operations_test

import (
	"testing"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
)

// texts are Names that people give: scripts, what is written right to left, what
// looks like another, what a terminal would act on, and one é in Unicode's two
// ways to write it. Each is a Name of its own.
var texts = []string{"schlüssel", "SCHLÜSSEL", "ключ", "鍵-金庫", "مفتاح", "🔑🗝️", "caf\u00e9", "cafe\u0301", "Kelvin", "\u212aelvin",
	"zero\u200bwidth", "zerowidth", "nul\x00inside", "\x1b[31mred", "line\nbreak", " ", "x\u202ey", "\U0010ffff"}

// A Name, and a custom attribute's name and value, come back as they were sent,
// in every version, and Locate finds that one and no other.
func TestTextIsKeptAndComparedByteByByte(t *testing.T) {
	for _, v := range versions {
		r := newRig(t)
		var uids [][]byte
		for _, text := range texts {
			uids = append(uids, r.create(kmip.NameAttribute(text), kmip.TextAttribute("x-"+text, text), kmip.TextAttribute("Object Group", text)))
		}
		for i, text := range texts {
			for _, a := range []kmip.Attribute{kmip.NameAttribute(text), kmip.TextAttribute("x-"+text, text), kmip.TextAttribute("Object Group", text)} {
				var found kmip.LocateResponse
				r.ok(v, kmip14.OperationLocate, &kmip.LocateRequest{Attributes: []kmip.Attribute{a}}, &found)
				if len(found.UniqueIdentifiers) != 1 || string(found.UniqueIdentifiers[0]) != string(uids[i]) {
					t.Errorf("%v: %q by %s: %d found", v, text, a.Name, len(found.UniqueIdentifiers))
				}
				if got := r.attribute(v, uids[i], string(a.Name)); show(got) != show(a.Value) {
					t.Errorf("%v: %q comes back as %q", v, show(a.Value), show(got))
				}
			}
		}
	}
}

// Names that differ in their bytes are different, also when they look the same;
// the same bytes are taken, in whichever operation they come.
func TestNamesAreTakenByTheirBytes(t *testing.T) {
	r := newRig(t)
	r.create(kmip.NameAttribute("caf\u00e9"))
	uid := r.create(kmip.NameAttribute("cafe\u0301"))
	for _, a := range []answer{
		r.modify(kmip.V1_1, uid, kmip.NameAttribute("caf\u00e9")),
		r.add(kmip.V1_1, uid, kmip.NameAttribute("caf\u00e9")),
	} {
		if a.reason != kmip14.ResultReasonIllegalOperation {
			t.Errorf("the Name of another object: %v (%v)", a.reason, a.err)
		}
	}
	r.good(r.modify(kmip.V1_1, uid, kmip.NameAttribute("CAF\u00c9")))
	if got := r.list(uid, "Name"); got != "0:{CAF\u00c9 1}" {
		t.Errorf("the Name is %q", got)
	}
	r.good(r.add(kmip.V1_1, uid, kmip.TextAttribute("x-\u00e9", "1")))
	if a := r.remove(kmip.V1_1, uid, "x-e\u0301", -1); a.reason != kmip14.ResultReasonItemNotFound {
		t.Errorf("deleting an attribute of another spelling: %v (%v)", a.reason, a.err)
	}
	r.good(r.remove(kmip.V1_1, uid, "x-\u00e9", -1))
}
