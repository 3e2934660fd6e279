package kmipserver_test

import (
	"slices"

	"github.com/gemalto/kmip-go/kmip14"
)

// The authorisation matrix: each operation of the server × who asks × whose
// object × its condition × protocol version. What comes of it follows from the
// rules below; the first that fits holds. Sections are those of specification
// 1.4; what an operation says of a condition is in its own section too.
//
// An operation that is in no class fails TestAuthorizationMatrix: whoever adds
// one decides here what it is to other users, and says in a rule what becomes
// of it in each condition.

// A class is what an operation wants with an object.
type class string

const (
	nothing class = "nothing" // it is about no object, or makes one
	finds   class = "finds"   // Locate: an object that may not be looked at is not found
	looks   class = "looks"   // it shows the object: an Operation Policy may let others do that
	uses    class = "uses"    // it changes the object or draws on it: its owner's alone
)

var classes = map[kmip14.Operation]class{
	kmip14.OperationCreate:             nothing,
	kmip14.OperationRegister:           nothing,
	kmip14.OperationQuery:              nothing,
	kmip14.OperationDiscoverVersions:   nothing,
	kmip14.OperationPoll:               nothing, // whose operation it is about, deferred_test.go looks at
	kmip14.OperationCancel:             nothing,
	kmip14.OperationLocate:             finds,
	kmip14.OperationGet:                looks,
	kmip14.OperationGetAttributes:      looks,
	kmip14.OperationGetAttributeList:   looks,
	kmip14.OperationCheck:              looks,
	kmip14.OperationObtainLease:        looks,
	kmip14.OperationReKey:              uses,
	kmip14.OperationAddAttribute:       uses,
	kmip14.OperationModifyAttribute:    uses,
	kmip14.OperationDeleteAttribute:    uses,
	kmip14.OperationGetUsageAllocation: uses,
	kmip14.OperationActivate:           uses,
	kmip14.OperationRevoke:             uses,
	kmip14.OperationDestroy:            uses,
	kmip14.OperationArchive:            uses,
	kmip14.OperationRecover:            uses,
}

// A relation is who asks, seen from the object.
type relation string

const (
	owner       relation = "the owner"
	otherUser   relation = "another user of the group"
	client      relation = "the client itself, of the group"
	otherClient relation = "another client of the group, as the owner's user"
	otherGroup  relation = "another group"
	namesake    relation = "a user of the same name in another group"
	absent      relation = "anybody, of an object that is not there"
)

// A condition is the state of the object, and whether it is archived.
type condition string

const (
	preActive            condition = "Pre-Active"
	active               condition = "Active"
	deactivated          condition = "Deactivated"
	compromised          condition = "Compromised"
	destroyed            condition = "Destroyed"
	destroyedCompromised condition = "Destroyed Compromised"
	archivedPreActive    condition = "Pre-Active, archived"
	archivedActive       condition = "Active, archived"
	archivedDeactivated  condition = "Deactivated, archived"
	archivedCompromised  condition = "Compromised, archived"
)

var (
	conditions = []condition{preActive, active, deactivated, compromised, destroyed, destroyedCompromised,
		archivedPreActive, archivedActive, archivedDeactivated, archivedCompromised}
	archived = []condition{archivedPreActive, archivedActive, archivedDeactivated, archivedCompromised}
	gone     = []condition{destroyed, destroyedCompromised}
)

// A cell is one place of the matrix.
type cell struct {
	op     kmip14.Operation
	who    relation
	policy string // of the object: "default" or "group-read"
	is     condition
}

// A rule says what comes of the cells that it fits: those with one of its
// values in each list that is not empty.
type rule struct {
	section string
	classes []class
	who     []relation
	policy  string
	ops     []kmip14.Operation
	is      []condition
	result  kmip14.ResultReason // success: it works
}

const success kmip14.ResultReason = 0

// rules in order. Those about who asks come first, so that nobody learns the
// state of an object that is not his to see.
var rules = []rule{
	{section: "11.28: no outstanding operation with this value", ops: ops(kmip14.OperationPoll), result: kmip14.ResultReasonItemNotFound},
	{section: "3.18.1: some operations are outside of all policies", classes: []class{nothing, finds}, result: success},

	{section: "11: no object with this Unique Identifier", who: []relation{absent}, result: kmip14.ResultReasonItemNotFound},
	{section: "ours: what is another group's is not there", who: []relation{otherGroup, namesake}, result: kmip14.ResultReasonItemNotFound},
	{section: "3.18.2.1: the default policy allows the owner only", who: []relation{otherUser, client}, policy: "default", result: kmip14.ResultReasonPermissionDenied},
	{section: "ours: group-read lets the group look, and no more", who: []relation{otherUser, client}, classes: []class{uses}, result: kmip14.ResultReasonPermissionDenied},

	{section: "4.13, 4.12: attributes stay on-line, and after Destroy", ops: ops(kmip14.OperationGetAttributes, kmip14.OperationGetAttributeList), result: success},
	{section: "4.23: Recover brings back what is archived, and what is on-line is there", ops: ops(kmip14.OperationRecover), result: success},
	{section: "11: the object is archived", is: archived, result: kmip14.ResultReasonObjectArchived},

	{section: "4.11: what is destroyed is not there to be got", ops: ops(kmip14.OperationGet), is: gone, result: kmip14.ResultReasonItemNotFound},
	{section: "4.11: the client judges what a key is good for", ops: ops(kmip14.OperationGet), result: success},
	{section: "11.20: not in Pre-Active state", ops: ops(kmip14.OperationActivate), is: but(preActive), result: kmip14.ResultReasonPermissionDenied},
	{section: "11.22: destroyed already, or Active", ops: ops(kmip14.OperationDestroy), is: append([]condition{active}, gone...), result: kmip14.ResultReasonPermissionDenied},
	{section: "3.22: a compromise can be told of, once", ops: ops(kmip14.OperationRevoke), is: []condition{compromised, destroyedCompromised}, result: kmip14.ResultReasonIllegalOperation},
	{section: "11.5: a key that is destroyed is not replaced", ops: ops(kmip14.OperationReKey), is: gone, result: kmip14.ResultReasonPermissionDenied},
	{section: "4.22: what is destroyed has nothing to be archived", ops: ops(kmip14.OperationArchive), is: gone, result: kmip14.ResultReasonPermissionDenied},
	{section: "3.22: only an Active key may encrypt", ops: ops(kmip14.OperationCheck), is: but(active), result: kmip14.ResultReasonPermissionDenied},
	{section: "3.22: only an Active key may encrypt", ops: ops(kmip14.OperationGetUsageAllocation), is: but(active), result: kmip14.ResultReasonIllegalOperation},
	{section: "4.17: no lease for what must fall out of use", ops: ops(kmip14.OperationObtainLease), is: append([]condition{compromised}, gone...), result: kmip14.ResultReasonPermissionDenied},

	{section: "4: the operation does what it says", ops: ops(kmip14.OperationActivate, kmip14.OperationDestroy, kmip14.OperationRevoke, kmip14.OperationReKey,
		kmip14.OperationArchive, kmip14.OperationCheck, kmip14.OperationGetUsageAllocation, kmip14.OperationObtainLease), result: success},
	{section: "4.14, 4.15, 4.16: attributes can be changed in every State", ops: ops(kmip14.OperationAddAttribute, kmip14.OperationModifyAttribute,
		kmip14.OperationDeleteAttribute), result: success},
}

func ops(list ...kmip14.Operation) []kmip14.Operation { return list }

// marks tells whether an operation that only looks leaves a mark all the same:
// a Get ends Fresh, whoever gets the object (3.34).
func marks(op kmip14.Operation) bool { return op == kmip14.OperationGet }

// but is all conditions save one.
func but(c condition) []condition {
	return slices.DeleteFunc(slices.Clone(conditions), func(other condition) bool { return other == c })
}

func (r *rule) fits(c cell) bool {
	return fits(r.classes, classes[c.op]) && fits(r.who, c.who) && fits(r.ops, c.op) && fits(r.is, c.is) && (r.policy == "" || r.policy == c.policy)
}

func fits[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

// expected returns the rule that a cell falls under; nil if there is none.
func expected(c cell) *rule {
	for i := range rules {
		if rules[i].fits(c) {
			return &rules[i]
		}
	}
	return nil
}
