package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// ValueIn tells whether a value of the enumeration that tag holds exists in v
// (section 9.1.3.2 of each version). An enumeration that no version added to
// has all its values in every version.
func ValueIn(tag ttlv.Tag, value uint32, v Version) bool {
	return enumKnown(tag, value) && v.AtLeast(valueSince(tag, value))
}

// valueSince returns the version that a known value came with.
func valueSince(tag ttlv.Tag, value uint32) Version {
	for _, g := range growth[tag] {
		if value >= g.from {
			return g.since
		}
	}
	return V1_0
}

// A grown enumeration has had the values from `from` on since that version.
type grown struct {
	from  uint32
	since Version
}

// growth lists the enumerations that later versions added values to, newest
// first.
var growth = map[ttlv.Tag][]grown{
	kmip14.TagObjectType: {{uint32(kmip14.ObjectTypePGPKey), V1_2}},
	kmip14.TagCryptographicAlgorithm: {
		{uint32(kmip14.CryptographicAlgorithmChaCha20), V1_4},
		{uint32(kmip14.CryptographicAlgorithmOneTimePad), V1_3},
		{uint32(kmip14.CryptographicAlgorithmEC), V1_2},
	},
	kmip14.TagHashingAlgorithm:              {{0x0E, V1_4}, {0x0C, V1_2}},
	kmip14.TagMaskGeneratorHashingAlgorithm: {{0x0E, V1_4}, {0x0C, V1_2}},
	kmip14.TagBlockCipherMode:               {{uint32(kmip14.BlockCipherModeAEAD), V1_4}},
	kmip14.TagKeyRoleType:                   {{0x16, V1_4}},
	kmip14.TagDigitalSignatureAlgorithm:     {{0x11, V1_4}},
	kmip14.TagKeyFormatType: {
		{uint32(kmip14.KeyFormatTypePKCS_12), V1_4},
		{uint32(kmip14.KeyFormatTypeTransparentECPrivateKey), V1_3},
	},
	kmip14.TagRecommendedCurve: {{0x10, V1_2}},
	kmip14.TagLinkType:         {{0x10C, V1_4}, {0x108, V1_2}},
}

// WriteValue writes an attribute's value, under the tag Attribute Value, in the
// words that v has: fields of a structure that came later are left out. It
// returns false, and writes nothing, when nothing is left: a value of an
// enumeration that v does not have, a structure without a field that it must
// have, or one all of whose fields came later.
func (r *AttributeRule) WriteValue(w *ttlv.Writer, value ttlv.Item, v Version) bool {
	switch {
	case !r.In(v) || value.IsZero():
		return false
	case r.Type == ttlv.Enumeration:
		if n, err := value.Enumeration(); err != nil || !ValueIn(r.Tag, n, v) {
			return false
		}
	case r.Type == ttlv.Structure:
		return r.writeFields(w, value, v)
	}
	w.ItemAs(kmip14.TagAttributeValue, value)
	return true
}

func (r *AttributeRule) writeFields(w *ttlv.Writer, value ttlv.Item, v Version) bool {
	items, err := value.Items()
	if err != nil {
		return false
	}
	start := w.Len()
	m := w.Begin(kmip14.TagAttributeValue)
	for i := range r.fields {
		rule := &r.fields[i]
		for it, ok := items.Take(rule.tag); ok; it, ok = items.Take(rule.tag) {
			if v.AtLeast(rule.since) && sayable(it, v) {
				w.Item(it)
			} else if rule.required {
				w.Truncate(start)
				return false
			}
		}
	}
	if w.Len() == m && len(value.Value()) > 0 {
		w.Truncate(start)
		return false
	}
	w.End(m)
	return true
}

// sayable tells whether a field has a value that v has.
func sayable(it ttlv.Item, v Version) bool {
	n, err := it.Enumeration()
	return err != nil || ValueIn(it.Tag(), n, v)
}
