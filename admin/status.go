package admin

import "time"

// Seal is what keeps the store closed.
type Seal struct {
	Generation uint32 `json:"generation"` // of the store key
	RootKey    string `json:"root_key"`   // where it came from
}

// JournalStatus is how far the journal goes.
type JournalStatus struct {
	Sequence uint64 `json:"sequence"`          // of the last entry at the last commit
	Problem  string `json:"problem,omitempty"` // why it takes nothing; then no key is given out either
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
