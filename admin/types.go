package admin

import "time"

// Thumbprints of a certificate, upper-case hexadecimal with colons.
type Thumbprints struct {
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
}

// Status is the answer to GET /v1/status.
type Status struct {
	Version     string      `json:"version"`
	Data        string      `json:"data"`
	StoreID     string      `json:"store_id"`
	Listen      string      `json:"listen"`                 // the address that is bound
	AdminListen string      `json:"admin_listen,omitempty"` // empty when turned off
	Metrics     string      `json:"metrics,omitempty"`      // empty when turned off
	Certificate Thumbprints `json:"certificate"`
	Expires     time.Time   `json:"expires"` // of the server's certificate
	Started     time.Time   `json:"started"`
	Objects     uint64      `json:"objects"`
	Clients     int         `json:"clients"`
	Ready       bool        `json:"ready"`
	Problem     string      `json:"problem,omitempty"` // why it is not ready

	// MachineUUID is the SMBIOS UUID of the server's machine, by which a vCenter
	// can find it among its own; empty: the server may not read it, which takes root.
	MachineUUID string `json:"machine_uuid,omitempty"`

	Backup    BackupStatus    `json:"backup"`
	Inventory InventoryStatus `json:"inventory"`

	Seal         Seal              `json:"seal"`
	Journal      JournalStatus     `json:"journal"`
	Disk         Disk              `json:"disk"`
	Certificates []CertificateEnds `json:"certificates"` // soonest first; revoked and replaced ones are left out
}

// ClientRecord is what GET /v1/clients lists and GET /v1/clients/{name} returns.
type ClientRecord struct {
	Name           string        `json:"name"`
	Group          string        `json:"group"`
	Kind           string        `json:"kind"` // issued, csr, pinned or foreign-ca
	Created        time.Time     `json:"created"`
	Expires        time.Time     `json:"expires,omitzero"` // zero: the record names no end
	Revoked        *Revocation   `json:"revoked,omitempty"`
	Certificates   []Certificate `json:"certificates,omitempty"`
	Subject        string        `json:"subject,omitempty"` // of a foreign CA's client
	CA             *Thumbprints  `json:"ca,omitempty"`      // the foreign CA
	IgnoreDates    bool          `json:"ignore_dates,omitempty"`
	RequireUser    bool          `json:"require_user,omitempty"`    // each request must name a user
	AgentRenewable bool          `json:"agent_renewable,omitempty"` // an agent may renew its certificate
}

// Revocation says when a client was shut out and why.
type Revocation struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// Certificate is one that a client may show.
type Certificate struct {
	SHA256    string    `json:"sha256"`
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Ends      time.Time `json:"ends,omitzero"`      // of one that was replaced: when it is not taken any more
	LastUsed  time.Time `json:"last_used,omitzero"` // since the server started; of a client's only
}

// Kinds of enrolment.
const (
	KindIssued    = "issued"     // CSR is for a key that the command line has just made for a bundle
	KindCSR       = "csr"        // CSR is the client's own
	KindPinned    = "pinned"     // Certificate is the client's own
	KindForeignCA = "foreign-ca" // CA has signed what the client shows, with Subject in it
)

// EnrolRequest is the body of POST /v1/clients. Which of the PEM fields is set
// depends on Kind.
type EnrolRequest struct {
	Name           string `json:"name"`
	Group          string `json:"group,omitempty"` // empty: a group of the client's own name
	Kind           string `json:"kind"`
	CSR            []byte `json:"csr,omitempty"`
	Certificate    []byte `json:"certificate,omitempty"`
	CA             []byte `json:"ca,omitempty"`
	Subject        string `json:"subject,omitempty"`
	IgnoreDates    bool   `json:"ignore_dates,omitempty"`    // for KindPinned
	RequireUser    bool   `json:"require_user,omitempty"`    // each request must name a user
	AgentRenewable bool   `json:"agent_renewable,omitempty"` // an agent may renew its certificate
}

// Enrolled is the answer to it. Certificate is set when one was signed.
type Enrolled struct {
	Client      ClientRecord `json:"client"`
	Certificate []byte       `json:"certificate,omitempty"` // PEM
	CA          []byte       `json:"ca"`                    // PEM, the store's CA
	Server      Thumbprints  `json:"server"`
	Replaced    bool         `json:"replaced,omitempty"` // a revoked client had this name
}

// RenewRequest is the body of POST /v1/clients/{name}/renew. Kind is KindIssued or
// KindCSR with a CSR for a client whose certificate is ours, KindPinned with a
// Certificate for one that has its own. An agent may renew with a CSR only.
type RenewRequest struct {
	Kind        string `json:"kind"`
	CSR         []byte `json:"csr,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
	// OldUntil is how long the certificates so far are taken; zero: until they end,
	// or have not been used for a week while the new one was.
	OldUntil time.Time `json:"old_until,omitzero"`
}

// AgentRenewableRequest is the body of POST /v1/clients/{name}/agent-renewable.
type AgentRenewableRequest struct {
	AgentRenewable bool `json:"agent_renewable"`
}

// RevokeRequest is the body of POST /v1/clients/{name}/revoke.
type RevokeRequest struct {
	Reason string `json:"reason"`
}

// AdminRecord is what GET /v1/admins lists and GET /v1/admins/{name} returns.
type AdminRecord struct {
	Name         string        `json:"name"`
	Role         Role          `json:"role"`
	Kind         string        `json:"kind"` // issued, csr or pinned
	Created      time.Time     `json:"created"`
	Expires      time.Time     `json:"expires,omitzero"`
	Revoked      *Revocation   `json:"revoked,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
}

// AddAdminRequest is the body of POST /v1/admins. Kind is KindIssued or KindCSR
// with a CSR, or KindPinned with a Certificate, in PEM.
type AddAdminRequest struct {
	Name        string `json:"name"`
	Role        Role   `json:"role"` // viewer, operator or agent
	Kind        string `json:"kind"`
	CSR         []byte `json:"csr,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
}

// AddedAdmin is the answer to it. Certificate is set when one was signed.
type AddedAdmin struct {
	Admin       AdminRecord `json:"admin"`
	Certificate []byte      `json:"certificate,omitempty"` // PEM
	CA          []byte      `json:"ca"`                    // PEM, the store's CA
	Server      Thumbprints `json:"server"`
	Replaced    bool        `json:"replaced,omitempty"` // a revoked administrator had this name
}

// VerifyReport is the answer to POST /v1/verify. Violations is empty when all is
// as it should be.
type VerifyReport struct {
	StoreID        string   `json:"store_id"`
	Records        uint64   `json:"records"`
	Objects        uint64   `json:"objects"`
	JournalEntries uint64   `json:"journal_entries"`
	Violations     []string `json:"violations"`
}
