package operations

import (
	"bytes"
	"math"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A filter is an attribute that a located object must have.
type filter struct {
	rule  *kmip.AttributeRule
	name  string
	value ttlv.Item

	from, to int64 // of a date; both limits belong to the range
	dates    int   // instances of the date in the request
}

// undefinedDate is what an object's date counts as that is not set, and in a
// request the largest possible one, which means a date that is not set.
const undefinedDate = math.MaxInt64

// add adds a filter.
func (s *search) add(a *kmip.Attribute, v kmip.Version) error {
	rule, ok := kmip.LookupAttribute(a.Name)
	switch {
	case !ok || !rule.In(v):
		return invalidField("there is no such attribute in KMIP %v", v)
	case !rule.Custom() && a.Value.Type() != rule.Type:
		return invalidField("the attribute %s is a %v, not a %v", rule.Name, rule.Type, a.Value.Type())
	}
	if n, err := a.Value.Enumeration(); err == nil && !rule.Custom() && !kmip.ValueIn(rule.Tag, n, v) {
		return invalidField("0x%X is no %s in KMIP %v", n, rule.Name, v)
	}
	if rule.Type == ttlv.DateTime {
		return s.addDate(rule, a.Value)
	}
	f := filter{rule: rule, name: attributeName(rule, a.Name), value: a.Value}
	s.filters = append(s.filters, f)
	s.narrow(&f)
	if rule.Tag == kmip14.TagObjectGroup && s.group.IsZero() {
		s.group = a.Value
	}
	return nil
}

// addDate adds a date: one is that date, two are a range.
func (s *search) addDate(rule *kmip.AttributeRule, value ttlv.Item) error {
	at, _ := value.DateTime()
	for i := range s.filters {
		f := &s.filters[i]
		if f.rule != rule {
			continue
		}
		if f.dates == 2 {
			return invalidField("the attribute %s is given more than twice", rule.Name)
		}
		f.from, f.to, f.dates = min(f.from, at), max(f.to, at), 2
		return nil
	}
	s.filters = append(s.filters, filter{rule: rule, name: rule.Name, from: at, to: at, dates: 1})
	return nil
}

// narrow tells the store what it can find by an index. Everything is looked at
// again by matches.
func (s *search) narrow(f *filter) {
	switch {
	case f.rule.Tag == kmip14.TagObjectType:
		n, _ := f.value.Enumeration()
		s.query.Type = keystore.ObjectType(n)
	case f.rule.Tag == kmip14.TagState:
		n, _ := f.value.Enumeration()
		s.query.State = keystore.State(n)
	case f.rule.Tag == kmip14.TagName && f.value.Find(kmip14.TagNameValue).Type() == ttlv.TextString,
		f.rule.Tag == kmip14.TagObjectGroup,
		f.rule.Tag == kmip14.TagApplicationSpecificInformation && !f.value.Find(kmip14.TagApplicationData).IsZero() &&
			!f.value.Find(kmip14.TagApplicationNamespace).IsZero(),
		f.rule.Custom():
		s.query.Terms = append(s.query.Terms, keystore.Term{Attribute: f.name, Value: f.value})
	}
}

// matches tells whether an object has all that is asked for.
func (o *Operations) matches(c *Call, obj *keystore.Object) bool {
	s := &c.search
	switch {
	case s.storage&storageOf(obj) == 0,
		s.member == kmip14.ObjectGroupMemberGroupMemberFresh && !obj.Fresh,
		s.member == kmip14.ObjectGroupMemberGroupMemberDefault && !mayBeDefault(obj):
		return false
	}
	for i := range s.filters {
		f := &s.filters[i]
		if f.dates > 0 {
			if !o.inRange(c, obj, f) {
				return false
			}
		} else if !o.eachValue(&c.scratch, obj, f.rule, f.name, c.Version, f.matches) {
			return false
		}
	}
	return true
}

// storageOf returns the bit of the Storage Status Mask that the object falls
// under.
func storageOf(obj *keystore.Object) kmip14.StorageStatusMask {
	switch {
	case obj.State == keystore.Destroyed || obj.State == keystore.DestroyedCompromised:
		return storageDestroyed
	case obj.ArchiveDate.Set:
		return kmip14.StorageStatusMaskArchivalStorage
	}
	return kmip14.StorageStatusMaskOnLineStorage
}

func (o *Operations) inRange(c *Call, obj *keystore.Object, f *filter) bool {
	at := int64(undefinedDate)
	o.eachValue(&c.scratch, obj, f.rule, f.name, c.Version, func(value ttlv.Item) bool {
		at, _ = value.DateTime()
		return true
	})
	return f.from <= at && at <= f.to
}

// matches compares one value of the object. Of a mask all bits asked for must
// be set, Usage Limits must be as large or larger, and of a structure only the
// fields asked for count.
func (f *filter) matches(have ttlv.Item) bool {
	switch {
	case f.rule.Tag == kmip14.TagCryptographicUsageMask:
		want, _ := f.value.Integer()
		got, err := have.Integer()
		return err == nil && got&want == want
	case f.rule.Tag == kmip14.TagUniqueIdentifier:
		return bytes.EqualFold(have.Value(), f.value.Value())
	case f.value.Type() == ttlv.Structure && !f.rule.Custom():
		return f.matchesFields(have)
	}
	return sameValue(have, f.value)
}

func (f *filter) matchesFields(have ttlv.Item) bool {
	want, _ := f.value.Items()
	for {
		field, ok := want.Next()
		if !ok {
			return want.Done()
		}
		if !f.hasField(have, field) {
			return false
		}
	}
}

// hasField tells whether the structure has the field, which may be there more
// than once.
func (f *filter) hasField(have, field ttlv.Item) bool {
	items, err := have.Items()
	if err != nil {
		return false
	}
	for {
		it, ok := items.Next()
		switch {
		case !ok:
			return false
		case it.Tag() != field.Tag():
		case f.rule.Tag == kmip14.TagUsageLimits && field.Type() == ttlv.LongInteger:
			got, _ := it.LongInteger()
			want, _ := field.LongInteger()
			return got >= want
		case sameValue(it, field):
			return true
		}
	}
}

// sameValue compares type and value, whatever the tag.
func sameValue(a, b ttlv.Item) bool {
	return a.Type() == b.Type() && bytes.Equal(a.Value(), b.Value())
}
