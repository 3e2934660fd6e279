package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
)

// applyObtainLease answers for how long a client may go on using what it knows
// of an object (section 4.17), and when the object last changed. The server
// keeps no account of leases: the interval is the same for each, and a client
// that comes back gets a new one, unless the object may not be used any more.
func applyObtainLease(o *Operations, tx *Tx, c *Call) error {
	obj, err := c.look(tx, c.request.identifier.UniqueIdentifier)
	if err != nil {
		return err
	}
	if err := notArchived(obj); err != nil {
		return err
	}
	lease, err := o.lease(obj)
	if err != nil {
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	c.W.Interval(kmip14.TagLeaseTime, lease)
	c.W.DateTime(kmip14.TagLastChangeDate, obj.LastChangeDate.Unix)
	return nil
}

// lease returns the Lease Time that an object is given out for, in seconds. A
// Compromised or destroyed one gets none: what a client holds of it must fall
// out of use. A Deactivated one still reads old data, unless the configuration
// refuses that.
func (o *Operations) lease(obj *keystore.Object) (seconds uint32, err error) {
	switch obj.State {
	case keystore.Compromised, keystore.Destroyed, keystore.DestroyedCompromised:
		return 0, permissionDenied("no lease is given for an object that is %v", obj.State)
	case keystore.Deactivated:
		if o.config.RefuseInactive {
			return 0, permissionDenied("no lease is given for an object that is %v", obj.State)
		}
	}
	if obj.Type == keystore.Template || obj.Type == keystore.OpaqueObject {
		return 0, permissionDenied("no lease is given for an object of this type")
	}
	if obj.LeaseTime != 0 {
		return obj.LeaseTime, nil
	}
	return o.config.LeaseTime, nil
}
