package transcript

import (
	"strings"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A kind is what a Text String is about, which decides how it may be shown.
type kind string

const (
	kindUnknown   kind = ""          // no text that the specification knows: taken for secret
	kindPlain     kind = "plain"     // words of the specification or of the server
	kindName      kind = "name"      // what people call their objects, and what they write about them
	kindUser      kind = "user"      // who sends
	kindAttribute kind = "attribute" // the value of a custom attribute
	kindID        kind = "uid"       // a Unique Identifier
	kindMessage   kind = "message"   // a Result Message, which may quote any of them
	kindMoment    kind = "moment"    // chosen by the server anew each time
)

var kinds = map[ttlv.Tag]kind{
	kmip14.TagAttributeName: kindPlain, kmip14.TagVendorIdentification: kindPlain, kmip14.TagServerInformation: kindPlain,
	kmip14.TagOperationPolicyName: kindPlain, kmip14.TagExtensionName: kindPlain, kmip14.TagApplicationNamespace: kindPlain,
	kmip14.TagValidationAuthorityCountry: kindPlain, kmip14.TagValidationAuthorityURI: kindPlain,
	kmip14.TagValidationCertificateIdentifier: kindPlain, kmip14.TagValidationCertificateURI: kindPlain,
	kmip14.TagValidationVendorURI: kindPlain, kmip14.TagValidationProfile: kindPlain, kmip14.TagServerURI: kindPlain,

	kmip14.TagNameValue: kindName, kmip14.TagObjectGroup: kindName, kmip14.TagApplicationData: kindName,
	kmip14.TagContactInformation: kindName, kmip14.TagDescription: kindName, kmip14.TagComment: kindName,
	kmip14.TagAlternativeNameValue: kindName, kmip14.TagRevocationMessage: kindName,
	kmip14.TagClientCorrelationValue: kindName, kmip14.TagKeyValueLocationValue: kindName,

	kmip14.TagUsername: kindUser, kmip14.TagDeviceSerialNumber: kindUser, kmip14.TagDeviceIdentifier: kindUser,
	kmip14.TagNetworkIdentifier: kindUser, kmip14.TagMachineIdentifier: kindUser, kmip14.TagMediaIdentifier: kindUser,

	kmip14.TagUniqueIdentifier: kindID, kmip14.TagLinkedObjectIdentifier: kindID, kmip14.TagReplacedUniqueIdentifier: kindID,
	kmip14.TagPrivateKeyUniqueIdentifier: kindID, kmip14.TagPublicKeyUniqueIdentifier: kindID,

	kmip14.TagResultMessage: kindMessage, kmip14.TagServerCorrelationValue: kindMoment,
}

// kindOf tells what a Text String is about.
func (p place) kindOf(tag ttlv.Tag) kind {
	if tag != kmip14.TagAttributeValue {
		return kinds[tag]
	}
	if p.custom() {
		return kindAttribute
	}
	if k := kinds[p.attribute]; k != kindUnknown {
		return k
	}
	return kindName
}

// custom tells whether this is the value of an attribute that the client or the
// server made up (section 3.39).
func (p place) custom() bool {
	return strings.HasPrefix(p.name, "x-") || strings.HasPrefix(p.name, "y-")
}
