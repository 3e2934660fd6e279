package admin

import "time"

// Key is what GET /v1/keys lists and GET /v1/keys/{uid} returns: metadata only.
// The fields from Usage on are not in a list, save for the custom attributes
// (x-…), which tell what vCenter uses a key for.
type Key struct {
	UniqueIdentifier string    `json:"unique_identifier"`
	ObjectType       string    `json:"object_type"`
	State            string    `json:"state"`
	Group            string    `json:"group"`
	User             string    `json:"user,omitempty"` // that owns it inside the group; empty: the client itself
	Client           string    `json:"client"`         // that made it
	Algorithm        string    `json:"algorithm,omitempty"`
	LengthBits       int32     `json:"length_bits,omitempty"`
	Names            []string  `json:"names,omitempty"`
	InitialDate      time.Time `json:"initial_date,omitzero"`
	ActivationDate   time.Time `json:"activation_date,omitzero"`
	DeactivationDate time.Time `json:"deactivation_date,omitzero"`
	DestroyDate      time.Time `json:"destroy_date,omitzero"`
	CompromiseDate   time.Time `json:"compromise_date,omitzero"`
	LastChangeDate   time.Time `json:"last_change_date,omitzero"`
	BackedUp         bool      `json:"backed_up"` // the last verified backup has it

	UsedBy                   []UsedKey   `json:"used_by,omitempty"` // by vCenter; while it is used it is not destroyed
	Usage                    []string    `json:"usage,omitempty"`   // of the Cryptographic Usage Mask
	ProcessStartDate         time.Time   `json:"process_start_date,omitzero"`
	ProtectStopDate          time.Time   `json:"protect_stop_date,omitzero"`
	CompromiseOccurrenceDate time.Time   `json:"compromise_occurrence_date,omitzero"`
	ArchiveDate              time.Time   `json:"archive_date,omitzero"`
	RevocationReason         string      `json:"revocation_reason,omitempty"`
	RevocationMessage        string      `json:"revocation_message,omitempty"`
	RecoverableUntil         time.Time   `json:"recoverable_until,omitzero"` // of a destroyed key that can still be brought back
	Attributes               []Attribute `json:"attributes,omitempty"`       // all others
}

// Attribute is an attribute of KMIP's that has no field of its own, or a custom
// one (x-…). Value is for people; a structure's fields are parted by commas.
type Attribute struct {
	Name  string `json:"name"`
	Index int32  `json:"index,omitempty"`
	Value string `json:"value"`
}

// KeyQuery is the query of GET /v1/keys. What is set must all hold.
type KeyQuery struct {
	After         string    `json:"after,omitempty" doc:"what the page before had as next"`
	Limit         int       `json:"limit,omitempty" doc:"keys in a page, at most and by default 10000"`
	State         string    `json:"state,omitempty" doc:"as KMIP spells it; case, spaces and hyphens do not matter"`
	Type          string    `json:"type,omitempty" doc:"object type, as KMIP spells it"`
	Group         string    `json:"group,omitempty"`
	Owner         string    `json:"owner,omitempty" doc:"user in the group"`
	Client        string    `json:"client,omitempty" doc:"client that made it"`
	Name          string    `json:"name,omitempty" doc:"one of the key's names, exactly"`
	Algorithm     string    `json:"algorithm,omitempty" doc:"AES, or with a length AES-256"`
	Attributes    []string  `json:"attribute,omitempty" doc:"NAME=VALUE of any other attribute, x-… among them; may be given many times"`
	Use           string    `json:"use,omitempty" doc:"in-use or unused, as the inventories say"`
	CreatedAfter  time.Time `json:"created_after,omitzero" doc:"at or after this moment"`
	CreatedBefore time.Time `json:"created_before,omitzero" doc:"before this moment"`
}

// KeyPage is a page of GET /v1/keys. Next is what to give as after for the page
// that follows, empty at the end. A page may hold fewer keys than asked for, and
// even none, and still have a Next: the server looks at so many keys for a page
// and then answers, however few of them the query has found.
type KeyPage struct {
	Keys []Key  `json:"keys"`
	Next string `json:"next,omitempty"`
}

// KeyDestruction is the body of POST /v1/keys/{uid}/destroy.
type KeyDestruction struct {
	Reason string `json:"reason"` // for the journal
	// UsedBy is the name of a machine or host that uses the key: to destroy it
	// although an inventory says that it is in use.
	UsedBy string `json:"used_by,omitempty"`
}

// KeyChange is the body of POST /v1/keys/{uid}/activate, /recover and /reactivate.
type KeyChange struct {
	Reason string `json:"reason"` // for the journal
}

// KeyRevocation is the body of POST /v1/keys/{uid}/revoke.
type KeyRevocation struct {
	Reason     string           `json:"reason"` // for the journal, and as KMIP's Revocation Message
	Code       RevocationReason `json:"code,omitempty"`
	OccurredAt time.Time        `json:"occurred_at,omitzero"` // of a compromise; zero: since the key was made
}

// A RevocationReason is one of KMIP's Revocation Reason Codes. A compromise
// leads to the state Compromised, every other one, and none, to Deactivated.
type RevocationReason string

// The reasons.
const (
	Unspecified          RevocationReason = "unspecified"
	KeyCompromise        RevocationReason = "key-compromise"
	CACompromise         RevocationReason = "ca-compromise"
	AffiliationChanged   RevocationReason = "affiliation-changed"
	Superseded           RevocationReason = "superseded"
	CessationOfOperation RevocationReason = "cessation-of-operation"
	PrivilegeWithdrawn   RevocationReason = "privilege-withdrawn"
)

// Values returns all reasons, in the order of their codes from 1 on.
func (RevocationReason) Values() []string {
	return []string{string(Unspecified), string(KeyCompromise), string(CACompromise), string(AffiliationChanged),
		string(Superseded), string(CessationOfOperation), string(PrivilegeWithdrawn)}
}

// KeyChanged is the answer to a change of a key. Changed is false when the key
// was in that state already, so that a command can be run again.
type KeyChanged struct {
	Key     Key  `json:"key"`
	Changed bool `json:"changed"`
}
