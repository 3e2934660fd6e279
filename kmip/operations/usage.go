package operations

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/keystore"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// What an object may be used for, and when (sections 3.19, 3.21, 3.22, 3.25 and
// 3.26). The server cannot watch a client that holds the key; it says what the
// client must keep to.

// protecting are the uses that apply cryptographic protection, processing those
// that work on what is protected (section 3.19). Export is neither.
const (
	protecting = kmip14.CryptographicUsageMaskSign | kmip14.CryptographicUsageMaskEncrypt | kmip14.CryptographicUsageMaskWrapKey |
		kmip14.CryptographicUsageMaskMACGenerate | kmip14.CryptographicUsageMaskDeriveKey | kmip14.CryptographicUsageMaskContentCommitment |
		kmip14.CryptographicUsageMaskKeyAgreement | kmip14.CryptographicUsageMaskCertificateSign | kmip14.CryptographicUsageMaskCRLSign |
		kmip14.CryptographicUsageMaskGenerateCryptogram | kmip14.CryptographicUsageMaskTranslateEncrypt | kmip14.CryptographicUsageMaskTranslateWrap
	processing = kmip14.CryptographicUsageMaskVerify | kmip14.CryptographicUsageMaskDecrypt | kmip14.CryptographicUsageMaskUnwrapKey |
		kmip14.CryptographicUsageMaskMACVerify | kmip14.CryptographicUsageMaskValidateCryptogram |
		kmip14.CryptographicUsageMaskTranslateDecrypt | kmip14.CryptographicUsageMaskTranslateUnwrap
)

// allows tells whether the object may be used for all of mask now.
func allows(obj *keystore.Object, mask kmip14.CryptographicUsageMask, now int64) bool {
	if !obj.HasUsageMask || mask&^kmip14.CryptographicUsageMask(obj.CryptographicUsageMask) != 0 {
		return false
	}
	switch obj.State {
	case keystore.Active:
		early := obj.ProcessStartDate.Set && !obj.ProcessStartDate.Due(now)
		return !(early && mask&processing != 0) && !(obj.ProtectStopDate.Due(now) && mask&protecting != 0)
	case keystore.Deactivated, keystore.Compromised:
		return mask&protecting == 0
	}
	return mask == 0 // Pre-Active: not yet; Destroyed: never again
}

// protects tells whether the object may be used to apply protection now, in any
// way that its Cryptographic Usage Mask has.
func protects(obj *keystore.Object, now int64) bool {
	mask := kmip14.CryptographicUsageMask(obj.CryptographicUsageMask) & protecting
	return mask != 0 && allows(obj, mask, now)
}

// limits are the Usage Limits of an object (section 3.21).
type limits struct {
	total, count int64 // units; count is what is left
	unit         uint32
}

// usageLimitsOf returns the object's Usage Limits; false if it has none.
func usageLimitsOf(obj *keystore.Object) (l limits, ok bool) {
	a, ok := obj.Attribute("Usage Limits", 0)
	if !ok {
		return l, false
	}
	l.total, _ = a.Value.Find(kmip14.TagUsageLimitsTotal).LongInteger()
	l.count, _ = a.Value.Find(kmip14.TagUsageLimitsCount).LongInteger()
	l.unit, _ = a.Value.Find(kmip14.TagUsageLimitsUnit).Enumeration()
	return l, true
}

// value is the attribute's value.
func (l limits) value() ttlv.Item {
	return makeValue(func(w *ttlv.Writer) {
		m := w.Begin(kmip14.TagAttributeValue)
		w.LongInteger(kmip14.TagUsageLimitsTotal, l.total)
		w.LongInteger(kmip14.TagUsageLimitsCount, l.count)
		w.Enumeration(kmip14.TagUsageLimitsUnit, l.unit)
		w.End(m)
	})
}
