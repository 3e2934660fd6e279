package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// An ExtensionInformation is the structure of section 2.1.9, 1.1 on. Tag and
// Type are only given for Query Extension Map; 0 leaves them out.
type ExtensionInformation struct {
	Name []byte
	Tag  int32
	Type int32
}

func (e *ExtensionInformation) decode(f *fields, it ttlv.Item) {
	g := open(it, f.v)
	e.Name = g.text(g.must(kmip14.TagExtensionName))
	e.Tag = g.positive(g.opt(kmip14.TagExtensionTag))
	e.Type = g.positive(g.opt(kmip14.TagExtensionType))
	f.adopt(g.done())
}

func (e *ExtensionInformation) encode(w *ttlv.Writer) {
	m := w.Begin(kmip14.TagExtensionInformation)
	w.Text(kmip14.TagExtensionName, e.Name)
	optInteger(w, kmip14.TagExtensionTag, e.Tag)
	optInteger(w, kmip14.TagExtensionType, e.Type)
	w.End(m)
}

func (f *fields) adopt(err error) {
	if err != nil {
		f.fail(err)
	}
}

func optInteger(w *ttlv.Writer, tag ttlv.Tag, v int32) {
	if v != 0 {
		w.Integer(tag, v)
	}
}

// RNGParameters is the structure of section 2.1.18, 1.3 on; 0 is not sent.
type RNGParameters struct {
	Algorithm               kmip14.RNGAlgorithm
	CryptographicAlgorithm  kmip14.CryptographicAlgorithm
	CryptographicLength     int32
	HashingAlgorithm        kmip14.HashingAlgorithm
	DRBGAlgorithm           kmip14.DRBGAlgorithm
	RecommendedCurve        kmip14.RecommendedCurve
	FIPS186Variation        kmip14.FIPS186Variation
	PredictionResistance    bool
	HasPredictionResistance bool
}

func (r *RNGParameters) decode(f *fields, it ttlv.Item) {
	g := open(it, f.v)
	r.Algorithm = kmip14.RNGAlgorithm(g.enum(g.must(kmip14.TagRNGAlgorithm)))
	r.CryptographicAlgorithm = kmip14.CryptographicAlgorithm(g.enum(g.opt(kmip14.TagCryptographicAlgorithm)))
	r.CryptographicLength = g.positive(g.opt(kmip14.TagCryptographicLength))
	r.HashingAlgorithm = kmip14.HashingAlgorithm(g.enum(g.opt(kmip14.TagHashingAlgorithm)))
	r.DRBGAlgorithm = kmip14.DRBGAlgorithm(g.enum(g.opt(kmip14.TagDRBGAlgorithm)))
	r.RecommendedCurve = kmip14.RecommendedCurve(g.enum(g.opt(kmip14.TagRecommendedCurve)))
	r.FIPS186Variation = kmip14.FIPS186Variation(g.enum(g.opt(kmip14.TagFIPS186Variation)))
	r.PredictionResistance, r.HasPredictionResistance = g.optBoolean(g.opt(kmip14.TagPredictionResistance))
	f.adopt(g.done())
}

// Encode writes the structure under the tag.
func (r *RNGParameters) Encode(w *ttlv.Writer, tag ttlv.Tag) {
	m := w.Begin(tag)
	w.Enumeration(kmip14.TagRNGAlgorithm, uint32(r.Algorithm))
	optEnum(w, kmip14.TagCryptographicAlgorithm, uint32(r.CryptographicAlgorithm))
	optInteger(w, kmip14.TagCryptographicLength, r.CryptographicLength)
	optEnum(w, kmip14.TagHashingAlgorithm, uint32(r.HashingAlgorithm))
	optEnum(w, kmip14.TagDRBGAlgorithm, uint32(r.DRBGAlgorithm))
	optEnum(w, kmip14.TagRecommendedCurve, uint32(r.RecommendedCurve))
	optEnum(w, kmip14.TagFIPS186Variation, uint32(r.FIPS186Variation))
	if r.HasPredictionResistance {
		w.Boolean(kmip14.TagPredictionResistance, r.PredictionResistance)
	}
	w.End(m)
}

// A ProfileInformation is the structure of section 2.1.19, 1.3 on.
type ProfileInformation struct {
	Name       kmip14.ProfileName
	ServerURI  []byte // nil: none
	ServerPort int32  // 0: none
}

func (p *ProfileInformation) decode(f *fields, it ttlv.Item) {
	g := open(it, f.v)
	p.Name = kmip14.ProfileName(g.enum(g.must(kmip14.TagProfileName)))
	p.ServerURI = g.text(g.opt(kmip14.TagServerURI))
	p.ServerPort = g.positive(g.opt(kmip14.TagServerPort))
	f.adopt(g.done())
}

func (p *ProfileInformation) encode(w *ttlv.Writer) {
	m := w.Begin(kmip14.TagProfileInformation)
	w.Enumeration(kmip14.TagProfileName, uint32(p.Name))
	optText(w, kmip14.TagServerURI, p.ServerURI)
	optInteger(w, kmip14.TagServerPort, p.ServerPort)
	w.End(m)
}

// A CapabilityInformation is the structure of section 2.1.22, 1.3 on; the two
// batch capabilities came with 1.4. All fields are optional: Fields holds those
// that are sent.
type CapabilityInformation struct {
	Streaming, Asynchronous, Attestation, BatchUndo, BatchContinue Indicator

	UnwrapMode         kmip14.UnwrapMode
	DestroyAction      kmip14.DestroyAction
	ShreddingAlgorithm kmip14.ShreddingAlgorithm
	RNGMode            kmip14.RNGMode
}

// An Indicator is a Boolean that may be left out. The zero Indicator is.
type Indicator uint8

// The values of an Indicator.
const (
	NotSent Indicator = iota
	No
	Yes
)

// Indicate returns Yes or No.
func Indicate(b bool) Indicator {
	if b {
		return Yes
	}
	return No
}

func (f *fields) indicator(it ttlv.Item) Indicator {
	if it.IsZero() {
		return NotSent
	}
	return Indicate(f.boolean(it))
}

func (c *CapabilityInformation) decode(f *fields, it ttlv.Item) {
	g := open(it, f.v)
	c.Streaming = g.indicator(g.opt(kmip14.TagStreamingCapability))
	c.Asynchronous = g.indicator(g.opt(kmip14.TagAsynchronousCapability))
	c.Attestation = g.indicator(g.opt(kmip14.TagAttestationCapability))
	c.BatchUndo = g.indicator(g.since(V1_4, kmip14.TagBatchUndoCapability))
	c.BatchContinue = g.indicator(g.since(V1_4, kmip14.TagBatchContinueCapability))
	c.UnwrapMode = kmip14.UnwrapMode(g.enum(g.opt(kmip14.TagUnwrapMode)))
	c.DestroyAction = kmip14.DestroyAction(g.enum(g.opt(kmip14.TagDestroyAction)))
	c.ShreddingAlgorithm = kmip14.ShreddingAlgorithm(g.enum(g.opt(kmip14.TagShreddingAlgorithm)))
	c.RNGMode = kmip14.RNGMode(g.enum(g.opt(kmip14.TagRNGMode)))
	f.adopt(g.done())
}

func (c *CapabilityInformation) encode(w *ttlv.Writer, v Version) {
	m := w.Begin(kmip14.TagCapabilityInformation)
	optIndicator(w, kmip14.TagStreamingCapability, c.Streaming)
	optIndicator(w, kmip14.TagAsynchronousCapability, c.Asynchronous)
	optIndicator(w, kmip14.TagAttestationCapability, c.Attestation)
	if v.AtLeast(V1_4) {
		optIndicator(w, kmip14.TagBatchUndoCapability, c.BatchUndo)
		optIndicator(w, kmip14.TagBatchContinueCapability, c.BatchContinue)
	}
	optEnum(w, kmip14.TagUnwrapMode, uint32(c.UnwrapMode))
	optEnum(w, kmip14.TagDestroyAction, uint32(c.DestroyAction))
	optEnum(w, kmip14.TagShreddingAlgorithm, uint32(c.ShreddingAlgorithm))
	optEnum(w, kmip14.TagRNGMode, uint32(c.RNGMode))
	w.End(m)
}

func optIndicator(w *ttlv.Writer, tag ttlv.Tag, i Indicator) {
	if i != NotSent {
		w.Boolean(tag, i == Yes)
	}
}
