package operations

import (
	"github.com/gemalto/kmip-go/kmip14"
	"github.com/keyreeve/keyreeve/kmip"

	"github.com/keyreeve/keyreeve/keystore"
)

// applyActivate makes a Pre-Active object Active (section 4.19). In another
// state it is Permission Denied (section 11.20).
func applyActivate(_ *Operations, tx *Tx, c *Call) error {
	obj, err := c.edit(tx, c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	if err := hasState(obj, "activated"); err != nil {
		return err
	}
	if err := tx.Activate(obj); err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}

// edit opens the object that a request means, to be changed.
func (c *Call) edit(tx *Tx, id []byte) (*keystore.Object, error) {
	uid, err := c.target(id)
	if err != nil {
		return nil, err
	}
	obj, err := tx.Edit(uid)
	if err != nil {
		return nil, err
	}
	return obj, notArchived(obj)
}

// hasState refuses objects without a State (section 3.22): Templates and Opaque
// Objects.
func hasState(obj *keystore.Object, done string) error {
	if obj.Type == keystore.Template || obj.Type == keystore.OpaqueObject {
		return kmip.NewError(kmip14.ResultReasonIllegalOperation, "an object of this type cannot be %s", done)
	}
	return nil
}
