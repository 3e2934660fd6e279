package keystore

// A Principal is who asks, as the connection established it; made once a
// connection and not changed after that.
type Principal struct {
	Client string // name of the client record
	User   string // KMIP user inside the group, "" for the client itself
	Group  string // owns what is made; never empty, save for an administrator
	Remote string // address of the peer, for the journal
	// Admin may read and change objects of all groups and the other records,
	// but never sees an object's Value.
	Admin bool
}

// An Op describes an operation to the door. There is one static value for each
// row of the operations table.
type Op struct {
	Name  string // as the KMIP specification spells it, or the admin's command
	Class OpClass
	// Urgent operations (Revoke, Destroy, the admin's) may use what is held
	// back of a full disk.
	Urgent bool
}

// OpClass says what the journal must hold before the answer leaves.
type OpClass uint8

// The classes.
const (
	OpNone    OpClass = iota // no record: Discover Versions, Query
	OpObserve                // a buffered record: Get Attributes, Locate, Check
	OpRelease                // a durable record: Get
	OpChange                 // a durable record of the intent, and the commit
)

// Work is what one message does. The store calls Run inside one transaction,
// maybe more than once: it must start afresh each time and give the same
// identifiers each time. An error drops every item of the message.
type Work interface{ Run(b *Batch) error }

// An Action is one batch item. Apply may run more than once; the Tx and all
// that came from it are valid only until it returns.
type Action interface{ Apply(tx *Tx) error }
