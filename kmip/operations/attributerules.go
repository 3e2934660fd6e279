package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// The rules that Add, Modify and Delete Attribute share (sections 2.1.1 and 3).
// Who may set, change or delete an attribute at all is in kmip's table and is
// looked at in Prepare; what depends on the object is here.
//
// Indices: the server numbers the instances of an attribute from 0. A number
// stays with its instance, so deleting one leaves a gap; the next one that is
// added gets the number after the highest. A request without an index means
// instance 0, and an answer leaves the index 0 out.

// mayChange refuses an attribute that section 3 makes read-only from some
// moment on: a date that has done its work, limits that were drawn upon. With
// it goes the attack of winding an object's life or its allowance back.
func mayChange(obj *keystore.Object, rule *kmip.AttributeRule, now int64) error {
	switch rule.Tag {
	case kmip14.TagActivationDate:
		if obj.State != keystore.PreActive {
			return permissionDenied("the Activation Date is read-only: the object is not Pre-Active")
		}
	case kmip14.TagDeactivationDate:
		if obj.State > keystore.Active {
			return permissionDenied("the Deactivation Date is read-only: the object is neither Pre-Active nor Active")
		}
	case kmip14.TagProcessStartDate, kmip14.TagProtectStopDate:
		if obj.State > keystore.Active {
			return permissionDenied("the %s is read-only: the object is neither Pre-Active nor Active", rule.Name)
		}
		if dateField(obj, rule.Tag).Due(now) {
			return permissionDenied("the %s is read-only: it has come", rule.Name)
		}
	case kmip14.TagUsageLimits:
		if limits, ok := usageLimitsOf(obj); ok && limits.count != limits.total {
			return permissionDenied("the Usage Limits are read-only: Get Usage Allocation has drawn on them")
		}
	}
	return nil
}

// instance tells whether the object has the attribute at all, and whether it
// has that instance of it.
func (o *Operations) instance(c *Call, obj *keystore.Object, rule *kmip.AttributeRule, name string, index int32) (any, this bool) {
	for _, a := range obj.Attributes() {
		if a.Name == name {
			any = true
			this = this || a.Index == index
		}
	}
	if !any && !rule.Multiple && o.hasValue(c, obj, rule) {
		return true, index == 0
	}
	return any, this
}

// noIndex is the index of no instance.
const noIndex = -1

// otherName tells whether the object has the Name at another index already.
func otherName(obj *keystore.Object, rule *kmip.AttributeRule, name ttlv.Item, index int32) bool {
	if rule.Tag != kmip14.TagName {
		return false
	}
	for _, a := range obj.Attributes() {
		if a.Name == rule.Name && a.Index != index && sameName(a.Value, name) {
			return true
		}
	}
	return false
}

// answerAttribute answers with the object and the attribute as it is, or was
// until it was deleted.
func (c *Call) answerAttribute(uid keystore.UID, name string, index int32, value ttlv.Item) {
	c.writeUID(uid)
	kmip.WriteAttribute(c.W, name, index, value)
}
