package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// rowCount is one more than the last operation of KMIP 1.4.
const rowCount = kmip14.OperationExport + 1

// table is every operation that the server has; what Query answers comes from
// it too. Get is a release and not a change: the store runs it as a change by
// itself when the object is Fresh, which Get has to note.
var table = [...]Row{
	{kmip14.OperationCreate, change("Create"), kmip.V1_0, prepareCreate, applyCreate},
	{kmip14.OperationRegister, change("Register"), kmip.V1_0, prepareRegister, applyRegister},
	{kmip14.OperationReKey, change("Re-key"), kmip.V1_0, prepareRekey, applyRekey},
	{kmip14.OperationLocate, observe("Locate"), kmip.V1_0, prepareLocate, applyLocate},
	{kmip14.OperationGet, release("Get"), kmip.V1_0, prepareGet, applyGet},
	{kmip14.OperationGetAttributes, observe("Get Attributes"), kmip.V1_0, prepareGetAttributes, applyGetAttributes},
	{kmip14.OperationGetAttributeList, observe("Get Attribute List"), kmip.V1_0, prepareIdentifier, applyGetAttributeList},
	{kmip14.OperationAddAttribute, change("Add Attribute"), kmip.V1_0, prepareAddAttribute, applyAddAttribute},
	{kmip14.OperationModifyAttribute, change("Modify Attribute"), kmip.V1_0, prepareModifyAttribute, applyModifyAttribute},
	{kmip14.OperationDeleteAttribute, change("Delete Attribute"), kmip.V1_0, prepareDeleteAttribute, applyDeleteAttribute},
	{kmip14.OperationCheck, observe("Check"), kmip.V1_0, prepareCheck, applyCheck},
	{kmip14.OperationObtainLease, observe("Obtain Lease"), kmip.V1_0, prepareIdentifier, applyObtainLease},
	{kmip14.OperationGetUsageAllocation, change("Get Usage Allocation"), kmip.V1_0, prepareGetUsageAllocation, applyGetUsageAllocation},
	{kmip14.OperationArchive, change("Archive"), kmip.V1_0, prepareIdentifier, applyArchive},
	{kmip14.OperationRecover, change("Recover"), kmip.V1_0, prepareIdentifier, applyRecover},
	{kmip14.OperationActivate, change("Activate"), kmip.V1_0, prepareIdentifier, applyActivate},
	{kmip14.OperationRevoke, urgent("Revoke"), kmip.V1_0, prepareRevoke, applyRevoke},
	{kmip14.OperationDestroy, urgent("Destroy"), kmip.V1_0, prepareIdentifier, applyDestroy},
	{kmip14.OperationQuery, none("Query"), kmip.V1_0, prepareQuery, applyQuery},
	{kmip14.OperationCancel, none("Cancel"), kmip.V1_0, preparePoll, applyCancel},
	{kmip14.OperationPoll, none("Poll"), kmip.V1_0, preparePoll, applyPoll},
	{kmip14.OperationDiscoverVersions, none("Discover Versions"), kmip.V1_1, prepareDiscoverVersions, applyDiscoverVersions},
}

// SetsPlaceholder tells whether the operation sets the ID Placeholder of its
// batch, so that what follows without a Unique Identifier is about its object,
// or, as Check does, empties it when it fails (section 4.10).
func (r *Row) SetsPlaceholder() bool {
	switch r.Operation {
	case kmip14.OperationCreate, kmip14.OperationRegister, kmip14.OperationReKey, kmip14.OperationLocate, kmip14.OperationCheck:
		return true
	}
	return false
}

// Deferrable tells whether the operation may be answered later, for a client
// that can wait: Locate, which can be long, and Archive and Recover, which the
// specification means to be. None of them carries key material in its request
// or its answer, so that none lies about for it.
func (r *Row) Deferrable() bool {
	switch r.Operation {
	case kmip14.OperationLocate, kmip14.OperationArchive, kmip14.OperationRecover:
		return true
	}
	return false
}

func none(name string) keystore.Op    { return keystore.Op{Name: name, Class: keystore.OpNone} }
func observe(name string) keystore.Op { return keystore.Op{Name: name, Class: keystore.OpObserve} }
func release(name string) keystore.Op { return keystore.Op{Name: name, Class: keystore.OpRelease} }
func change(name string) keystore.Op  { return keystore.Op{Name: name, Class: keystore.OpChange} }

// urgent changes go on when the disk is full: a compromise must be sayable.
func urgent(name string) keystore.Op {
	return keystore.Op{Name: name, Class: keystore.OpChange, Urgent: true}
}

// prepareIdentifier decodes a request that holds a Unique Identifier at most.
func prepareIdentifier(_ *Operations, c *Call) error {
	return c.request.identifier.Decode(c.Payload, c.Version)
}
