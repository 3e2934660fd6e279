package keystore

import "github.com/keyreeve/keyreeve/kmip/ttlv"

// ObjectType is KMIP's Object Type (specification section 9.1.3.2.3).
type ObjectType uint32

// The object types of KMIP 1.0 to 1.4.
const (
	Certificate  ObjectType = 1
	SymmetricKey ObjectType = 2
	PublicKey    ObjectType = 3
	PrivateKey   ObjectType = 4
	SplitKey     ObjectType = 5
	Template     ObjectType = 6
	SecretData   ObjectType = 7
	OpaqueObject ObjectType = 8
	PGPKey       ObjectType = 9
)

// State is KMIP's State (specification section 3.22).
type State uint32

// The states of section 3.22.
const (
	PreActive            State = 1
	Active               State = 2
	Deactivated          State = 3
	Compromised          State = 4
	Destroyed            State = 5
	DestroyedCompromised State = 6
)

// A Date is a Date-Time attribute: seconds since 1970, UTC. The zero Date is
// not set, which is not the same as 1 January 1970.
type Date struct {
	Unix int64
	Set  bool
}

// At returns the Date of that second.
func At(unix int64) Date { return Date{Unix: unix, Set: true} }

// Due tells whether d is set and not after now.
func (d Date) Due(now int64) bool { return d.Set && d.Unix <= now }

// An Attribute is one instance of an attribute that the store keeps as it came
// and does not interpret, save for the indexed ones: Name, Object Group,
// Application Specific Information and the x- names that the configuration
// lists. Value is the attribute's value in the wire's encoding under the tag
// Attribute Value.
type Attribute struct {
	Name  string
	Index int32
	Value ttlv.Item
}

// An Object is a Managed Object. Inside a transaction its byte slices and
// items are views that end with the transaction; nothing may keep them.
//
// What the store itself acts on is a field; every other attribute is in
// Attributes.
type Object struct {
	UniqueIdentifier UID
	Type             ObjectType
	State            State  // with all transitions applied that are due
	Group            string // owner: the client's group; never empty
	User             string // owner inside the group: KMIP user, "" for the client itself
	Client           string // name of the client that made it, for people

	CryptographicAlgorithm uint32 // 0: not set
	CryptographicLength    int32  // bits; 0: not set
	CryptographicUsageMask int32
	HasUsageMask           bool
	LeaseTime              uint32 // seconds; 0: the server's default
	Fresh                  bool   // never handed out by Get (section 3.34)

	InitialDate              Date
	ActivationDate           Date
	ProcessStartDate         Date
	ProtectStopDate          Date
	DeactivationDate         Date
	DestroyDate              Date
	CompromiseOccurrenceDate Date
	CompromiseDate           Date
	ArchiveDate              Date
	LastChangeDate           Date

	RevocationReason  uint32 // 0: not revoked
	RevocationMessage string

	// Value is the object as the wire spells it: Symmetric Key { Key Block },
	// Secret Data { … } and so on; the zero Item once it is destroyed.
	Value ttlv.Item

	// Version rises with each write of the record; 0 before the first.
	Version uint64

	attributes attributeList
	editable   bool // it came from Edit
}
