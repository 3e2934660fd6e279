package keystore

import "github.com/keyreeve/keyreeve/kmip/ttlv"

// Tags inside sealed records. Where KMIP has one it is used (specification
// section 9.1.3.1); the others are from the range for extensions. All are on
// disk: a tag, once given, keeps its meaning.
const (
	tagActivationDate           ttlv.Tag = 0x420001
	tagArchiveDate              ttlv.Tag = 0x420005
	tagAttribute                ttlv.Tag = 0x420008
	tagAttributeIndex           ttlv.Tag = 0x420009
	tagAttributeName            ttlv.Tag = 0x42000a
	tagAttributeValue           ttlv.Tag = 0x42000b
	tagCompromiseDate           ttlv.Tag = 0x420020
	tagCompromiseOccurrenceDate ttlv.Tag = 0x420021
	tagCryptographicAlgorithm   ttlv.Tag = 0x420028
	tagCryptographicLength      ttlv.Tag = 0x42002a
	tagCryptographicUsageMask   ttlv.Tag = 0x42002c
	tagDeactivationDate         ttlv.Tag = 0x42002f
	tagDestroyDate              ttlv.Tag = 0x420033
	tagInitialDate              ttlv.Tag = 0x420039
	tagLastChangeDate           ttlv.Tag = 0x420048
	tagLeaseTime                ttlv.Tag = 0x420049
	tagNameValue                ttlv.Tag = 0x420055
	tagObjectType               ttlv.Tag = 0x420057
	tagProcessStartDate         ttlv.Tag = 0x420067
	tagProtectStopDate          ttlv.Tag = 0x420068
	tagRevocationMessage        ttlv.Tag = 0x420080
	tagRevocationReasonCode     ttlv.Tag = 0x420082
	tagState                    ttlv.Tag = 0x42008d
	tagFresh                    ttlv.Tag = 0x4200a8

	tagRecord     ttlv.Tag = 0x540001 // an object
	tagGroup      ttlv.Tag = 0x540002
	tagUser       ttlv.Tag = 0x540003
	tagClient     ttlv.Tag = 0x540004
	tagAttributes ttlv.Tag = 0x540005
	tagValue      ttlv.Tag = 0x540006

	tagHead       ttlv.Tag = 0x540010
	tagCommits    ttlv.Tag = 0x540011
	tagWrites     ttlv.Tag = 0x540012
	tagObjects    ttlv.Tag = 0x540013
	tagTombstones ttlv.Tag = 0x540014
	tagRecords    ttlv.Tag = 0x540015
	tagDigest     ttlv.Tag = 0x540016
	tagSequence   ttlv.Tag = 0x540017
	tagHash       ttlv.Tag = 0x540018
	tagClock      ttlv.Tag = 0x540019
	tagIndexed    ttlv.Tag = 0x54001a
	tagStamp      ttlv.Tag = 0x54001b
	tagArchived   ttlv.Tag = 0x54001c

	tagMeta       ttlv.Tag = 0x540020 // in clear
	tagFormat     ttlv.Tag = 0x540021
	tagStoreID    ttlv.Tag = 0x540022
	tagCheckValue ttlv.Tag = 0x540023

	tagTombstone ttlv.Tag = 0x540030
	tagExpiry    ttlv.Tag = 0x540031

	tagVCenter       ttlv.Tag = 0x540090
	tagAgent         ttlv.Tag = 0x540091
	tagRemoving      ttlv.Tag = 0x540092
	tagReportNumber  ttlv.Tag = 0x540093
	tagReportEntries ttlv.Tag = 0x540094
	tagUsedKeys      ttlv.Tag = 0x540095
	tagWaitingKeys   ttlv.Tag = 0x540096
	tagMissingKeys   ttlv.Tag = 0x540097
	tagDestroyedKeys ttlv.Tag = 0x540098
	tagForeignKeys   ttlv.Tag = 0x540099
	tagEpoch         ttlv.Tag = 0x54009a
	tagRun           ttlv.Tag = 0x54009b
	tagBase          ttlv.Tag = 0x54009c
	tagFreed         ttlv.Tag = 0x54009d
	tagAssigned      ttlv.Tag = 0x54009e
	tagReportTime    ttlv.Tag = 0x54009f
	tagReceived      ttlv.Tag = 0x5400a0
	tagComplete      ttlv.Tag = 0x5400a1
	tagSince         ttlv.Tag = 0x5400a2
	tagPartial       ttlv.Tag = 0x5400a3
	tagProvider      ttlv.Tag = 0x5400a4
	tagLostKey       ttlv.Tag = 0x5400a5
	tagInstance      ttlv.Tag = 0x5400a6
	tagRetired       ttlv.Tag = 0x5400a7

	tagUses    ttlv.Tag = 0x5400b0
	tagAbsent  ttlv.Tag = 0x5400b1
	tagTotal   ttlv.Tag = 0x5400b2
	tagUse     ttlv.Tag = 0x5400b3
	tagUseKind ttlv.Tag = 0x5400b4
	tagUseName ttlv.Tag = 0x5400b5
	tagUseDisk ttlv.Tag = 0x5400b6
	tagUseUUID ttlv.Tag = 0x5400b7
	tagUseBIOS ttlv.Tag = 0x5400b8
)
