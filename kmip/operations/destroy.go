package operations

// applyDestroy destroys an object (section 4.21). An Active one, and one that
// is destroyed already, is Permission Denied (section 11.22), and so is one that
// an inventory names: the message says by whom it is used. Its attributes stay.
func applyDestroy(_ *Operations, tx *Tx, c *Call) error {
	obj, err := c.edit(tx, c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	if err := tx.Destroy(obj); err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}
