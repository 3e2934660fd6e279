package operations

import (
	"crypto/rand"
	"crypto/sha256"
	"math/bits"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A keyRule says which lengths in bits the symmetric keys of an algorithm have:
// from min to max in steps, and usual when a client names none.
type keyRule struct{ usual, min, max, step int32 }

// keyRules are the algorithms of section 9.1.3.2.13 that Symmetric Keys are
// for. The length of DES keys is that without parity bits: 56, 112, 168.
var keyRules = map[kmip14.CryptographicAlgorithm]keyRule{
	kmip14.CryptographicAlgorithmDES:              {56, 56, 56, 8},
	kmip14.CryptographicAlgorithmDES3:             {168, 112, 168, 56},
	kmip14.CryptographicAlgorithmAES:              {256, 128, 256, 64},
	kmip14.CryptographicAlgorithmHMAC_SHA1:        {160, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA224:      {224, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA256:      {256, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA384:      {384, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA512:      {512, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_MD5:         {128, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmBlowfish:         {128, 32, 448, 8},
	kmip14.CryptographicAlgorithmCamellia:         {256, 128, 256, 64},
	kmip14.CryptographicAlgorithmCAST5:            {128, 40, 128, 8},
	kmip14.CryptographicAlgorithmIDEA:             {128, 128, 128, 8},
	kmip14.CryptographicAlgorithmMARS:             {256, 128, 448, 32},
	kmip14.CryptographicAlgorithmRC2:              {128, 8, 1024, 8},
	kmip14.CryptographicAlgorithmRC4:              {128, 40, 2048, 8},
	kmip14.CryptographicAlgorithmRC5:              {128, 8, 2040, 8},
	kmip14.CryptographicAlgorithmSKIPJACK:         {80, 80, 80, 8},
	kmip14.CryptographicAlgorithmTwofish:          {256, 128, 256, 64},
	kmip14.CryptographicAlgorithmOneTimePad:       {maxKeyBits, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmChaCha20:         {256, 256, 256, 8},
	kmip14.CryptographicAlgorithmPoly1305:         {256, 256, 256, 8},
	kmip14.CryptographicAlgorithmChaCha20Poly1305: {256, 256, 256, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA3_224:    {224, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA3_256:    {256, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA3_384:    {384, 8, maxKeyBits, 8},
	kmip14.CryptographicAlgorithmHMAC_SHA3_512:    {512, 8, maxKeyBits, 8},
}

// maxKeyBits bounds keys whose algorithm does not: longer HMAC keys are hashed
// first, so they gain nothing.
const maxKeyBits = 8192

func (r keyRule) has(length int32) bool {
	return length >= r.min && length <= r.max && (length-r.min)%r.step == 0
}

// withParity tells whether an algorithm's keys have one bit in eight more than
// their length says.
func withParity(alg kmip14.CryptographicAlgorithm) bool {
	return alg == kmip14.CryptographicAlgorithmDES || alg == kmip14.CryptographicAlgorithmDES3
}

// usualUse is the Cryptographic Usage Mask of a key whose client names none:
// what its algorithm is for.
func usualUse(alg kmip14.CryptographicAlgorithm) kmip14.CryptographicUsageMask {
	switch alg {
	case kmip14.CryptographicAlgorithmHMAC_SHA1, kmip14.CryptographicAlgorithmHMAC_SHA224, kmip14.CryptographicAlgorithmHMAC_SHA256,
		kmip14.CryptographicAlgorithmHMAC_SHA384, kmip14.CryptographicAlgorithmHMAC_SHA512, kmip14.CryptographicAlgorithmHMAC_MD5,
		kmip14.CryptographicAlgorithmHMAC_SHA3_224, kmip14.CryptographicAlgorithmHMAC_SHA3_256, kmip14.CryptographicAlgorithmHMAC_SHA3_384,
		kmip14.CryptographicAlgorithmHMAC_SHA3_512, kmip14.CryptographicAlgorithmPoly1305:
		return kmip14.CryptographicUsageMaskMACGenerate | kmip14.CryptographicUsageMaskMACVerify
	}
	return kmip14.CryptographicUsageMaskEncrypt | kmip14.CryptographicUsageMaskDecrypt
}

// keySize returns the number of bytes of a key of that length in bits.
func keySize(alg kmip14.CryptographicAlgorithm, length int32) int {
	if withParity(alg) {
		return int(length) / 7
	}
	return int(length) / 8
}

// keyLength returns the length in bits of a key of that many bytes.
func keyLength(alg kmip14.CryptographicAlgorithm, size int) int32 {
	if withParity(alg) {
		return int32(size) * 7
	}
	return int32(size) * 8
}

// checkLength holds a length to the algorithm. 0 stands for the usual one.
func checkLength(alg kmip14.CryptographicAlgorithm, length int32) (int32, error) {
	rule, ok := keyRules[alg]
	switch {
	case !ok:
		return 0, invalidField("%v is no algorithm for a Symmetric Key", alg)
	case length == 0:
		return rule.usual, nil
	case !rule.has(length):
		return 0, invalidField("a Cryptographic Length of %d is not possible for %v", length, alg)
	}
	return length, nil
}

// generateKey writes a new Symmetric Key in the format Raw to w, which must be
// empty, and returns it, a view. Its bytes are the first of random, or new ones
// if that is nil.
func generateKey(w *ttlv.Writer, random []byte, alg kmip14.CryptographicAlgorithm, length int32) ttlv.Item {
	var zeros [maxKeyBits / 8]byte
	kmip.WriteSymmetricKey(w, zeros[:keySize(alg, length)], alg, length)
	object, _ := ttlv.Parse(w.Bytes())
	material := object.Find(kmip14.TagKeyBlock).Find(kmip14.TagKeyValue).Find(kmip14.TagKeyMaterial).Value()
	if random != nil {
		copy(material, random)
	} else {
		_, _ = rand.Read(material) // it never returns an error
	}
	if withParity(alg) {
		for i, b := range material {
			material[i] = b&^1 | byte(bits.OnesCount8(b&^1)+1)&1
		}
	}
	return object
}

// writeSymmetricKey writes a Symmetric Key in the format Raw or Transparent
// Symmetric Key; nil material is a key whose value is kept elsewhere.
func writeSymmetricKey(w *ttlv.Writer, format kmip14.KeyFormatType, material []byte, alg kmip14.CryptographicAlgorithm, length int32) {
	object := w.Begin(kmip14.TagSymmetricKey)
	block := w.Begin(kmip14.TagKeyBlock)
	w.Enumeration(kmip14.TagKeyFormatType, uint32(format))
	if material != nil {
		value := w.Begin(kmip14.TagKeyValue)
		writeMaterial(w, format, material)
		w.End(value)
	}
	w.Enumeration(kmip14.TagCryptographicAlgorithm, uint32(alg))
	w.Integer(kmip14.TagCryptographicLength, length)
	w.End(block)
	w.End(object)
}

// writeMaterial writes Key Material: a structure for a Transparent Symmetric Key,
// and otherwise bytes.
func writeMaterial(w *ttlv.Writer, format kmip14.KeyFormatType, material []byte) {
	if format != kmip14.KeyFormatTypeTransparentSymmetricKey {
		w.ByteString(kmip14.TagKeyMaterial, material)
		return
	}
	m := w.Begin(kmip14.TagKeyMaterial)
	w.ByteString(kmip14.TagKey, material)
	w.End(m)
}

// digest makes the value of the attribute Digest (section 3.17): SHA-256 over
// the Key Material, which is the bytes of a Byte String, and the encoding of a
// structure.
func digest(material ttlv.Item, format kmip14.KeyFormatType) ttlv.Item {
	b := material.Raw()
	if material.Type() == ttlv.ByteString {
		b = material.Value()
	}
	sum := sha256.Sum256(b)
	return makeValue(func(w *ttlv.Writer) {
		m := w.Begin(kmip14.TagAttributeValue)
		w.Enumeration(kmip14.TagHashingAlgorithm, uint32(kmip14.HashingAlgorithmSHA_256))
		w.ByteString(kmip14.TagDigestValue, sum[:])
		w.Enumeration(kmip14.TagKeyFormatType, uint32(format))
		w.End(m)
	})
}

// makeValue returns an item with memory of its own. It is not for key material.
func makeValue(write func(w *ttlv.Writer)) ttlv.Item {
	var w ttlv.Writer
	write(&w)
	it, _ := ttlv.Parse(w.Bytes())
	return it
}
