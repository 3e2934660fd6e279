package admin

import "time"

// Seal is what keeps the store closed.
type Seal struct {
	Generation uint32 `json:"generation"` // of the store key
	RootKey    string `json:"root_key"`   // where it came from
}

// JournalStatus is how far the journal goes.
type JournalStatus struct {
	Sequence uint64    `json:"sequence"`           // of the last entry at the last commit
	Signed   uint64    `json:"signed"`             // up to which the newest checkpoint goes; 0: there is none
	SignedAt time.Time `json:"signed_at,omitzero"` // when it was made
	Exports  []Export  `json:"exports,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why it takes nothing; then no key is given out either
}

// Export is how far another copy of the journal is.
type Export struct {
	To       string    `json:"to"`        // file or syslog
	Behind   uint64    `json:"behind"`    // entries that it does not have yet
	CaughtUp time.Time `json:"caught_up"` // when it last had all
}

// Disk is the space of the data folder's disk, in bytes. Below Held only Revoke,
// Destroy and administrators' changes are taken.
type Disk struct {
	Free    uint64 `json:"free"`
	Held    uint64 `json:"held"`
	Problem string `json:"problem,omitempty"` // why Free is not known
}

// CertificateEnds says when a certificate ends that the server needs, or knows.
type CertificateEnds struct {
	What string    `json:"what"` // server, ca, client or admin
	Name string    `json:"name,omitempty"`
	Ends time.Time `json:"ends"`
}
