package operations

import "github.com/keyreeve/keyreeve/keystore"

// applyArchive puts an object into the archive (section 4.22). There is one
// storage for both: what the archive does is that no operation uses the object
// until it is recovered, which keystore sees to for key material. Its
// attributes can still be read. What is destroyed has nothing to be archived.
func applyArchive(_ *Operations, tx *Tx, c *Call) error {
	obj, err := c.edit(tx, c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	if obj.State == keystore.Destroyed || obj.State == keystore.DestroyedCompromised {
		return keystore.ErrDestroyed
	}
	obj.ArchiveDate = keystore.At(tx.Now())
	if err := tx.Put(obj); err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}

// applyRecover brings an object back from the archive (section 4.23), and with
// it ends its Archive Date (section 3.32). One that is not there is on-line
// already, which is what the client wants.
func applyRecover(_ *Operations, tx *Tx, c *Call) error {
	uid, err := c.target(c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	obj, err := tx.Edit(uid)
	if err != nil {
		return err
	}
	if obj.ArchiveDate.Set {
		obj.ArchiveDate = keystore.Date{}
		if err := tx.Put(obj); err != nil {
			return err
		}
	}
	c.writeUID(uid)
	return nil
}
