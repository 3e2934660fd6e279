package kmip

import (
	"bytes"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A By says who may do something to an attribute.
type By uint8

// The parties of section 3's rule tables.
const (
	Nobody By = 0
	Server By = 1
	Client By = 2
	Both      = Server | Client
)

// Server tells whether the server may.
func (b By) Server() bool { return b&Server != 0 }

// Client tells whether a client may.
func (b By) Client() bool { return b&Client != 0 }

// ObjectTypes is a set of Object Types.
type ObjectTypes uint16

// Has tells whether t is in the set.
func (s ObjectTypes) Has(t kmip14.ObjectType) bool { return t < 16 && s>>t&1 == 1 }

const (
	certificate  ObjectTypes = 1 << kmip14.ObjectTypeCertificate
	symmetricKey ObjectTypes = 1 << kmip14.ObjectTypeSymmetricKey
	publicKey    ObjectTypes = 1 << kmip14.ObjectTypePublicKey
	privateKey   ObjectTypes = 1 << kmip14.ObjectTypePrivateKey
	splitKey     ObjectTypes = 1 << kmip14.ObjectTypeSplitKey
	template     ObjectTypes = 1 << kmip14.ObjectTypeTemplate
	secretData   ObjectTypes = 1 << kmip14.ObjectTypeSecretData
	opaqueObject ObjectTypes = 1 << kmip14.ObjectTypeOpaqueObject
	pgpKey       ObjectTypes = 1 << kmip14.ObjectTypePGPKey

	keys          = symmetricKey | publicKey | privateKey | splitKey | pgpKey
	cryptographic = keys | certificate | secretData // all but Template and Opaque Object
	stored        = cryptographic | opaqueObject    // all but Template
	all           = stored | template
)

// An AttributeRule is one row of the attribute table: section 3's rules for one
// attribute. The table is shared; nobody writes to it.
type AttributeRule struct {
	Name    string
	Section string // of the specification 1.4
	Tag     ttlv.Tag
	Type    ttlv.Type // of the value; 0 for custom attributes: any
	Since   Version
	// Always: "SHALL always have a value".
	Always bool
	// InitiallyBy, ModifiedBy and DeletedBy: who may set it first, change it,
	// and delete it on request.
	InitiallyBy, ModifiedBy, DeletedBy By
	// Multiple: "multiple instances permitted".
	Multiple bool
	Objects  ObjectTypes

	fields []fieldRule // of a structure
}

// In tells whether the attribute exists in v.
func (r *AttributeRule) In(v Version) bool { return v.AtLeast(r.Since) }

// Custom tells whether the rule is one of the two for custom attributes.
func (r *AttributeRule) Custom() bool { return r.Tag == kmip14.TagCustomAttribute }

// Attributes returns the rules of all attributes that have a name of their own,
// in the specification's order. The slice is the caller's, the rules are not.
func Attributes() []*AttributeRule {
	out := make([]*AttributeRule, len(attributeTable))
	for i := range attributeTable {
		out[i] = &attributeTable[i]
	}
	return out
}

// LookupAttribute returns the rule for an attribute of that name. A name that
// begins with x- is a client's custom attribute, with y- a server's (section
// 3.39). It does not allocate.
func LookupAttribute(name []byte) (*AttributeRule, bool) {
	if r, ok := attributeByName[string(name)]; ok {
		return r, true
	}
	switch {
	case len(name) > 2 && bytes.HasPrefix(name, prefixClient):
		return &customByClient, true
	case len(name) > 2 && bytes.HasPrefix(name, prefixServer):
		return &customByServer, true
	}
	return nil, false
}

var prefixClient, prefixServer = []byte("x-"), []byte("y-")

var attributeByName = func() map[string]*AttributeRule {
	m := make(map[string]*AttributeRule, len(attributeTable))
	for i := range attributeTable {
		m[attributeTable[i].Name] = &attributeTable[i]
	}
	return m
}()

// The rules of custom attributes (section 3.39): any type, and of structures
// those without structures inside. A client may not create or change a y- one.
var (
	customByClient = AttributeRule{Name: "x-", Section: "3.39", Tag: kmip14.TagCustomAttribute, Since: V1_0,
		InitiallyBy: Client, ModifiedBy: Both, DeletedBy: Client, Multiple: true, Objects: all}
	customByServer = AttributeRule{Name: "y-", Section: "3.39", Tag: kmip14.TagCustomAttribute, Since: V1_0,
		InitiallyBy: Server, ModifiedBy: Server, DeletedBy: Nobody, Multiple: true, Objects: all}
)
