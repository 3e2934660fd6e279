package operations

func prepareGetUsageAllocation(_ *Operations, c *Call) error {
	r := &c.request.usage
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	// A negative count would give back what was used up, and more.
	if r.UsageLimitsCount <= 0 {
		return invalidField("a Usage Limits Count of %d", r.UsageLimitsCount)
	}
	return nil
}

// applyGetUsageAllocation takes an allocation from the object's Usage Limits
// (section 4.18), whole or not at all. It is a change like any other, so the
// one writer takes requests one after the other, and clients together never
// get more than the total.
func applyGetUsageAllocation(_ *Operations, tx *Tx, c *Call) error {
	r := &c.request.usage
	obj, err := c.edit(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	limits, ok := usageLimitsOf(obj)
	switch {
	case !ok:
		return illegalOperation("the object has no Usage Limits")
	case !protects(obj, tx.Now()):
		return illegalOperation("the object may not be used for applying cryptographic protection, or not at this time")
	case r.UsageLimitsCount > limits.count:
		return permissionDenied("fewer units are left than the request asks for")
	}
	limits.count -= r.UsageLimitsCount
	obj.ReplaceAttribute("Usage Limits", 0, limits.value())
	if err := tx.Put(obj); err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}
