package operations

import (
	"bytes"
	"slices"
	"strings"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// maxInstances bounds the attributes of one object, each instance counted. The
// specification lets a server have such a limit (Index Out of Bounds).
const maxInstances = 256

// maxAttributeBytes bounds what the attributes of one object hold together, in
// bytes. Every change of an object copies all of it, and a batch may change it
// many times and ask for it many times more: without a bound a few kilobytes of
// requests would fill the server's memory.
const maxAttributeBytes = 64 << 10

// A draft is an object that is to be made, with what the client said of it.
// Its values are views of the request, or have memory of their own.
type draft struct {
	object     keystore.Object // fields only; the attributes are beside it
	attributes []keystore.Attribute
	registered bool // Register, and not Create
	given      int  // attributes set by the client
	size       int  // bytes of those that are kept in attributes
}

// begin starts a draft of that type.
func (d *draft) begin(t kmip14.ObjectType, registered bool) {
	clear(d.attributes)
	*d = draft{attributes: d.attributes[:0], registered: registered}
	d.object.Type = keystore.ObjectType(t)
	d.object.Fresh = true
}

// setAll sets the attributes of a Template-Attribute (section 2.1.8), Templates
// aside.
func (d *draft) setAll(list []kmip.Attribute, v kmip.Version) error {
	for i := range list {
		if err := d.set(&list[i], v); err != nil {
			return err
		}
	}
	return nil
}

// set sets one attribute that the client gave. What is wrong with it is an
// Invalid Field (section 11.2 and 11.4).
func (d *draft) set(a *kmip.Attribute, v kmip.Version) error {
	rule, err := settable(a, v, d.object.Type, invalidField)
	if err != nil {
		return err
	}
	return d.place(rule, a, v)
}

// place sets an attribute that may be set.
func (d *draft) place(rule *kmip.AttributeRule, a *kmip.Attribute, v kmip.Version) error {
	if d.given++; d.given > maxInstances {
		return tooManyInstances()
	}
	value, err := checkValue(rule, a, v)
	if err != nil {
		return err
	}
	if !d.registered {
		if ours, err := ofTheServer(rule, value); ours || err != nil {
			return err
		}
	}
	if isField, wasSet := setField(&d.object, rule.Tag, value); isField {
		if wasSet {
			return invalidField("the attribute %s is given twice", rule.Name)
		}
		return nil
	}
	return d.add(rule, a, value)
}

func tooManyInstances() error {
	return kmip.NewError(kmip14.ResultReasonIndexOutOfBounds, "more than %d attributes", maxInstances)
}

func tooManyBytes() error {
	return invalidField("attributes of more than %d bytes in all", maxAttributeBytes)
}

// sizeOf returns the bytes of attributes, their names included.
func sizeOf(list []keystore.Attribute) (n int) {
	for i := range list {
		n += len(list[i].Name) + len(list[i].Value.Raw())
	}
	return n
}

// ofTheServer tells whether the server alone says what an attribute of an
// object is that it makes itself. A client may ask for a kind of generator.
func ofTheServer(rule *kmip.AttributeRule, value ttlv.Item) (ours bool, err error) {
	switch rule.Tag {
	case kmip14.TagRandomNumberGenerator:
		return true, demandRNG(rule, value)
	case kmip14.TagOriginalCreationDate, kmip14.TagKeyValueLocation:
		return true, invalidField("the attribute %s of a created object is not the client's to set", rule.Name)
	}
	return false, nil
}

// add appends an instance. The server numbers the instances in the order that
// they come in; an index that says otherwise is refused, save 0, which clients
// write that mean none.
func (d *draft) add(rule *kmip.AttributeRule, a *kmip.Attribute, value ttlv.Item) error {
	name := attributeName(rule, a.Name)
	var next int32
	for i := range d.attributes {
		if d.attributes[i].Name != name {
			continue
		}
		next++
		if rule.Tag == kmip14.TagName && sameName(d.attributes[i].Value, value) {
			return invalidField("a Name is given twice")
		}
	}
	switch {
	case next > 0 && !rule.Multiple:
		return invalidField("the attribute %s is given twice", rule.Name)
	case a.Index != 0 && a.Index != next:
		return invalidField("an Attribute Index of %d where %d is next", a.Index, next)
	}
	if d.size += len(name) + len(value.Raw()); d.size > maxAttributeBytes {
		return tooManyBytes()
	}
	d.attributes = append(d.attributes, keystore.Attribute{Name: name, Index: next, Value: value})
	d.follow(rule, value)
	return nil
}

// follow sets what the server derives from an attribute of the client's:
// Always Sensitive and Never Extractable (sections 3.49 and 3.51) hold from the
// beginning or not at all.
func (d *draft) follow(rule *kmip.AttributeRule, value ttlv.Item) {
	set, err := value.Boolean()
	if err != nil {
		return
	}
	switch {
	case rule.Tag == kmip14.TagSensitive && set:
		d.give("Always Sensitive", valueTrue)
	case rule.Tag == kmip14.TagExtractable && !set:
		d.give("Never Extractable", valueTrue)
	}
}

// give sets an attribute of the server's own making.
func (d *draft) give(name string, value ttlv.Item) {
	d.attributes = append(d.attributes, keystore.Attribute{Name: name, Value: value})
}

// has tells whether the client gave the attribute.
func (d *draft) has(name string) bool {
	for i := range d.attributes {
		if d.attributes[i].Name == name {
			return true
		}
	}
	return false
}

// Values that the server gives.
var (
	valueTrue  = makeValue(func(w *ttlv.Writer) { w.Boolean(kmip14.TagAttributeValue, true) })
	valueFalse = makeValue(func(w *ttlv.Writer) { w.Boolean(kmip14.TagAttributeValue, false) })
)

// attributeName is the name as the store keeps it.
func attributeName(rule *kmip.AttributeRule, name []byte) string {
	if rule.Custom() {
		return string(name)
	}
	return rule.Name
}

func sameName(a, b ttlv.Item) bool {
	return bytes.Equal(a.Find(kmip14.TagNameValue).Value(), b.Find(kmip14.TagNameValue).Value())
}

// settable looks an attribute up, and refuses one that does not exist in the
// version, is not for the type of object, or is not a client's to set. Which
// reason that is depends on the operation.
func settable(a *kmip.Attribute, v kmip.Version, t keystore.ObjectType, refuse func(string, ...any) error) (*kmip.AttributeRule, error) {
	rule, ok := kmip.LookupAttribute(a.Name)
	switch {
	case !ok || !rule.In(v):
		return nil, refuse("there is no such attribute in KMIP %v", v)
	case !rule.InitiallyBy.Client():
		return nil, refuse("the attribute %s is set by the server alone", rule.Name)
	case !rule.Objects.Has(kmip14.ObjectType(t)):
		return nil, refuse("the attribute %s is not one of this type of object", rule.Name)
	case t == keystore.Template && !ofTemplate(rule):
		return nil, refuse("the attribute %s stands inside a Template, not beside it", rule.Name)
	}
	return rule, nil
}

// checkValue holds a value to its rule, and returns it as it is to be stored.
func checkValue(rule *kmip.AttributeRule, a *kmip.Attribute, v kmip.Version) (ttlv.Item, error) {
	if _, err := a.Check(v); err != nil {
		return ttlv.Item{}, err
	}
	switch rule.Tag {
	case kmip14.TagCryptographicAlgorithm:
		if n, _ := a.Value.Enumeration(); !kmip.ValueIn(rule.Tag, n, v) {
			return ttlv.Item{}, invalidField("the Cryptographic Algorithm 0x%X does not exist in KMIP %v", n, v)
		}
	case kmip14.TagCryptographicLength:
		if n, _ := a.Value.Integer(); n <= 0 {
			return ttlv.Item{}, invalidField("a Cryptographic Length of %d", n)
		}
	case kmip14.TagApplicationSpecificInformation:
		if a.Value.Find(kmip14.TagApplicationData).IsZero() {
			return ttlv.Item{}, kmip.NewError(kmip14.ResultReasonApplicationNamespaceNotSupported,
				"the server makes up no Application Data in this Application Namespace")
		}
	case kmip14.TagUsageLimits:
		return usageLimits(a.Value)
	case kmip14.TagOperationPolicyName:
		return a.Value, knownPolicy(a.Value)
	}
	return a.Value, nil
}

// knownPolicy refuses an Operation Policy that the server does not have: the
// client would think its object shared, or kept apart, in a way that it is not.
func knownPolicy(value ttlv.Item) error {
	name, _ := value.Text()
	if names := keystore.PolicyNames(); !slices.Contains(names, string(name)) {
		return invalidField("the server has no Operation Policy of this name; it has %s", strings.Join(names, ", "))
	}
	return nil
}

// usageLimits returns Usage Limits as they begin: the Count is the Total
// (section 3.21), whatever the client says.
func usageLimits(value ttlv.Item) (ttlv.Item, error) {
	total, _ := value.Find(kmip14.TagUsageLimitsTotal).LongInteger()
	unit, _ := value.Find(kmip14.TagUsageLimitsUnit).Enumeration()
	if total < 0 {
		return ttlv.Item{}, invalidField("a Usage Limits Total of %d", total)
	}
	return limits{total: total, count: total, unit: unit}.value(), nil
}

// setField sets an attribute that the store keeps as a field, unless it is set
// already.
func setField(obj *keystore.Object, tag ttlv.Tag, value ttlv.Item) (isField, wasSet bool) {
	switch tag {
	case kmip14.TagCryptographicAlgorithm:
		if wasSet = obj.CryptographicAlgorithm != 0; !wasSet {
			obj.CryptographicAlgorithm, _ = value.Enumeration()
		}
	case kmip14.TagCryptographicLength:
		if wasSet = obj.CryptographicLength != 0; !wasSet {
			obj.CryptographicLength, _ = value.Integer()
		}
	case kmip14.TagCryptographicUsageMask:
		if wasSet = obj.HasUsageMask; !wasSet {
			obj.CryptographicUsageMask, _ = value.Integer()
			obj.HasUsageMask = true
		}
	case kmip14.TagFresh:
		obj.Fresh, _ = value.Boolean()
	default:
		d := dateField(obj, tag)
		if d == nil {
			return false, false
		}
		if wasSet = d.Set; !wasSet {
			at, _ := value.DateTime()
			*d = keystore.At(at)
		}
	}
	return true, wasSet
}

// dateField returns the date of an object that an attribute stands for, nil if
// the store keeps it in no field.
func dateField(obj *keystore.Object, tag ttlv.Tag) *keystore.Date {
	switch tag {
	case kmip14.TagInitialDate:
		return &obj.InitialDate
	case kmip14.TagActivationDate:
		return &obj.ActivationDate
	case kmip14.TagProcessStartDate:
		return &obj.ProcessStartDate
	case kmip14.TagProtectStopDate:
		return &obj.ProtectStopDate
	case kmip14.TagDeactivationDate:
		return &obj.DeactivationDate
	case kmip14.TagDestroyDate:
		return &obj.DestroyDate
	case kmip14.TagCompromiseOccurrenceDate:
		return &obj.CompromiseOccurrenceDate
	case kmip14.TagCompromiseDate:
		return &obj.CompromiseDate
	case kmip14.TagArchiveDate:
		return &obj.ArchiveDate
	case kmip14.TagLastChangeDate:
		return &obj.LastChangeDate
	}
	return nil
}

// checkDates refuses dates that contradict each other (sections 3.24 to 3.27).
func checkDates(obj *keystore.Object) error {
	order := [...]struct {
		name string
		keystore.Date
	}{
		{"Activation Date", obj.ActivationDate}, {"Process Start Date", obj.ProcessStartDate},
		{"Protect Stop Date", obj.ProtectStopDate}, {"Deactivation Date", obj.DeactivationDate},
	}
	for _, pair := range [...][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 3}, {2, 3}} {
		first, second := order[pair[0]], order[pair[1]]
		if first.Set && second.Set && second.Unix < first.Unix {
			return invalidField("the %s is before the %s", second.name, first.name)
		}
	}
	return nil
}
