package kmip

import (
	"github.com/gemalto/kmip-go/kmip14"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A QueryRequest is the Query request's payload (section 4.25). A function
// that the request's version does not have is refused.
type QueryRequest struct{ Functions []kmip14.QueryFunction }

// Decode implements Payload.
func (p *QueryRequest) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.Functions = p.Functions[:0]
	for it := f.must(kmip14.TagQueryFunction); !it.IsZero(); it, _ = f.more(kmip14.TagQueryFunction) {
		fn := kmip14.QueryFunction(f.enum(it))
		if f.err == nil && !QueryFunctionIn(fn, v) {
			f.fail(invalidField("the Query Function 0x%X does not exist in KMIP %v", uint32(fn), v))
		}
		p.Functions = append(p.Functions, fn)
	}
	return f.done()
}

// Encode implements Payload.
func (p *QueryRequest) Encode(w *ttlv.Writer, _ Version) {
	for _, fn := range p.Functions {
		w.Enumeration(kmip14.TagQueryFunction, uint32(fn))
	}
}

// A QueryResponse is the Query response's payload (section 4.25). Encode leaves
// out operations, object types and structures that the version does not have.
// Nil slices, an empty VendorIdentification and zero Items are not written.
type QueryResponse struct {
	Operations            []kmip14.Operation
	ObjectTypes           []kmip14.ObjectType
	VendorIdentification  []byte
	ServerInformation     ttlv.Item // a structure of the vendor's
	ApplicationNamespaces [][]byte
	Extensions            []ExtensionInformation   // 1.1
	AttestationTypes      []kmip14.AttestationType // 1.2
	RNGs                  []RNGParameters          // 1.3
	Profiles              []ProfileInformation     // 1.3
	Validations           []ttlv.Item              // 1.3, Validation Information structures
	Capabilities          []CapabilityInformation  // 1.3
	RegistrationMethods   []kmip14.ClientRegistrationMethod
}

// Decode implements Payload.
func (p *QueryResponse) Decode(it ttlv.Item, v Version) error {
	f := open(it, v)
	p.Operations = enums(&f, V1_0, kmip14.TagOperation, p.Operations)
	p.ObjectTypes = enums(&f, V1_0, kmip14.TagObjectType, p.ObjectTypes)
	p.VendorIdentification = f.text(f.opt(kmip14.TagVendorIdentification))
	p.ServerInformation = f.structure(f.opt(kmip14.TagServerInformation))
	p.ApplicationNamespaces = f.texts(kmip14.TagApplicationNamespace, p.ApplicationNamespaces)
	p.Extensions = structures(&f, V1_1, kmip14.TagExtensionInformation, p.Extensions, (*ExtensionInformation).decode)
	p.AttestationTypes = enums(&f, V1_2, kmip14.TagAttestationType, p.AttestationTypes)
	p.RNGs = structures(&f, V1_3, kmip14.TagRNGParameters, p.RNGs, (*RNGParameters).decode)
	p.Profiles = structures(&f, V1_3, kmip14.TagProfileInformation, p.Profiles, (*ProfileInformation).decode)
	p.Validations = structures(&f, V1_3, kmip14.TagValidationInformation, p.Validations, func(to *ttlv.Item, f *fields, it ttlv.Item) {
		*to = f.structure(it)
	})
	p.Capabilities = structures(&f, V1_3, kmip14.TagCapabilityInformation, p.Capabilities, (*CapabilityInformation).decode)
	p.RegistrationMethods = enums(&f, V1_3, kmip14.TagClientRegistrationMethod, p.RegistrationMethods)
	return f.done()
}

// enums reads every enumeration with the tag that comes next.
func enums[E ~uint32](f *fields, since Version, tag ttlv.Tag, into []E) []E {
	into = into[:0]
	for it := f.since(since, tag); !it.IsZero(); it, _ = f.more(tag) {
		into = append(into, E(f.enum(it)))
	}
	return into
}

// structures reads every structure with the tag that comes next.
func structures[T any](f *fields, since Version, tag ttlv.Tag, into []T, decode func(*T, *fields, ttlv.Item)) []T {
	clear(into)
	into = into[:0]
	for it := f.since(since, tag); !it.IsZero(); it, _ = f.more(tag) {
		var one T
		decode(&one, f, it)
		into = append(into, one)
	}
	return into
}

// Encode implements Payload.
func (p *QueryResponse) Encode(w *ttlv.Writer, v Version) {
	for _, op := range p.Operations {
		if OperationIn(op, v) {
			w.Enumeration(kmip14.TagOperation, uint32(op))
		}
	}
	for _, t := range p.ObjectTypes {
		if ObjectTypeIn(t, v) {
			w.Enumeration(kmip14.TagObjectType, uint32(t))
		}
	}
	optText(w, kmip14.TagVendorIdentification, p.VendorIdentification)
	optItem(w, p.ServerInformation)
	for _, n := range p.ApplicationNamespaces {
		w.Text(kmip14.TagApplicationNamespace, n)
	}
	if v.AtLeast(V1_1) {
		for i := range p.Extensions {
			p.Extensions[i].encode(w)
		}
	}
	if v.AtLeast(V1_2) {
		for _, t := range p.AttestationTypes {
			w.Enumeration(kmip14.TagAttestationType, uint32(t))
		}
	}
	if v.AtLeast(V1_3) {
		p.encodeSince13(w, v)
	}
}

func (p *QueryResponse) encodeSince13(w *ttlv.Writer, v Version) {
	for i := range p.RNGs {
		p.RNGs[i].Encode(w, kmip14.TagRNGParameters)
	}
	for i := range p.Profiles {
		p.Profiles[i].encode(w)
	}
	for _, it := range p.Validations {
		w.Item(it)
	}
	for i := range p.Capabilities {
		p.Capabilities[i].encode(w, v)
	}
	for _, m := range p.RegistrationMethods {
		w.Enumeration(kmip14.TagClientRegistrationMethod, uint32(m))
	}
}
