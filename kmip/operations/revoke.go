package operations

import (
	"errors"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip"
)

// maxMessage bounds a Revocation Message in bytes: it is kept for good.
const maxMessage = 1024

func prepareRevoke(_ *Operations, c *Call) error {
	r := &c.request.revoke
	if err := r.Decode(c.Payload, c.Version); err != nil {
		return err
	}
	if r.HasCompromiseOccurrenceDate && !compromise(r.Reason.Code) {
		return invalidField("a Compromise Occurrence Date for a reason that is no compromise")
	}
	if len(r.Reason.Message) > maxMessage {
		return invalidField("a Revocation Message of more than %d bytes", maxMessage)
	}
	return nil
}

func compromise(code kmip14.RevocationReasonCode) bool {
	return code == kmip14.RevocationReasonCodeKeyCompromise || code == kmip14.RevocationReasonCodeCACompromise
}

// applyRevoke makes an object Compromised or Deactivated, as the reason says
// (section 4.20).
func applyRevoke(_ *Operations, tx *Tx, c *Call) error {
	r := &c.request.revoke
	obj, err := c.edit(tx, r.UniqueIdentifier)
	if err != nil {
		return err
	}
	if obj.Type == keystore.Template {
		return illegalOperation("a Template cannot be revoked")
	}
	occurrence, err := occurred(tx, obj, r)
	if err != nil {
		return err
	}
	if err := tx.Revoke(obj, uint32(r.Reason.Code), string(r.Reason.Message), occurrence); err != nil {
		if errors.Is(err, keystore.ErrState) {
			return illegalOperation("the object's State does not allow a revocation for this reason")
		}
		return err
	}
	c.writeUID(obj.UniqueIdentifier)
	return nil
}

// occurred returns when the object was compromised: what the client says, or
// the Initial Date if it cannot say (section 3.29).
func occurred(tx *Tx, obj *keystore.Object, r *kmip.RevokeRequest) (keystore.Date, error) {
	switch {
	case !compromise(r.Reason.Code):
		return keystore.Date{}, nil
	case !r.HasCompromiseOccurrenceDate:
		return obj.InitialDate, nil
	case r.CompromiseOccurrenceDate > tx.Now():
		return keystore.Date{}, invalidField("the Compromise Occurrence Date is in the future")
	}
	return keystore.At(r.CompromiseOccurrenceDate), nil
}
