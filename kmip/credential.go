package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A Credential is the structure of section 2.1.2. All byte slices are views
// into the request, passwords too: nobody keeps them, and clearing the
// request's buffer clears them.
type Credential struct {
	Type kmip14.CredentialType

	Username []byte // Username and Password
	Password []byte // Username and Password, Device; nil: none sent

	// Device (1.1); nil: not sent.
	DeviceSerialNumber, DeviceIdentifier, NetworkIdentifier, MachineIdentifier, MediaIdentifier []byte

	Attestation Attestation
}

// IsUsername tells whether c is a Username and Password.
func (c *Credential) IsUsername() bool { return c.Type == kmip14.CredentialTypeUsernameAndPassword }

// IsDevice tells whether c is a Device credential.
func (c *Credential) IsDevice() bool { return c.Type == kmip14.CredentialTypeDevice }

// An Attestation is the Credential Value of that type (1.2).
type Attestation struct {
	NonceID, NonceValue []byte
	Type                kmip14.AttestationType
	Measurement         []byte // nil: not sent
	Assertion           []byte // nil: not sent
}

// maxCredentials bounds what one message may have us verify, each of which may
// cost a password hash. The specification has no bound; nobody has three kinds.
const maxCredentials = 8

// parseAuthentication reads section 6.6: one Credential, from 1.2 on several.
func (h *RequestHeader) parseAuthentication(it ttlv.Item) error {
	f := open(it, h.Version)
	for it := f.must(kmip14.TagCredential); !it.IsZero(); it, _ = f.more(kmip14.TagCredential) {
		if len(h.Credentials) == maxCredentials {
			return invalidMessage("more than %d credentials", maxCredentials)
		}
		h.Credentials = append(h.Credentials, Credential{})
		if err := h.Credentials[len(h.Credentials)-1].parse(it, h.Version); err != nil {
			return err
		}
		if !h.Version.AtLeast(V1_2) {
			break
		}
	}
	return inHeader(f.done())
}

func (c *Credential) parse(it ttlv.Item, v Version) error {
	f := open(it, v)
	c.Type = kmip14.CredentialType(f.enum(f.must(kmip14.TagCredentialType)))
	value := f.structure(f.must(kmip14.TagCredentialValue))
	if err := f.done(); err != nil {
		return inHeader(err)
	}
	if !v.AtLeast(credentialSince(c.Type)) {
		return invalidField("the Credential Type %d does not exist in KMIP %v", uint32(c.Type), v)
	}
	f = open(value, v)
	switch c.Type {
	case kmip14.CredentialTypeUsernameAndPassword:
		c.Username = f.text(f.must(kmip14.TagUsername))
		c.Password = f.text(f.opt(kmip14.TagPassword))
	case kmip14.CredentialTypeDevice:
		c.DeviceSerialNumber = f.text(f.opt(kmip14.TagDeviceSerialNumber))
		c.Password = f.text(f.opt(kmip14.TagPassword))
		c.DeviceIdentifier = f.text(f.opt(kmip14.TagDeviceIdentifier))
		c.NetworkIdentifier = f.text(f.opt(kmip14.TagNetworkIdentifier))
		c.MachineIdentifier = f.text(f.opt(kmip14.TagMachineIdentifier))
		c.MediaIdentifier = f.text(f.opt(kmip14.TagMediaIdentifier))
	case kmip14.CredentialTypeAttestation:
		c.Attestation.parse(&f)
	}
	return inHeader(f.done())
}

func (a *Attestation) parse(f *fields) {
	if it := f.must(kmip14.TagNonce); f.err == nil {
		n := open(it, f.v)
		a.NonceID = n.bytes(n.must(kmip14.TagNonceID))
		a.NonceValue = n.bytes(n.must(kmip14.TagNonceValue))
		f.err = n.done()
	}
	a.Type = kmip14.AttestationType(f.enum(f.must(kmip14.TagAttestationType)))
	a.Measurement = f.bytes(f.opt(kmip14.TagAttestationMeasurement))
	a.Assertion = f.bytes(f.opt(kmip14.TagAttestationAssertion))
}

func (c *Credential) write(w *ttlv.Writer) {
	outer := w.Begin(kmip14.TagCredential)
	w.Enumeration(kmip14.TagCredentialType, uint32(c.Type))
	value := w.Begin(kmip14.TagCredentialValue)
	switch c.Type {
	case kmip14.CredentialTypeUsernameAndPassword:
		w.Text(kmip14.TagUsername, c.Username)
		optText(w, kmip14.TagPassword, c.Password)
	case kmip14.CredentialTypeDevice:
		optText(w, kmip14.TagDeviceSerialNumber, c.DeviceSerialNumber)
		optText(w, kmip14.TagPassword, c.Password)
		optText(w, kmip14.TagDeviceIdentifier, c.DeviceIdentifier)
		optText(w, kmip14.TagNetworkIdentifier, c.NetworkIdentifier)
		optText(w, kmip14.TagMachineIdentifier, c.MachineIdentifier)
		optText(w, kmip14.TagMediaIdentifier, c.MediaIdentifier)
	case kmip14.CredentialTypeAttestation:
		c.Attestation.write(w)
	}
	w.End(value)
	w.End(outer)
}

func (a *Attestation) write(w *ttlv.Writer) {
	nonce := w.Begin(kmip14.TagNonce)
	w.ByteString(kmip14.TagNonceID, a.NonceID)
	w.ByteString(kmip14.TagNonceValue, a.NonceValue)
	w.End(nonce)
	w.Enumeration(kmip14.TagAttestationType, uint32(a.Type))
	optBytes(w, kmip14.TagAttestationMeasurement, a.Measurement)
	optBytes(w, kmip14.TagAttestationAssertion, a.Assertion)
}
