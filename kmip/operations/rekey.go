package operations

import (
	"math"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// prepareRekey checks what the request asks for, and draws the new key's bytes:
// its algorithm and length are the old key's, which is in the store.
func prepareRekey(o *Operations, c *Call) error {
	r := &c.request.rekey
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	d := &c.draft
	d.begin(kmip14.ObjectTypeSymmetricKey, false)
	if err := d.setAll(r.Template.Attributes, c.Version); err != nil {
		return err
	}
	if err := dateOrOffset(r, d); err != nil {
		return err
	}
	d.object.UniqueIdentifier = o.store.NewUID()
	c.draw()
	return nil
}

// dateOrOffset refuses dates beside an Offset, which stands for all of them
// (section 11.5).
func dateOrOffset(r *kmip.ReKeyRequest, d *draft) error {
	if !r.HasOffset {
		return nil
	}
	for _, date := range lifeDates(&d.object) {
		if date.Set {
			return kmip.NewError(kmip14.ResultReasonInvalidMessage, "dates are given beside an Offset")
		}
	}
	return nil
}

// lifeDates are the dates that a client may set, Activation Date first.
func lifeDates(obj *keystore.Object) [4]*keystore.Date {
	return [...]*keystore.Date{&obj.ActivationDate, &obj.ProcessStartDate, &obj.ProtectStopDate, &obj.DeactivationDate}
}

// applyRekey makes the key that replaces a Symmetric Key (section 4.4), and
// moves its Names to it. Of two clients that ask at the same time one makes the
// replacement, and the other is told so: a second key of the same Name would
// leave it to chance under which of the two data is written.
func applyRekey(_ *Operations, tx *Tx, c *Call) error {
	old, err := c.edit(tx, c.request.rekey.UniqueIdentifier)
	if err != nil {
		return err
	}
	if err := mayRekey(old); err != nil {
		return err
	}
	if err := c.replacement(tx, old); err != nil {
		return err
	}
	if err := c.make(); err != nil {
		return err
	}
	c.draft.give("Link", link(kmip14.LinkTypeReplacedObjectLink, old.UniqueIdentifier))
	removeNames(old)
	old.AddAttribute("Link", link(kmip14.LinkTypeReplacementObjectLink, c.draft.object.UniqueIdentifier))
	if err := tx.Put(old); err != nil {
		return err
	}
	if err := c.create(tx); err != nil {
		return err
	}
	c.writeUID(c.object.UniqueIdentifier)
	return nil
}

// mayRekey tells whether a key can be replaced (section 11.5: Permission
// Denied if not). It can be in any State but destroyed, and once.
func mayRekey(old *keystore.Object) error {
	switch {
	case old.Type != keystore.SymmetricKey:
		return permissionDenied("Re-key replaces Symmetric Keys")
	case storageOf(old) == storageDestroyed:
		return keystore.ErrDestroyed
	case isWrapped(old):
		return permissionDenied("the key was registered wrapped; its replacement is for who wrapped it to make")
	case is(old, "Key Value Present", false):
		return permissionDenied("the key's value is not on the server")
	}
	for _, a := range old.Attributes() {
		if a.Name != "Link" {
			continue
		}
		if n, _ := a.Value.Find(kmip14.TagLinkType).Enumeration(); n == uint32(kmip14.LinkTypeReplacementObjectLink) {
			return permissionDenied("the key was replaced already; its Link says by which")
		}
	}
	return nil
}

// replacement sets the draft's attributes: the old key's as far as they are for
// both, then what Templates and request say.
func (c *Call) replacement(tx *Tx, old *keystore.Object) error {
	r, d := &c.request.rekey, &c.draft
	var inherited []handedOn
	for _, a := range old.Attributes() {
		if rule, ok := kmip.LookupAttribute([]byte(a.Name)); ok && isInherited(rule) {
			inherited = append(inherited, handedOn{kmip.Attribute{Name: []byte(a.Name), Value: a.Value}, kmip.Versions()[0]})
		}
	}
	if err := d.byTemplate(tx, inherited, &r.Template, c.Version); err != nil {
		return err
	}
	if err := dateOrOffset(r, d); err != nil {
		return err
	}
	d.inheritFields(old)
	if r.HasOffset {
		return shiftDates(&d.object, old, tx.Now(), r.Offset)
	}
	return nil
}

// isInherited tells whether the replacement gets an attribute of the old key
// (section 4.4, table 172). Usage Limits begin anew by themselves, and Always
// Sensitive and Never Extractable follow from what is inherited.
func isInherited(rule *kmip.AttributeRule) bool {
	switch rule.Tag {
	case kmip14.TagLink, kmip14.TagRandomNumberGenerator, kmip14.TagOriginalCreationDate, kmip14.TagKeyValueLocation:
		return false
	}
	return rule.InitiallyBy.Client()
}

// inheritFields copies from the old key what neither request nor Templates have
// set.
func (d *draft) inheritFields(old *keystore.Object) {
	obj := &d.object
	if obj.CryptographicAlgorithm == 0 {
		obj.CryptographicAlgorithm = old.CryptographicAlgorithm
	}
	alg := kmip14.CryptographicAlgorithm(obj.CryptographicAlgorithm)
	if obj.CryptographicLength == 0 && obj.CryptographicAlgorithm == old.CryptographicAlgorithm {
		obj.CryptographicLength = old.CryptographicLength
		if withParity(alg) && !keyRules[alg].has(old.CryptographicLength) { // it was registered with its parity bits counted
			obj.CryptographicLength = keyLength(alg, int(old.CryptographicLength/8))
		}
	}
	if !obj.HasUsageMask {
		obj.CryptographicUsageMask, obj.HasUsageMask = old.CryptographicUsageMask, old.HasUsageMask
	}
	obj.LeaseTime = old.LeaseTime
	dates, olds := lifeDates(obj), lifeDates(old)
	for i := range dates {
		if !dates[i].Set {
			*dates[i] = *olds[i]
		}
	}
}

// shiftDates computes the dates of the replacement from an Offset (section 4.4,
// table 171): its Activation Date is that long after its Initial Date, and the
// others keep their distance to it. A key that had no Activation Date gives no
// distances; its other dates stay.
func shiftDates(obj, old *keystore.Object, now int64, offset uint32) error {
	obj.ActivationDate = keystore.At(now + int64(offset))
	if !old.ActivationDate.Set {
		return nil
	}
	by, ok := sum(obj.ActivationDate.Unix, -old.ActivationDate.Unix)
	ok = ok && old.ActivationDate.Unix != math.MinInt64
	for _, d := range []*keystore.Date{&obj.ProcessStartDate, &obj.ProtectStopDate, &obj.DeactivationDate} {
		if d.Set && ok {
			d.Unix, ok = sum(d.Unix, by)
		}
	}
	if !ok {
		return invalidField("a date of the key cannot be moved by this Offset")
	}
	return nil
}

// sum adds, and tells whether the sum is right: dates are a client's to set.
func sum(a, b int64) (s int64, ok bool) {
	s = a + b
	return s, (a^s)&(b^s) >= 0
}

// link makes the value of a Link (section 3.35).
func link(t kmip14.LinkType, uid keystore.UID) ttlv.Item {
	return makeValue(func(w *ttlv.Writer) {
		m := w.Begin(kmip14.TagAttributeValue)
		w.Enumeration(kmip14.TagLinkType, uint32(t))
		w.TextString(kmip14.TagLinkedObjectIdentifier, uid.String())
		w.End(m)
	})
}

func removeNames(obj *keystore.Object) {
	var kept []keystore.Attribute
	for _, a := range obj.Attributes() {
		if a.Name != "Name" {
			kept = append(kept, a)
		}
	}
	obj.SetAttributes(kept)
}
