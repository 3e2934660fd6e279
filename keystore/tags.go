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
)
