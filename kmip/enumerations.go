package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A valueRange is the run of values that an enumeration has in KMIP 1.4
// (section 9.1.3.2). All are runs without holes, save Link Type which starts at
// 0x101 and Result Reason which ends with General Failure on its own.
type valueRange struct{ first, last uint32 }

// enumKnown tells whether v is a value of the enumeration that tag holds.
// Extension values (8XXXXXXX) are unknown: nobody here could act on them. An
// enumeration without a row is the reader's own business.
func enumKnown(tag ttlv.Tag, v uint32) bool {
	r, ok := enumRange(tag)
	if !ok {
		return true
	}
	return v >= r.first && v <= r.last || tag == kmip14.TagResultReason && v == uint32(kmip14.ResultReasonGeneralFailure)
}

// enumRange is a switch and not a map: it is on the way of every request.
func enumRange(tag ttlv.Tag) (valueRange, bool) {
	switch tag {
	case kmip14.TagObjectType:
		return valueRange{1, uint32(kmip14.ObjectTypePGPKey)}, true
	case kmip14.TagResultStatus:
		return valueRange{0, uint32(kmip14.ResultStatusOperationUndone)}, true
	case kmip14.TagResultReason:
		return valueRange{1, uint32(kmip14.ResultReasonObjectAlreadyExists)}, true
	case kmip14.TagKeyFormatType:
		return valueRange{1, uint32(kmip14.KeyFormatTypePKCS_12)}, true
	case kmip14.TagKeyCompressionType:
		return valueRange{1, 4}, true
	case kmip14.TagKeyWrapType:
		return valueRange{1, uint32(kmip14.KeyWrapTypeAsRegistered)}, true
	case kmip14.TagWrappingMethod:
		return valueRange{1, 5}, true
	case kmip14.TagEncodingOption:
		return valueRange{1, uint32(kmip14.EncodingOptionTTLVEncoding)}, true
	case kmip14.TagCryptographicAlgorithm:
		return valueRange{1, 0x28}, true
	case kmip14.TagNameType:
		return valueRange{1, uint32(kmip14.NameTypeURI)}, true
	case kmip14.TagObjectGroupMember:
		return valueRange{1, uint32(kmip14.ObjectGroupMemberGroupMemberDefault)}, true
	case kmip14.TagBatchErrorContinuationOption:
		return valueRange{1, uint32(kmip14.BatchErrorContinuationOptionUndo)}, true
	case kmip14.TagCredentialType:
		return valueRange{1, uint32(kmip14.CredentialTypeAttestation)}, true
	case kmip14.TagRevocationReasonCode:
		return valueRange{1, uint32(kmip14.RevocationReasonCodePrivilegeWithdrawn)}, true
	case kmip14.TagState:
		return valueRange{1, uint32(kmip14.StateDestroyedCompromised)}, true
	}
	return rareRange(tag)
}

func rareRange(tag ttlv.Tag) (valueRange, bool) {
	switch tag {
	case kmip14.TagBlockCipherMode:
		return valueRange{1, uint32(kmip14.BlockCipherModeAEAD)}, true
	case kmip14.TagPaddingMethod:
		return valueRange{1, uint32(kmip14.PaddingMethodPSS)}, true
	case kmip14.TagHashingAlgorithm, kmip14.TagMaskGeneratorHashingAlgorithm:
		return valueRange{1, 0x11}, true
	case kmip14.TagKeyRoleType:
		return valueRange{1, uint32(kmip14.KeyRoleTypeTRKBK)}, true
	case kmip14.TagMaskGenerator:
		return valueRange{1, uint32(kmip14.MaskGeneratorMGF1)}, true
	case kmip14.TagRecommendedCurve:
		return valueRange{1, uint32(kmip14.RecommendedCurveBRAINPOOLP512T1)}, true
	case kmip14.TagCertificateType:
		return valueRange{1, uint32(kmip14.CertificateTypePGP)}, true
	case kmip14.TagDigitalSignatureAlgorithm:
		return valueRange{1, 0x13}, true
	case kmip14.TagCancellationResult:
		return valueRange{1, uint32(kmip14.CancellationResultUnavailable)}, true
	case kmip14.TagUsageLimitsUnit:
		return valueRange{1, uint32(kmip14.UsageLimitsUnitObject)}, true
	case kmip14.TagLinkType:
		return valueRange{uint32(kmip14.LinkTypeCertificateLink), 0x10D}, true
	case kmip14.TagAlternativeNameType:
		return valueRange{1, uint32(kmip14.AlternativeNameTypeIPAddress)}, true
	case kmip14.TagKeyValueLocationType:
		return valueRange{1, uint32(kmip14.KeyValueLocationTypeURI)}, true
	case kmip14.TagSecretDataType:
		return valueRange{1, uint32(kmip14.SecretDataTypeSeed)}, true
	case kmip14.TagSplitKeyMethod:
		return valueRange{1, 4}, true
	case kmip14.TagRNGAlgorithm:
		return valueRange{1, 6}, true
	case kmip14.TagDRBGAlgorithm:
		return valueRange{1, 5}, true
	case kmip14.TagFIPS186Variation:
		return valueRange{1, uint32(kmip14.FIPS186VariationKChangeNotice)}, true
	case kmip14.TagAttestationType:
		return valueRange{1, uint32(kmip14.AttestationTypeSAMLAssertion)}, true
	}
	return valueRange{}, false
}
