package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// writeRule writes every instance of an attribute that the object has, as
// Attribute structures, in the words of the version.
func (o *Operations) writeRule(w *ttlv.Writer, obj *keystore.Object, rule *kmip.AttributeRule, v kmip.Version) {
	if !rule.In(v) || !rule.Objects.Has(kmip14.ObjectType(obj.Type)) {
		return
	}
	stored := false
	for _, a := range obj.Attributes() {
		if a.Name == rule.Name {
			stored = true
			writeStored(w, rule, a, v)
		}
	}
	if stored {
		return
	}
	start := w.Len()
	m := kmip.BeginAttribute(w, rule.Name, 0)
	empty := w.Len()
	if o.computed(w, obj, rule.Tag, v); w.Len() == empty {
		w.Truncate(start)
		return
	}
	w.End(m)
}

// writeStored writes one stored instance, or nothing if the version has no
// words for it.
func writeStored(w *ttlv.Writer, rule *kmip.AttributeRule, a keystore.Attribute, v kmip.Version) {
	start := w.Len()
	m := kmip.BeginAttribute(w, a.Name, a.Index)
	if !rule.WriteValue(w, a.Value, v) {
		w.Truncate(start)
		return
	}
	w.End(m)
}

// writeAll writes all attributes of the object that exist in the version: those
// of the specification in its order, then the custom ones.
func (o *Operations) writeAll(w *ttlv.Writer, obj *keystore.Object, v kmip.Version) {
	for _, rule := range o.rules {
		o.writeRule(w, obj, rule, v)
	}
	for _, a := range obj.Attributes() {
		if rule, ok := customRule(a.Name); ok {
			writeStored(w, rule, a, v)
		}
	}
}

// customRule returns the rule of a custom attribute.
func customRule(name string) (*kmip.AttributeRule, bool) {
	if len(name) < 2 || name[1] != '-' {
		return nil, false
	}
	rule, ok := kmip.LookupAttribute([]byte(name))
	return rule, ok && rule.Custom()
}

// computed writes the value of an attribute that is not stored as such: it is a
// field of the object, or has a default. It writes nothing when the object has
// none.
func (o *Operations) computed(w *ttlv.Writer, obj *keystore.Object, tag ttlv.Tag, v kmip.Version) {
	const value = kmip14.TagAttributeValue
	switch tag {
	case kmip14.TagUniqueIdentifier:
		var text [36]byte
		w.Text(value, obj.UniqueIdentifier.AppendTo(text[:0]))
	case kmip14.TagObjectType:
		enumeration(w, tag, uint32(obj.Type), v)
	case kmip14.TagCryptographicAlgorithm:
		enumeration(w, tag, obj.CryptographicAlgorithm, v)
	case kmip14.TagCryptographicLength:
		if obj.CryptographicLength != 0 {
			w.Integer(value, obj.CryptographicLength)
		}
	case kmip14.TagCryptographicUsageMask:
		if obj.HasUsageMask {
			w.Integer(value, obj.CryptographicUsageMask)
		}
	case kmip14.TagState:
		enumeration(w, tag, uint32(obj.State), v)
	case kmip14.TagRevocationReason:
		revocationReason(w, obj)
	case kmip14.TagFresh:
		w.Boolean(value, obj.Fresh)
	default:
		if d := dateField(obj, tag); d == nil {
			o.byDefault(w, obj, tag)
		} else if d.Set {
			w.DateTime(value, d.Unix)
		}
	}
}

// byDefault writes what an attribute is when nobody has set it.
func (o *Operations) byDefault(w *ttlv.Writer, obj *keystore.Object, tag ttlv.Tag) {
	const value = kmip14.TagAttributeValue
	switch tag {
	case kmip14.TagLeaseTime:
		lease := obj.LeaseTime
		if lease == 0 {
			lease = o.config.LeaseTime
		}
		w.Interval(value, lease)
	case kmip14.TagOperationPolicyName:
		w.TextString(value, keystore.DefaultPolicy)
	case kmip14.TagSensitive, kmip14.TagAlwaysSensitive, kmip14.TagNeverExtractable:
		w.Boolean(value, false)
	case kmip14.TagExtractable:
		w.Boolean(value, true)
	}
}

func enumeration(w *ttlv.Writer, tag ttlv.Tag, n uint32, v kmip.Version) {
	if n != 0 && kmip.ValueIn(tag, n, v) {
		w.Enumeration(kmip14.TagAttributeValue, n)
	}
}

func revocationReason(w *ttlv.Writer, obj *keystore.Object) {
	if obj.RevocationReason == 0 {
		return
	}
	r := kmip.RevocationReason{Code: kmip14.RevocationReasonCode(obj.RevocationReason)}
	if obj.RevocationMessage != "" {
		r.Message = []byte(obj.RevocationMessage)
	}
	r.Encode(w, kmip14.TagAttributeValue)
}

// eachValue calls fn with the value of each instance of an attribute, until fn
// returns true, and tells whether it did. scratch is overwritten.
func (o *Operations) eachValue(scratch *ttlv.Writer, obj *keystore.Object, rule *kmip.AttributeRule, name string, v kmip.Version, fn func(ttlv.Item) bool) bool {
	stored := false
	for _, a := range obj.Attributes() {
		if a.Name != name {
			continue
		}
		if stored = true; fn(a.Value) {
			return true
		}
	}
	if stored || rule.Custom() || !rule.Objects.Has(kmip14.ObjectType(obj.Type)) {
		return false
	}
	scratch.Reset(scratch.Bytes())
	o.computed(scratch, obj, rule.Tag, v)
	if scratch.Len() == 0 {
		return false
	}
	value, err := ttlv.Parse(scratch.Bytes())
	return err == nil && fn(value)
}
