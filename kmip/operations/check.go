package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

func prepareCheck(_ *Operations, c *Call) error {
	r := &c.request.check
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if r.UsageLimitsCount < 0 {
		return invalidField("a Usage Limits Count of %d", r.UsageLimitsCount)
	}
	return nil
}

// applyCheck tells whether the client may use an object as it says (section
// 4.10). Nothing is set aside for it: what is allowed now may be gone when the
// client asks for it. A denial answers with those fields of the request because
// of which it is denied, and empties the ID Placeholder.
func applyCheck(o *Operations, tx *Tx, c *Call) error {
	r := &c.request.check
	obj, err := c.look(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	if err := notArchived(obj); err != nil {
		return err
	}
	if err := cryptographic(obj, "checked"); err != nil {
		return err
	}
	if denied := o.denials(obj, r, tx.Now()); denied.Denied() {
		denial := kmip.NewError(kmip14.ResultReasonPermissionDenied, "the object may not be used so")
		denial.Payload = denied
		return denial
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}

// denials returns the fields of the request that the object does not allow, as
// the request has them. They have memory of their own: a batch reuses the call.
func (o *Operations) denials(obj *keystore.Object, r *kmip.CheckRequest, now int64) *kmip.CheckResponse {
	denied := &kmip.CheckResponse{}
	if limits, ok := usageLimitsOf(obj); r.HasUsageLimitsCount && ok && (r.UsageLimitsCount > limits.count || !protects(obj, now)) {
		denied.UsageLimitsCount, denied.HasUsageLimitsCount = r.UsageLimitsCount, true
	}
	if r.HasCryptographicUsageMask && !allows(obj, r.CryptographicUsageMask, now) {
		denied.CryptographicUsageMask, denied.HasCryptographicUsageMask = r.CryptographicUsageMask, true
	}
	if lease, err := o.lease(obj); r.HasLeaseTime && (err != nil || r.LeaseTime > lease) {
		denied.LeaseTime, denied.HasLeaseTime = r.LeaseTime, true
	}
	return denied
}

// cryptographic refuses objects that are not used for cryptography: Templates
// and Opaque Objects.
func cryptographic(obj *keystore.Object, done string) error {
	return hasState(obj, done) // they are the ones without a State, too
}
