package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// attributeTable is section 3, in its order. Columns: name, section, tag, type,
// since; always has a value; initially set by, modifiable by, deletable by;
// multiple instances; object types; the fields of a structure.
//
// Where the specification's rule depends on the object's state or on how it was
// made (Cryptographic Algorithm, Activation Date, Usage Limits …), the table
// has who may do it at all; the operations know the rest.
var attributeTable = [...]AttributeRule{
	{"Unique Identifier", "3.1", kmip14.TagUniqueIdentifier, ttlv.TextString, V1_0, true, Server, Nobody, Nobody, false, all, nil},
	{"Name", "3.2", kmip14.TagName, ttlv.Structure, V1_0, false, Client, Both, Client, true, all, nameFields},
	{"Object Type", "3.3", kmip14.TagObjectType, ttlv.Enumeration, V1_0, true, Server, Nobody, Nobody, false, all, nil},
	{"Cryptographic Algorithm", "3.4", kmip14.TagCryptographicAlgorithm, ttlv.Enumeration, V1_0, true, Both, Nobody, Nobody, false, keys | certificate | template, nil},
	{"Cryptographic Length", "3.5", kmip14.TagCryptographicLength, ttlv.Integer, V1_0, true, Both, Nobody, Nobody, false, keys | certificate | template, nil},
	{"Cryptographic Parameters", "3.6", kmip14.TagCryptographicParameters, ttlv.Structure, V1_0, false, Client, Client, Client, true, keys | certificate | template, cryptographicParametersFields},
	{"Cryptographic Domain Parameters", "3.7", kmip14.TagCryptographicDomainParameters, ttlv.Structure, V1_0, false, Client, Nobody, Nobody, false, publicKey | privateKey | template, domainParametersFields},
	{"Certificate Type", "3.8", kmip14.TagCertificateType, ttlv.Enumeration, V1_0, true, Server, Nobody, Nobody, false, certificate, nil},
	{"Certificate Length", "3.9", kmip14.TagCertificateLength, ttlv.Integer, V1_1, true, Server, Nobody, Nobody, false, certificate, nil},
	{"X.509 Certificate Identifier", "3.10", kmip14.TagX_509CertificateIdentifier, ttlv.Structure, V1_1, true, Server, Nobody, Nobody, false, certificate, x509IdentifierFields},
	{"X.509 Certificate Subject", "3.11", kmip14.TagX_509CertificateSubject, ttlv.Structure, V1_1, true, Server, Nobody, Nobody, false, certificate, x509SubjectFields},
	{"X.509 Certificate Issuer", "3.12", kmip14.TagX_509CertificateIssuer, ttlv.Structure, V1_1, true, Server, Nobody, Nobody, false, certificate, x509IssuerFields},
	{"Certificate Identifier", "3.13", kmip14.TagCertificateIdentifier, ttlv.Structure, V1_0, true, Server, Nobody, Nobody, false, certificate, certificateIdentifierFields},
	{"Certificate Subject", "3.14", kmip14.TagCertificateSubject, ttlv.Structure, V1_0, true, Server, Nobody, Nobody, false, certificate, certificateSubjectFields},
	{"Certificate Issuer", "3.15", kmip14.TagCertificateIssuer, ttlv.Structure, V1_0, true, Server, Nobody, Nobody, false, certificate, certificateIssuerFields},
	{"Digital Signature Algorithm", "3.16", kmip14.TagDigitalSignatureAlgorithm, ttlv.Enumeration, V1_1, true, Server, Nobody, Nobody, true, certificate | pgpKey, nil},
	{"Digest", "3.17", kmip14.TagDigest, ttlv.Structure, V1_0, true, Server, Nobody, Nobody, true, stored, digestFields},
	{"Operation Policy Name", "3.18", kmip14.TagOperationPolicyName, ttlv.TextString, V1_0, false, Both, Server, Nobody, false, all, nil},
	{"Cryptographic Usage Mask", "3.19", kmip14.TagCryptographicUsageMask, ttlv.Integer, V1_0, true, Both, Server, Nobody, false, cryptographic | template, nil},
	{"Lease Time", "3.20", kmip14.TagLeaseTime, ttlv.Interval, V1_0, false, Server, Server, Nobody, false, cryptographic, nil},
	{"Usage Limits", "3.21", kmip14.TagUsageLimits, ttlv.Structure, V1_0, false, Both, Both, Client, false, keys | template, usageLimitsFields},
	{"State", "3.22", kmip14.TagState, ttlv.Enumeration, V1_0, true, Server, Server, Nobody, false, cryptographic, nil},
	{"Initial Date", "3.23", kmip14.TagInitialDate, ttlv.DateTime, V1_0, true, Server, Nobody, Nobody, false, all, nil},
	{"Activation Date", "3.24", kmip14.TagActivationDate, ttlv.DateTime, V1_0, false, Both, Both, Nobody, false, cryptographic | template, nil},
	{"Process Start Date", "3.25", kmip14.TagProcessStartDate, ttlv.DateTime, V1_0, false, Both, Both, Nobody, false, symmetricKey | splitKey | template, nil},
	{"Protect Stop Date", "3.26", kmip14.TagProtectStopDate, ttlv.DateTime, V1_0, false, Both, Both, Nobody, false, symmetricKey | splitKey | template, nil},
	{"Deactivation Date", "3.27", kmip14.TagDeactivationDate, ttlv.DateTime, V1_0, false, Both, Both, Nobody, false, cryptographic | template, nil},
	{"Destroy Date", "3.28", kmip14.TagDestroyDate, ttlv.DateTime, V1_0, false, Server, Nobody, Nobody, false, stored, nil},
	{"Compromise Occurrence Date", "3.29", kmip14.TagCompromiseOccurrenceDate, ttlv.DateTime, V1_0, false, Server, Nobody, Nobody, false, stored, nil},
	{"Compromise Date", "3.30", kmip14.TagCompromiseDate, ttlv.DateTime, V1_0, false, Server, Nobody, Nobody, false, stored, nil},
	{"Revocation Reason", "3.31", kmip14.TagRevocationReason, ttlv.Structure, V1_0, false, Server, Server, Nobody, false, stored, revocationReasonFields},
	{"Archive Date", "3.32", kmip14.TagArchiveDate, ttlv.DateTime, V1_0, false, Server, Nobody, Nobody, false, all, nil},
	{"Object Group", "3.33", kmip14.TagObjectGroup, ttlv.TextString, V1_0, false, Both, Both, Client, true, all, nil},
	{"Fresh", "3.34", kmip14.TagFresh, ttlv.Boolean, V1_1, false, Both, Server, Nobody, false, all, nil},
	{"Link", "3.35", kmip14.TagLink, ttlv.Structure, V1_0, false, Both, Both, Client, true, all, linkFields},
	{"Application Specific Information", "3.36", kmip14.TagApplicationSpecificInformation, ttlv.Structure, V1_0, false, Both, Both, Client, true, all, applicationSpecificFields},
	{"Contact Information", "3.37", kmip14.TagContactInformation, ttlv.TextString, V1_0, false, Both, Both, Client, false, all, nil},
	{"Last Change Date", "3.38", kmip14.TagLastChangeDate, ttlv.DateTime, V1_0, true, Server, Server, Nobody, false, all, nil},
	{"Alternative Name", "3.40", kmip14.TagAlternativeName, ttlv.Structure, V1_2, false, Client, Client, Client, true, all, alternativeNameFields},
	{"Key Value Present", "3.41", kmip14.TagKeyValuePresent, ttlv.Boolean, V1_2, false, Server, Nobody, Nobody, false, keys | secretData, nil},
	{"Key Value Location", "3.42", kmip14.TagKeyValueLocation, ttlv.Structure, V1_2, false, Client, Client, Client, true, keys | secretData, keyValueLocationFields},
	{"Original Creation Date", "3.43", kmip14.TagOriginalCreationDate, ttlv.DateTime, V1_2, false, Both, Nobody, Nobody, false, all, nil},
	{"Random Number Generator", "3.44", kmip14.TagRandomNumberGenerator, ttlv.Structure, V1_3, false, Both, Nobody, Nobody, false, cryptographic, rngParametersFields},
	{"PKCS#12 Friendly Name", "3.45", kmip14.TagPKCS_12FriendlyName, ttlv.TextString, V1_4, false, Both, Both, Client, false, certificate | privateKey | secretData, nil},
	{"Description", "3.46", kmip14.TagDescription, ttlv.TextString, V1_4, false, Client, Client, Client, false, all, nil},
	{"Comment", "3.47", kmip14.TagComment, ttlv.TextString, V1_4, false, Client, Client, Client, false, all, nil},
	{"Sensitive", "3.48", kmip14.TagSensitive, ttlv.Boolean, V1_4, true, Both, Both, Nobody, false, all, nil},
	{"Always Sensitive", "3.49", kmip14.TagAlwaysSensitive, ttlv.Boolean, V1_4, true, Server, Server, Nobody, false, all, nil},
	{"Extractable", "3.50", kmip14.TagExtractable, ttlv.Boolean, V1_4, true, Both, Both, Nobody, false, all, nil},
	{"Never Extractable", "3.51", kmip14.TagNeverExtractable, ttlv.Boolean, V1_4, true, Server, Server, Nobody, false, all, nil},
}

// A fieldRule is one field of a structured attribute.
type fieldRule struct {
	tag      ttlv.Tag
	typ      ttlv.Type
	required bool
	multiple bool
	since    Version
}

func one(tag ttlv.Tag, typ ttlv.Type) fieldRule { return fieldRule{tag, typ, true, false, V1_0} }

func opt(tag ttlv.Tag, typ ttlv.Type, since Version) fieldRule {
	return fieldRule{tag, typ, false, false, since}
}

func many(tag ttlv.Tag, typ ttlv.Type) fieldRule { return fieldRule{tag, typ, false, true, V1_0} }

// The structures of section 3, fields in order.
var (
	nameFields = []fieldRule{one(kmip14.TagNameValue, ttlv.TextString), one(kmip14.TagNameType, ttlv.Enumeration)}

	cryptographicParametersFields = []fieldRule{
		opt(kmip14.TagBlockCipherMode, ttlv.Enumeration, V1_0),
		opt(kmip14.TagPaddingMethod, ttlv.Enumeration, V1_0),
		opt(kmip14.TagHashingAlgorithm, ttlv.Enumeration, V1_0),
		opt(kmip14.TagKeyRoleType, ttlv.Enumeration, V1_0),
		opt(kmip14.TagDigitalSignatureAlgorithm, ttlv.Enumeration, V1_2),
		opt(kmip14.TagCryptographicAlgorithm, ttlv.Enumeration, V1_2),
		opt(kmip14.TagRandomIV, ttlv.Boolean, V1_2),
		opt(kmip14.TagIVLength, ttlv.Integer, V1_2),
		opt(kmip14.TagTagLength, ttlv.Integer, V1_2),
		opt(kmip14.TagFixedFieldLength, ttlv.Integer, V1_2),
		opt(kmip14.TagInvocationFieldLength, ttlv.Integer, V1_2),
		opt(kmip14.TagCounterLength, ttlv.Integer, V1_2),
		opt(kmip14.TagInitialCounterValue, ttlv.Integer, V1_2),
		opt(kmip14.TagSaltLength, ttlv.Integer, V1_4),
		opt(kmip14.TagMaskGenerator, ttlv.Enumeration, V1_4),
		opt(kmip14.TagMaskGeneratorHashingAlgorithm, ttlv.Enumeration, V1_4),
		opt(kmip14.TagPSource, ttlv.ByteString, V1_4),
		opt(kmip14.TagTrailerField, ttlv.Integer, V1_4),
	}
	domainParametersFields = []fieldRule{
		opt(kmip14.TagQlength, ttlv.Integer, V1_0),
		opt(kmip14.TagRecommendedCurve, ttlv.Enumeration, V1_0),
	}
	x509IdentifierFields = []fieldRule{
		one(kmip14.TagIssuerDistinguishedName, ttlv.ByteString),
		one(kmip14.TagCertificateSerialNumber, ttlv.ByteString),
	}
	x509SubjectFields = []fieldRule{
		opt(kmip14.TagSubjectDistinguishedName, ttlv.ByteString, V1_0), // may be left out when a name below is there
		many(kmip14.TagSubjectAlternativeName, ttlv.ByteString),
	}
	x509IssuerFields = []fieldRule{
		opt(kmip14.TagIssuerDistinguishedName, ttlv.ByteString, V1_0),
		many(kmip14.TagIssuerAlternativeName, ttlv.ByteString),
	}
	certificateIdentifierFields = []fieldRule{
		one(kmip14.TagIssuer, ttlv.TextString),
		opt(kmip14.TagSerialNumber, ttlv.TextString, V1_0),
	}
	certificateSubjectFields = []fieldRule{
		one(kmip14.TagCertificateSubjectDistinguishedName, ttlv.TextString),
		many(kmip14.TagCertificateSubjectAlternativeName, ttlv.TextString),
	}
	certificateIssuerFields = []fieldRule{
		one(kmip14.TagCertificateIssuerDistinguishedName, ttlv.TextString),
		many(kmip14.TagCertificateIssuerAlternativeName, ttlv.TextString),
	}
	digestFields = []fieldRule{
		one(kmip14.TagHashingAlgorithm, ttlv.Enumeration),
		opt(kmip14.TagDigestValue, ttlv.ByteString, V1_0),
		opt(kmip14.TagKeyFormatType, ttlv.Enumeration, V1_1),
	}
	usageLimitsFields = []fieldRule{
		one(kmip14.TagUsageLimitsTotal, ttlv.LongInteger),
		opt(kmip14.TagUsageLimitsCount, ttlv.LongInteger, V1_0),
		one(kmip14.TagUsageLimitsUnit, ttlv.Enumeration),
	}
	revocationReasonFields = []fieldRule{
		one(kmip14.TagRevocationReasonCode, ttlv.Enumeration),
		opt(kmip14.TagRevocationMessage, ttlv.TextString, V1_0),
	}
	linkFields = []fieldRule{
		one(kmip14.TagLinkType, ttlv.Enumeration),
		one(kmip14.TagLinkedObjectIdentifier, ttlv.TextString),
	}
	applicationSpecificFields = []fieldRule{
		one(kmip14.TagApplicationNamespace, ttlv.TextString),
		opt(kmip14.TagApplicationData, ttlv.TextString, V1_0), // left out: the server is to make one up
	}
	alternativeNameFields = []fieldRule{
		one(kmip14.TagAlternativeNameValue, ttlv.TextString),
		one(kmip14.TagAlternativeNameType, ttlv.Enumeration),
	}
	keyValueLocationFields = []fieldRule{
		one(kmip14.TagKeyValueLocationValue, ttlv.TextString),
		one(kmip14.TagKeyValueLocationType, ttlv.Enumeration),
	}
	rngParametersFields = []fieldRule{
		one(kmip14.TagRNGAlgorithm, ttlv.Enumeration),
		opt(kmip14.TagCryptographicAlgorithm, ttlv.Enumeration, V1_0),
		opt(kmip14.TagCryptographicLength, ttlv.Integer, V1_0),
		opt(kmip14.TagHashingAlgorithm, ttlv.Enumeration, V1_0),
		opt(kmip14.TagDRBGAlgorithm, ttlv.Enumeration, V1_0),
		opt(kmip14.TagRecommendedCurve, ttlv.Enumeration, V1_0),
		opt(kmip14.TagFIPS186Variation, ttlv.Enumeration, V1_0),
		opt(kmip14.TagPredictionResistance, ttlv.Boolean, V1_0),
	}
)
