package operations

import (
	"crypto/fips140"
	"runtime"

	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip"
	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// generator describes where key material comes from (section 2.1.18). Go's
// crypto/rand is a CTR_DRBG in FIPS 140 mode, and otherwise the operating
// system's generator, of which Linux's is built on ChaCha20 and is none of the
// kinds that KMIP has a name for.
func generator() kmip.RNGParameters {
	switch {
	case fips140.Enabled():
		return kmip.RNGParameters{Algorithm: kmip14.RNGAlgorithmDRBG, DRBGAlgorithm: kmip14.DRBGAlgorithmCTR,
			CryptographicAlgorithm: kmip14.CryptographicAlgorithmAES, CryptographicLength: 256}
	case runtime.GOOS == "linux":
		return kmip.RNGParameters{Algorithm: kmip14.RNGAlgorithmUnspecified,
			CryptographicAlgorithm: kmip14.CryptographicAlgorithmChaCha20, CryptographicLength: 256}
	}
	return kmip.RNGParameters{Algorithm: kmip14.RNGAlgorithmUnspecified}
}

// generatorIn is the generator in the words of a version.
func generatorIn(v kmip.Version) kmip.RNGParameters {
	g := generator()
	if !kmip.ValueIn(kmip14.TagCryptographicAlgorithm, uint32(g.CryptographicAlgorithm), v) {
		g = kmip.RNGParameters{Algorithm: g.Algorithm}
	}
	return g
}

// valueRNG is the attribute Random Number Generator of keys that we make.
var valueRNG = makeValue(func(w *ttlv.Writer) {
	g := generator()
	g.Encode(w, kmip14.TagAttributeValue)
})

// demandRNG holds a client's demand for a random number generator to the one
// there is (section 3.44): every field that it gives must fit.
func demandRNG(rule *kmip.AttributeRule, demand ttlv.Item) error {
	f := filter{rule: rule, value: demand}
	if !f.matchesFields(valueRNG) {
		return invalidField("the server has no Random Number Generator of this kind")
	}
	return nil
}
