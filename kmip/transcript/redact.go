package transcript

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gemalto/kmip-go/kmip14"
	gemalto "github.com/gemalto/kmip-go/ttlv"

	"github.com/keyreeve/keyreeve/kmip/ttlv"
)

// A place is where an item stands, as far as that says what it may hold.
type place struct {
	attribute ttlv.Tag // of the attribute whose value this is; 0: none that has a tag
	name      string   // the attribute's name
	secret    bool     // something around it holds nothing but secrets
}

// enter is the place of what stands in the structure it.
func (p place) enter(it ttlv.Item) place {
	p.secret = p.secret || onlySecrets(it.Tag())
	return p
}

// after is the place of what follows the item in the same structure.
func (p place) after(it ttlv.Item) place {
	if name, err := it.Text(); err == nil && it.Tag() == kmip14.TagAttributeName {
		p.name = string(name)
		p.attribute, _ = gemalto.DefaultRegistry.ParseTag(strings.ReplaceAll(p.name, " ", ""))
	}
	return p
}

// onlySecrets tells the structures in which nothing is worth showing, and what
// no specification of ours knows: a vendor may put anything into its extension.
func onlySecrets(tag ttlv.Tag) bool {
	switch tag {
	case kmip14.TagKeyMaterial, kmip14.TagOpaqueDataValue, kmip14.TagVendorExtension:
		return true
	}
	return strings.HasPrefix(gemalto.DefaultRegistry.FormatTag(tag), "0x")
}

// harmlessBytes are the Byte Strings that are shown. All others are taken for
// secret: key material stands under many tags (Key Material, Key Value when it
// is wrapped, Data, Derivation Data, …), the Digest of a short secret can be
// guessed back, and a custom attribute may hold anything.
var harmlessBytes = []ttlv.Tag{kmip14.TagUniqueBatchItemID, kmip14.TagAsynchronousCorrelationValue}

// isSecret tells whether the value of an item that is no structure must not be
// shown.
func (p place) isSecret(it ttlv.Item) bool {
	if p.secret || onlySecrets(it.Tag()) || it.Tag() == kmip14.TagPassword || it.Tag() == kmip14.TagKeyValue {
		return it.Type() != ttlv.Enumeration && it.Type() != ttlv.Boolean
	}
	switch it.Type() {
	case ttlv.ByteString, ttlv.BigInteger:
		return !slices.Contains(harmlessBytes, it.Tag())
	case ttlv.TextString: // in a place that has none, it may be what should have been bytes
		return p.kindOf(it.Tag()) == kindUnknown
	}
	return false
}

// Redact returns a copy of a message that has passed ttlv.Check, in which a text
// with the length stands for each value that is secret or could be: keys,
// passwords, and whatever is not known to be harmless.
func Redact(message []byte) ([]byte, error) {
	it, err := ttlv.Parse(message)
	if err != nil {
		return nil, err
	}
	var w ttlv.Writer
	redact(&w, it, place{})
	return w.Bytes(), nil
}

func redact(w *ttlv.Writer, it ttlv.Item, p place) {
	if it.Type() != ttlv.Structure {
		if p.isSecret(it) {
			w.TextString(it.Tag(), fmt.Sprintf("[redacted: %d bytes]", len(it.Value())))
			return
		}
		w.Item(it)
		return
	}
	mark := w.Begin(it.Tag())
	inner := p.enter(it)
	r, _ := it.Items()
	for {
		child, ok := r.Next()
		if !ok {
			break
		}
		redact(w, child, inner)
		inner = inner.after(child)
	}
	w.End(mark)
}
