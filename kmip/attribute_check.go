package kmip

import (
	"unicode/utf8"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// maxNameLength bounds an attribute's name in bytes. The specification has no
// bound; a name is kept with each object and goes into error texts, so it must
// not be a way to fill either.
const maxNameLength = 255

// Check holds a value to the rule: its type, the values of its enumerations,
// and for a structure its fields, as they are in v. It looks at one value
// alone; whether the attribute may be set at all is for the operation to judge.
// The error is an *Error.
func (r *AttributeRule) Check(value ttlv.Item, v Version) error {
	if !r.In(v) {
		return invalidField("the attribute %s does not exist in KMIP %v", r.Name, v)
	}
	if r.Custom() {
		return checkCustom(value)
	}
	if value.Type() != r.Type {
		return invalidField("the attribute %s is a %v, not a %v", r.Name, r.Type, value.Type())
	}
	switch r.Type {
	case ttlv.Enumeration:
		if n, err := value.Enumeration(); err != nil || !enumKnown(r.Tag, n) {
			return invalidField("0x%X is no %s", n, r.Name)
		}
	case ttlv.Structure:
		return r.checkFields(value, v)
	}
	return nil
}

// checkCustom refuses what section 3.39 does: structures inside a structure.
func checkCustom(value ttlv.Item) error {
	if value.IsZero() {
		return missingData("the Attribute Value is missing")
	}
	if value.Type() != ttlv.Structure {
		return nil
	}
	items, _ := value.Items()
	for {
		it, ok := items.Next()
		if !ok {
			return nil
		}
		if it.Type() == ttlv.Structure {
			return invalidField("a custom attribute's structure has a structure inside")
		}
	}
}

func (r *AttributeRule) checkFields(value ttlv.Item, v Version) error {
	items, err := value.Items()
	if err != nil {
		return typeError(value, ttlv.Structure)
	}
	for i := range r.fields {
		rule := &r.fields[i]
		if !v.AtLeast(rule.since) {
			continue
		}
		it, ok := items.Take(rule.tag)
		if !ok && rule.required {
			return invalidField("the attribute %s has no %v", r.Name, rule.tag)
		}
		for ok {
			if err := rule.check(it); err != nil {
				return err
			}
			if !rule.multiple {
				break
			}
			it, ok = items.Take(rule.tag)
		}
	}
	if it, ok := items.Next(); ok {
		return invalidField("%v is unknown, repeated or out of order in the attribute %s of KMIP %v", it.Tag(), r.Name, v)
	}
	return nil
}

func (r *fieldRule) check(it ttlv.Item) error {
	if it.Type() != r.typ {
		return invalidField("%v is a %v where a %v is expected", r.tag, it.Type(), r.typ)
	}
	if r.typ == ttlv.Enumeration {
		if n, err := it.Enumeration(); err != nil || !enumKnown(r.tag, n) {
			return invalidField("0x%X is no value of %v", n, r.tag)
		}
	}
	return nil
}

// Check looks the attribute up and holds it to its rule in v.
func (a *Attribute) Check(v Version) (*AttributeRule, error) {
	r, ok := LookupAttribute(a.Name)
	if !ok || !r.In(v) {
		return nil, invalidField("there is no attribute %q in KMIP %v", shortName(a.Name), v)
	}
	if len(a.Name) > maxNameLength {
		return nil, invalidField("an attribute's name is longer than %d bytes", maxNameLength)
	}
	if a.Index > 0 && !r.Multiple {
		return nil, invalidField("the attribute %s has one instance; Attribute Index %d was sent", r.Name, a.Index)
	}
	return r, r.Check(a.Value, v)
}

// shortName cuts what a peer sent to what fits an error text.
func shortName(name []byte) string {
	const most = 64
	if len(name) <= most {
		return string(name)
	}
	n := most
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return string(name[:n]) + "…"
}
