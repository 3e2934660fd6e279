package kmip

import (
	"cmp"
	"fmt"

	"github.com/gemalto/kmip-go/kmip14"
)

// A Version is a Protocol Version (section 6.1). The zero Version is none.
type Version struct{ Major, Minor int32 }

// The versions that this package speaks.
var (
	V1_0 = Version{1, 0}
	V1_1 = Version{1, 1}
	V1_2 = Version{1, 2}
	V1_3 = Version{1, 3}
	V1_4 = Version{1, 4}
)

var versions = [...]Version{V1_4, V1_3, V1_2, V1_1, V1_0}

// Versions returns the versions that this package speaks, best first, as
// Discover Versions lists them. The slice is the caller's.
func Versions() []Version { return append([]Version(nil), versions[:]...) }

// Supported tells whether this package speaks v.
func (v Version) Supported() bool {
	return v.Major == 1 && v.Minor >= 0 && v.Minor <= 4
}

// Compare returns -1, 0 or +1 as v is older than, equal to or newer than o.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Major, o.Major), cmp.Compare(v.Minor, o.Minor))
}

// AtLeast tells whether v is o or newer.
func (v Version) AtLeast(o Version) bool {
	return v.Major > o.Major || v.Major == o.Major && v.Minor >= o.Minor
}

// String returns the version as in "1.4".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// OperationIn tells whether the operation exists in v (section 9.1.3.2.27), so
// that an answer never names one that its reader cannot know.
func OperationIn(op kmip14.Operation, v Version) bool {
	switch {
	case op < kmip14.OperationCreate || op > kmip14.OperationExport:
		return false
	case op >= kmip14.OperationImport:
		return v.AtLeast(V1_4)
	case op >= kmip14.OperationEncrypt:
		return v.AtLeast(V1_2)
	case op >= kmip14.OperationReKeyKeyPair:
		return v.AtLeast(V1_1)
	}
	return v.AtLeast(V1_0)
}

// ObjectTypeIn tells whether the object type exists in v (section 9.1.3.2.12).
func ObjectTypeIn(t kmip14.ObjectType, v Version) bool {
	if t == kmip14.ObjectTypePGPKey {
		return v.AtLeast(V1_2)
	}
	return t >= kmip14.ObjectTypeCertificate && t <= kmip14.ObjectTypeOpaqueObject
}

// QueryFunctionIn tells whether the query function exists in v (section
// 9.1.3.2.24).
func QueryFunctionIn(f kmip14.QueryFunction, v Version) bool {
	switch {
	case f < kmip14.QueryFunctionQueryOperations || f > kmip14.QueryFunctionQueryClientRegistrationMethods:
		return false
	case f >= kmip14.QueryFunctionQueryRNGs:
		return v.AtLeast(V1_3)
	case f >= kmip14.QueryFunctionQueryAttestationTypes:
		return v.AtLeast(V1_2)
	case f >= kmip14.QueryFunctionQueryExtensionList:
		return v.AtLeast(V1_1)
	}
	return v.AtLeast(V1_0)
}

// credentialSince returns the version that a Credential Type came with.
func credentialSince(t kmip14.CredentialType) Version {
	switch t {
	case kmip14.CredentialTypeDevice:
		return V1_1
	case kmip14.CredentialTypeAttestation:
		return V1_2
	}
	return V1_0
}

// reasonIn returns the reason, or for one that v does not have yet (section
// 9.1.3.2.29) the nearest that it has.
func reasonIn(r kmip14.ResultReason, v Version) kmip14.ResultReason {
	since, older := V1_0, r
	switch r {
	case kmip14.ResultReasonEncodingOptionError:
		since, older = V1_1, kmip14.ResultReasonInvalidField
	case kmip14.ResultReasonKeyValueNotPresent:
		since, older = V1_2, kmip14.ResultReasonIllegalOperation
	case kmip14.ResultReasonAttestationRequired, kmip14.ResultReasonAttestationFailed:
		since, older = V1_2, kmip14.ResultReasonAuthenticationNotSuccessful
	case kmip14.ResultReasonSensitive, kmip14.ResultReasonNotExtractable:
		since, older = V1_4, kmip14.ResultReasonPermissionDenied
	case kmip14.ResultReasonObjectAlreadyExists:
		since, older = V1_4, kmip14.ResultReasonInvalidField
	}
	if v.AtLeast(since) {
		return r
	}
	return older
}
