package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind says how a client was enrolled.
type Kind string

// The four ways to enrol a client; they match the four ways in which vCenter offers to make a KMS trust it.
const (
	KindIssued    Kind = "issued"     // key and certificate made here
	KindCSR       Kind = "csr"        // the client's signing request, signed here
	KindPinned    Kind = "pinned"     // a foreign certificate, accepted by fingerprint
	KindForeignCA Kind = "foreign-ca" // a foreign CA together with one exact subject
)

// Client is the record of one client: what it takes to be let in. The caller stores it sealed, as JSON.
type Client struct {
	Name  string `json:"name"`  // unique in the store
	Group string `json:"group"` // the owner of the objects that it makes
	Kind  Kind   `json:"kind"`

	// Certificates are the accepted ones, oldest first: one, or two around a renewal. Empty for KindForeignCA.
	Certificates []Accepted `json:"certificates,omitempty"`
	// CAPEM is the foreign CA, and Subject the RFC 4514 name that its leaf must carry. Only for KindForeignCA.
	CAPEM   string `json:"ca_pem,omitempty"`
	Subject string `json:"subject,omitempty"`
	// IgnoreDates lets a pinned certificate in before and after its dates. Only for KindPinned, and only when an
	// operator said so: an expired certificate is one whose key nobody promises to protect any more.
	IgnoreDates bool `json:"ignore_dates,omitempty"`
	// RequireUser is set for a client whose every request must name a user of its group.
	RequireUser bool `json:"require_user,omitempty"`
	// AgentRenewable is set for a client whose certificate an agent may renew.
	AgentRenewable bool `json:"agent_renewable,omitempty"`

	Created time.Time   `json:"created"`
	Revoked *Revocation `json:"revoked,omitempty"`
	// Generation grows with every change that must end the client's running connections; see [Registry.Current].
	Generation uint64 `json:"generation"`
}

// Accepted is one certificate that a record admits.
type Accepted struct {
	SHA256    string    `json:"sha256"` // as [SHA256] writes it
	Subject   string    `json:"subject"`
	Serial    string    `json:"serial"` // hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// Since is when a renewal added it; zero for the certificate of the enrolment.
	Since time.Time `json:"since,omitzero"`
	// Ends is when a renewed certificate stops being accepted, before its own end; zero means not before.
	Ends time.Time `json:"ends,omitzero"`
}

// Revocation says when a client was shut out, and why.
type Revocation struct {
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// ErrBadName is wrapped by refusals of client and group names.
var ErrBadName = errors.New("bad name")

// ErrBadClient is wrapped by refusals of records that contradict themselves.
var ErrBadClient = errors.New("bad client record")

const maxName = 64

// ValidateName refuses names of clients and groups that are not 1 to 64 characters of a-z, A-Z, 0-9, ".", "_" and "-".
// A name also becomes a folder and a command's argument, so it starts with neither "." nor "-".
func ValidateName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%w: the %s is empty", ErrBadName, what)
	}
	if len(name) > maxName {
		return fmt.Errorf("%w: the %s %s has %d characters; at most %d are allowed", ErrBadName, what, quote(name), len(name), maxName)
	}
	if name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("%w: the %s %s starts with %q", ErrBadName, what, quote(name), name[0])
	}
	for _, c := range name {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("%w: the %s %s contains %q; use letters, digits, \".\", \"_\" and \"-\"", ErrBadName, what, quote(name), c)
		}
	}
	return nil
}

// Validate reports what contradicts itself in a record; the error wraps [ErrBadName] or [ErrBadClient].
func (c Client) Validate() error {
	if err := ValidateName("client name", c.Name); err != nil {
		return err
	}
	if err := ValidateName("group name", c.Group); err != nil {
		return err
	}
	if err := c.validateKind(); err != nil {
		return fmt.Errorf("%w of %s: %w", ErrBadClient, c.Name, err)
	}
	return nil
}

func (c Client) validateKind() error {
	if c.IgnoreDates && c.Kind != KindPinned {
		return fmt.Errorf("only a pinned certificate may ignore dates, not kind %s", quote(string(c.Kind)))
	}
	switch c.Kind {
	case KindIssued, KindCSR, KindPinned:
		if c.CAPEM != "" || c.Subject != "" {
			return fmt.Errorf("kind %s takes certificates, not a CA", c.Kind)
		}
		return validateAccepted(c.Certificates)
	case KindForeignCA:
		if len(c.Certificates) > 0 {
			return errors.New("kind foreign-ca takes a CA and a subject, not certificates")
		}
		_, _, err := c.foreign()
		return err
	}
	return fmt.Errorf("kind %s is unknown", quote(string(c.Kind)))
}

func validateAccepted(list []Accepted) error {
	if len(list) == 0 {
		return errors.New("no certificate is accepted")
	}
	for _, a := range list {
		if !isSHA256(a.SHA256) {
			return fmt.Errorf("%s is not a SHA-256 fingerprint", quote(a.SHA256))
		}
	}
	return nil
}

// foreign parses the CA and the subject of a foreign-ca record.
func (c Client) foreign() (*x509.Certificate, DN, error) {
	ca, err := ParseCertificate([]byte(c.CAPEM))
	if err != nil {
		return nil, nil, fmt.Errorf("foreign CA: %w", err)
	}
	if !ca.BasicConstraintsValid || !ca.IsCA {
		return nil, nil, fmt.Errorf("foreign CA: %s is not a CA certificate; to trust this one certificate, pin it", describe(ca))
	}
	subject, err := ParseDN(c.Subject)
	if err != nil {
		return nil, nil, err
	}
	return ca, subject, nil
}

// Expires is when the last accepted certificate ends; zero when the record itself names no end (a foreign CA's leaf).
func (c Client) Expires() time.Time {
	var end time.Time
	for _, a := range c.Certificates {
		end = later(end, a.end())
	}
	return end
}

func (a Accepted) end() time.Time {
	if !a.Ends.IsZero() && a.Ends.Before(a.NotAfter) {
		return a.Ends
	}
	return a.NotAfter
}

// WithCertificate returns the record after a renewal: cert is accepted from now on, and those accepted so far until
// oldEnd, so that the client can change over without a pause. Entries that have ended at now are dropped. The generation
// stays: running connections live on until [Identity.ValidUntil]. A foreign certificate is read by [ParseCertificate].
func (c Client) WithCertificate(cert *x509.Certificate, now, oldEnd time.Time) (Client, error) {
	if c.Kind == KindForeignCA {
		return Client{}, fmt.Errorf("%w of %s: a foreign CA renews the certificate by itself", ErrBadClient, c.Name)
	}
	if err := acceptable(cert, c.IgnoreDates, now); err != nil {
		return Client{}, fmt.Errorf("certificate of client %s: %w", c.Name, err)
	}
	next := accept(cert)
	next.Since = now.UTC()
	kept := make([]Accepted, 0, len(c.Certificates)+1)
	for _, a := range c.Certificates {
		if a.SHA256 == next.SHA256 {
			return Client{}, fmt.Errorf("%w of %s: certificate %s is accepted already", ErrBadClient, c.Name, next.SHA256)
		}
		if a.Ends.IsZero() || a.Ends.After(oldEnd) {
			a.Ends = oldEnd
		}
		if a.Ends.After(now) {
			kept = append(kept, a)
		}
	}
	c.Certificates = append(kept, next)
	return c, nil
}

// Revoke returns the record shut out, with the next generation. A second revocation keeps the first time and reason.
func (c Client) Revoke(now time.Time, reason string) Client {
	if c.Revoked == nil {
		c.Revoked = &Revocation{Time: now, Reason: reason}
		c.Generation++
	}
	return c
}

// clone returns a copy that shares nothing with c.
func (c Client) clone() Client {
	c.Certificates = slices.Clone(c.Certificates)
	if c.Revoked != nil {
		r := *c.Revoked
		c.Revoked = &r
	}
	return c
}

// acceptable refuses certificates that no record should name.
func acceptable(cert *x509.Certificate, ignoreDates bool, now time.Time) error {
	if err := checkPublicKey(cert.PublicKey); err != nil {
		return err
	}
	if ignoreDates {
		return nil
	}
	return checkDates(cert, now)
}

// accept is a certificate as a record keeps it.
func accept(cert *x509.Certificate) Accepted {
	return Accepted{
		SHA256:    SHA256(cert),
		Subject:   clean(SubjectOf(cert)),
		Serial:    fmt.Sprintf("%x", cert.SerialNumber),
		NotBefore: cert.NotBefore,
		NotAfter:  cert.NotAfter,
	}
}
